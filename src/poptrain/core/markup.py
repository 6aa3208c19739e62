"""Small HTML for notebooks: tables and notes that look right on a light and on a dark page, with every text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = "padding: 0.15em 0.8em 0.15em 0; text-align: left; vertical-align: top"
_SHORT, _LONG = "white-space: nowrap", "min-width: 16em; max-width: 40em; overflow-wrap: anywhere"
WIDE = 40  # characters of a cell that stays on one line
LONGEST = 600  # characters of a cell


def escaped(text: object) -> str:
    """Returns text that HTML shows as it is.

    >>> escaped("<b> & 1")
    '&lt;b&gt; &amp; 1'
    """
    return html.escape(str(text))


def _cell(tag: str, value: object) -> str:
    text = "–" if value is None else str(value)
    style = f"{_CELL}; {_SHORT if len(text) <= WIDE else _LONG}"
    return f'<{tag} style="{style}">{escaped(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")}</{tag}>'


def table(heading: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table, which scrolls sideways if it is wide; an empty heading is left out, None is a dash, a long text is cut.

    >>> table(["lr"], [[0.1]]).count("<tr>")
    2
    """
    head = "".join(_cell("th", name) for name in heading)
    body = "".join(f"<tr>{''.join(_cell('td', cell) for cell in row)}</tr>" for row in rows)
    top = f"<tr>{head}</tr>" if heading else ""
    return f'<div style="overflow-x: auto"><table style="border-collapse: collapse">{top}{body}</table></div>'


def block(title: str, *parts: str) -> str:
    """Returns a bold title with parts below it, which are HTML already."""
    return f'<div><b style="overflow-wrap: anywhere">{escaped(title)}</b>{"".join(parts)}</div>'


def line(text: object) -> str:
    """Returns one line of prose."""
    return f'<div style="overflow-wrap: anywhere">{escaped(text)}</div>'
