"""Ray Tune: every poptrain algorithm as a trial scheduler, for users who keep `tune.Tuner` and their Trainables.

    tuner(Member, pt.pbt(space, 8, interval=5), stop=100).fit()
    tune.TuneConfig(metric="score", mode="max", num_samples=8, scheduler=poptrain_scheduler(pt.pbt(space, 8, interval=5)))

The first line makes the whole `tune.Tuner` around the second. `PopulationBasedTraining` and `PB2` take Ray's own arguments, so
that only the import changes.

=================  ====================================================================================================
`api`              `poptrain_scheduler`, with poptrain's arguments
`drop_in`          `PopulationBasedTraining` and `PB2`, with Ray's arguments
`experiment`       `tuner`, a whole experiment in one call
`member`           `tune_trainable`, a trainable class as a Trainable of Ray Tune
`scheduler`        what Ray calls; `assignments` gives tasks to trials, `trial_seat` is one trial's part
`journal`          the run log; `checkpoints` finds and deletes what it refers to
`controller`       what is used of Ray beyond its scheduler interface
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import ray.tune  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.ray_tune needs Ray Tune: pip install 'poptrain[ray]'") from error

from poptrain.integrations.ray_tune.api import poptrain_scheduler
from poptrain.integrations.ray_tune.drop_in import PB2, PopulationBasedTraining
from poptrain.integrations.ray_tune.experiment import tuner
from poptrain.integrations.ray_tune.member import tune_trainable
from poptrain.integrations.ray_tune.scheduler import PoptrainScheduler

__all__ = ["PB2", "PopulationBasedTraining", "PoptrainScheduler", "poptrain_scheduler", "tune_trainable", "tuner"]
