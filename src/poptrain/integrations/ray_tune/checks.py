"""Checks of an experiment: what does not fit together is refused before anything trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, NoReturn, cast

from ray.tune.search import SearchGenerator
from ray.tune.trainable import FunctionTrainable, Trainable

from poptrain.algorithms.parts import turns
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.interval import Seconds, interval_of
from poptrain.core.protocols import Algorithm
from poptrain.integrations.adapter import flattened
from poptrain.integrations.ray_tune import configs
from poptrain.integrations.ray_tune.configs import Config
from poptrain.integrations.ray_tune.whole_files import is_json
from poptrain.log.finding import exists
from poptrain.space import Space
from poptrain.space.parameter import Parameter, plain, show

logger = logging.getLogger(__name__)


def search(what: str, algorithm: object) -> None:
    """Refuses a search algorithm, because the scheduler chooses the values, and a limit that would keep members from training."""
    if isinstance(algorithm, SearchGenerator):
        name = type(algorithm.searcher).__name__
        raise UsageError(f"{what} chooses hyperparameters itself: remove search_alg={name} from tune.TuneConfig.")
    most, total = getattr(algorithm, "max_concurrent", 0) or 0, getattr(algorithm, "total_samples", 0) or 0
    if 0 < most < total:
        raise UsageError(
            f"{what}: max_concurrent_trials={most} would keep {total - most} of the {counted(total, 'member')} "
            "from training. Remove it: "
            "members that exceed the slots take turns."
        )


def goal(what: str, metric: object, mode: object) -> None:
    """Refuses an experiment without metric or mode."""
    if not metric or mode not in ("min", "max"):
        raise UsageError(
            f"{what}: metric={metric!r}, mode={mode!r}; set them with tune.TuneConfig(metric=…, mode='max' or 'min')."
        )


def budget(what: str, stop: object, time_attr: str, resolution: int) -> int | None:
    """Returns the steps that each trial is to train, from the ``stop`` of an experiment; None if it does not say.

    Raises:
        UsageError: it is not a number.
    """
    limit = plain(stop.get(time_attr)) if isinstance(stop, Mapping) else None
    if limit is None or limit == float("inf"):
        return None
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit != limit:
        raise UsageError(f"{what}: stop={{{time_attr!r}: {show(limit)}}}, expected a number.")
    return max(1, ceil(limit * resolution - 1e-9))


def fitting(what: str, algorithm: Algorithm, trials: int) -> Algorithm:
    """Returns the algorithm, if it is one for this number of trials."""
    if algorithm.seats != trials:
        raise UsageError(
            f"{what}: the algorithm has {counted(algorithm.seats, 'seat')} and Ray Tune made {counted(trials, 'trial')}; "
            f"set tune.TuneConfig(num_samples={algorithm.seats}). The values of a tune.grid_search multiply it."
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


def saves(what: str, trainable: object) -> None:
    """Refuses a class that cannot save or load a checkpoint."""
    if not isinstance(trainable, type) or not issubclass(trainable, Trainable) or issubclass(trainable, FunctionTrainable):
        return
    for name, whole in (("save_checkpoint", "save"), ("load_checkpoint", "restore")):
        if getattr(trainable, name) is getattr(Trainable, name) and getattr(trainable, whole) is getattr(Trainable, whole):
            raise UsageError(
                f"{what}: {trainable.__name__} has no {name}. Trials start from the checkpoints of others: write it."
            )


def with_initial(algorithm: Algorithm, given: list[Config]) -> Algorithm:
    """Returns the algorithm, whose members begin with the values that the user's configs set.

    Raises:
        UsageError: a value lies outside the space, the algorithm does not let users choose the first values, or a config has
            no place for a hyperparameter.
    """
    space = cast(Space, algorithm.space)
    for config in given[:1]:
        placed(config, space)
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


def placed(config: Config, space: Space) -> None:
    """Refuses a config of the user in which hyperparameters have no place, and warns of one that looks as if they had another.

    Raises:
        UsageError: a hyperparameter is written with a dot, is to be inside something that is not a dict, or is a parameter of
            poptrain, which Ray does not sample.
    """
    values = dict(flattened(config))
    for name, value in values.items():
        if isinstance(value, (Parameter, Space)):
            raise UsageError(
                f"param_space[{name!r}] is a {type(value).__name__}, which Ray Tune does not sample. Put it into the space of "
                "the algorithm, or use tune.choice and the like for what is not tuned."
            )
    for name in space:
        *path, last = name.split(".")
        written = next((key for key in config if path and key == name), None)
        if written is not None:
            raise UsageError(f"param_space[{name!r}] is not where the space has it: write {_nested_text(path, last)}.")
        for depth in range(1, len(path) + 1):
            outer = configs.at(config, ".".join(path[:depth]))
            if outer is not None and not isinstance(outer, Mapping):
                where = ".".join(path[:depth])
                raise UsageError(
                    f"param_space[{where!r}]={show(outer)}, and the space has {name!r} inside it: pass a dict there."
                )
        elsewhere = [key for key in values if key.split(".")[-1] == last and key != name and key not in space]
        if elsewhere and name not in values:
            logger.warning(
                "The space has %r, and param_space has %r, which stays %s: if you mean to tune it, write pt.Space(%s).",
                name, elsewhere[0], show(values[elsewhere[0]]), _space_text(elsewhere[0]),
            )  # fmt: skip


def _nested_text(path: Sequence[str], last: str) -> str:
    inner = f"{{{last!r}: …}}"
    for key in reversed(path):
        inner = f"{{{key!r}: {inner}}}"
    return inner


def _space_text(name: str) -> str:
    first, *rest = name.split(".")
    return f"{first}={_nested_text(rest[:-1], rest[-1]) if rest else '…'}"
