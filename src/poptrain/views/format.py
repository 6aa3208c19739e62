"""Text from any source, made harmless to show, and numbers made short enough to read."""

from __future__ import annotations

from math import isfinite
from typing import TypeVar

from poptrain.core.counting import counted

ValueT = TypeVar("ValueT")


def clean(text: object, limit: int | None = None) -> str:
    r"""Returns text in one line, in which every character that would control a terminal is escaped.

    >>> clean("lr\x1b[31m\nred")
    'lr\\x1b[31m\\nred'
    """
    text = str(text)
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 1, 0)] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(value: object, digits: int = 4) -> str:
    """Returns a value for a reader: a float with a few significant digits, a whole number in full.

    >>> short(0.000123456), short(12345), short(float("nan")), short(None), short(True)
    ('0.0001235', '12345', 'nan', '–', 'true')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return clean(value, 40)


def span(seconds: float | None) -> str:
    """Returns a length of time in at most two units.

    >>> span(3.25), span(75), span(7260), span(200000), span(None)
    ('3.2 s', '1 min 15 s', '2 h 1 min', '2 d 7 h', '–')
    """
    if seconds is None or not isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return "1 min"


def copies_line(count: int, member: int, donor: int) -> str:
    """Returns how many copies were made, and which was the last.

    >>> copies_line(18, 2, 4)
    '18 copies, the last: member 2 copied member 4'
    """
    return f"{counted(count, 'copy')}, the last: member {member} copied member {donor}"


def thousands(x: float) -> str:
    """Returns a number of steps as an axis shows it.

    >>> thousands(250), thousands(50_000), thousands(1_500_000), thousands(0)
    ('250', '50k', '1.5M', '0')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(x) >= size:
            return f"{x / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{x:g}"


def cell(value: ValueT) -> ValueT | str:
    r"""Returns a value for a CSV cell: control characters in a text are escaped, and a formula gets an apostrophe.

    >>> cell("=1+1"), cell(-1.5), cell(None), cell("a\x1b[0m\u202e")
    ("'=1+1", -1.5, '', 'a\\x1b[0m\\u202e')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    return f"'{clean(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else clean(value)
