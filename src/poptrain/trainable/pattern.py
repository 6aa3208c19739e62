"""A pattern of a line that a program prints: where its numbers are, for programs that print no JSON."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cached_property

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
    def _parts(self) -> tuple[list[str], re.Pattern[str], re.Pattern[str] | None]:
        names: list[str] = []
        begins, expression = None, r"(?<![\w/.-])" if re.match(r"\w|\{(?!\{)", self.text) else ""  # not inside val_acc or val/acc
        for before, name, form, conversion in string.Formatter().parse(self.text):
            expression += r"\s+".join(map(re.escape, re.split(r"\s+", before)))
            if name is not None:
                if not name or form or conversion:
                    raise ValueError("a name in braces is missing or has a format")
                if not names and before.strip():
                    begins = re.compile(rf"{expression}(?=[-+]?\.?\d)(?!{NUMBER})", re.IGNORECASE)
                names.append(name)
                expression += NUMBER
        if not names:
            raise ValueError("it has no name in braces")
        return names, re.compile(expression, re.IGNORECASE), begins

    def check(self) -> None:
        """Raises a `UsageError` if it is malformed."""
        try:
            names, _, _ = self._parts
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"command: pattern={self.text!r}: {error}; write a part of the line, with a name in braces for each number: "
                "'acc {acc}'. A brace itself is {{ or }}."
            ) from None
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"command: pattern={self.text!r} has {{{twice[0]}}} twice; each number needs a name of its own.")

    def numbers(self, line: str) -> dict[str, float]:
        """Returns the numbers in a line by name; empty if it does not fit. The last fit counts, as in a progress bar."""
        names, expression, _ = self._parts
        fits = expression.findall(line)
        if not fits:
            return {}
        last = fits[-1] if len(names) > 1 else (fits[-1],)
        return dict(zip(names, map(float, last), strict=True))

    def misses(self, line: str) -> bool:
        """True if a line has, after its last fit, the text of the pattern and a number that cannot be read.

        >>> Pattern("acc {acc}").misses("acc 1,234"), Pattern("acc {acc}").misses("acc improved")
        (True, False)
        """
        _, expression, begins = self._parts
        if begins is None or not (found := [match.start() for match in begins.finditer(line)]):
            return False
        return max(found) > max((match.start() for match in expression.finditer(line)), default=-1)
