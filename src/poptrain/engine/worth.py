"""``schedule_worth``: is a schedule better than constant hyperparameters? Trains all of them on fresh seeds, at equal steps.

A schedule that a population found is compared with its own final values held constant, and with the best of its configurations
held constant. That one is chosen on seeds of its own, so that its luck there does not count. Pairs share a seed, and with it the
initial weights and the seeds of all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from poptrain.algorithms.parts.turns import check_count
from poptrain.algorithms.schedule_replay import Piece, ScheduleArgument
from poptrain.core import Hparams
from poptrain.core.answering import answering
from poptrain.core.arguments import check_flag
from poptrain.core.counting import counted
from poptrain.core.errors import RunFailed, Suspended, UsageError
from poptrain.core.wellformed import MAX_SEATS
from poptrain.engine.board import Board, OnBoard
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.replay import Source, planned, source_of
from poptrain.engine.result import Run
from poptrain.engine.screens import screen
from poptrain.executors.context import ExecutorConfig
from poptrain.statistics import interval, paired

CONSTANTS = 6  # configurations of the schedule that are tried as constants


@dataclass(frozen=True)
class Against:
    """The schedule against constant hyperparameters, over pairs of equal seeds."""

    constant: str  # which ones: "its own final values", "its best constant configuration"
    hparams: Hparams
    scores: tuple[float, ...]  # of the constant, by seed, in the user's sign
    difference: float  # mean of schedule minus constant; positive: the schedule is better, whatever the mode
    low: float  # its 95 % bootstrap interval
    high: float
    wins: int
    losses: int
    p: float  # two-sided sign test
    verdict: str  # one sentence


@dataclass(frozen=True)
class Worth:
    """What `schedule_worth` found."""

    steps: int  # of each training
    seeds: tuple[int, ...]
    scores: tuple[float, ...]  # of the schedule, by seed, in the user's sign
    final: Against
    constant: Against


@answering
def schedule_worth(
    schedule: Run | str | Path | ScheduleArgument,
    trainable: object = None,
    *,
    seeds: int = 8,
    task: int | None = None,
    seed: int = 1000,
    metric: str | None = None,
    mode: str | None = None,
    executor: str | ExecutorConfig = "inline",
    progress: bool = True,
) -> Worth:
    """Returns whether a schedule is better than constant hyperparameters, by training all of them on fresh seeds.

    Each training is as long as the schedule. There are three for each seed, and half as many seeds for the choice among at most
    six constant configurations. A training that fails counts as the lowest score that any of them reached. Nothing is written
    to disk.

    Args:
        schedule: a `Run`, the directory of a run, or the value of ``run.schedule()``.
        trainable: the function or class to train; default: that of the `Run`.
        seeds: number of pairs; at least 6, because fewer can't show a difference at 5 %.
        task: id of the task of a run whose ancestry is the schedule; default: the best result.
        seed: of the first pair; the others follow it.
        metric: as in `run`; default: as in the run that the schedule comes from.
        mode: as in `run`; default: as in the run that the schedule comes from.
        executor: as in `run`.
        progress: show on standard error how many trainings are finished, and how far the current one is.

    Raises:
        UsageError: the schedule has no length, or the trainable is missing.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> run = pt.run(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> len(pt.schedule_worth(run, seeds=6, progress=False).scores)
    6
    """
    check_count("schedule_worth", "seeds", seeds, 6)
    if seeds > MAX_SEATS:
        raise UsageError(f"schedule_worth: seeds={seeds:,}, expected at most {MAX_SEATS:,} trainings.")
    source = source_of(schedule, task)
    trainable = schedule.trainable if trainable is None and isinstance(schedule, Run) else trainable
    if trainable is None or source.length is None:
        raise UsageError("schedule_worth: pass a run or run.schedule(), and the trainable: schedule_worth(run, train).")
    check_flag("schedule_worth", "progress", progress)
    sign = -1 if (mode or source.mode) == "min" else 1
    fresh = list(range(seed, seed + seeds))
    trial = list(range(seed + seeds, seed + seeds + max(seeds // 2, 2)))
    last = source.pieces[-1].hparams
    options = _configurations(source)
    held = [_held(source, each) for each in options]
    several = len(options) > 1
    board = Board(len(options) * len(trial) * several + (2 + several) * len(fresh), screen() if progress else None)

    def scores(pieces: Sequence[Piece], which: Sequence[int], what: str) -> list[float]:
        """Returns the last score of a training for each seed, maximised."""
        algorithm, stop = planned(replace(source, pieces=tuple(pieces)))
        names = (metric or source.metric or "score", mode or source.mode or "max")
        make = partial(Experiment, algorithm, trainable, *names, stop, executor)
        return [_last(make(each), board, f"{what}, seed {each}") for each in which]

    try:
        tried = [np.mean(scores(each, trial, f"constant {n}")) for n, each in enumerate(held)] if several else [0.0]
        best = int(np.argmax(tried))
        own = scores(source.pieces, fresh, "schedule")
        ending = scores(_held(source, last), fresh, "final values")
        chosen = ending if options[best] == last else scores(held[best], fresh, "best constant")
    finally:
        board.end(None)
    final = _against("its own final values held constant", last, own, ending, sign)
    constant = _against("the best of its configurations held constant", options[best], own, chosen, sign)
    return Worth(source.length, tuple(fresh), tuple(sign * score for score in own), final, constant)


def _last(experiment: Experiment, board: Board, title: str) -> float:
    """Returns the last score of the only member, maximised; -inf if it failed.

    Raises:
        Suspended: a person interrupted it. No other training begins, also in a notebook.
    """
    board.begun(title)
    try:
        run = execute(experiment, None, progress=OnBoard(board, title))
    except RunFailed:
        return -np.inf
    finally:
        board.ended(title)
    if not run.record.finished:
        raise Suspended("schedule_worth interrupted", exit_code=130, asked=True)
    return experiment.sign * run.member(0).score


def _configurations(source: Source) -> list[Hparams]:
    """Returns at most `CONSTANTS` different configurations of a schedule, evenly spaced, the last one among them."""
    found = list({repr(sorted(piece.hparams.items())): piece.hparams for piece in source.pieces}.values())
    picks = np.unique(np.linspace(0, len(found) - 1, CONSTANTS).round().astype(int))
    return [found[index] for index in picks.tolist()]


def _held(source: Source, hparams: Hparams) -> list[Piece]:
    """Returns the pieces of a schedule with constant hyperparameters, so that its tasks have the same lengths and seeds."""
    return [replace(piece, hparams=hparams) for piece in source.pieces]


def _against(what: str, hparams: Hparams, own: Sequence[float], other: Sequence[float], sign: int) -> Against:
    lowest = min([score for score in (*own, *other) if score > -np.inf], default=0.0)
    own, other = ([max(score, lowest) for score in scores] for scores in (own, other))  # a training that failed is a low score
    gains = np.array(own) - np.array(other)
    mean = float(gains.mean())
    low, high = interval(gains, np.mean) if gains.any() else (0.0, 0.0)
    wins, losses, p = paired(own, other)
    numbers = f"{mean:+.4g} [{low:+.4g}, {high:+.4g}], better on {wins} of {counted(len(own), 'seed')}, p = {p:.2g}"
    if not gains.any():
        verdict = f"The schedule is the same as {what}."
    elif p < 0.05 and low > 0:
        verdict = f"The schedule beats {what}: {numbers}."
    elif p < 0.05 and high < 0:
        verdict = f"The schedule is worse than {what}: {numbers}."
    else:
        verdict = f"The schedule can't be distinguished from {what}: {numbers}."
    return Against(what, dict(hparams), tuple(sign * score for score in other), mean, low, high, wins, losses, p, verdict)
