"""A pattern of a line that a program prints: where its numbers are, for programs that print no JSON."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from poptrain.core.errors import UsageError

# Not a part of a word or of a version, and not the begin of 1:30, 0,91 or 1,234, which can mean several numbers.
NUMBER = r"([-+]?(?:(?:\d+\.\d*|\.\d+)(?:e[-+]?\d+)?|\d+(?:e[-+]?\d+)?(?![,:]\d)|nan|inf(?:inity)?)(?![\w.]*\w))"


@dataclass(frozen=True)
class Pattern:
    """A part of a line, such as ``loss {loss} acc {acc}``: a name in braces is a number, a space any white space.

    >>> Pattern("acc {acc}").numbers("epoch 3  acc  0.91")
    {'acc': 0.91}
    """

    text: str

    @cached_property
    def _parts(self) -> _Parts:
        names: list[str] = []
        first, begins = "", None
        expression = r"(?<![\w/.-])" if re.match(r"\w|\{(?!\{)", self.text) else ""  # not inside val_acc or val/acc
        for before, name, form, conversion in string.Formatter().parse(self.text):
            expression += r"\s+".join(map(re.escape, re.split(r"\s+", before)))
            if name is not None:
                if not name or form or conversion:
                    raise ValueError("a name in braces is missing or has a format")
                if not names and before.strip():
                    begins = re.compile(rf"{expression}(?=[-+]?\.?\d)(?!{NUMBER})", re.IGNORECASE)
                    first = max(before.lower().split(), key=len)
                names.append(name)
                expression += NUMBER
        if not names:
            raise ValueError("it has no name in braces")
        return _Parts(names, re.compile(expression, re.IGNORECASE), first, begins)

    def check(self) -> None:
        """Raises a `UsageError` if it is malformed."""
        try:
            names = self._parts.names
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"command: pattern={self.text!r}: {error}; write a part of the line, with a name in braces for each number: "
                "'acc {acc}'. A brace itself is {{ or }}."
            ) from None
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"command: pattern={self.text!r} has {{{twice[0]}}} twice; each number needs a name of its own.")

    def numbers(self, line: str) -> dict[str, float]:
        """Returns the numbers in a line by name; empty if it does not fit. The last fit counts, as in a progress bar."""
        return self.read(line)[0]

    def read(self, line: str) -> tuple[dict[str, float], bool]:
        """Returns `numbers`, and whether the text of the pattern follows with a number that cannot be read.

        >>> Pattern("acc {acc}").read("acc 0.5 acc 1,234"), Pattern("acc {acc}").read("acc improved")
        (({'acc': 0.5}, True), ({}, False))
        """
        parts = self._parts
        if parts.first not in line.lower():
            return {}, False
        fits = list(parts.expression.finditer(line))
        last = fits[-1] if fits else None
        missed = parts.begins is not None and parts.begins.search(line, 0 if last is None else last.end()) is not None
        return {} if last is None else dict(zip(parts.names, map(float, last.groups()), strict=True)), missed


class _Parts(NamedTuple):
    """A pattern, taken apart."""

    names: list[str]
    expression: re.Pattern[str]
    first: str  # the longest word before the first number, in lower case: most lines do not have it
    begins: re.Pattern[str] | None  # what stands before the first number, and a digit of something that is not a number
