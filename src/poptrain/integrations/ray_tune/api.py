"""`poptrain_scheduler`: any algorithm of this package as the scheduler of a `tune.Tuner`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from poptrain.core.errors import UsageError
from poptrain.integrations.ray_tune.checks import with_initial
from poptrain.integrations.ray_tune.scheduler import PoptrainScheduler, Settings


def poptrain_scheduler(
    algorithm: Any,
    *,
    metric: str | None = None,
    mode: str | None = None,
    time_attr: str = "training_iteration",
    seed: int = 0,
    directory: str | Path | None = None,
    revive: int = 3,
    returns: str | None = None,
    require_attrs: bool = True,
    sinks: Sequence[Any] = (),
) -> PoptrainScheduler:
    """Returns a scheduler for `tune.TuneConfig` that lets `algorithm` decide. ``num_samples`` is the algorithm's `seats`.

    Values of ``param_space`` that the space names are where the members begin; what it leaves out is drawn from the space.

    Args:
        algorithm: such as ``pt.pbt(space, population=8, interval=5)``; its interval counts `time_attr`.
        metric, mode: what to optimise; or leave them to `tune.TuneConfig`.
        time_attr: the key of a report that says how far a trial is, counted along its lineage.
        seed: of all the algorithm's random decisions.
        directory: where the run log is kept; default ``poptrain`` in the experiment's own directory, if that is local.
        revive: a trial that failed is started again from a healthy one's checkpoint; after so many failures in a row, not again.
        returns: the key of a list of episode returns in a report, for `pt.welch`.
        require_attrs: raise if a report lacks `time_attr` or the metric; False passes over such reports.
        sinks: followers of the run log, such as ``pt.sinks.MLflow(run_id=…)``; they never stop training.

    Raises:
        UsageError: an argument is out of range, or, when the experiment starts, it does not fit the algorithm.
    """
    for method in ("ask", "needed", "seats", "space"):
        if not hasattr(algorithm, method):
            raise UsageError(f"poptrain_scheduler: algorithm={algorithm!r}, expected one such as pt.pbt(space, 8, interval=5).")
    return PoptrainScheduler(
        Settings(
            partial(_with_configs, algorithm), "poptrain_scheduler", metric, mode, time_attr, seed, directory, revive,
            require_attrs, returns=returns, sinks=tuple(sinks),
        )
    )  # fmt: skip


def _with_configs(algorithm: Any, trials: int, given: list[dict[str, Any]]) -> Any:
    return with_initial(algorithm, given)
