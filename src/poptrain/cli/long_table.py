"""Tables of any length: rich looks at each cell several times, which takes half a second for a thousand rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

LONG = 100  # rows, from which on a table is laid out here


class LongTable:
    """A table that prints what a `rich.table.Table` with the same cells prints: the long ones, if they fit, 30 times as fast.

    Args:
        columns: of each, the heading, and whether it holds numbers.
        rows: of cells of one line; a `Text` may have a style.
    """

    def __init__(self, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str | Text]]) -> None:
        self.columns, self.rows = columns, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if len(self.rows) < LONG or (columns := self._laid_out(options.max_width)) is None:
            yield self._whole(self.rows)
            return
        yield from console.render(self._whole([], [len(cells[0]) for cells in columns]), options)
        for row in zip(*columns, strict=True):
            yield Segment("  ".join(row))
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._whole(self.rows))

    def _whole(self, rows: Iterable[Sequence[str | Text]], widths: Sequence[int] | None = None) -> Table:
        """Returns a table of rich with some rows; each column is as wide as its cells, or as `widths` says."""
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index, (heading, number) in enumerate(self.columns):
            least = None if widths is None else widths[index]
            justify = "right" if number else "left"
            made.add_column(Text(heading), justify=justify, no_wrap=True, overflow="ellipsis", min_width=least)
        for row in rows:
            made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        return made

    def _laid_out(self, most: int) -> list[list[str]] | None:
        """Returns the cells of each column, all of the same width; None if they do not fit into `most` characters, have a style
        or spaces at an end or characters whose width is not 1, or are all empty.
        """
        found, total = [], -2
        for (heading, number), cells in zip(self.columns, zip(*self.rows, strict=True), strict=True):
            texts = [cell for cell in cells if isinstance(cell, str)]
            together = "".join([heading, *texts])
            if len(texts) < len(cells) or not (together.isascii() and together.isprintable()):
                return None
            if any(text != text.strip() for text in texts) or not (width := max(len(heading), *map(len, texts))):
                return None
            total += width + 2
            found.append([text.rjust(width) if number else text.ljust(width) for text in texts])
        return found if 0 < total <= most else None
