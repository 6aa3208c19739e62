"""What does not fit together, refused before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from ray.tune.search import SearchGenerator

from poptrain.algorithms.parts import turns
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.integrations.ray_tune import configs


def search(what: str, algorithm: Any) -> None:
    """Refuses search algorithms, which choose what the scheduler chooses, and limits that keep members out for ever."""
    if isinstance(algorithm, SearchGenerator):
        name = type(algorithm.searcher).__name__
        raise UsageError(f"{what} chooses hyperparameters itself: remove search_alg={name} from tune.TuneConfig.")
    most, total = getattr(algorithm, "max_concurrent", 0) or 0, getattr(algorithm, "total_samples", 0) or 0
    if 0 < most < total:
        raise UsageError(
            f"{what}: max_concurrent_trials={most} would keep {total - most} of the {total} members out; "
            "remove it, members that exceed the slots take turns."
        )


def goal(what: str, metric: Any, mode: Any) -> None:
    """Refuses an experiment without metric or mode."""
    if not metric or mode not in ("min", "max"):
        raise UsageError(f"{what}: metric={metric!r}, mode={mode!r}; give tune.TuneConfig(metric=…, mode='max' or 'min').")


def fitting(what: str, algorithm: Any, trials: int) -> Any:
    """Returns the algorithm, if it is one for so many trials."""
    if algorithm.seats != trials:
        raise UsageError(
            f"{what}: the algorithm has {algorithm.seats} seats and Ray Tune made {trials} trials; "
            f"set tune.TuneConfig(num_samples={algorithm.seats})."
        )
    interval = getattr(algorithm, "interval", None)
    if isinstance(interval, turns.Seconds):
        raise UsageError(
            f"{what}: interval=pt.seconds({interval.seconds:g}); give interval={int(interval.seconds) or 1} and "
            "time_attr='time_total_s'."
        )
    return algorithm


def complete(what: str, result: dict[str, Any], keys: Sequence[str], require: bool) -> bool:
    """Returns whether a report has all keys; raises if it must."""
    for key in keys:
        if key not in result:
            if not require:
                return False
            near = did_you_mean(key, list(result))
            raise UsageError(f"{what}: a trial's report has no {key!r}; report it, or set require_attrs=False.{near}")
    return True


def patience(what: str, time_attr: str, step: int, due: int, interval: int) -> None:
    """Raises when a function has passed a whole interval after its task was due without reporting a checkpoint."""
    if step >= due + interval:
        raise UsageError(
            f"{what}: a trial reported no checkpoint for {2 * interval} {time_attr}; others start from it, "
            "so call tune.report(metrics, checkpoint=…) at least once in every interval."
        )


def no_checkpoint(what: str, trial: Any) -> NoReturn:
    """Raises because a trial, asked for a checkpoint, left none."""
    raise UsageError(
        f"{what}: trial {trial} saved no checkpoint; others start from it, so write save_checkpoint and load_checkpoint."
    )


def with_initial(algorithm: Any, given: list[dict[str, Any]]) -> Any:
    """Returns the algorithm with the values that the user's configs fix as the members' first ones.

    Raises:
        UsageError: a value lies outside the space.
    """
    members = given[: getattr(algorithm, "population", algorithm.seats)]
    found = [configs.given(config, algorithm.space) for config in members]
    if not any(found):
        return algorithm
    if not hasattr(algorithm, "initial"):
        name = next(name for each in found for name in each)
        raise UsageError(
            f"param_space sets {name!r}, which {type(algorithm).__name__} chooses itself; remove it from param_space."
        )
    own = [*algorithm.initial, *[{}] * (len(found) - len(algorithm.initial))]
    initial = [{**mine, **values} for mine, values in zip(own, found, strict=True)]
    return replace(algorithm, initial=turns.freeze(initial, algorithm.space))
