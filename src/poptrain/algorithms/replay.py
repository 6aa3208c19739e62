"""Schedule replay: fixed schedules, trained alone, as Dalibard & Jaderberg do with learned ones (FIRE PBT, arXiv:2109.13800).

    for each seat, with its schedule s:  θ ← fresh;  while t < end:  θ ← train(θ | s(t))

A schedule is piecewise constant: pieces ``(start, hparams)``, of which the first starts at step 0 and the last holds to the
end. Seats never meet, so several schedules share one vectorized program. A piece may also say how it was trained once
(`Piece.steps`, `evals`, `seed`); then its task is asked again exactly so, and a deterministic trainable repeats its scores.

A seat whose training fails or diverges stays failed, as in random search: a schedule has no second candidate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poptrain.algorithms.parts import turns
from poptrain.core import History, Hparams, Task
from poptrain.core.errors import UsageError
from poptrain.space import Choice, Int, Space, Uniform


@dataclass(frozen=True)
class Piece:
    """Constant hyperparameters from one step on."""

    start: int  # lineage step
    hparams: Hparams
    steps: int | None = None  # the piece is one task of exactly so many steps; None: it lasts until the next one starts
    evals: int = 1
    seed: int | None = None  # of that task; None: drawn from the run's seed, as every other seed


def schedule_replay(schedules: Sequence[Any], *, interval: int | None = None, space: Space | None = None) -> ScheduleReplay:
    """Returns the training of fixed schedules, one on each seat.

    Args:
        schedules: each what ``run.schedule()`` returns, or a list of ``(start, hparams)`` that begins at step 0.
        interval: steps between two results; default: a result at the end of every piece.
        space: what the hyperparameters are, for those that are static; default: guessed from the schedules' values.

    Raises:
        UsageError: a schedule is empty, out of order, or names other hyperparameters than the rest.

    >>> import poptrain as pt
    >>> hand_made = [(0, {"lr": 0.1}), (30, {"lr": 0.01})]
    >>> run = pt.run(pt.schedule_replay([hand_made], interval=10), pt.testing.quadratic, stop=pt.steps(60))
    >>> [task["lr"] for task in (run.history.task(id).hparams for id in range(run.history.n))]
    [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    """
    if isinstance(schedules, (str, Mapping)) or not isinstance(schedules, Sequence) or not len(schedules):
        raise UsageError(f"schedule_replay: schedules={schedules!r}, expected a list of at least one schedule.")
    if interval is not None:
        turns.check_interval("schedule_replay", interval)
        if not isinstance(interval, int):
            raise UsageError("schedule_replay: interval must be a whole number of steps, or None for a result at every change.")
    rows = tuple(pieces(each, f"schedules[{index}]") for index, each in enumerate(schedules))
    names = tuple(rows[0][0].hparams)
    for index, row in enumerate(rows):
        for piece in row:
            if set(piece.hparams) != set(names):
                raise UsageError(
                    f"schedule_replay: schedules[{index}] has the hyperparameters {', '.join(piece.hparams)} at step "
                    f"{piece.start}, expected {', '.join(names)}."
                )
    if space is None:
        space = guessed(rows)
    turns.check_space("schedule_replay", space)
    for row in rows:
        for piece in row:
            space.check(piece.hparams)
    if interval is not None:
        rows = tuple(tuple(replace(piece, steps=None, evals=1, seed=None) for piece in merged(row)) for row in rows)
    return ScheduleReplay(space, rows, interval)


@dataclass(frozen=True)
class ScheduleReplay:
    """The algorithm as a value; see `schedule_replay`."""

    space: Space
    schedules: tuple[tuple[Piece, ...], ...]
    interval: int | None = None

    @property
    def seats(self) -> int:
        return len(self.schedules)

    @property
    def population(self) -> int:
        """The number of schedules."""
        return len(self.schedules)

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next task of every seat that is idle, healthy and below the budget."""
        if history.n == 0:
            parents: dict[int, int | None] = dict.fromkeys(range(self.seats))
        else:
            heads = history.heads()
            healthy = history.oks_of(heads)
            parents = {seat: int(heads[seat]) for seat in turns.turns(history, sync=False) if healthy[seat]}
        nexts = [self._next(history, seat, parent) for seat, parent in parents.items()]
        pairs = zip(parents.items(), nexts, strict=True)
        plans = [turns.Plan(seat, parent, piece.hparams) for (seat, parent), (_, piece, _) in pairs]
        tasks = zip(turns.segments(history, plans, None), nexts, strict=True)  # as long as the budget allows
        return tuple(
            replace(task, steps=min(task.steps, steps), evals=piece.evals, tags={"piece": index},
                    seed=task.seed if piece.seed is None else piece.seed)
            for task, (index, piece, steps) in tasks
        )  # fmt: skip

    def needed(self, history: History) -> frozenset[int]:
        """Returns the newest result of every seat."""
        return turns.needed(history)

    def _next(self, history: History, seat: int, parent: int | None) -> tuple[int, Piece, int]:
        """Returns what comes behind `parent`: the place of its piece, the piece, and the most steps of it."""
        row, step = self.schedules[seat], history.step(parent)
        last = -1 if parent is None else int(history.task(parent).tags["piece"])
        if last + 1 < len(row) and row[last + 1].steps is not None:
            return last + 1, row[last + 1], row[last + 1].steps
        index = max(bisect_right(row, step, key=lambda piece: piece.start) - 1, last, 0)
        piece = replace(row[index], evals=1, seed=None)  # what is behind a recorded task is no part of it
        if index + 1 < len(row):
            left = row[index + 1].start - step
        elif history.budget is None and self.interval is None:
            raise UsageError("schedule_replay: the last piece has no end: give interval=…, or stop=pt.steps(n).")
        else:
            left = turns.UNBOUNDED
        return index, piece, left if self.interval is None else min(left, self.interval - step % self.interval)


def pieces(schedule: Any, what: str = "schedule") -> tuple[Piece, ...]:
    """Returns a schedule as pieces: one that has `segments`, or a list of pieces or of ``(start, hparams)``.

    Raises:
        UsageError: it is empty, does not begin at step 0, or its starts do not increase.
    """
    rows = getattr(schedule, "segments", schedule)
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Iterable):
        raise UsageError(f"{what}: got {type(rows).__name__}, expected run.schedule() or a list of (start, hparams).")
    found = tuple(_piece(row, what) for row in rows)
    if not found:
        raise UsageError(f"{what} is empty: no step was trained with any hyperparameters.")
    for before, piece in zip((None, *found), found, strict=False):
        late = piece.start != 0 if before is None else piece.start <= before.start and before.steps is None
        if late:
            after = "0, where training begins" if before is None else f"a step above {before.start}"
            raise UsageError(f"{what}: a piece starts at step {piece.start}, expected {after}.")
    return found


