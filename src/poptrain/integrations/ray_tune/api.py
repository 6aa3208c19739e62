"""`poptrain_scheduler`: any algorithm of this package as the scheduler of a `tune.Tuner`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from poptrain.core.errors import UsageError
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune.checks import with_initial
from poptrain.integrations.ray_tune.configs import Config
from poptrain.integrations.ray_tune.scheduler import PoptrainScheduler
from poptrain.integrations.ray_tune.settings import Settings


def poptrain_scheduler(
    algorithm: Algorithm,
    *,
    metric: str | None = None,
    mode: str | None = None,
    time_attr: str = "training_iteration",
    seed: int = 0,
    directory: str | Path | None = None,
    revive: int = 3,
    returns: str | None = None,
    require_attrs: bool = True,
    sinks: Sequence[object] = (),
) -> PoptrainScheduler:
    """Returns a scheduler for `tune.TuneConfig` that lets `algorithm` decide. ``num_samples`` is the algorithm's `seats`.

    Values of ``param_space`` whose names are in the space are the members' first values; the others are drawn from the space.

    Args:
        algorithm: such as ``pt.pbt(space, population=8, interval=5)``; its interval counts `time_attr`.
        metric, mode: what to optimise; or leave them to `tune.TuneConfig`.
        time_attr: the key of a report that holds how far a trial is, counted along its lineage.
        seed: of all the algorithm's random decisions.
        directory: where the run log is kept; default ``poptrain`` in the experiment's own directory, if that is local.
        revive: how often in a row a trial that failed is started again, from a healthy trial's checkpoint.
        returns: the key of a list of episode returns in a report, for `pt.welch`.
        require_attrs: True raises an error if a report lacks `time_attr` or the metric; False ignores such reports.
        sinks: followers of the run log, such as ``pt.sinks.MLflow(run_id=…)``; they never stop training.

    Raises:
        UsageError: an argument is out of range, or, when the experiment starts, it does not fit the algorithm.
    """
    if not isinstance(algorithm, Algorithm):
        raise UsageError(f"poptrain_scheduler: algorithm={algorithm!r}, expected one such as pt.pbt(space, 8, interval=5).")
    settings = Settings(
        make=partial(_with_configs, algorithm),
        name="poptrain_scheduler",
        metric=metric,
        mode=mode,
        time_attr=time_attr,
        seed=seed,
        directory=directory,
        revive=revive,
        require_attrs=require_attrs,
        returns=returns,
        sinks=tuple(sinks),
    )
    return PoptrainScheduler(settings)


def _with_configs(algorithm: Algorithm, trials: int, given: list[Config]) -> Algorithm:
    return with_initial(algorithm, given)
