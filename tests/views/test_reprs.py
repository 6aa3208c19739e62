"""What a prompt and a notebook show of a run, a member, a schedule, a space and a comparison: short, and safe."""

from __future__ import annotations

import re

import pytest

import poptrain as pt
from poptrain.testing import quadratic

SPACE = pt.Space({"<b>lr": pt.LogUniform(1e-3, 1e-1), "momentum": pt.Uniform(0.0, 0.9)})


def train(carry, hp, steps, seed):
    return quadratic(carry, {"lr": hp["<b>lr"]}, steps, seed)


def trained(algorithm, seed=0):
    return pt.run(algorithm, train, stop=pt.steps(20), seed=seed, progress=False)


@pytest.fixture(scope="module")
def run():
    return trained(pt.pbt(SPACE, population=4, interval=5))


@pytest.fixture(scope="module")
def shown(run):
    others = [
        trained(algorithm(SPACE, population=4, interval=5), seed) for algorithm in (pt.pbt, pt.random_search) for seed in (1, 2)
    ]
    comparison = pt.views.compare([other.record for other in others])
    return {
        "run": run,
        "member": run.member(2),
        "best": run.best,
        "schedule": run.schedule(),
        "space": SPACE,
        "compared": comparison,
    }


def test_a_repr_is_short_and_has_no_addresses_and_no_long_numbers(shown):
    for name, what in shown.items():
        text = repr(what)
        assert "0x" not in text and not re.search(r"\d\.\d{9}", text), text
        assert len(text) < 300 or name == "compared"
    assert repr(shown["run"]).startswith("<Run pbt with 4 members finished after 16 results in ")
    assert repr(shown["member"]).startswith("<score 1.") and "of member 2 at step 20, trained with <b>lr=0." in repr(
        shown["member"]
    )
    assert "pbt cannot be distinguished from random_search" in repr(shown["compared"])


def test_html_escapes_what_users_named(shown):
    for what in shown.values():
        page = what._repr_html_()
        assert page.startswith("<div>") and "<b>lr" not in page
        assert page.count("<td") == page.count("</td>") and page.count("<div>") == page.count("</div>")
    assert "&lt;b&gt;lr" in shown["run"]._repr_html_() and "momentum" in shown["best"]._repr_html_()


def test_a_run_shows_its_members_best_first_and_what_failed():
    def sometimes(carry, hp, steps, seed):
        if seed % 4 == 0:
            raise KeyError("betas")
        return train(carry, hp, steps, seed)

    with pytest.warns(pt.errors.RunWarning):
        failing = pt.run(pt.pbt(SPACE, population=4, interval=5), sometimes, stop=pt.steps(40), progress=False)
    page = failing._repr_html_()
    assert "KeyError: &#x27;betas&#x27;" in page
    scores = [float(cell) for cell in re.findall(r"<tr><td[^>]*>\d</td><td[^>]*>([\d.]+)</td>", page)]
    assert len(scores) >= 3 and scores == sorted(scores, reverse=True)


def test_a_run_without_results_is_shown_too(tmp_path):
    def broken(carry, hp, steps, seed):
        raise ValueError("a planted fault")

    with pytest.raises(pt.errors.RunFailed), pytest.warns(pt.errors.RunWarning):
        pt.run(pt.pbt(SPACE, population=2, interval=5), broken, stop=pt.steps(20), directory=tmp_path / "r", progress=False)
    failed = pt.open_run(tmp_path / "r")
    assert "failed" in repr(failed) and "no healthy result yet" in failed._repr_html_()
