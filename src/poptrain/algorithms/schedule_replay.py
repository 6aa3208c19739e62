"""Schedule replay: fixed schedules, each trained alone. Dalibard & Jaderberg 2021 do this with learned schedules (FIRE PBT,
arXiv:2109.13800).

    for each seat, with its schedule s:  θ ← fresh;  while t < end:  θ ← train(θ | s(t))

A schedule is piecewise constant: pieces ``(start, hparams)``, of which the first starts at step 0 and the last holds to the
end. Seats are independent, so several schedules share one vectorized program. A piece may also record how it was trained
(`Piece.steps`, `evals`, `seed`). Then the same task is asked for again, and a deterministic trainable repeats its scores. A
piece that was distilled names the piece that taught it: the seat first trains the teacher, and then the student.

A seat whose training fails or diverges stays failed, as in random search.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

from poptrain.algorithms.parts import turns
from poptrain.core import History, Hparams, Task
from poptrain.core.answering import answering
from poptrain.core.brief import brief
from poptrain.core.errors import UsageError
from poptrain.space import Choice, Int, Space, Uniform
from poptrain.space.parameter import Parameter


@dataclass(frozen=True)
class Piece:
    """Constant hyperparameters, from the step `start` of the lineage on."""

    start: int
    hparams: Hparams
    steps: int | None = None  # the piece is one task of this number of steps; None: it lasts until the next piece starts
    evals: int = 1
    seed: int | None = None  # of that task; None: from the seed of the run
    teacher: int | None = field(default=None, metadata={"absent": None})  # the piece from whose end the task distils
    progress: tuple[float, float] | None = field(default=None, metadata={"absent": None})  # of the distillation
    fresh: bool = field(default=False, metadata={"absent": False})  # the task begins with new weights


@runtime_checkable
class PieceLike(Protocol):
    """A part of a schedule, such as a `views.Segment`."""

    @property
    def start(self) -> int:
        """The first lineage step."""
        ...

    @property
    def hparams(self) -> Hparams:
        """The hyperparameters from there on."""
        ...


@runtime_checkable
class ScheduleLike(Protocol):
    """A schedule, such as ``run.schedule()`` returns."""

    @property
    def segments(self) -> Iterable[PieceLike]:
        """Its parts, in the order of their starts."""
        ...


ScheduleArgument = ScheduleLike | Iterable[Piece | PieceLike | tuple[int, Hparams]]


@answering
def schedule_replay(
    schedules: Sequence[ScheduleArgument], *, interval: int | None = None, space: Space | None = None
) -> ScheduleReplay:
    """Returns the training of fixed schedules, one on each seat.

    Args:
        schedules: for each seat, a value of ``run.schedule()`` or a list of ``(start, hparams)`` that begins at step 0.
        interval: steps between two results; default: a result at the end of every piece.
        space: the hyperparameters, for their ranges and for which of them are static; default: guessed from the values.

    Raises:
        UsageError: a schedule is empty, out of order, or has other hyperparameters than the first one.

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
    _check_static(rows, space)
    if interval is not None:
        rows = tuple(tuple(replace(piece, steps=None, evals=1, seed=None) for piece in merged(row)) for row in rows)
    return ScheduleReplay(space, rows, interval)


@dataclass(frozen=True)
class ScheduleReplay:
    """The algorithm as a value; see `schedule_replay`."""

    space: Space
    schedules: tuple[tuple[Piece, ...], ...]
    interval: int | None = None
    horizon: int | None = field(default=None, metadata={"absent": None})  # steps of the run that a schedule comes from

    __repr__ = brief

    @property
    def seats(self) -> int:
        """The number of schedules."""
        return len(self.schedules)

    @property
    def distills(self) -> bool:
        """True if a piece has a teacher."""
        return any(piece.teacher is not None for row in self.schedules for piece in row)

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
        plans = [turns.Plan(seat, None if piece.fresh else parent, piece.hparams) for (seat, parent), (_, piece, _) in pairs]
        tasks = turns.segments(history, plans, None)  # as long as the budget allows
        taught = [_task_of(history, parents[task.member], what[1].teacher) for task, what in zip(tasks, nexts, strict=True)]
        return tuple(_as_recorded(task, *what, teacher) for task, what, teacher in zip(tasks, nexts, taught, strict=True))

    def needed(self, history: History) -> frozenset[int]:
        """Returns the newest result of every seat, and the teachers of what comes after it."""
        teachers = set()
        for seat, row in enumerate(self.schedules):
            head = history.head(seat) if history.n else -1
            later = [] if head < 0 else row[int(history.task(head).tags["piece"]) :]
            teachers |= {_task_of(history, head, piece.teacher) for piece in later}
        return turns.needed(history) | {id for id in teachers if id is not None and history.ok(id)}

    def _next(self, history: History, seat: int, parent: int | None) -> tuple[int, Piece, int]:
        """Returns what comes after the task `parent`: the index of the piece, the piece, and the steps of it that are left."""
        row, step = self.schedules[seat], history.step(parent)
        last = -1 if parent is None else int(history.task(parent).tags["piece"])
        if last + 1 < len(row) and (recorded := row[last + 1].steps) is not None:
            return last + 1, row[last + 1], recorded
        index = max(bisect_right(row, step, key=lambda piece: piece.start) - 1, last, 0)
        piece = replace(row[index], evals=1, seed=None)  # what comes after a recorded task was not part of it
        if index + 1 < len(row):
            left = row[index + 1].start - step
        elif history.budget is None and self.interval is None:
            raise UsageError("schedule_replay: the last piece has no end; pass interval=…, or stop=pt.steps(n).")
        else:
            left = turns.UNBOUNDED
        return index, piece, left if self.interval is None else min(left, self.interval - step % self.interval)


