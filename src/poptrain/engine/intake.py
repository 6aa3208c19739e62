"""The boundary of a run: what an algorithm asks for and what an executor returns is checked here, once, before it is logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from poptrain.core import History, Result, Task, check_roles
from poptrain.core.counting import counted
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.core.facts import Reported
from poptrain.core.order import Order
from poptrain.core.protocols import Algorithm, Executor
from poptrain.core.user_objects import is_interrupt
from poptrain.core.wellformed import malformed
from poptrain.executors.context import Context, ExecutorConfig
from poptrain.executors.outcome import error_line, shown
from poptrain.space import Space

FactT = TypeVar("FactT", Task, Result)
_EXACT = frozenset((bool, int, float, str, type(None)))
_OF_SUBCLASS: tuple[tuple[type, Callable[[Any], object]], ...] = (  # methods of a subclass are not called
    (float, float.__pos__),
    (int, int.__pos__),
    (str, str.__str__),
)

# -- what an algorithm decides ------------------------------------------------------------------------------------------


def asked(algorithm: Algorithm, history: History, order: Order) -> tuple[Task, ...]:
    """Returns the tasks that an algorithm asks for.

    Raises:
        UsageError: it raised an error, or the tasks could not be read again from a log. Nothing was logged.
    """
    name = type(algorithm).__name__
    try:
        return _asked(algorithm, history, order, name)
    except PoptrainError:
        raise
    except BaseException as error:  # also a method of what it returned
        if is_interrupt(error):
            raise
        raise UsageError(
            f"{name}.ask raised {error_line(error)}. Nothing was logged: correct it, and continue the run."
        ) from error


def _asked(algorithm: Algorithm, history: History, order: Order, name: str) -> tuple[Task, ...]:
    returned: object = algorithm.ask(history)
    if not isinstance(returned, (tuple, list)) or not all(isinstance(task, Task) for task in returned):
        raise UsageError(f"{name}.ask returned {shown(returned)}, expected a tuple of Task.")
    if not returned:
        return ()
    sound = [_exact(task) and malformed(task) is None for task in returned]
    tasks = tuple([task if right else _plain(task) for task, right in zip(returned, sound, strict=True)])
    check_roles(task for task in tasks if isinstance(task.role, str))
    try:
        (order.check_place if all(sound) else order.check)(tasks)
        _check_tasks(algorithm, history, tasks)
    except ValueError as error:
        raise UsageError(f"{name}.ask: {error}. Nothing was logged.") from error
    return tasks


def _exact(task: Task) -> bool:
    """True if the numbers and texts of a task are Python's own, not those of a subclass, whose methods may do anything."""
    return type(task.id) is type(task.member) is type(task.steps) is type(task.seed) is type(task.evals) is int and all(
        type(value) in _EXACT for value in task.hparams.values()
    )


def _check_tasks(algorithm: Algorithm, history: History, tasks: Sequence[Task]) -> None:
    space, seats = algorithm.space, algorithm.seats
    for task in tasks:
        if task.member >= seats:
            raise ValueError(f"task {task.id} is for seat {task.member}, but the algorithm has seats={seats}")
        for source in (task.parent, task.teacher):
            if source is not None and not history.ok(source):
                raise ValueError(f"task {task.id}: its parent or teacher {source} has no healthy result")
        hparams = task.hparams
        if task.parent is not None and history.task(task.parent).hparams is hparams:
            continue  # it goes on as before
        if isinstance(space, Space):
            _check_hparams(space, task.id, hparams)
            if task.parent is not None:
                _check_static(space, task, history.task(task.parent))


def _check_hparams(space: Space, id: int, hparams: Mapping[str, object]) -> None:
    for name, parameter in space.items():
        if name not in hparams:
            raise ValueError(f"task {id} has no hyperparameter {name!r}")
        if not parameter.contains(hparams[name]):
            raise ValueError(f"task {id} has {name}={shown(hparams[name])}, expected a value of {parameter!r}")


def _check_static(space: Space, task: Task, parent: Task) -> None:
    for name in space.static_names:
        if task.hparams[name] != parent.hparams[name]:
            raise ValueError(
                f"task {task.id} changes the static hyperparameter {name!r} from {shown(parent.hparams[name])} to "
                f"{shown(task.hparams[name])}, but it continues the weights of task {parent.id}"
            )


