"""What every view starts from: the lines of a record, indexed by task and by seat, in one pass that can be continued.

A view calls `Facts.of(record)`. The facts of a record are kept as long as the record, so looking again at one that grew
(`refresh`, or the live display inside `run`) costs only its new lines. Scores have the user's sign.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from poptrain.core import Line, Result, Task
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record

RECENT = 30.0  # seconds over which the recent speed is taken, longer while a seat has reported fewer than twice


class Seat:
    """One member, or one evaluator, as far as the lines were read."""

    __slots__ = ("cloned", "done", "error", "failures", "head", "spent")

    def __init__(self) -> None:
        self.head = -1  # its newest task
        self.done = self.failures = self.spent = 0  # intervals, failed or diverged results, steps trained
        self.error: str | None = None  # of its newest failure
        self.cloned: int | None = None  # the newest task that began with a copy from another member


class Facts:
    """The index. Its lists only grow, except `lost`; views copy what they return."""

    _known: WeakKeyDictionary[Record, Facts] = WeakKeyDictionary()

    def __init__(self, record: Record):
        self.sign = -1 if record.run.get("mode") == "min" else 1
        self.lines = 0  # how many were read
        self.tasks: list[Task] = []
        self.results: list[Result | None] = []
        self.previous: list[int] = []  # on the same seat, -1: none
        self.issued: list[int] = []  # line numbers
        self.told: list[int] = []  # line numbers, -1: pending
        self.lost: set[int] = set()
        self.seats: dict[int, Seat] = {}
        self.exploits: list[int] = []  # tasks that began with a copy from another member
        self.suggested: list[int] = []  # tasks of the newest line in which a model (PB2) explained itself
        self.reported = self.failed = self.diverged = self.steps = 0
        self.best: int | None = None
        self.speed = deque([(0.0, 0, 0)])  # time, steps and results so far, of recent lines and one before

    @classmethod
    def of(cls, record: Record) -> Facts:
        """Returns the facts of a record, read to its end."""
        facts = cls._known.get(record)
        if facts is None or facts.lines > len(record.lines):
            facts = cls._known[record] = cls(record)
        return facts.read_on(record)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read_on(self, record: Record) -> Facts:
        """Returns these facts, with the lines that the record has gained."""
        for number in range(self.lines, min(len(record.lines), len(record.times))):
            self.take(record.lines[number], record.times[number])
        return self

    def take(self, line: Line, time: float) -> None:
        """Adds one line."""
        first = line[0]
        if isinstance(first, Task):
            for task in line:
                self._issue(task)
            self.suggested = [task.id for task in line if suggested(task)] or self.suggested
        elif isinstance(first, Result):
            for result in line:
                self._tell(result)
            self._pace(time)
        else:
            self._lose(first.task)
        self.lines += 1

    def _issue(self, task: Task) -> None:
        seat = self.seats.get(task.member)
        if seat is None:
            seat = self.seats[task.member] = Seat()
        self.tasks.append(task)
        self.results.append(None)
        self.previous.append(seat.head)
        self.issued.append(self.lines)
        self.told.append(-1)
        seat.head = task.id
        if task.evaluator or task.parent is None:
            return  # an evaluator borrows weights; nobody's place was taken
        if self.tasks[task.parent].member != task.member or task.donor is not None:
            seat.cloned = task.id
            self.exploits.append(task.id)

    def _tell(self, result: Result) -> None:
        id = result.task
        task = self.tasks[id]
        seat = self.seats[task.member]
        self.results[id] = result
        self.told[id] = self.lines
        trained = result.step - self.begin(id)
        seat.done += task.steps > 0  # an evaluation before training is no interval
        seat.spent += trained
        self.steps += trained
        self.reported += 1
        if result.error is not None:
            seat.failures += 1
            seat.error = result.error
            self.failed += 1
        elif not result.healthy:
            seat.failures += 1
            seat.error = f"the score was {result.score}"
            self.diverged += 1
        elif not task.evaluator and (self.best is None or self.sign * (result.score - self.results[self.best].score) > 0):
            self.best = id

    def _lose(self, id: int) -> None:
        self.lost.add(id)
        seat = self.seats[self.tasks[id].member]
        seat.failures += 1
        seat.error = f"the checkpoint of task {id} was damaged"
        if id == self.best:
            fine = (id for id, task in enumerate(self.tasks) if self.ok(id) and not task.evaluator)
            self.best = max(fine, key=lambda id: self.sign * self.results[id].score, default=None)

    def _pace(self, time: float) -> None:
        speed = self.speed
        if len(speed) > 2 and time - speed[-2][0] < RECENT / 1000:
            speed.pop()  # a thousand entries are enough, however fast the lines come
        speed.append((time, self.steps, self.reported))
        while len(speed) > 2 and speed[1][0] < time - RECENT and speed[1][2] < self.reported - 2 * len(self.seats):
            speed.popleft()

    # -- questions ----------------------------------------------------------------------------------------------------

    def task(self, id: int) -> Task:
        """Returns a task by its id.

        Raises:
            UsageError: there is none.
        """
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < len(self.tasks):
            has = f"has tasks 0 to {len(self.tasks) - 1}" if self.tasks else "has no tasks yet"
            raise UsageError(f"task {id!r}: this run {has}.")
        return self.tasks[id]

    def chosen(self, id: int | None) -> int:
        """Returns a task id: the one given, or that of the best result.

        Raises:
            UsageError: there is no such task, or no healthy result.
        """
        if id is not None:
            return self.task(id).id
        if self.best is None:
            raise UsageError("this run has no healthy result yet: no score was finite.")
        return self.best

    def ok(self, id: int) -> bool:
        """True if the task was told, is healthy, and its checkpoint was not lost."""
        result = self.results[id]
        return result is not None and result.healthy and id not in self.lost

    def source(self, id: int) -> int | None:
        """Returns the task whose steps this one continues: its parent, else its teacher."""
        task = self.tasks[id]
        return task.parent if task.parent is not None else task.teacher

    def begin(self, id: int) -> int:
        """Returns the lineage step at which a task begins."""
        source = self.source(id)
        result = None if source is None else self.results[source]
        return 0 if result is None else result.step

    def end(self, id: int) -> int:
        """Returns the lineage step at which a task ended, or will end as far as it is planned."""
        result = self.results[id]
        if result is not None and result.error is None:
            return result.step
        task = self.tasks[id]
        return self.begin(id) + (task.steps if task.seconds is None else 0)

    def ancestry(self, id: int) -> list[int]:
        """Returns the tasks from the root to `id`."""
        chain = []
        walk: int | None = id
        while walk is not None:
            chain.append(walk)
            walk = self.source(walk)
        return chain[::-1]

    def standing(self, seat: int) -> int | None:
        """Returns the healthy task whose weights a seat holds: its newest result, or what its pending task began from."""
        head = self.seats[seat].head
        if self.results[head] is None:
            source = self.source(head)
            return source if source is not None and self.ok(source) else None
        while head >= 0 and not self.ok(head):
            head = self.previous[head]
        return head if head >= 0 else None

    def members(self) -> list[int]:
        """Returns the seats of members; the others are evaluators'."""
        return [seat for seat in sorted(self.seats) if not self.tasks[self.seats[seat].head].evaluator]

    def finals(self) -> dict[int, int]:
        """Returns `standing` by seat, for the members that hold something."""
        found = {seat: self.standing(seat) for seat in self.members()}
        return {seat: id for seat, id in found.items() if id is not None}

    def donor(self, id: int) -> int:
        """Returns the member that an exploit copied from."""
        task = self.tasks[id]
        member = self.tasks[task.parent].member
        return task.donor if member == task.member and task.donor is not None else member

    def pending(self) -> Iterator[int]:
        """Yields the tasks that are running or queued."""
        return (seat.head for seat in self.seats.values() if self.results[seat.head] is None)


def suggested(task: Task) -> bool:
    """True if a model proposed the hyperparameters of a task, or should have."""
    return task.forecast is not None


def space_of(record: Record) -> dict[str, dict[str, Any]]:
    """Returns the description of each hyperparameter by name, as the run was created with; {} if it says nothing."""
    algorithm = record.run.get("algorithm")
    space = algorithm.get("space") if isinstance(algorithm, dict) else None
    parameters = space.get("parameters") if isinstance(space, dict) else None
    return parameters if isinstance(parameters, dict) else {}