def _piece(row: Any, what: str) -> Piece:
    if isinstance(row, Piece):
        return row
    start, hparams = (row.start, row.hparams) if hasattr(row, "hparams") else _pair(row, what)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0 or not isinstance(hparams, Mapping) or not hparams:
        raise UsageError(f"{what}: got ({start!r}, {hparams!r}), expected a step from 0 and hyperparameters by name.")
    return Piece(start, turns.FrozenDict(hparams))


def _pair(row: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(row, (tuple, list)) or len(row) != 2:
        raise UsageError(f"{what}: got {row!r}, expected (start, hparams), for example (0, {{'lr': 0.1}}).")
    return row[0], row[1]


def merged(row: Sequence[Piece]) -> tuple[Piece, ...]:
    """Returns the pieces without those that change nothing."""
    found: list[Piece] = []
    for piece in row:
        if found and piece.start == found[-1].start:
            found.pop()  # a task of no steps: it was only evaluated
        if not found or repr(sorted(found[-1].hparams.items())) != repr(sorted(piece.hparams.items())):
            found.append(piece)
    return tuple(found)


def guessed(rows: Sequence[Sequence[Piece]], static: Sequence[str] = ()) -> Space:
    """Returns a space that just holds the values of the schedules; what is no number and never changes is static too."""
    parameters = {}
    for name in rows[0][0].hparams:
        values = list(dict.fromkeys(piece.hparams[name] for row in rows for piece in row))
        kinds = {type(value) for value in values}
        if kinds == {int}:
            parameters[name] = Int(min(values), max(values), static=name in static)
        elif kinds <= {int, float}:
            parameters[name] = Uniform(float(min(values)), float(max(values)), static=name in static)
        else:
            same = all(len({piece.hparams[name] for piece in row}) == 1 for row in rows)
            parameters[name] = Choice(*values, static=same or name in static)
    return Space(parameters)