def _check_static(rows: Sequence[Sequence[Piece]], space: Space) -> None:
    """Raises a `UsageError` if a schedule changes a static value while the weights go on: now, and not when it is reached."""
    for index, row in enumerate(rows):
        for before, piece in pairwise(row):
            for name in () if piece.fresh else space.static_names:
                if piece.hparams[name] != before.hparams[name]:
                    raise UsageError(
                        f"schedules[{index}]: the static hyperparameter {name!r} changes from {before.hparams[name]!r:.60} to "
                        f"{piece.hparams[name]!r:.60} at step {piece.start:,}, and the weights were made with the first: keep it."
                    )


def _as_recorded(task: Task, index: int, piece: Piece, steps: int, teacher: int | None) -> Task:
    """Returns a task of a piece: with its evaluations, and with its seed if it has one; `steps` is the most it may train."""
    seed, progress = task.seed if piece.seed is None else piece.seed, None if teacher is None else piece.progress
    task = replace(task, steps=min(task.steps, steps), evals=piece.evals, tags={"piece": index}, seed=seed)
    return replace(task, teacher=teacher, progress=progress)


def _task_of(history: History, id: int | None, index: int | None) -> int | None:
    """Returns the task of a seat that trained the piece with this index; None if it has not yet.

    Args:
        id: the newest task of the seat.
    """
    while index is not None and id is not None and id >= 0:
        if history.task(id).tags["piece"] == index:
            return id
        id = history.previous(id)
    return None


def pieces(schedule: object, what: str = "schedule") -> tuple[Piece, ...]:
    """Returns a schedule as pieces; the schedule has `segments`, or is a list of pieces or of ``(start, hparams)``.

    Raises:
        UsageError: it is empty, does not begin at step 0, or its starts do not increase.
    """
    rows: object = schedule.segments if isinstance(schedule, ScheduleLike) else schedule
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


def _piece(row: object, what: str) -> Piece:
    if isinstance(row, Piece):
        return row
    start, hparams = (row.start, row.hparams) if isinstance(row, PieceLike) else _pair(row, what)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0 or not isinstance(hparams, Mapping) or not hparams:
        raise UsageError(f"{what}: got ({start!r}, {hparams!r}), expected a step from 0 and hyperparameters by name.")
    return Piece(start, turns.FrozenDict(hparams))


def _pair(row: object, what: str) -> tuple[object, object]:
    if not isinstance(row, (tuple, list)) or len(row) != 2:
        raise UsageError(f"{what}: got {row!r}, expected (start, hparams), for example (0, {{'lr': 0.1}}).")
    return row[0], row[1]


def merged(row: Sequence[Piece]) -> tuple[Piece, ...]:
    """Returns the pieces without those that change nothing."""
    found: list[Piece] = []
    for piece in row:
        if found and piece.start == found[-1].start:
            found.pop()  # a task of 0 steps, which only evaluated
        if not found or repr(sorted(found[-1].hparams.items())) != repr(sorted(piece.hparams.items())):
            found.append(piece)
    return tuple(found)


def guessed(rows: Sequence[Sequence[Piece]], static: Sequence[str] = ()) -> Space:
    """Returns the narrowest space that has the values of the schedules.

    Values other than numbers that never change inside a schedule are static, in addition to the names in `static`.
    """
    parameters: dict[str, Parameter] = {}
    for name in rows[0][0].hparams:
        values = list(dict.fromkeys(piece.hparams[name] for row in rows for piece in row))
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            same = all(len({piece.hparams[name] for piece in row}) == 1 for row in rows)
            parameters[name] = Choice(*values, static=same or name in static)
        elif all(type(number) is int for number in numbers):
            parameters[name] = Int(min(numbers), max(numbers), static=name in static)
        else:
            parameters[name] = Uniform(float(min(numbers)), float(max(numbers)), static=name in static)
    return Space(parameters)
