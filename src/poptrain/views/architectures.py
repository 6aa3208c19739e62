"""The architectures of a run with generations (BG-PBT): which were tried, who proposed them, and what they reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poptrain.core import Value
from poptrain.core.brief import in_lines
from poptrain.log.reader import Record
from poptrain.views.generations import generations_of
from poptrain.views.index import about, history_of, space_of
from poptrain.views.sources import of_run


@dataclass(frozen=True)
class Trial:
    """One network that began with new weights."""

    task: int  # its first
    generation: int  # that it was made for, from 0
    step: int  # at which it began
    source: str  # of its architecture: start, model, best (of a former generation) or random
    architecture: Mapping[str, Value]  # its static hyperparameters
    score: float | None  # the best that it and its copies have reached; None: it never had one
    stayed: bool  # True if it became a member


@dataclass(frozen=True)
class Architectures:
    """All networks that a run has begun. A run without static hyperparameters, or without candidates, has none."""

    metric: str
    mode: str
    names: tuple[str, ...]  # of the static hyperparameters
    trials: tuple[Trial, ...] = field(repr=False)

    __repr__ = in_lines


@of_run
def architectures(record: Record) -> Architectures:
    """Returns the architectures that a run has tried, by task."""
    history, space = history_of(record), space_of(record)
    metric, mode = about(record)
    names = tuple(name for name, kind in space.items() if kind.get("static"))
    tasks = [history.task(id) for id in range(history.n)]
    if not names or not any(task.role == "candidate" for task in tasks):
        return Architectures(metric, mode, names, ())
    root: list[int] = []  # by task: where its weights began
    made_for: dict[int, int] = {}  # by root
    best: dict[int, float] = {}
    stayed: set[int] = set()
    for task, generation in zip(tasks, generations_of(history), strict=True):
        first = task.id if task.parent is None else root[task.parent]
        root.append(first)
        if task.parent is None:
            made_for[first] = generation
        if task.role != "candidate":
            stayed.add(first)
        if history.ok(task.id):
            best[first] = max(best.get(first, history.score(task.id)), history.score(task.id))
    trials = []
    for first, number in made_for.items():
        task = tasks[first]
        source = str(task.note.get("architecture", "")) if number else "start"
        architecture = {name: task.hparams.get(name) for name in names}
        score = history.sign * best[first] if first in best else None
        trials.append(Trial(first, number, history.begin(first), source, architecture, score, first in stayed))
    return Architectures(metric, mode, names, tuple(trials))
