"""What poptrain costs a user in lines, on top of a training loop that is left as it is."""

from __future__ import annotations

import pytest

from benchmarks.code_lines import ON_TOP, lines_on_top


@pytest.mark.parametrize("snippet", ON_TOP)
def test_an_unchanged_loop_needs_few_more_lines(snippet):
    assert 3 <= lines_on_top(snippet) <= ON_TOP[snippet]
