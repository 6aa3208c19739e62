"""Which result of a finished run is the best, by more than its one score.

The highest of many noisy scores is a lucky one. So the candidates are compared by a local level: a random walk plus noise, along
their lineages. Each score counts with its neighbours, and more so the noisier the run is:

    level(k) = level(k - 1) + step,  score(k) = level(k) + noise        variance of the step = ρ x variance of the noise

ρ is the one of `RATIOS` under which the innovations of all candidates are most likely (Student's t with 4 degrees of freedom,
because scores may have outliers). An innovation of more than `LIMIT` standard deviations moves the level as one of `LIMIT` would,
so a single lucky evaluation is not believed; a second one in a row on the same side is a leap, and the level goes there. The
size of the noise is the standard error of the scores where they are means of `returns` (episodes), which tells noise from fast
learning; else it is estimated from the innovations, as their median. The filter runs forwards along the ancestors of a candidate,
and backwards along what its own seat trained from it. The candidate with the highest level minus half a standard deviation is the
best. Losses that span decades are compared by their logarithms, because their noise grows with them. `python -m benchmarks.best`
compares this rule with the highest score and with evaluating again.

Candidates are the newest results of the members, and the highest score of the run: the checkpoints that a run always keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign, exp, inf, log, sqrt
from statistics import fmean, median, stdev
from typing import NamedTuple

import numpy as np

from poptrain.core.history import History

RATIOS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0, 1e9)
WINDOW = 200  # newest scores of a lineage that are looked at
FEWEST = 8  # innovations, below which the noise is not known
MOST = 32  # candidates with the highest scores
MEAN = 1e-6  # part by which a score may differ from the mean of its returns
STEADY = 0.3  # highest ratio at which scores without returns tell their noise: learning moves them less than noise does
LIMIT = 3.0  # standard deviations of an innovation that count
PASSES = 3  # over the scores of all candidates, to know the noise without its outliers, unless returns tell it
DOUBT = 0.5  # standard deviations that are taken off a level
TINY = float(np.finfo(float).tiny)
DECADES = 1e3  # ratio of the highest loss to the lowest, from which on logarithms are compared
HIGHEST, LOWEST = "the highest score of the run", "the lowest score of the run"


class Evidence(NamedTuple):
    """The best result, and what that rests on, for people."""

    task: int
    text: str


def extreme(sign: int) -> str:
    """Returns what the best score is called; `sign` is -1 if scores are minimised."""
    return LOWEST if sign < 0 else HIGHEST


class _Level(NamedTuple):
    mean: float
    variance: float  # in units of the variance of the noise


def best_by_evidence(history: History) -> Evidence | None:
    """Returns the best result of a history; None if no result is healthy."""
    highest = history.best()
    if highest is None:
        return None
    heads = [history.head(seat) for seat in history.members()]
    finals = sorted((id for id in heads if history.ok(id)), key=history.score, reverse=True)[:MOST]
    candidates = list(dict.fromkeys([*finals, highest]))
    paths = [_before(history, id) for id in candidates]
    known = _standard_error(history, candidates)
    logs = known is None and _falls(history, [score for path in paths for score in path])
    if logs:
        paths = [_logs(path) for path in paths]
    ratio, noise = _fitted(paths, known)
    if noise is None:
        return Evidence(highest, f"{extreme(history.sign)}; there are too few results to know their noise")
    levels = [_level(path, ratio, noise)[0] for path in paths]
    for index, id in enumerate(candidates):
        if later := _after(history, id):
            if logs:
                later = _logs(later)
            behind = _level(later[::-1], ratio, noise)[0]
            levels[index] = _joined(levels[index], _Level(behind.mean, behind.variance + ratio))
    index = int(np.argmax([level.mean - DOUBT * noise * sqrt(level.variance) for level in levels]))
    id, level = candidates[index], levels[index]
    spread = noise * sqrt(level.variance)
    mean = history.sign * (-exp(-level.mean) if logs else level.mean)
    smoothed = f"smoothed along its lineage: {mean:.6g}"
    if known is None and ratio > STEADY:
        return Evidence(id, f"{smoothed} (no ±: these scores alone do not tell noise from learning)")
    if logs:
        noisy = f"noise of one score: a factor of {_factor(noise)}, from its neighbours"
        return Evidence(id, f"{smoothed}, within a factor of {_factor(spread)} ({noisy})")
    source = "from its returns" if known is not None else "from its neighbours"
    return Evidence(id, f"{smoothed} ± {spread:.2g} (noise of one score: {noise:.2g}, {source})")


def _falls(history: History, scores: Sequence[float]) -> bool:
    """True if scores are losses above 0 that span decades."""
    return history.sign < 0 and bool(scores) and max(scores) < 0 and min(scores) / max(scores) >= DECADES


def _logs(scores: Sequence[float]) -> list[float]:
    """Returns what is higher the lower a loss is; a later loss of 0 counts as the smallest number there is."""
    return [-log(max(-score, TINY)) for score in scores]


def _factor(logarithm: float) -> str:
    """Returns the factor of a difference of logarithms, for people."""
    return f"{exp(min(logarithm, 700.0)):.2g}"


def _before(history: History, id: int) -> list[float]:
    """Returns the newest scores of the lineage of a task, up to its own."""
    found: list[float] = []
    walk: int | None = id
    while walk is not None and len(found) < WINDOW:
        found[:0] = _scores(history, walk)
        walk = history.task(walk).parent
    return found[-WINDOW:]


def _after(history: History, id: int) -> list[float]:
    """Returns the scores of what the seat of a task trained from it, as long as it copied nothing."""
    later = []
    walk = history.head(history.task(id).member)
    while walk > id:
        later.append(walk)
        walk = history.previous(walk)
    found: list[float] = []
    for each in reversed(later):
        if history.task(each).parent != id or not history.ok(each) or len(found) >= WINDOW:
            break
        found += _scores(history, each)
        id = each
    return found[:WINDOW]


def _scores(history: History, id: int) -> list[float]:
    """Returns the finite scores of one task, in their order; [] if it failed."""
    result = history.result(id)
    if result is None or not history.ok(id):
        return []
    scores = [float(score) for _, score in result.curve] or [float(result.score)]
    return [score for score in scores if abs(score) < inf]


def _level(path: list[float], ratio: float, noise: float = inf) -> tuple[_Level, list[tuple[float, float]]]:
    """Returns the level at the end of a path, and its innovations with their variances.

    Args:
        noise: the standard deviation of the noise, which limits what one score moves; by default nothing does.
    """
    mean, variance, outlier = path[0], 1.0, 0.0
    innovations = []
    for score in path[1:]:
        variance += ratio
        error, total = score - mean, variance + 1
        innovations.append((error, total))
        limit = LIMIT * noise * sqrt(total)
        if abs(error) <= limit:
            mean, variance, outlier = mean + variance / total * error, variance / total, 0.0
        elif error * outlier > 0:
            mean, variance, outlier = mean + (error + outlier) / 2, 0.5, 0.0  # the level leapt: two scores say so
        else:
            mean, variance, outlier = mean + variance / total * copysign(limit, error), variance / total, error
    return _Level(mean, variance), innovations


def _standard_error(history: History, ids: Sequence[int]) -> float | None:
    """Returns the median standard error of the scores along the lineages of tasks; None if most are not means of returns."""
    found: list[float | None] = []
    for result in filter(None, map(history.result, _lineages(history, ids))):
        returns = result.returns
        is_mean = len(returns) > 1 and abs(fmean(returns) - result.score) <= MEAN * (1 + abs(result.score))
        found.append(stdev(returns) / sqrt(len(returns)) if is_mean else None)
    known = [each for each in found if each is not None and 0 < each < inf]
    return median(known) if 2 * len(known) > len(found) and len(known) >= FEWEST else None


def _lineages(history: History, ids: Sequence[int]) -> set[int]:
    """Returns the tasks that some tasks descend from, and these, as far back as `WINDOW` tasks; only those with a score."""
    found: set[int] = set()
    for id in ids:
        walk: int | None = id
        for _ in range(WINDOW):
            if walk is None or walk in found:
                break
            found.add(walk)
            walk = history.task(walk).parent
    return {id for id in found if history.ok(id)}


def _fitted(paths: list[list[float]], known: float | None) -> tuple[float, float | None]:
    """Returns the most likely ratio, and the standard deviation of the noise; None if it is not known.

    Args:
        known: the standard deviation of the noise, if the scores tell it.
    """
    best: tuple[float, float, float | None] = (-inf, 0.0, None)
    for ratio in RATIOS:
        scale = inf if known is None else known
        for _ in range(PASSES if known is None else 1):  # each limits what the scale of the one before makes outliers
            pairs = [pair for path in paths for pair in _level(path, ratio, scale)[1]]
            if len(pairs) < FEWEST:
                return best[1], best[2]
            error, total = np.array(pairs).T
            sizes = np.abs(error) / np.sqrt(total)
            scale = float(np.median(sizes)) / 0.6745 if known is None else known
            if scale <= 0:
                return best[1], best[2]  # most scores repeat exactly, so the noise is not known
        likely = -len(pairs) * log(scale) - 0.5 * np.log(total).sum() - 2.5 * np.log1p((sizes / scale) ** 2 / 4).sum()
        best = max(best, (float(likely), ratio, scale), key=lambda each: each[0])
    return best[1], best[2]


def _joined(a: _Level, b: _Level) -> _Level:
    """Returns the mean of two levels, weighted by their precision."""
    total = a.variance + b.variance
    return _Level((a.mean * b.variance + b.mean * a.variance) / total, a.variance * b.variance / total)
