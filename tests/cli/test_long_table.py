"""A long table prints what rich prints."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from often import often
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poptrain.cli import long_table, show

words = st.text(st.sampled_from("ab1.-, é\u4e00\t"), max_size=6)


def printed(table: Table, width: int, terminal: bool) -> str:
    out = Console(file=io.StringIO(), width=width, force_terminal=terminal, markup=False, highlight=False, emoji=False)
    out.print(table, soft_wrap=False)
    return out.file.getvalue()


@settings(max_examples=often(200), deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 40), st.booleans())
def test_a_long_table_prints_what_rich_prints(data, count, width, terminal):
    columns = data.draw(st.lists(st.tuples(words, st.booleans()), min_size=count, max_size=count))
    cells = words | st.integers(-9, 99_999) | words.map(lambda text: Text(text, "red"))
    rows = data.draw(st.lists(st.lists(cells, min_size=count, max_size=count), min_size=1, max_size=6))
    made = show.table(columns, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_table, "LONG", 10**9)
        expected = printed(made, width, terminal)
        patch.setattr(long_table, "LONG", 0)
        assert printed(made, width, terminal) == expected


def test_a_table_that_fits_is_laid_out_here(monkeypatch):
    rows = [(f"{number:,}", number / 3, "relu") for number in range(3)]
    made = show.table([("from", True), ("lr", True), ("act", False)], rows)
    assert made._laid_out(20) is not None and made._laid_out(14) is None
    expected = printed(made, 40, False)
    monkeypatch.setattr(long_table, "LONG", 0)
    assert printed(made, 40, False) == expected
