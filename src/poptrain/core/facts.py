"""The facts of a run: Task, Result and Lost.

A run is an append-only sequence of *lines*. A line is a tuple of tasks that one ``ask`` decided, a tuple of results that
were observed together, or one ``Lost`` checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

Value = bool | int | float | str | None
Hparams = Mapping[str, Value]
Carry = Any
Metrics = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One training segment of one member, as it was decided."""

    id: int  # dense 0, 1, 2, …
    member: int  # a seat; at most one pending task per seat
    hparams: Hparams  # complete: what the task really trains with
    parent: int | None  # task whose checkpoint it continues; None = fresh init
    steps: int  # 0 = evaluate only
    seed: int  # task_seed(run seed, id)
    evals: int = 1  # equally spaced evaluations
    teacher: int | None = None  # distil from this task's checkpoint while training
    progress: tuple[float, float] | None = None  # begin and end fraction of the distillation
    tags: Mapping[str, int | str] = field(default_factory=dict)  # what the algorithm reads back later
    note: Mapping[str, Value] = field(default_factory=dict, compare=False)  # why; for people, never read back

    @property
    def evaluator(self) -> bool:
        """True if it belongs to no member: it measures one, in a seat of its own (FIRE PBT)."""
        return self.tags.get("role") == "evaluator"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task. A failure is a value: `error` is set and the score is NaN."""

    task: int
    score: float
    step: int  # cumulative along the lineage, in the user's steps
    curve: Sequence[tuple[int, float]] = ()  # (step, score) per evaluation; ends in (step, score)
    returns: Sequence[float] = ()  # episode returns or repeated evaluations
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None  # "name:hash" of the committed carry
    error: str | None = None
    seconds: float = 0.0
    saving: float = 0.0  # of `seconds`: what it took to make the checkpoint durable

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
class Lost:
    """A committed checkpoint turned out damaged: the task counts as failed from this line on."""

    task: int


Line = tuple[Task, ...] | tuple[Result, ...] | tuple[Lost]
