"""What became of one task: the metrics that its training reported, and the result that the log keeps."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from reprlib import Repr

import numpy as np

from poptrain.checkpoints.size import check_size
from poptrain.core import Result, Task
from poptrain.core.counting import counted
from poptrain.core.errors import CheckpointDamaged, MetricError, did_you_mean
from poptrain.core.facts import Reported
from poptrain.core.user_objects import answer_of, printable, text_of
from poptrain.core.wellformed import MAX_WHOLE
from poptrain.executors.context import KeepError
from poptrain.executors.misspelled import misspelled
from poptrain.executors.users_frames import advice_on_directory, innermost, on_purpose

FIELDS_OF_RESULT = ("curve", "returns", "steps")  # metrics that are not numbers of their own: they become fields of the result
MOST_NUMBERS = 100_000  # in one result: its curve, its returns and its metrics; some 2 MB of a line in the log
MOST_UNLOGGED = 20  # metrics that are not numbers, of which a result tells
LONGEST_NAME = 200  # characters of a metric's name
LONGEST_TEXT = 200_000  # characters of a traceback
EVALUATE = (
    "The task has steps=0, which means: evaluate only. Compute the metrics after the training loop, from the member as it is, "
    "and not from a variable of the loop."
)
HINT = " Return it from train"
PREFIX = "MetricError: "  # of the error of a result that training returned in a wrong form


@dataclass(slots=True)
class Trained:
    """What a task has reported so far, before its checkpoint is stored."""

    score: float = float("nan")
    step: int = 0  # lineage step
    curve: tuple[tuple[int, float], ...] = ()
    returns: tuple[float, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    unlogged: dict[str, str] = field(default_factory=dict)  # metrics that are not numbers, and what they are

    def add(self, metrics: object, metric: str, steps: int, where: str) -> None:
        """Adds the metrics of one chunk: the score, the curve, the returns and every other number.

        This is where all that training returns enters a run, so everything is checked here: types, ranges, sizes. A score that is
        not finite is the member's, not an error.

        Args:
            metric: the key of the score.
            steps: that the chunk was asked to train.
            where: the member and the step, for messages.

        Raises:
            MetricError: the metrics have no number under `metric`, or one of the other fields cannot be stored.
        """
        if not isinstance(metrics, Mapping):
            raise MetricError(
                f"{where}: train returned {type(metrics).__name__} as metrics, expected a mapping such as {{{metric!r}: 0.9}}."
            )
        given = dict(metrics)
        if metric not in given:
            raise _missing(given, metric, where)
        done = whole(given["steps"], "steps", where) if "steps" in given else steps
        self.score = number(given[metric], metric, where)
        curve = [(self.step + step, score) for step, score in _curve(given.get("curve", ()), where)]
        self.curve += tuple(curve)
        self.step += done
        if self.step >= MAX_WHOLE:
            raise MetricError(
                f"{where}: metric 'steps' is {done:,}, more than a run can count: return the steps that were trained."
            )
        if not curve or self.curve[-1] != (self.step, self.score):
            self.curve += ((self.step, self.score),)
        self.returns += _returns(given.get("returns", ()), where)
        for key, value in given.items():
            if key in FIELDS_OF_RESULT or key == metric:
                continue
            if (scalar := as_number(value, truth=True)) is not None:
                self.metrics[_name(key, where)] = scalar
            elif value is not None and len(self.unlogged) < MOST_UNLOGGED:  # None has nothing to log
                self.unlogged[shown(key)] = answer_of(partial(_kind, value), type(value).__name__)
        count = 2 * len(self.curve) + len(self.returns) + len(self.metrics)
        if count > MOST_NUMBERS:
            raise MetricError(
                f"{where}: train returned {counted(count, 'number')}, more than {MOST_NUMBERS:,}: return means of them."
            )

    def result(self, task: Task, checkpoint: str, seconds: float, saving: float = 0.0) -> Result:
        """Returns the result that the log keeps; `saving` is the part of `seconds` that the checkpoint took."""
        saving = round(saving, 6)
        about = (self.curve, self.returns, self.metrics, checkpoint, None, seconds, saving)
        if not self.unlogged:
            return Result(task.id, self.score, self.step, *about)
        return Reported(task.id, self.score, self.step, *about, unlogged=tuple(self.unlogged.items()))


def chunks(task: Task) -> list[tuple[int, int]]:
    """Returns the (first, last) steps of the task's chunks, equally spaced; one empty chunk for a task of zero steps."""
    evals = max(1, min(task.evals, task.steps))
    edges = [task.steps * index // evals for index in range(evals + 1)]
    return list(zip(edges, edges[1:], strict=False))


def progress_of(task: Task, first: int, last: int) -> tuple[float, float] | None:
    """Returns the part of the distillation that the chunk from step `first` to step `last` of a task covers."""
    if task.progress is None or not task.steps:
        return task.progress
    begin, end = task.progress
    width = (end - begin) / task.steps
    return begin + width * first, begin + width * last


# -- numbers in metrics -----------------------------------------------------------------------------------------------


def number(value: object, key: str, where: str) -> float:
    """Returns a Python float of a number or a one-element array.

    Raises:
        MetricError: it is something else; a bool and a string are not scores.
    """
    scalar = as_number(value)
    if scalar is None:
        raise MetricError(f"{where}: metric {key!r} is {shown(value)} ({type(value).__name__}), expected one number.")
    return scalar


def whole(value: object, key: str, where: str) -> int:
    """Returns a whole number from 0 that a log can hold.

    Raises:
        MetricError: it is something else.
    """
    scalar = number(value, key, where)
    if not (0 <= scalar < MAX_WHOLE and scalar == int(scalar)):
        raise MetricError(f"{where}: metric {key!r} is {shown(value)}, expected a whole number from 0 to {MAX_WHOLE - 1:,}.")
    return int(scalar)


def as_number(value: object, truth: bool = False) -> float | None:
    """Returns `value` as a float if it is a real number (Python, numpy, JAX or torch scalar), else None.

    Args:
        truth: True and False are numbers too, 1 and 0. As a score they would be a mistake.
    """
    if isinstance(value, (str, bytes, complex)) or value is None or (isinstance(value, (bool, np.bool_)) and not truth):
        return None
    try:
        if isinstance(value, (bool, int, float)):
            return float(value)
        for _ in range(64):  # the levels that an array may have; a list that stands in many places is not made one
            if isinstance(value, (list, tuple)):
                if len(value) != 1:
                    return None
                value = value[0]
        if hasattr(value, "detach"):  # a tensor of torch, which has types that numpy lacks
            value = value.detach().cpu()
            value = value.float() if value.dtype.itemsize < 4 and value.dtype.is_floating_point else value
        array = np.asarray(value)
    except Exception:
        return None
    if array.size != 1:
        return None
    if array.dtype.name == "bfloat16":
        return float(array.astype(np.float32).reshape(()))
    return float(array.reshape(())) if array.dtype.kind in ("iufb" if truth else "iuf") else None


def _kind(value: object) -> str:
    """Returns what a value is that is not a number, for messages."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    if hasattr(value, "shape"):
        return f"an array of shape {shown(value.shape, 40)}"
    return f"a {type(value).__name__}"


_FLAT = Repr()
_FLAT.maxlevel, _FLAT.maxstring, _FLAT.maxother, _FLAT.maxlong = 4, 1000, 1000, 1000
_FLAT.maxlist = _FLAT.maxtuple = _FLAT.maxdict = 20


def shown(value: object, limit: int = 80) -> str:
    """Returns the `repr` of a user's value for a message: of limited length, in one line, and never an error."""
    repr_of = _FLAT.repr if type(value) in (list, tuple, dict) else repr  # one list in many places may be 2^40 values
    text = answer_of(lambda: " ".join(repr_of(value)[: 10 * limit].split()), f"a {type(value).__name__} that cannot be shown")
    return printable(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _curve(points: object, where: str) -> list[tuple[int, float]]:
    found = []
    try:
        for point in islice(iter(points), MOST_NUMBERS):  # type: ignore[call-overload]  # a TypeError is the answer
            step, score = point
            found.append((whole(step, "curve", where), number(score, "curve", where)))
    except (TypeError, ValueError) as error:
        if isinstance(error, MetricError):
            raise
        text = f"{where}: metric 'curve' is {shown(points)}, expected pairs of a step and a score."
        raise MetricError(text) from error
    return found


def _returns(values: object, where: str) -> tuple[float, ...]:
    try:
        check_size(values)
        array = np.asarray(values, float).ravel()
    except Exception as error:
        raise MetricError(f"{where}: metric 'returns' is {shown(values)}, expected numbers.") from error
    return tuple(array[: MOST_NUMBERS + 1].tolist())


def _name(key: object, where: str) -> str:
    name = printable(str(key)) if type(key) in (str, int) else shown(key)
    if len(name) > LONGEST_NAME:
        raise MetricError(
            f"{where}: the name of a metric has {counted(len(name), 'character')}, more than {LONGEST_NAME}: {name[:40]!r}…."
        )
    return name


def _missing(metrics: Mapping[object, object], metric: str, where: str) -> MetricError:
    names = [shown(key) if type(key) is not str else key for key in islice(metrics, 20)]
    keys = ", ".join(map(repr, names)) or "nothing"
    other = names[0] if names else "score"
    near = did_you_mean(metric, names) or f"{HINT}, or name another one: metric={other!r}."
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
    text = error.details if type(error) is ProgramFailed else _traceback(error)
    head = f"member {task.member}, task {task.id}, from step {step}, {_listed_hparams(task)}"
    keep_if_possible(keep, _file_name(task), f"{head}\n\n{text}")
    line = error_line(error) + answer_of(lambda: misspelled(error, task.hparams) or advice_on_directory(error), "")
    advice = "" if answer_of(lambda: on_purpose(error), False) else _of_evaluation(task, line)
    return Result(task.id, float("nan"), step, error=f"{line}{advice}", seconds=seconds)


def refused(task: Task, step: int, error: MetricError, keep: KeepError, seconds: float = 0.0) -> Result:
    """Returns the result of a task whose training returned what no log can hold."""
    text = str(error) if str(error).startswith("member") else f"member {task.member}, from step {step}: {error}"
    keep_if_possible(keep, _file_name(task), f"{text}\n{_listed_hparams(task)}\n")
    return Result(task.id, float("nan"), step, error=f"{PREFIX}{text}{_of_evaluation(task, text)}", seconds=seconds)


def _of_evaluation(task: Task, text: str) -> str:
    """Returns what to do about the failure of a task of 0 steps, to be put after its text; nothing for other tasks."""
    if task.steps or task.seconds is not None:
        return ""
    return f"{'' if text.endswith('.') else '.'} {EVALUATE}"


def without_hint(text: str) -> str:
    """Returns an error without the advice to name another metric: once a member has returned the metric, its name is right."""
    if not text.startswith(PREFIX):
        return text
    fact = text.partition(" Did you mean")[0].partition(HINT)[0]
    return text if fact == text else f"{fact} Other members return it."


def metric_error(result: Result) -> MetricError | None:
    """Returns the error of a result that was `refused`; None of any other result."""
    text = result.error or ""
    return MetricError(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else None


def abandoned(task: Task, step: int, why: str, keep: KeepError, *, seconds: float = 0.0, hint: str = "") -> Result:
    """Returns the result of a task that took too long, or lost its worker too often; `why` and `hint` are passed to `keep`."""
    keep_if_possible(keep, _file_name(task), f"{why}\n{_listed_hparams(task)}{hint}\n")
    return Result(task.id, float("nan"), step, error=why, seconds=seconds)


def damaged(task: Task, step: int, error: CheckpointDamaged) -> Result:
    """Returns the result of a task whose parent's or teacher's checkpoint could not be read."""
    return Result(task.id, float("nan"), step, error=f"CheckpointDamaged: {error}", kind="damaged")


def keep_if_possible(keep: KeepError, name: str, text: str) -> None:
    """Keeps a text for the user, unless the disk is full: the log reports that, and a text never stops a run."""
    with suppress(Exception):
        keep(name, printable(text[-LONGEST_TEXT:]))


def error_line(error: BaseException, limit: int = 300) -> str:
    """Returns the exception, and the innermost place of the user's code where it was raised, in at most `limit` characters.

    Whatever the methods of the exception and of its class do, this raises nothing.
    """
    return answer_of(lambda: _error_line(error, limit), "an exception that cannot be shown")


def _error_line(error: BaseException, limit: int) -> str:
    if type(error) is ProgramFailed:
        return " ".join(str(error).split())[:limit]
    frame = innermost(error)
    place = "" if frame is None else printable(f" ({Path(frame.filename).name}:{frame.lineno})")[-100:]
    text = text_of(error)
    line = f"{type(error).__name__[:100]}: {text}" if text else type(error).__name__[:100]
    return textwrap.shorten(line, limit - len(place), placeholder=" …") + place


def _traceback(error: BaseException) -> str:
    text = answer_of(lambda: "".join(traceback.format_exception(error)), "")
    return text or error_line(error)


def _file_name(task: Task) -> str:
    return f"m{task.member:03d}-t{task.id:06d}.txt"


def _listed_hparams(task: Task) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in task.hparams.items())
