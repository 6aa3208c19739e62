"""The facts of a run: Task, Result and Lost.

A run is an append-only sequence of *lines*. A line is a tuple of tasks that one ``ask`` decided, a tuple of results that
were observed together, or one ``Lost`` checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from types import MemberDescriptorType
from typing import Any, Literal, TypeGuard, cast, get_args

from poptrain.core.errors import UsageError

Value = bool | int | float | str | None  # of a hyperparameter
Hparams = Mapping[str, Value]
Carry = Any  # the user's training state: a tree of containers and arrays
Metrics = Mapping[str, Any]  # what the user's training returned
Json = Any  # a value that JSON can hold, as `json.loads` returns it

Kind = Literal["ok", "failed", "diverged", "damaged", "ended"]
Role = Literal["", "control", "evaluator", "candidate"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model expected of the hyperparameters that it proposed; None where it says nothing.

    Gains are in units of the score over one interval, maximised.
    """

    source: Literal["model", "redraw", "bandit"] = "model"  # what chose the numbers; "bandit": there were only categories
    gain: float | None = None  # predicted
    gain_sd: float | None = None  # standard deviation of the prediction
    beta: float | None = None  # weight of exploration
    rows: int | None = None  # intervals that the model learned from
    fallback: str | None = None  # why no model chose