def needed(algorithm: Algorithm, history: History) -> Iterable[int]:
    """Returns the tasks whose checkpoints an algorithm still needs.

    Raises:
        UsageError: it raised an error, or returned something else.
    """
    name = type(algorithm).__name__
    try:
        ids = frozenset(algorithm.needed(history))
    except PoptrainError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise UsageError(
            f"{name}.needed raised {error_line(error)}. Nothing was deleted: correct it, and continue the run."
        ) from error
    if not all(isinstance(id, (int, np.integer)) and not isinstance(id, bool) for id in ids):
        raise UsageError(f"{name}.needed returned {shown(set(ids))}, expected a set of ids of tasks.")
    return ids


# -- what an executor returns -------------------------------------------------------------------------------------------


def opened(config: ExecutorConfig, context: Context) -> Executor:
    """Returns the running executor.

    Raises:
        UsageError: the configuration opened something else.
    """
    executor = config.open(context)
    if not isinstance(executor, Executor):
        raise UsageError(
            f"executor={config!r} opens a {type(executor).__name__}, expected an object with submit, wait, drain and close, "
            "as in the protocol poptrain.core.protocols.Executor."
        )
    return executor


def admitted(history: History, returned: object, executor: object) -> list[Result]:
    """Returns the results that an executor returned, each as a log can hold it: a result that cannot be logged has failed.

    Raises:
        PoptrainError: it returned no results, or that of a task that is not pending.
    """
    name = type(executor).__name__
    if not isinstance(returned, Sequence) or not all(isinstance(result, Result) for result in returned):
        raise PoptrainError(f"{name} returned {shown(returned)}, expected a list of Result.")
    found: dict[int, Result] = {}
    for result in returned:
        id = result.task
        if type(id) is not int or not 0 <= id < history.n or history.result(id) is not None or id in found:
            raise PoptrainError(f"{name} returned a result of task {shown(id)}, which is not pending.")
        found[id] = _admitted(history, result.logged() if isinstance(result, Reported) else result)
    return list(found.values())


def _admitted(history: History, result: Result) -> Result:
    begin = history.begin(result.task)
    if (wrong := malformed(result)) is not None:
        result = _plain(result)
        if (wrong := malformed(result)) is not None:
            return _failed(history, result, f"the result has {wrong.field}={shown(wrong.got)}, expected {wrong.expected}")
    if result.step < begin:
        return _failed(history, result, f"the result is of step {result.step}, before step {begin}, where its task began")
    if result.healthy and result.step == begin and _stands_still(history, result.task):
        steps = history.task(result.task).steps
        text = (
            f"train returned steps=0 twice in a row, of {counted(steps, 'step')}: return the steps that were trained, "
            "or leave 'steps' out"
        )
        return _failed(history, result, text)
    return result


def _stands_still(history: History, id: int) -> bool:
    """True if a task that trained nothing continues one that did not either."""
    task = history.task(id)
    if not task.steps or task.seconds is not None or task.parent is None:
        return False
    parent = history.task(task.parent)
    return parent.steps > 0 and history.step(parent.id) == history.begin(parent.id)


def _failed(history: History, result: Result, why: str) -> Result:
    task, begin = history.task(result.task), history.begin(result.task)
    return Result(task.id, float("nan"), begin, error=f"MetricError: member {task.member}, from step {begin}: {why}.")


def _plain(fact: FactT) -> FactT:
    """Returns a fact with Python's own numbers and texts in the place of numpy's and of subclasses."""
    changes: dict[str, Any] = {}
    for name in type(fact).__dataclass_fields__:
        value = getattr(fact, name)
        if (plain := _as_plain(value)) is not value:
            changes[name] = plain
    return replace(fact, **changes) if changes else fact


def _as_plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return tuple(value.tolist()) if value.ndim else value.item()
    for kind, exact in _OF_SUBCLASS:
        if isinstance(value, kind):
            return value if type(value) in _EXACT else exact(value)
    if isinstance(value, Mapping):
        plain = {key: _as_plain(inner) for key, inner in value.items()}
        return value if all(plain[key] is value[key] for key in plain) else plain
    if isinstance(value, (tuple, list)):
        items = tuple([_as_plain(inner) for inner in value])
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    return value
