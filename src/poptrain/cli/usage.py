"""Wrong command lines in plain English: what typer reports, as one sentence that says what to do.

typer raises the exceptions of click, or of its own copy of click, depending on its version. So they are recognised by the names
of their classes, and their attributes are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

from poptrain.core.counting import counted
from poptrain.core.errors import did_you_mean

UsageException = Any  # of click, or of typer's copy of it
_SHOWN = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


def is_usage_error(error: BaseException) -> bool:
    """True for an exception of typer about the command line."""
    return isinstance(error, _SHOWN)


def sentence(error: UsageException, words: Sequence[str]) -> str:
    """Returns what is wrong with a command line, and where to look; `words` are its arguments."""
    context = getattr(error, "ctx", None)
    verb = words[0] if words and not words[0].startswith("-") else ""
    path = f"poptrain {verb}".rstrip() if context is None else context.command_path
    text = _problem(error, words)
    return f"{text}{'' if text.endswith(('.', '?')) else '.'} See `{path} --help`."


def _problem(error: UsageException, words: Sequence[str]) -> str:
    kind, message = type(error).__name__, str(error.format_message()).rstrip()
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if kind == "NoSuchOption":
        known = [] if context is None else [option for each in context.command.params for option in each.opts]
        return f"no option {error.option_name}.{did_you_mean(error.option_name, known)}"
    if kind == "MissingParameter" and parameter is not None:
        return f"{_name(parameter)} is missing: pass it after the command"
    if kind == "BadOptionUsage":
        return _option_without_value(error.option_name, message)
    if kind == "BadParameter" and parameter is not None:
        return f"{_name(parameter)}: {_expected(parameter, message)}{_got(parameter, words)}"
    if extra := re.search(r"unexpected extra argument\S* \((.*)\)", message):
        return f"unexpected extra argument {extra[1]!r}: remove it, or quote a name that contains spaces"
    return message


def _name(parameter: Any) -> str:
    """Returns an option as it is written, or an argument as the help shows it."""
    option: str = next((option for option in parameter.opts if option.startswith("-")), parameter.metavar or parameter.opts[0])
    return option


def _option_without_value(option: str, message: str) -> str:
    if count := re.search(r"requires (\d+) arguments", message):
        return f"{option} needs {counted(int(count[1]), 'value')} after it"
    if "does not take a value" in message:
        return f"{option} takes no value: write {option} alone"
    return f"{option} needs a value after it"


def _expected(parameter: Any, message: str) -> str:
    number = "whole number" if "integer" in message else "number" if re.search(r"number|float", message) else ""
    if not number:
        return message.partition(": ")[2] or message
    return f"expected a {number}" if parameter.nargs == 1 else f"expected {counted(parameter.nargs, number)}"


def _got(parameter: Any, words: Sequence[str]) -> str:
    """Returns ``, got 'abc'``, the words that follow the option."""
    for option in parameter.opts:
        for place, word in enumerate(words):
            if word.startswith(f"{option}="):
                return f", got {word.partition('=')[2]!r}"
            if word == option:
                return ", got " + " ".join(map(repr, words[place + 1 : place + 1 + parameter.nargs]))
    return ""