@dataclass(frozen=True, slots=True)
class Task:
    """One training segment of one member, as it was decided."""

    id: int  # 0, 1, 2, … without gaps
    member: int  # a seat; at most one pending task per seat
    hparams: Hparams  # complete: what the task really trains with
    parent: int | None  # task whose checkpoint it continues; None = fresh init
    steps: int  # 0 = evaluate only
    seed: int  # task_seed(run seed, id)
    evals: int = 1  # equally spaced evaluations
    teacher: int | None = None  # distil from this task's checkpoint while training
    progress: tuple[float, float] | None = None  # begin and end fraction of the distillation
    tags: Mapping[str, int | str] = field(default_factory=dict)  # what only the algorithm reads back later
    note: Mapping[str, Value] = field(default_factory=dict, compare=False)  # why; for people, code never reads it
    seconds: float | None = None  # an interval of wall-clock time: training ends after the step in which it is over
    role: Role = ""  # "control": keeps its first hyperparameters; "evaluator": measures a member (FIRE PBT); "candidate": BG-PBT
    donor: int | None = None  # the seat whose checkpoint an exploit copied
    forecast: Forecast | None = field(default=None, compare=False)  # what a model expected; only views read it

    @property
    def evaluator(self) -> bool:
        """True if the task belongs to no member: it measures one, in a seat of its own (FIRE PBT)."""
        return self.role == "evaluator"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task. A failure is a value: `kind` classifies it, `error` is its text, and the score is NaN.

    If `kind` is left out, a result with an error is "failed", and one whose score is not finite is "diverged".
    """

    task: int
    score: float
    step: int  # cumulative along the lineage, in the user's steps
    curve: Sequence[tuple[int, float]] = ()  # (step, score) per evaluation; ends in (step, score)
    returns: Sequence[float] = ()  # episode returns or repeated evaluations
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None  # "name:hash" of the committed carry
    error: str | None = None
    seconds: float = 0.0
    saving: float = 0.0  # the part of `seconds` that it took to make the checkpoint durable
    kind: Kind = "ok"  # "damaged": its parent's checkpoint could not be read; "ended": the trial ended by itself

    def __post_init__(self) -> None:
        if self.kind == "ok" and (self.error is not None or not isfinite(self.score)):
            object.__setattr__(self, "kind", "diverged" if self.error is None else "failed")

    @property
    def healthy(self) -> bool:
        """True if this result may become a parent, a teacher or the best."""
        return self.error is None and self.checkpoint is not None and isfinite(self.score)

    def flipped(self) -> Result:
        """Returns the same result with the sign of every score changed (``mode="min"``)."""
        curve = tuple((step, -score) for step, score in self.curve)
        returns = tuple(-value for value in self.returns)
        return replace(self, score=-self.score, curve=curve, returns=returns)


@dataclass(frozen=True, slots=True)
class Reported(Result):
    """A result on its way from an executor to the log, with what training returned and no log can hold."""

    unlogged: tuple[tuple[str, str], ...] = ()  # the names of such metrics, and what each of them is

    def logged(self) -> Result:
        """Returns what the log keeps."""
        return Result(*(getattr(self, each.name) for each in fields(Result)))


_curve_of_its_own = cast(MemberDescriptorType, Result.__dict__["curve"])


def _curve(self: Result) -> Sequence[tuple[int, float]]:
    """Returns the curve of a result. Where its slot is empty, it is the one point of the score.

    The reader of a log leaves it empty for nearly all results: that saves 100 MB for each million of them.
    """
    try:
        return cast(Sequence[tuple[int, float]], _curve_of_its_own.__get__(self, Result))
    except AttributeError:
        return ((self.step, self.score),)


class Names(tuple[str, ...]):
    """The names of a packed mapping. In a slot, ``(names, value, value …)`` takes less than half of the memory of a dict."""

    __slots__ = ()


def _unpacking(slot: MemberDescriptorType, kind: type) -> property:
    """Returns a property for a slot with a mapping, which the reader of a log packs."""

    def get(self: object) -> Mapping[str, Json]:
        held = slot.__get__(self, kind)
        if type(held) is tuple and held and type(held[0]) is Names:
            return dict(zip(held[0], held[1:], strict=True))
        return cast(Mapping[str, Json], held)

    return property(get, slot.__set__)


Result.curve = property(_curve, _curve_of_its_own.__set__)  # type: ignore[assignment, misc]
Result.metrics = _unpacking(Result.__dict__["metrics"], Result)  # type: ignore[assignment, misc]
Task.note = _unpacking(Task.__dict__["note"], Task)  # type: ignore[assignment, misc]


@dataclass(frozen=True, slots=True)
class Lost:
    """A committed checkpoint turned out damaged: the task counts as failed from this line on."""

    task: int


Line = tuple[Task, ...] | tuple[Result, ...] | tuple[Lost]


def check_roles(tasks: Iterable[Task]) -> None:
    """Raises a `UsageError` for a task with a role that does not exist: called for what an algorithm asks, not for old logs."""
    for task in tasks:
        if task.role not in ROLES:
            raise UsageError(f"task {task.id}: role={task.role!r}, expected one of {', '.join(map(repr, ROLES))}.")


def as_line(facts: Sequence[Task] | Sequence[Result] | Sequence[Lost] | Lost) -> Line:
    """Returns facts as a line: a tuple."""
    return (facts,) if isinstance(facts, Lost) else cast(Line, tuple(facts))


def tasks_of(line: Line) -> tuple[Task, ...]:
    """Returns the tasks of a line; () if it holds results or a lost checkpoint."""
    return line if isinstance(line[0], Task) else ()


def results_of(line: Line) -> tuple[Result, ...]:
    """Returns the results of a line; () if it holds tasks or a lost checkpoint."""
    return line if isinstance(line[0], Result) else ()


def maximised(line: Line, sign: int) -> Line:
    """Returns a line with maximised scores; `sign` is -1 if those of the line are minimised."""
    return line if sign > 0 else tuple([result.flipped() for result in results_of(line)]) or line


def is_copy(task: Task, parent: Task) -> bool:
    """True if a task began with a copy from another seat, of weights or of hyperparameters.

    An evaluator borrows weights, and a student takes the seat of a member: neither is a copy, because no member is replaced.
    """
    moved = task.donor is not None or parent.member != task.member
    return moved and not task.evaluator and parent.role != "candidate"


def is_number(value: object) -> TypeGuard[int | float]:
    """True for an int or a float; a bool is not a number here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
