"""The candidates of a new generation: their architectures, hyperparameters and teachers (section 3.2 of arXiv:2207.09405).

half          architectures with the highest upper bound, μ + 1.96 σ, of a process over the architectures of the run so far;
              its target is the best score that each of them has reached; hyperparameters of a member, drawn at random
one each      the best architecture of every generation before, with new hyperparameters
the rest      architectures and hyperparameters drawn at random
teachers      drawn from the best members, as many as exploit copies
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poptrain.algorithms.bg_pbt.chapter import Chapter
from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.copula import copula
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.core import History, Hparams, Value
from poptrain.core.rng import rng
from poptrain.space import Space

POINTS = 256  # architectures that the model compares
WEIGHT = 1.96  # of the standard deviation
LEAST = 3  # architectures with a score, without which there is no model

Architecture = tuple[Value, ...]  # the values of the static hyperparameters, in the order of their names


class Candidate(NamedTuple):
    """One student before it learns."""

    hparams: Hparams
    teacher: int
    source: str  # of its architecture: "model", "best" or "random"


def candidates_of(
    history: History, chapter: Chapter, space: Space, teachers: Sequence[int], drawn: int, modelled: float
) -> list[Candidate]:
    """Returns the candidates for the generation after `chapter`.

    Args:
        teachers: the tasks of those members that may teach.
        drawn: the number of candidates whose architectures the model chooses or chance does.
        modelled: the share of the model.
    """
    generator, members = rng(history.seed, history.n, "candidates"), chapter.standing()
    past = [*chapter.ended, *members[:1]]
    chosen = modelled_architectures(history, space, round(drawn * modelled))
    names = space.static_names
    found = []
    for index in range(drawn + len(past)):
        random = space.complete({}, rng(history.seed, history.n + index, "candidate"))
        source, hparams = "random", random
        if index < len(chosen):
            member = history.task(members[int(generator.integers(len(members)))]).hparams
            source, hparams = "model", {**member, **dict(zip(names, chosen[index], strict=True))}
        elif index >= drawn:
            best = history.task(past[index - drawn]).hparams
            source, hparams = "best", {**random, **{name: best[name] for name in names}}
        found.append(Candidate(space.finish(hparams), teachers[int(generator.integers(len(teachers)))], source))
    return found


def scores_of_architectures(history: History, space: Space) -> dict[Architecture, float]:
    """Returns the best score that each architecture of the run has reached."""
    best: dict[Architecture, float] = {}
    for id in np.flatnonzero(history.oks).tolist():
        key = _architecture(history.task(id).hparams, space)
        best[key] = max(best.get(key, -np.inf), history.score(id))
    return best


def modelled_architectures(history: History, space: Space, count: int) -> list[Architecture]:
    """Returns architectures that a process expects much of, each once; [] if too few have a score for a model.

    One after another is chosen, and the uncertainty around those before it is reduced.
    """
    from poptrain.algorithms.gp import posterior as gp

    best = scores_of_architectures(history, space)
    if len(best) < LEAST or not count:
        return []
    generator = rng(history.seed, history.n, "architectures")
    points = dict.fromkeys(_architecture(point, space) for point in space.spread([{}] * POINTS, generator))
    known, asked = _inputs(list(best), space), _inputs(list(points), space)
    numeric = tuple(space.names[i] for i in _columns(space)[0])
    kernel = MaternOverlap(numeric, known.categories.shape[1])
    chosen: list[Architecture] = []
    try:
        with gp.one_thread():
            process = gp.fit(kernel, known, copula(np.array(list(best.values()))), None, gp.QUICK)
            left = list(range(len(points)))
            while left and len(chosen) < count:
                mean, sd = process.ask(asked.rows(np.array(left)))
                place = left.pop(int(np.argmax(mean + WEIGHT * sd)))
                chosen.append(list(points)[place])
                process = process.with_pending(asked.rows(np.array([place])))
    except gp.LinAlgError:
        return chosen
    return chosen


def _architecture(hparams: Mapping[str, Value], space: Space) -> Architecture:
    return tuple(hparams[name] for name in space.static_names)


def _columns(space: Space) -> tuple[list[int], list[int]]:
    """Returns the numeric and the categorical columns that are static."""
    columns, static = ModelColumns.of(space), set(space.static_names)
    numeric = [i for i in columns.numeric if space.names[i] in static]
    return numeric, [i for i in columns.categorical if space.names[i] in static]


def _inputs(architectures: Sequence[Architecture], space: Space) -> Inputs:
    """Returns the inputs of the process: the codes of the architectures, at one time."""
    names = space.static_names
    rows = [{name: space[name].encode(value) for name, value in zip(names, each, strict=True)} for each in architectures]
    numeric, categorical = ([[row[space.names[i]] for i in part] for row in rows] for part in _columns(space))
    shape = len(rows), -1
    return Inputs(np.zeros(len(rows)), np.array(numeric).reshape(shape), np.array(categorical).reshape(shape).astype(int))
