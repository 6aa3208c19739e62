"""Ray Tune: every poptrain algorithm as a trial scheduler, for people who keep `tune.Tuner` and their Trainables.

    tuner(Member, pt.pbt(space, 8, interval=5), stop=100).fit()
    tune.TuneConfig(metric="score", mode="max", num_samples=8, scheduler=poptrain_scheduler(pt.pbt(space, 8, interval=5)))

The first is the second with all around it. `PopulationBasedTraining` and `PB2` take Ray's own arguments, so that another import
is all that changes.
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
