"""One task of one member, from its start to its outcome: the part that executors of single members share.

The member may be a carry and two functions, an object of a user's class, or a population of one; `Form` hides which.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from poptrain.core import Hparams, Metrics, Result, Task, clock
from poptrain.core.errors import CheckpointDamaged, MetricError, did_you_mean
from poptrain.core.rng import chunk_seed

RESERVED = ("curve", "returns", "steps")


class Form(Protocol):
    """A trainable as an executor of single members sees it; `State` is opaque."""

    def fresh(self, hparams: Hparams, seed: int) -> Any: ...

    def train(self, state: Any, hparams: Hparams, steps: int, seed: int) -> tuple[Any, Metrics]: ...

    def distill(
        self, state: Any, teacher: Any, hparams: Hparams, steps: int, seed: int, progress: Any
    ) -> tuple[Any, Metrics]: ...

    def save(self, store: Any, name: str, state: Any, task: Task, step: int) -> str: ...

    def load(self, store: Any, ref: str, hparams: Hparams, seed: int) -> Any: ...

    def opened(self, store: Any, ref: str, task: Task) -> Any:
        """Returns what a checkpoint holds, for the user who asks for it."""
        ...


@dataclass(slots=True)
class Segment:
    """What a task left behind, before it is stored."""

    state: Any = None
    score: float = float("nan")
    step: int = 0
    curve: tuple[tuple[int, float], ...] = ()
    returns: tuple[float, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)

    def result(self, task: Task, checkpoint: str | None, seconds: float, saving: float = 0.0) -> Result:
        """Returns the result that the log keeps; `saving` is the part of `seconds` that the checkpoint took."""
        saving = round(saving, 6)
        return Result(task.id, self.score, self.step, self.curve, self.returns, self.metrics, checkpoint, None, seconds, saving)


def train(form: Form, state: Any, task: Task, hparams: Hparams, begin: int, metric: str, teacher: Any = None) -> Segment:
    """Returns the segment of training `state` as `task` says, beginning at lineage step `begin`.

    The task is trained in `evals` chunks; chunk j is seeded by (seed, j). A task of zero steps is evaluated only. A
    non-finite score is the member's, not an error.

    Raises:
        MetricError: the metrics have no number under `metric`.
    """
    segment = Segment(state=state, step=begin)
    for index, (first, last) in enumerate(chunks(task)):
        seed = chunk_seed(task.seed, index)
        if teacher is None:
            segment.state, metrics = form.train(segment.state, hparams, last - first, seed)
        else:
            progress = _progress(task, first, last)
            segment.state, metrics = form.distill(segment.state, teacher, hparams, last - first, seed, progress)
        read(segment, metrics, metric, last - first, f"member {task.member}, step {segment.step + last - first}")
    return segment


def train_for(form: Form, state: Any, task: Task, hparams: Hparams, begin: int, metric: str, seconds: float) -> Segment:
    """Returns the segment of training in single steps until `seconds` have passed (an interval given as time)."""
    segment = Segment(state=state, step=begin)
    until = clock.monotonic() + seconds
    for index in range(task.steps):
        segment.state, metrics = form.train(segment.state, hparams, 1, chunk_seed(task.seed, index))
        read(segment, metrics, metric, 1, f"member {task.member}, step {segment.step + 1}")
        if clock.monotonic() >= until:
            break
    segment.curve = segment.curve[-1:]
    return segment


def chunks(task: Task) -> list[tuple[int, int]]:
    """Returns the (first, last) steps of the task's chunks, equally spaced; one empty chunk for an evaluate-only task."""
    evals = max(1, min(task.evals, task.steps))
    edges = [task.steps * index // evals for index in range(evals + 1)]
    return list(zip(edges, edges[1:], strict=False))


def read(segment: Segment, metrics: Any, metric: str, steps: int, where: str) -> None:
    """Adds one chunk's metrics to the segment: the score, the curve, the returns and every other number."""
    if not isinstance(metrics, Mapping):
        raise MetricError(
            f"{where}: train returned {type(metrics).__name__} as metrics, expected a mapping such as {{{metric!r}: 0.9}}."
        )
    if metric not in metrics:
        keys = ", ".join(repr(str(key)) for key in metrics) or "nothing"
        other = next(iter(metrics), "score")
        near = did_you_mean(metric, metrics) or f" Return it from train, or name another one: metric={other!r}."
        raise MetricError(f"{where}: the metrics have no {metric!r}; they hold {keys}.{near}")
    done = number(metrics["steps"], "steps", where) if "steps" in metrics else steps
    segment.score = number(metrics[metric], metric, where)
    given = metrics.get("curve", ())
    curve = [(int(step), number(score, "curve", where)) for step, score in given]
    segment.curve += tuple((segment.step + step, score) for step, score in curve)
    segment.step += int(done)
    if not curve or segment.curve[-1] != (segment.step, segment.score):
        segment.curve += ((segment.step, segment.score),)
    segment.returns += tuple(number(value, "returns", where) for value in np.asarray(metrics.get("returns", ()), float).ravel())
    for key, value in metrics.items():
        if key not in RESERVED and key != metric and (scalar := as_number(value)) is not None:
            segment.metrics[str(key)] = scalar


def number(value: Any, key: str, where: str) -> float:
    """Returns a Python float of a number or a one-element array.

    Raises:
        MetricError: it is something else; a bool and a string are no scores.
    """
    scalar = as_number(value)
    if scalar is None:
        raise MetricError(f"{where}: metric {key!r} is {value!r} ({type(value).__name__}), expected one number.")
    return scalar


def as_number(value: Any) -> float | None:
    """Returns `value` as a float if it is a real number (Python, numpy, JAX or torch scalar), else None."""
    if isinstance(value, (bool, str, bytes, complex, np.bool_)) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception:
        return None
    if array.size != 1 or array.dtype.kind not in "iuf":
        return None if array.dtype.name != "bfloat16" or array.size != 1 else float(array.astype(np.float32).reshape(()))
    return float(array.reshape(()))


def failure(task: Task, step: int, error: BaseException, keep: Callable[[str, str], None], seconds: float = 0.0) -> Result:
    """Returns the result of a task whose user code raised; the traceback goes to `keep(name, text)` once.

    The one-line error names the exception and the place in the user's code.
    """
    name = f"m{task.member:03d}-t{task.id:06d}"
    hparams = ", ".join(f"{key}={value!r}" for key, value in task.hparams.items())
    text = "".join(traceback.format_exception(error))
    keep(f"{name}.txt", f"member {task.member}, task {task.id}, from step {step}, {hparams}\n\n{text}")
    return Result(task.id, float("nan"), step, error=summary(error), seconds=seconds)


def damaged(task: Task, step: int, error: CheckpointDamaged) -> Result:
    """Returns the result of a task whose parent's or teacher's checkpoint could not be read."""
    return Result(task.id, float("nan"), step, error=f"CheckpointDamaged: {error}", kind="damaged")


def summary(error: BaseException, limit: int = 300) -> str:
    """Returns one line: the exception and the innermost place of the user's code where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "poptrain" not in frame.filename.replace("\\", "/").split("/")] or frames
    place = f" ({outside[-1].filename.replace(chr(92), '/').split('/')[-1]}:{outside[-1].lineno})" if outside else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}"[: limit - len(place)] + place


def _progress(task: Task, first: int, last: int) -> tuple[float, float] | None:
    """Returns the part of the distillation that one chunk covers."""
    if task.progress is None or not task.steps:
        return task.progress
    begin, end = task.progress
    width = (end - begin) / task.steps
    return begin + width * first, begin + width * last
