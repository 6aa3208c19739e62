"""Objects of the user: to read one is to run its methods, and those may raise anything.

An exception that a member raised, a value that it returned, a sink, a function of the user: none of them may end a run only
because poptrain looks at it. An interrupt always passes, because it comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

AnswerT = TypeVar("AnswerT")
LONGEST = 2000  # characters of the text of an exception


def is_interrupt(error: BaseException) -> bool:
    """True for an interrupt: Python's own, and those by which a signal or the driver of a worker ends a run."""
    return issubclass(type(error), KeyboardInterrupt)  # isinstance would ask the object, which may lie


def answer_of(question: Callable[[], AnswerT], otherwise: AnswerT) -> AnswerT:
    """Returns what `question` returns; `otherwise` if it raises anything but an interrupt."""
    try:
        return question()
    except BaseException as error:
        if is_interrupt(error):
            raise
        return otherwise


def text_of(error: BaseException, limit: int = LONGEST) -> str:
    """Returns the text of an exception in one line that can be printed; whatever its ``__str__`` does, this raises nothing."""
    try:
        text = " ".join(str(error)[:LONGEST].split())
    except BaseException as inner:
        if is_interrupt(inner):
            raise
        text = f"its text cannot be shown, because __str__ raised {type(inner).__name__}"
    return printable(text if len(text) <= limit else f"{text[: limit - 1]}…")


def named(error: BaseException, limit: int = 200) -> str:
    """Returns the class of an exception and its text, in one line that can be printed; this raises nothing."""
    text = answer_of(lambda: f"{type(error).__name__[:100]}: {text_of(error, limit)}", "an exception that cannot be shown")
    return "".join([each if each.isprintable() else ascii(each)[1:-1] for each in text])


def printable(text: str) -> str:
    """Returns text that can be encoded: a lone surrogate, as in the name of an odd file, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
