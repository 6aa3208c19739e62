"""Public functions answer in a sentence whatever they are passed, also objects whose own methods raise.

To look at an argument is to run its methods: to compare it, to count it, and to show it in a message. Hundreds of places do so.
`answering` stands around the functions that a user calls: an exception that no place expected is traced back to the argument
whose method raises it. A call that does not fit the function is answered with the argument that was meant, also for a person who
knows the names of Ray Tune or Optuna. This costs nothing before there is an exception.

A number of numpy, such as ``len(X) // np.int64(32)``, arrives as the Python number that it stands for, and so do its flags and
texts. The log of a run is the same with both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from inspect import signature
from itertools import chain, repeat, zip_longest
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import ParamSpec, TypeVar

from poptrain.core.arguments import SCALARS, plain
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.core.other_names import wrong_call
from poptrain.core.user_objects import is_interrupt, text_of

P = ParamSpec("P")
R = TypeVar("R")
ClassT = TypeVar("ClassT", bound=type)
DEPTH, MOST = 3, 100  # levels and values of containers that are looked at
PLAIN = (bool, int, float, complex, str, bytes, type(None))
NO_VALUES = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
CONTAINERS = (list, tuple, set, frozenset, dict)
show_insides = False  # True: tracebacks keep the frames of this package (``poptrain --debug``)
QUESTIONS: Mapping[str, Callable[[object], object]] = {
    "attributes": lambda value: (isinstance(value, str), hasattr(value, "no_such_attribute")),
    "__repr__": repr,
    "__str__": str,
    "__eq__": lambda value: (value == "", value == 0, value != value),
    "__bool__": bool,
    "__len__": len,  # type: ignore[dict-item]
    "__hash__": hash,
    "__lt__": lambda value: (value <= 0, value >= 0, value < value),  # type: ignore[operator]
    "__float__": float,  # type: ignore[dict-item]
    "__int__": int,  # type: ignore[dict-item]
    "__index__": range,  # type: ignore[dict-item]
    "__getitem__": lambda value: value[0],  # type: ignore[index]
    "keys()": lambda value: [*value.keys(), *value.values(), *value.items()],  # type: ignore[attr-defined]
    "__iter__": iter,  # type: ignore[dict-item]
}


def answering(function: Callable[P, R]) -> Callable[P, R]:
    """Returns a public function that raises a `UsageError` instead of what a method of an argument raised."""

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        if not (SCALARS.isdisjoint(map(type, args)) and SCALARS.isdisjoint(map(type, named.values()))):
            return call(*map(plain, args), **{name: plain(value) for name, value in named.items()})  # type: ignore[arg-type]
        try:
            return function(*args, **named)
        except BaseException as error:
            _answer(function, error, args, named)
            raise

    return call


def answering_class(cls: ClassT) -> ClassT:
    """Returns a public class whose constructor does the same."""
    method = "__new__" if issubclass(cls, tuple) else "__init__"  # a named tuple is made by __new__
    made = getattr(cls, method)

    @wraps(made)
    def make(self: object, *args: object, **named: object) -> object:
        if not (SCALARS.isdisjoint(map(type, args)) and SCALARS.isdisjoint(map(type, named.values()))):
            return make(self, *map(plain, args), **{name: plain(value) for name, value in named.items()})
        try:
            return made(self, *args, **named)
        except BaseException as error:
            _answer(cls, error, args, named)
            raise

    setattr(cls, method, make)
    return cls


def _of_the_user(trace: TracebackType | None) -> TracebackType | None:
    """Returns a traceback with the frames of the user's code alone: ours would bury them, and the error says all."""
    if show_insides:
        return trace
    frames: list[TracebackType] = []
    while trace is not None:
        if not _is_inside(trace.tb_frame):
            frames.append(trace)
        trace = trace.tb_next
    for frame, inner in zip_longest(frames, frames[1:]):
        frame.tb_next = inner
    return frames[0] if frames else None


def _is_inside(frame: FrameType) -> bool:
    """True for code of this package or of Python itself, also for what a dataclass generates."""
    root = str(frame.f_globals.get("__name__")).partition(".")[0]
    return root == "poptrain" or (root in sys.stdlib_module_names and root != "__main__")


def _answer(what: Callable[..., object], error: BaseException, args: Sequence[object], named: Mapping[str, object]) -> None:
    """Raises a `UsageError` if an argument caused an unexpected error; takes the frames of the package out of our own errors."""
    if isinstance(error, PoptrainError) and (here := error.__traceback__) is not None:
        here.tb_next = _of_the_user(here.tb_next)
    if isinstance(error, PoptrainError) or is_interrupt(error):
        return
    if isinstance(error, TypeError) and (wrong := wrong_call(what, args, named)):
        raise wrong from None
    names = chain(signature(what).parameters, repeat("an argument"))
    if why := _culprit(error, [*zip(names, args, strict=False), *named.items()]):
        raise UsageError(f"{what.__name__}: {why}") from error


def _culprit(error: BaseException, given: Iterable[tuple[str, object]]) -> str | None:
    """Returns what is wrong with the argument whose method raises such an error, and what to do; None if none does."""
    for argument, outer in given:
        for value in _inside(outer, DEPTH):
            for method, question in QUESTIONS.items():
                try:
                    question(value)
                except BaseException as raised:
                    if is_interrupt(raised):
                        raise
                    if _same(raised, error):
                        return (
                            f"{argument} holds an object of the class {type(value).__name__[:100]!r} that cannot be read, "
                            f"because its {method} raised {type(error).__name__[:100]}: pass a plain value, or mend that class."
                        )
    return None


def _same(one: BaseException, other: BaseException) -> bool:
    """True if two exceptions were raised by one function; if that is not written in Python, by its type and its text."""
    return type(one) is type(other) and (_raised_by(one) is _raised_by(other) or text_of(one) == text_of(other))


def _raised_by(error: BaseException) -> object:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame.f_code


def _inside(value: object, depth: int) -> Iterator[object]:
    """Yields the objects of other classes than Python's own in a value, which may be nested."""
    kind = type(value)
    if kind in PLAIN or issubclass(kind, NO_VALUES):
        return
    if kind not in CONTAINERS:
        yield value
    elif depth:
        items = [*value.keys(), *value.values()] if kind is dict else [*value]  # type: ignore[attr-defined, misc]
        for item in items[:MOST]:
            yield from _inside(item, depth - 1)
