"""The state of a run: what `status` and the gauges show, as a fold over the lines of the log.

A state takes one line after the other and never looks back at the log. It is small enough to be written next to a long log (see
`digest`), and a display on a thread of its own keeps a state of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from threading import Lock
from weakref import WeakKeyDictionary

from poptrain.core import Hparams, Line, Result, Task, collector
from poptrain.core.causes import diverged
from poptrain.log.reader import Record
from poptrain.views.exploits import Exploit
from poptrain.views.phases import RegionMoment, Rung, moment_of
from poptrain.views.tally import Known, Tally
from poptrain.views.teams import actors_of

RECENT = 30.0  # seconds over which the recent speed is taken; longer while a seat has reported less than twice
LAST_EXPLOITS = 5  # newest exploits that are kept
RECENT_WAITS = 101  # newest results that the usual time of a task is taken from


class Incomplete(Exception):
    """A line refers to a task that the digest left out: read the whole log."""


class KnownTasks(dict[int, Known]):
    """The tasks by id."""

    def __missing__(self, id: int) -> Known:
        raise Incomplete(f"task {id}")


@dataclass
class SeatState:
    """One member, or one evaluator."""

    head: int = -1  # its newest task
    previous: int = -1  # the task before that
    pending: bool = False
    since: float = 0.0  # when its newest task was decided, in seconds since 1970
    holds: int | None = None  # the ok task whose weights it holds
    newest_ok: int | None = None  # its newest ok result
    done: int = 0  # intervals that were reported; an evaluation before training does not count
    failures: int = 0
    spent: int = 0  # steps trained
    error: str | None = None  # of its newest failure
    cloned_from: int | None = None
    cloned_at: int | None = None
    candidate: bool = False  # it has had no task of a member


@dataclass
class RunState:
    """All that `status` shows of the lines so far. Scores have the user's sign."""

    sign: int = 1  # -1 if the user minimises
    metric: str = "score"  # the name of the score
    lines: int = 0
    time: float = 0.0  # of the newest line
    tasks: int = 0
    reported: int = 0
    failed: int = 0
    diverged: int = 0
    returned: int = 0  # results that have episode returns
    steps: int = 0  # trained by all members together
    best: int | None = None
    lost: list[tuple[int, int, int]] = field(default_factory=list)  # task, member, step
    exploits: int = 0
    seats: dict[int, SeatState] = field(default_factory=dict)
    known: KnownTasks = field(default_factory=KnownTasks)
    last_exploits: deque[Exploit] = field(default_factory=lambda: deque(maxlen=LAST_EXPLOITS))
    suggested: tuple[Task, ...] = ()  # of the newest line with proposals of a model
    speed: deque[tuple[float, int, int]] = field(default_factory=lambda: deque([(0.0, 0, 0)]))  # time, steps and results so far
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_WAITS))  # seconds from a decision to its result
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_WAITS))  # seconds of training of a line
    tally: Tally = field(default_factory=Tally)
    changes: int = 0  # generations of architectures that ended (BG-PBT)
    distilling: int = 0  # candidates of the change that is going on
    rung: Rung | None = None  # of that change
    region: RegionMoment | None = None  # the newest one of this generation (BG-PBT)
    skipped: int = 0  # lines before the first line of the record that `read_on` reads: those of a digest

    @classmethod
    def begin(cls, record: Record) -> RunState:
        """Returns the state of a run before its first line."""
        return cls(sign=-1 if record.run.get("mode") == "min" else 1, metric=str(record.run.get("metric", "score")))

    def read_on(self, record: Record) -> RunState:
        """Returns this state, after it took the lines that the record has gained."""
        ready = min(len(record.lines), len(record.times))  # a run on another thread adds a line before its time
        with collector.paused():  # nothing of what is made becomes garbage
            for number in range(self.lines - self.skipped, ready):
                self.take(record.lines[number], record.times[number])
        return self

    def take(self, line: Line, time: float) -> None:
        """Takes one line.

        Raises:
            Incomplete: the state comes from a digest, and the line refers to a task that the digest left out.
        """
        self.time = time
        if isinstance(line[0], Task):
            tasks = tuple(fact for fact in line if isinstance(fact, Task))
            for task in tasks:
                self._issue(task, tasks[0].id, time)
            distilling = len(tasks) if tasks[0].role == "candidate" else 0
            self.changes += not distilling and self.distilling > 0
            self.distilling = distilling
            self._phase(tasks)
            self.suggested = tuple(task for task in tasks if task.forecast is not None) or self.suggested
            self.tally.diversity()
        elif isinstance(line[0], Result):
            results = [fact for fact in line if isinstance(fact, Result)]
            for result in results:
                self._tell(result, time)
            if self.rung is not None:
                self.rung = replace(self.rung, reported=self.rung.reported + len(results))
            self.durations.append(sum(result.seconds for result in results))
            self._pace(time)
        else:
            self._lose(line[0].task)
        self.lines += 1

    def members(self) -> list[int]:
        """Returns the seats of members, in order; the other seats belong to evaluators, or had only candidates."""
        seats = self.seats
        return [seat for seat in sorted(seats) if self.known[seats[seat].head].role != "evaluator" and not seats[seat].candidate]

    def held(self) -> dict[int, int]:
        """Returns the ok task whose weights a member holds, by seat, of the members that hold some."""
        held = {seat: self.seats[seat].holds for seat in self.members()}
        return {seat: id for seat, id in held.items() if id is not None}

    # -- one line -----------------------------------------------------------------------------------------------------

    def _issue(self, task: Task, first: int, time: float) -> None:
        source = task.parent if task.parent is not None else task.teacher
        before = None if source is None else self.known[source]
        begin = 0 if before is None else before.end
        seat = self.seats.setdefault(task.member, SeatState(candidate=task.role == "candidate"))
        seat.candidate &= task.role == "candidate"
        self.tasks += 1
        self.known[task.id] = Known(
            member=task.member,
            role=task.role,
            parent=task.parent,
            source=source,
            founder=task.id if before is None else before.founder,
            steps=task.steps,
            begin=begin,
            end=begin + (task.steps if task.seconds is None else 0),
            hparams=task.hparams,
        )
        own, seat.previous, seat.head, seat.pending, seat.since = seat.head, seat.head, task.id, True, time
        seat.holds = source if before is not None and before.ok else None
        moved = task.donor is not None or (task.parent is not None and self.known[task.parent].member != task.member)
        if moved and task.parent is not None and not task.evaluator and self.known[task.parent].role != "candidate":
            self._copied(task, task.parent, own, first, time)
        self.tally.issue(self.known, task.id, own)
        self.tally.anew += task.note.get("anew") is True
        if task.forecast is not None:
            self.tally.foretell(task.id, task.forecast)

    def _phase(self, tasks: tuple[Task, ...]) -> None:
        """Takes what newly decided tasks tell about the halving of candidates, and about the trust region."""
        if self.distilling:
            begin, end = (min(max(0.0, part), 1.0) for part in tasks[0].progress or (0.0, 1.0))
            self.rung = Rung(1 if self.rung is None else self.rung.number + 1, len(tasks), 0, begin, end)
            self.region = None  # the next generation begins with a new one
            return
        self.rung = None
        moments = (moment_of(task, self.known[task.id].begin, self.changes) for task in tasks)
        self.region = next((moment for moment in moments if moment is not None), self.region)

    def _copied(self, task: Task, source: int, own: int, first: int, time: float) -> None:
        """Takes an exploit; `own` is the task that the seat had before, `first` the first task of this line."""
        parent = self.known[source]
        weights = parent.member != task.member
        donor = parent.member if weights or task.donor is None else task.donor
        exploit = Exploit(
            task=task.id,
            member=task.member,
            donor=donor,
            parent=source,
            step=parent.end,
            time=time,
            weights=weights,
            failed=own >= 0 and not self.known[own].ok and not self.known[own].ended,
            before=self.known[own].hparams if own >= 0 else None,
            copied=parent.hparams if weights else self._hparams(self._head_before(donor, first)),
            after=task.hparams,
            tied=self._tied(own, source if weights else self._head_before(donor, first)),
        )
        seat = self.seats[task.member]
        seat.cloned_from, seat.cloned_at = donor, parent.end
        self.exploits += 1
        self.last_exploits.append(exploit)

    def _head_before(self, seat: int, first: int) -> int:
        """Returns the newest task of a seat before the line whose first task is `first`; -1 for none."""
        state = self.seats.get(seat, SeatState())
        return state.head if state.head < first else state.previous

    def _hparams(self, id: int) -> Hparams:
        return self.known[id].hparams if id >= 0 else {}

    def _tied(self, own: int, other: int) -> bool:
        """True if two tasks had equal scores."""
        return min(own, other) >= 0 and self.known[own].ok and self.known[own].score == self.known[other].score

    def _tell(self, result: Result, time: float) -> None:
        id, task = result.task, self.known[result.task]
        seat = self.seats[task.member]
        trained = result.step - task.begin
        seat.pending = False
        self.waits.append(time - seat.since)
        seat.done += task.steps > 0
        seat.spent += trained
        self.steps += trained
        self.reported += 1
        self.returned += len(result.returns) > 0
        task.score, task.ok, task.ended = result.score, result.healthy, result.kind == "ended"
        task.team = actors_of(result.metrics)
        if result.error is None:
            task.end = result.step
        if result.healthy:
            seat.newest_ok = id
            if task.role != "evaluator" and (self.best is None or self._ahead(task, self.known[self.best])):
                self.best = id
            self.tally.tell(self.known, id, self.sign)
        elif not task.ended:
            self.tally.expected.pop(id, None)
            self.failed += result.error is not None
            self.diverged += result.error is None
            seat.failures += 1
            seat.error = diverged(self.metric, result.score) if result.error is None else result.error
        seat.holds = seat.newest_ok

    def _ahead(self, task: Known, other: Known) -> bool:
        return self.sign * (task.score - other.score) > 0

    def _lose(self, id: int) -> None:
        if self.skipped:
            raise Incomplete(f"lost({id})")  # only the results of all tasks say what takes its place
        task = self.known[id]
        task.ok = False
        self.lost.append((id, task.member, task.end))
        seat = self.seats[task.member]
        seat.failures += 1
        seat.error = f"the checkpoint of task {id} was damaged"
        fine = [other for other, each in self.known.items() if each.ok]
        seat.newest_ok = max((other for other in fine if self.known[other].member == task.member), default=None)
        for each in self.seats.values():
            if each.holds == id:
                each.holds = None if each.pending else each.newest_ok
        if id == self.best:
            candidates = [other for other in fine if self.known[other].role != "evaluator"]
            self.best = max(candidates, key=lambda other: self.sign * self.known[other].score, default=None)

    def _pace(self, time: float) -> None:
        speed = self.speed
        if len(speed) > 2 and time - speed[-2][0] < RECENT / 1000:
            speed.pop()  # a thousand entries are enough, however fast the lines come
        speed.append((time, self.steps, self.reported))
        while len(speed) > 2 and speed[1][0] < time - RECENT and speed[1][2] < self.reported - 2 * len(self.seats):
            speed.popleft()


_states: WeakKeyDictionary[Record, RunState] = WeakKeyDictionary()
_reading = Lock()  # two threads that take the lines of one record must take turns


def state_of(record: Record) -> RunState:
    """Returns the state of a run as its record was read. It is kept as long as the record: new lines alone are taken."""
    with _reading:
        state = _states.get(record)
        if state is None or state.lines > len(record.lines):
            state = _states[record] = RunState.begin(record)
        return state.read_on(record)
