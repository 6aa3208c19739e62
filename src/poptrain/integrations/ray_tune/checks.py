"""Checks of an experiment: what does not fit together is refused before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

from ray.tune.search import SearchGenerator

from poptrain.algorithms.parts import turns
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.interval import Seconds, interval_of
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune import configs
from poptrain.integrations.ray_tune.configs import Config, Report
from poptrain.integrations.ray_tune.whole_files import is_json
from poptrain.log.reader import exists
from poptrain.space import Space


def search(what: str, algorithm: object) -> None:
    """Refuses a search algorithm, because the scheduler chooses the values, and a limit that would keep members from training."""
    if isinstance(algorithm, SearchGenerator):
        name = type(algorithm.searcher).__name__
        raise UsageError(f"{what} chooses hyperparameters itself: remove search_alg={name} from tune.TuneConfig.")
    most, total = getattr(algorithm, "max_concurrent", 0) or 0, getattr(algorithm, "total_samples", 0) or 0
    if 0 < most < total:
        raise UsageError(
            f"{what}: max_concurrent_trials={most} would keep {total - most} of the {total} members from training. Remove it: "
            "members that exceed the slots take turns."
        )


def goal(what: str, metric: object, mode: object) -> None:
    """Refuses an experiment without metric or mode."""
    if not metric or mode not in ("min", "max"):
        raise UsageError(
            f"{what}: metric={metric!r}, mode={mode!r}; set them with tune.TuneConfig(metric=…, mode='max' or 'min')."
        )


def fitting(what: str, algorithm: Algorithm, trials: int) -> Algorithm:
    """Returns the algorithm, if it is one for this number of trials."""
    if algorithm.seats != trials:
        raise UsageError(
            f"{what}: the algorithm has {algorithm.seats} seats and Ray Tune made {trials} trials; "
            f"set tune.TuneConfig(num_samples={algorithm.seats})."
        )
    interval = interval_of(algorithm)
    if isinstance(interval, Seconds):
        raise UsageError(
            f"{what}: interval=pt.seconds({interval.seconds:g}) does not work in Ray Tune; pass "
            f"interval={int(interval.seconds) or 1} and time_attr='time_total_s'."
        )
    return algorithm


def not_restarted(what: str, place: Path | None, trials: int) -> None:
    """Refuses an experiment that Ray began anew, because it could not read its own state, instead of restoring it.

    Ray forgets the number of samples then, so it makes a single trial.

    Args:
        place: of the run log in the experiment's directory; None if that is not local.
        trials: that Ray made.
    """
    if place is None or not exists(place) or trials > 1:
        return
    states = sorted(place.parent.glob("experiment_state-*.json"))
    damaged = next((file.name for file in reversed(states) if not is_json(file.read_bytes())), None)
    if damaged is not None:
        raise UsageError(
            f"{what}: Ray Tune cannot read its own state, {damaged}, because it was stopped while it wrote the file, and would "
            f"begin anew. Remove this file if {place.parent} has an older one, and restore again; the run log is in {place}."
        )


def complete(what: str, result: Report, keys: Sequence[str], require: bool) -> bool:
    """Returns whether a report has all keys; with `require`, a missing key is an error."""
    for key in keys:
        if key not in result:
            if not require:
                return False
            near = did_you_mean(key, list(result))
            raise UsageError(f"{what}: a trial's report has no {key!r}; report it, or set require_attrs=False.{near}")
    return True


def checkpoint_in_time(what: str, time_attr: str, step: int, due: int, interval: int) -> None:
    """Raises when a function has trained a whole interval beyond the end of its task without reporting a checkpoint."""
    if step >= due + interval:
        raise UsageError(
            f"{what}: a trial reported no checkpoint for {2 * interval} {time_attr}. Other trials start from it, "
            "so call tune.report(metrics, checkpoint=…) at least once in every interval."
        )


def no_checkpoint(what: str, trial: object) -> NoReturn:
    """Raises because a trial that was asked for a checkpoint saved none."""
    raise UsageError(
        f"{what}: trial {trial} saved no checkpoint. Other trials start from it, so write save_checkpoint and load_checkpoint."
    )


def with_initial(algorithm: Algorithm, given: list[Config]) -> Algorithm:
    """Returns the algorithm, whose members begin with the values that the user's configs set.

    Raises:
        UsageError: a value lies outside the space, or the algorithm does not let users choose the first values.
    """
    space = cast(Space, algorithm.space)
    members = given[: getattr(algorithm, "population", algorithm.seats)]
    found = [configs.given(config, space) for config in members]
    if not any(found):
        return algorithm
    if not hasattr(algorithm, "initial"):
        name = next(name for each in found for name in each)
        raise UsageError(
            f"param_space sets {name!r}, which {type(algorithm).__name__} chooses itself; remove it from param_space."
        )
    own = [*algorithm.initial, *[{}] * (len(found) - len(algorithm.initial))]
    initial = [{**mine, **values} for mine, values in zip(own, found, strict=True)]
    changed: Algorithm = replace(cast(Any, algorithm), initial=turns.freeze(initial, space))
    return changed
