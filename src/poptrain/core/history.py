"""`History`: everything that was decided and observed up to one line of a run, in columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import TypeVar, cast

import numpy as np

from poptrain.core.columns import Columns
from poptrain.core.facts import Line, Lost, Result, Task, Value, as_line, is_copy, results_of
from poptrain.core.gathered import Bools, Floats, Gathered, Ints
from poptrain.core.ranges import Ranges
from poptrain.core.task_table import table_of

State = TypeVar("State")


class History:
    """Everything that was decided and observed up to one line. It never changes: `add` returns a longer one.

    Columns are indexed by task id, and read with numpy. `issued`, `told` and `lost` hold line numbers: of the task, of its
    result, and of the loss of its checkpoint (`NEVER` if that did not happen). So a prefix is a length and a comparison.
    Scores are maximised: with ``mode="min"`` their sign was changed before.

    Args:
        seed: of the run.
        budget: steps per lineage that no task passes; None if the run is stopped by score or time.
        sign: -1 if the user minimises. Only `table` uses it, and views.
    """

    __slots__ = ("_columns", "budget", "lines", "n", "seed", "sign")

    def __init__(self, seed: int = 0, budget: int | None = None, sign: int = 1):
        self.seed, self.budget, self.sign = seed, budget, sign
        self.lines, self.n, self._columns = 0, 0, Columns()

    def __repr__(self) -> str:
        return f"<History of {self.n:,} tasks in {self.lines:,} lines>"

    # -- growing ------------------------------------------------------------------------------------------------------

    def add(self, line: Sequence[Task] | Sequence[Result] | Sequence[Lost] | Lost) -> History:
        """Returns the history with one more line; adding to an old prefix branches and leaves the longer history alone.

        Raises:
            ValueError: the line cannot follow: ids have gaps, a seat is busy, a parent has no result, a task is not pending.
        """
        facts = as_line(line)
        if not facts:
            return self
        columns = self._columns if self._columns.lines == self.lines else Columns.of(self._columns.facts[: self.lines])
        columns.append(facts)
        return self._view(columns, columns.lines, columns.n)

    def filled(self, lines: Sequence[Line], known: Gathered | None = None) -> History:
        """Returns a history of these lines, each known to follow the ones before; `known`: what they tell, if it was gathered."""
        return self._view(columns := Columns.of(lines, known), columns.lines, columns.n)

    def at(self, lines: int) -> History:
        """Returns the prefix of the first `lines` lines."""
        if not 0 <= lines <= self.lines:
            raise IndexError(f"a history of {self.lines} lines has no prefix of {lines} lines")
        return self._view(self._columns, lines, self._columns.size_at[lines])

    def with_budget(self, budget: int | None) -> History:
        """Returns the same history under another budget (steps per lineage)."""
        other = self._view(self._columns, self.lines, self.n)
        other.budget = budget
        return other

    def _view(self, columns: Columns, lines: int, n: int) -> History:
        other = History.__new__(History)
        other.seed, other.budget, other.sign = self.seed, self.budget, self.sign
        other.lines, other.n, other._columns = lines, n, columns
        return other

    # -- tasks and results --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.n

    def line(self, number: int) -> Line:
        """Returns the facts of one line, counted from 0."""
        if not 0 <= number < self.lines:
            raise IndexError(f"line {number} of a history of {self.lines} lines")
        return self._columns.facts[number]

    def task(self, id: int) -> Task:
        """Returns the task with this id."""
        if not 0 <= id < self.n:
            raise IndexError(f"task {id} of a history of {self.n} tasks")
        return self._columns.task(id)

    def result(self, id: int) -> Result | None:
        """Returns the result of a task, or None while it is pending."""
        self.task(id)
        return self._columns.result(id) if self._columns.told[id] < self.lines else None

    def checkpoints(self, ids: Iterable[int]) -> set[str]:
        """Returns the references of the checkpoints that these tasks left; ids of no task add nothing."""
        c, n, lines = self._columns, self.n, self.lines
        newest = lines == c.lines  # else a result may be of a later line
        results = [c.results[id] or c.result(id) for id in ids if 0 <= id < n and (newest or c.told[id] < lines)]
        return {result.checkpoint for result in results if result is not None and result.checkpoint}

    def ok(self, id: int | None) -> bool:
        """True if the task has a result with a finite score and a checkpoint, which did not fail and was not lost."""
        if id is None or not 0 <= id < self.n:
            return False
        c = self._columns
        return bool(c.told[id] < self.lines <= c.lost[id] and c.score[id] == c.score[id])

    def score(self, id: int) -> float:
        """Returns the score of a task; NaN while pending, and for every task that is not `ok`."""
        return float(self._columns.score[id]) if self.ok(id) else float("nan")

    def step(self, id: int | None) -> int:
        """Returns the lineage steps of the checkpoint that a finished task left; 0 for None."""
        return 0 if id is None or id < 0 else int(self._columns.step[id])

    def spent(self, id: int | None) -> int:
        """Returns the steps that the seat of a finished task has trained up to it, in any lineage; 0 for None."""
        return 0 if id is None or id < 0 else int(self._columns.spent[id])

    @property
    def oks(self) -> Bools:
        """`ok` of every task; shape (n,), bool."""
        return self.oks_of(slice(self.n))

    def oks_of(self, ids: Ints | slice) -> Bools:
        """Returns `ok` of these tasks alone, at a cost that does not grow with the history; shape of `ids`, bool."""
        c = self._columns
        oks: Bools = (c.told[ids] < self.lines) & (c.lost[ids] >= self.lines) & ~np.isnan(c.score[ids])
        return oks

    def scores_of(self, ids: Ints | slice) -> Floats:
        """Returns `score` of these tasks alone; shape of `ids`, float."""
        return np.where(self.oks_of(ids), self._columns.score[ids], np.nan)

    @property
    def scores(self) -> Floats:
        """`score` of every task; shape (n,), float, NaN where not ok."""
        return self.scores_of(slice(self.n))

    def column(self, name: str) -> Ints:
        """Returns a read-only column by name; shape (n,), int, -1 where there is none.

        Args:
            name: `member`, `parent`, `teacher`, `prev` (the task before on the same seat), `steps`, `step`, `spent`, or the line
                numbers `issued`, `told` and `lost`. A line number from `lines` on has not happened yet in this history.
        """
        column: Ints = getattr(self._columns, name)[: self.n]
        column.flags.writeable = False
        return column

    def encoded(self, space: Ranges) -> Floats:
        """Returns every task's hyperparameters in the unit cube of `space`; shape (n, d)."""
        return self._columns.encoded(space, self.n)

    # -- seats --------------------------------------------------------------------------------------------------------

    @property
    def seats(self) -> int:
        """The number of seats that have had a task."""
        return int((self.heads() >= 0).sum())

    def heads(self) -> Ints:
        """Returns the newest task of every seat, pending or finished; shape (seats,), -1 where the seat is unused."""
        c = self._columns
        heads = c.head[: c.width].copy()
        if self.lines < c.newest:
            while (late := (heads >= 0) & (c.issued[heads] >= self.lines)).any():
                heads[late] = c.prev[heads[late]]
        return heads

    def head(self, seat: int) -> int:
        """Returns the newest task of one seat, or -1."""
        c = self._columns
        id = int(c.head[seat]) if seat < c.width else -1
        while id >= 0 and c.issued[id] >= self.lines:
            id = int(c.prev[id])
        return id

    def open(self) -> Ints:
        """Returns the ids of the pending tasks, oldest first; shape (k,)."""
        heads = self.heads()
        heads = heads[heads >= 0]
        return np.sort(heads[self._columns.told[heads] >= self.lines])

    @property
    def waiting(self) -> int:
        """The number of pending tasks."""
        return self.n - self._columns.told_at[self.lines]

    def pending(self) -> tuple[Task, ...]:
        """Returns the pending tasks, oldest first."""
        return tuple([self._columns.task(id) for id in self.open().tolist()])

    def standing(self) -> Ints:
        """Returns the finished task whose checkpoint each seat holds: its newest, or the parent of its pending task.

        That is the published entry of the PBT paper: right after an exploit a member has the score of its parent. Shape (seats,);
        -1 where a seat holds nothing yet.
        """
        if not len(heads := self.heads()):
            return heads
        open = (heads >= 0) & (self._columns.told[heads] >= self.lines)
        return np.where(open, self._columns.parent[heads], heads)

    # -- lineage ------------------------------------------------------------------------------------------------------

    def ancestry(self, id: int) -> tuple[int, ...]:
        """Returns the tasks from the root to `id` along the parents, `id` included."""
        chain = [id]
        while (parent := int(self._columns.parent[chain[-1]])) >= 0:
            chain.append(parent)
        return tuple(reversed(chain))

    def best(self) -> int | None:
        """Returns the task with the highest score (the earliest of equals) that is `ok` and no evaluation; None if none is."""
        if "best" not in self._columns.memo:
            self._columns.memo["best"] = self.lines, self.first_best()
        best = self.fold("best", -1, _best)
        return None if best < 0 else best

    def first_best(self) -> int:
        """Returns `best` without what was remembered of shorter histories; -1 if no task is ok."""
        c, scores = self._columns, self.scores
        for id in np.lexsort((c.told[: self.n], -scores)).tolist():  # NaN comes last
            if np.isnan(scores[id]):
                break
            for result in results_of(c.facts[c.told[id]]):  # of equal results of one line, the first
                if result.score == scores[id] and self.ok(result.task) and not self.task(result.task).evaluator:
                    return result.task
        return -1

    def fold(self, key: Hashable, initial: State, step: Callable[[State, History, Line], State]) -> State:
        """Returns the state after all lines: ``state = step(state, history up to and including the line, line)`` for each.

        Args:
            key: names the fold. It must be different for different steps or initial states: a frozen algorithm is part of it.
            initial: the state before the first line.
            step: pure; it returns a new state and never changes the one that it got.

        The newest state under `key` is remembered, so a longer history costs only its new lines; `forget` changes no result.
        """
        c = self._columns
        at, state = cast("tuple[int, State]", c.memo.get(key, (0, initial)))
        if at > self.lines:
            at, state = 0, initial
        for number in range(at, self.lines):
            state = step(state, self.at(number + 1), c.facts[number])
        if key not in c.memo or c.memo[key][0] < self.lines:
            c.memo[key] = (self.lines, state)
        return state

    def forget(self) -> None:
        """Drops all remembered fold states."""
        self._columns.memo.clear()

    def table(self) -> dict[str, list[Value]]:
        """Returns the history as columns for a data frame: one row for each task, scores with the user's sign.

        Hyperparameters have their own names, with ``hparams.`` before one that is the name of another column.
        """
        return table_of([self._columns.task(id) for id in range(self.n)], [self.result(id) for id in range(self.n)], self.sign)

    def source(self, id: int) -> int | None:
        """Returns the task whose steps this one continues: its parent, else its teacher; None for a fresh start."""
        c = self._columns
        return next((at for at in (int(c.parent[id]), int(c.teacher[id])) if at >= 0), None)

    def descent(self, id: int) -> list[int]:
        """Returns the tasks from the root to `id`, along parents and teachers."""
        chain = [id]
        while (source := self.source(chain[-1])) is not None:
            chain.append(source)
        return chain[::-1]

    def begin(self, id: int) -> int:
        """Returns the lineage step at which a task begins."""
        return self.step(self.source(id))

    def end(self, id: int) -> int:
        """Returns the lineage step at which a task ended, or will end as planned if it is pending or failed."""
        result, task = self.result(id), self._columns.task(id)
        if result is not None and result.error is None:
            return result.step
        return self.begin(id) + (task.steps if task.seconds is None else 0)

    def previous(self, id: int) -> int:
        """Returns the task that the same seat had before, or -1."""
        return int(self._columns.prev[id])

    def issued(self, id: int) -> int:
        """Returns the number of the line in which a task was decided."""
        return int(self._columns.issued[id])

    def lost(self, id: int) -> bool:
        """True if the checkpoint of a task turned out to be damaged."""
        return bool(self._columns.lost[id] < self.lines)

    def members(self) -> list[int]:
        """Returns the seats of members, in order; the other seats belong to evaluators, or had only candidates."""
        task = self._columns.task
        own = [self._newest(head, lambda id: task(id).role != "candidate") for head in self.heads().tolist()]
        return [seat for seat, id in enumerate(own) if id >= 0 and not task(id).evaluator]

    def held(self, seat: int) -> int | None:
        """Returns the ok task whose weights a seat holds: the source of its pending task, else its newest ok result."""
        head = self.head(seat)
        if head >= 0 and self._columns.told[head] >= self.lines:
            source = self.source(head)
            return source if self.ok(source) else None
        return held if (held := self._newest(head, self.ok)) >= 0 else None

    def _newest(self, id: int, fits: Callable[[int], bool]) -> int:
        """Returns the newest task that fits, of a task and those that its seat had before; else -1."""
        while id >= 0 and not fits(id):
            id = self.previous(id)
        return id

    def finals(self) -> dict[int, int]:
        """Returns `held` by seat, for the members that hold something."""
        return {seat: id for seat in self.members() if (id := self.held(seat)) is not None}

    def copies(self) -> list[int]:
        """Returns the tasks that began with a copy from another seat, of weights or of hyperparameters, oldest first."""
        tasks = map(self._columns.task, range(self.n))
        return [task.id for task in tasks if task.parent is not None and is_copy(task, self.task(task.parent))]

    def donor(self, id: int) -> int:
        """Returns the seat that a task of `copies` copied from."""
        task = self._columns.task(id)
        assert task.parent is not None
        member = self._columns.task(task.parent).member
        return task.donor if member == task.member and task.donor is not None else member


def _best(best: int, history: History, line: Line) -> int:
    if results := results_of(line):
        floor = history.score(best) if best >= 0 else -inf
        for result in results:
            if result.score > floor and result.healthy and not history.task(result.task).evaluator:
                best, floor = result.task, result.score
    elif isinstance(line[0], Lost) and line[0].task == best:
        best = history.first_best()
    return best
