"""What became of one task: the metrics that its training reported, and the result that the log keeps."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from poptrain.core import Result, Task
from poptrain.core.errors import CheckpointDamaged, MetricError, PoptrainError, did_you_mean
from poptrain.executors.context import KeepError

FIELDS_OF_RESULT = ("curve", "returns", "steps")  # metrics that are not numbers of their own: they become fields of the result


@dataclass(slots=True)
class Trained:
    """What a task has reported so far, before its checkpoint is stored."""

    score: float = float("nan")
    step: int = 0  # lineage step
    curve: tuple[tuple[int, float], ...] = ()
    returns: tuple[float, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)

    def add(self, metrics: object, metric: str, steps: int, where: str) -> None:
        """Adds the metrics of one chunk: the score, the curve, the returns and every other number.

        A score that is not finite is the member's, not an error.

        Args:
            metric: the key of the score.
            steps: that the chunk was asked to train.
            where: the member and the step, for messages.

        Raises:
            MetricError: the metrics have no number under `metric`.
        """
        if not isinstance(metrics, Mapping):
            raise MetricError(
                f"{where}: train returned {type(metrics).__name__} as metrics, expected a mapping such as {{{metric!r}: 0.9}}."
            )
        if metric not in metrics:
            raise _missing(metrics, metric, where)
        done = number(metrics["steps"], "steps", where) if "steps" in metrics else steps
        self.score = number(metrics[metric], metric, where)
        given = metrics.get("curve", ())
        curve = [(int(step), number(score, "curve", where)) for step, score in given]
        self.curve += tuple((self.step + step, score) for step, score in curve)
        self.step += int(done)
        if not curve or self.curve[-1] != (self.step, self.score):
            self.curve += ((self.step, self.score),)
        returns = np.asarray(metrics.get("returns", ()), float).ravel()
        self.returns += tuple(number(value, "returns", where) for value in returns)
        for key, value in metrics.items():
            if key not in FIELDS_OF_RESULT and key != metric and (scalar := as_number(value)) is not None:
                self.metrics[str(key)] = scalar

    def result(self, task: Task, checkpoint: str, seconds: float, saving: float = 0.0) -> Result:
        """Returns the result that the log keeps; `saving` is the part of `seconds` that the checkpoint took."""
        saving = round(saving, 6)
        return Result(task.id, self.score, self.step, self.curve, self.returns, self.metrics, checkpoint, None, seconds, saving)


def chunks(task: Task) -> list[tuple[int, int]]:
    """Returns the (first, last) steps of the task's chunks, equally spaced; one empty chunk for a task of zero steps."""
    evals = max(1, min(task.evals, task.steps))
    edges = [task.steps * index // evals for index in range(evals + 1)]
    return list(zip(edges, edges[1:], strict=False))


# -- numbers in metrics -----------------------------------------------------------------------------------------------


def number(value: object, key: str, where: str) -> float:
    """Returns a Python float of a number or a one-element array.

    Raises:
        MetricError: it is something else; a bool and a string are not scores.
    """
    scalar = as_number(value)
    if scalar is None:
        raise MetricError(f"{where}: metric {key!r} is {value!r} ({type(value).__name__}), expected one number.")
    return scalar


def as_number(value: object) -> float | None:
    """Returns `value` as a float if it is a real number (Python, numpy, JAX or torch scalar), else None."""
    if isinstance(value, (bool, str, bytes, complex, np.bool_)) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception:
        return None
    if array.size != 1:
        return None
    if array.dtype.name == "bfloat16":
        return float(array.astype(np.float32).reshape(()))
    return float(array.reshape(())) if array.dtype.kind in "iuf" else None


def _missing(metrics: Mapping[object, object], metric: str, where: str) -> MetricError:
    keys = ", ".join(repr(str(key)) for key in metrics) or "nothing"
    other = next(iter(metrics), "score")
    near = did_you_mean(metric, map(str, metrics)) or f" Return it from train, or name another one: metric={other!r}."
    return MetricError(f"{where}: the metrics have no {metric!r}; they hold {keys}.{near}")


class ProgramFailed(Exception):
    """A program that a member had started failed. The text is complete, so that no place in Python code is added to it.

    Args:
        details: what is kept instead of a traceback.
    """

    def __init__(self, text: str, details: str):
        super().__init__(text)
        self.details = details


# -- tasks that left no checkpoint ------------------------------------------------------------------------------------


def user_error(task: Task, step: int, error: BaseException, keep: KeepError, seconds: float = 0.0) -> Result:
    """Returns the result of a task whose user code raised; the traceback is passed to `keep(name, text)` once.

    The one-line error names the exception and the place in the user's code.
    """
    text = error.details if isinstance(error, ProgramFailed) else "".join(traceback.format_exception(error))
    keep(_file_name(task), f"member {task.member}, task {task.id}, from step {step}, {_listed_hparams(task)}\n\n{text}")
    return Result(task.id, float("nan"), step, error=error_line(error), seconds=seconds)


def abandoned(task: Task, step: int, why: str, keep: KeepError, *, seconds: float = 0.0, hint: str = "") -> Result:
    """Returns the result of a task that took too long, or lost its worker too often; `why` and `hint` are passed to `keep`."""
    keep_if_possible(keep, _file_name(task), f"{why}\n{_listed_hparams(task)}{hint}\n")
    return Result(task.id, float("nan"), step, error=why, seconds=seconds)


def damaged(task: Task, step: int, error: CheckpointDamaged) -> Result:
    """Returns the result of a task whose parent's or teacher's checkpoint could not be read."""
    return Result(task.id, float("nan"), step, error=f"CheckpointDamaged: {error}", kind="damaged")


def keep_if_possible(keep: KeepError, name: str, text: str) -> None:
    """Keeps a text for the user, unless the disk is full: the log reports that, and a text never stops a run."""
    with suppress(OSError, PoptrainError):
        keep(name, text)


def error_line(error: BaseException, limit: int = 300) -> str:
    """Returns the exception, and the innermost place of the user's code where it was raised, in at most `limit` characters."""
    if isinstance(error, ProgramFailed):
        return " ".join(str(error).split())[:limit]
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "poptrain" not in frame.filename.replace("\\", "/").split("/")] or frames
    place = f" ({outside[-1].filename.replace(chr(92), '/').split('/')[-1]}:{outside[-1].lineno})" if outside else ""
    return textwrap.shorten(f"{type(error).__name__}: {error}", limit - len(place), placeholder=" …") + place


def _file_name(task: Task) -> str:
    return f"m{task.member:03d}-t{task.id:06d}.txt"


def _listed_hparams(task: Task) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in task.hparams.items())
