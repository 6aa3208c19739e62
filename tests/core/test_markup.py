"""What a notebook shows: every text escaped, however odd it is, and no page that is wider than the window."""

from __future__ import annotations

import re

import numpy as np
import pytest

import poptrain as pt
from poptrain.core import markup

EVIL = "<script>alert(1)</script>"
LONG = "x" * 5_000
SPACE = pt.Space({"lr<i>": pt.LogUniform(1e-4, 0.1), EVIL: pt.Choice(EVIL, LONG), "kind": pt.Choice("a", True)})


def train(carry, hp, steps, seed):
    score = float("nan") if carry is None and seed % 3 == 0 else hp["lr<i>"]
    return (carry or 0) + 1, {"acc<b>": score, EVIL: float("inf"), "n": np.float32(1)}


@pytest.fixture(scope="module")
def shown():
    pbt = pt.pbt(SPACE, population=60, interval=1)
    few = {
        name: pt.pbt(SPACE, population=2, interval=1, explore=how) for name, how in (("<b>m", None), ("n" * 150, pt.resample()))
    }
    with pytest.warns(match="never reads"):
        run = pt.run(pbt, train, metric="acc<b>", stop=pt.steps(2))
        study = pt.study(few, train, metric="acc<b>", seeds=2, stop=pt.steps(2), executor="inline", progress=False)
    return [run, run.best, run.schedule(), run.lineage(), run.table(), SPACE, study, study.comparison]


def test_everything_that_shows_itself_is_escaped_short_and_not_wider_than_the_window(shown):
    for each in shown:
        text = each._repr_html_()
        assert set(re.findall(r"<(\w+)", text)) <= {"div", "b", "table", "tr", "th", "td"}, type(each).__name__
        assert LONG not in text and len(text) < 60_000 and text.count("<tr>") <= 60
        assert text.count("<table") == text.count('<div style="overflow-x: auto"><table')
        assert "color" not in text, "it has the colours of the page, light or dark"


def test_what_is_missing_is_a_dash_and_what_is_not_a_number_is_named():
    text = markup.table(["a"], [[None], [float("nan")], ["y" * 1_000]])
    assert ">–<" in text and ">nan<" in text and "…" in text and len(text) < 2_000


def test_a_study_without_a_result_shows_itself():
    def nothing(carry, hp, steps, seed):
        return 0, {"score": float("nan")}

    space = pt.Space(lr=pt.Uniform(0, 1))
    methods = {
        name: pt.random_search(space, population=2, interval=1, initial=[{"lr": lr}]) for name, lr in (("a", 0.1), ("b", 0.2))
    }
    with pytest.warns(match="the score was nan"):
        study = pt.study(methods, nothing, seeds=1, stop=pt.steps(1), executor="inline", progress=False)
    assert "A study of 2 methods" in repr(study) and "a-0 failed" in study._repr_html_()
