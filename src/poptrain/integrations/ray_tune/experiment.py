"""`tuner`: a `tune.Tuner` whose population, scheduler and trainable fit each other, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from ray import tune

from poptrain.core.errors import UsageError
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune.api import poptrain_scheduler
from poptrain.integrations.ray_tune.member import tune_trainable
from poptrain.trainable import MemberClass

RayTrainable = type[Any] | Callable[..., Any]  # a class or function of the user


def tuner(
    trainable: RayTrainable,
    algorithm: Algorithm,
    *,
    stop: int | float | Mapping[str, object],
    metric: str = "score",
    mode: str = "max",
    param_space: Mapping[str, object] | None = None,
    resources: Mapping[str, float] | None = None,
    run_config: tune.RunConfig | None = None,
    **scheduler: Any,
) -> tune.Tuner:
    """Returns the `tune.Tuner` that trains `trainable` under `algorithm`: one trial for each seat, actors reused.

    The run log is in ``poptrain/`` inside the experiment's directory, ``results.experiment_path``. For anything that has no
    argument here, make the `tune.Tuner` yourself, with `poptrain_scheduler`.

    Args:
        trainable: one of Ray Tune's, or a class with ``train``, ``save`` and ``load``, which `tune_trainable` wraps.
        algorithm: such as ``pt.pbt(space, population=8, interval=5)``.
        stop: the budget of each trial, in `time_attr` (by default iterations); or any ``stop`` of `tune.RunConfig`.
        metric, mode: what to optimise.
        param_space: everything that is not tuned, and the values that members begin with.
        resources: of each trial, such as ``{"cpu": 2, "gpu": 0.5}``.
        run_config: anything else about the experiment, such as its name and storage; without ``stop``.
        scheduler: arguments of `poptrain_scheduler`.

    Raises:
        UsageError: an argument is out of range, or `run_config` has a ``stop`` of its own.
    """
    if isinstance(trainable, type) and not issubclass(trainable, tune.Trainable):
        trainable = tune_trainable(cast(type[MemberClass], trainable))
    if run_config is not None and run_config.stop is not None:
        raise UsageError(f"tuner: run_config.stop={run_config.stop!r}; pass it to tuner as stop=… instead.")
    decides = poptrain_scheduler(algorithm, **scheduler)
    return tune.Tuner(
        trainable if resources is None else tune.with_resources(trainable, dict(resources)),
        param_space=dict(param_space or {}),
        tune_config=tune.TuneConfig(
            metric=metric, mode=mode, num_samples=algorithm.seats, scheduler=decides, reuse_actors=_reusable(trainable)
        ),
        run_config=replace(run_config or tune.RunConfig(), stop=_stop(stop, scheduler.get("time_attr", "training_iteration"))),
    )


def _stop(stop: int | float | Mapping[str, object], time_attr: str) -> dict[str, object]:
    if isinstance(stop, Mapping) and stop:
        return dict(stop)
    if isinstance(stop, bool) or not isinstance(stop, (int, float)) or not stop > 0:
        raise UsageError(f"tuner: stop={stop!r}, expected a budget such as 100, or {{{time_attr!r}: 100}}.")
    return {time_attr: stop}


def _reusable(trainable: RayTrainable) -> bool:
    """True if actors can take another config, which saves starting new ones; a function never can."""
    reset = getattr(trainable, "reset_config", None)
    return isinstance(trainable, type) and reset is not tune.Trainable.reset_config
