"""Small HTML for notebooks: tables and notes that look right on a light and on a dark page, with every text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = "padding: 0.15em 0.8em 0.15em 0; text-align: left"


def escaped(text: object) -> str:
    """Returns text that HTML shows as it is.

    >>> escaped("<b> & 1")
    '&lt;b&gt; &amp; 1'
    """
    return html.escape(str(text))


def table(heading: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table; an empty heading is left out.

    >>> table(["lr"], [[0.1]]).count("<tr>")
    2
    """
    head = "".join(f'<th style="{_CELL}">{escaped(name)}</th>' for name in heading)
    cells = ["".join(f'<td style="{_CELL}">{escaped(cell)}</td>' for cell in row) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    top = f"<tr>{head}</tr>" if heading else ""
    return f'<table style="border-collapse: collapse">{top}{body}</table>'


def block(title: str, *parts: str) -> str:
    """Returns a bold title with parts below it, which are HTML already."""
    return f"<div><b>{escaped(title)}</b>{''.join(parts)}</div>"


def line(text: object) -> str:
    """Returns one line of prose."""
    return f"<div>{escaped(text)}</div>"
