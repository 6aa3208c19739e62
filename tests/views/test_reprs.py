"""What a prompt and a notebook show of a run, a member, a schedule, a space and a comparison: short, and safe."""

from __future__ import annotations

import dataclasses
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


def reachable(run, directory):
    """Everything that a person meets in the quick start, and what hangs on it."""
    algorithm = pt.pbt(SPACE, population=4, interval=5)
    experiment = pt.Experiment(algorithm, train, stop=pt.any_of(pt.steps(20), pt.seconds(60)))
    views = pt.views
    record = run.record
    yield from (SPACE, experiment, run, run.table(), run.trainable, run.store, run.history, record, run.best.task)
    yield from (run.best, run.member(0), run.highest, run.final_best, run.schedule(), run.lineage(), run.history.result(3))
    yield from (getattr(pt, name)(SPACE, population=4, interval=5) for name in ("pb2", "pb2_mult", "bg_pbt", "random_search"))
    yield from (pt.fire_pbt(SPACE, subpopulations=(8, 8), interval=5), pt.grid_search(SPACE, levels=2, interval=5))
    yield from (view(record) for view in (views.status, views.lineage, views.schedule, views.curves, views.gauges, views.table))
    yield from (views.story(record, 9), pt.verify(directory, experiment), pt.check(experiment, seconds=2))
    yield from (pt.executors.Processes(slots=4), pt.command("python - {lr} {checkpoint}"), pt.jax_trainable(train, train))
    yield from (pt.truncation(0.2), pt.welch(), pt.tournament(), pt.perturb(), pt.additive(0.1), pt.steps(3))


def parts(what, depth=3):
    """Yields a value and what is inside its public fields."""
    yield what
    if dataclasses.is_dataclass(what) and depth:
        for field in dataclasses.fields(what):
            inner = getattr(what, field.name)
            for each in inner if isinstance(inner, tuple) else [inner]:
                if not field.name.startswith("_") and type(each).__module__.startswith("poptrain"):
                    yield from parts(each, depth - 1)


def test_everything_in_the_quick_start_has_a_repr_of_one_screen(tmp_path):
    run = pt.run(pt.pbt(SPACE, population=4, interval=5), train, stop=pt.steps(20), directory=tmp_path / "r", progress=False)
    seen = {}
    for what in reachable(run, tmp_path / "r"):
        seen.update({type(each): each for each in parts(what)})
    bad = {kind.__qualname__: repr(each) for kind, each in seen.items() if " at 0x" in repr(each) or len(repr(each)) > 1800}
    assert not bad and len(seen) > 40, bad
    assert all(repr(each).count("\n") < 25 for each in seen.values())
    shown = {kind.__qualname__ for kind in seen if hasattr(kind, "_repr_html_")}
    assert shown >= {"Run", "Standing", "Schedule", "Space", "Lineage", "Table", "Preflight", "Verification"}
    for each in seen.values():
        if hasattr(each, "_repr_html_"):
            assert "<b>lr" not in each._repr_html_()


def test_a_value_of_many_fields_takes_lines_that_fit_on_a_screen(run):
    for what in (
        pt.views.status(run.record),
        pt.views.gauges(run.record),
    ):
        lines = repr(what).splitlines()
        assert 3 < len(lines) < 25 and sum(len(line) > 120 for line in lines) < 3, "a line is longer only if one field is"
        assert lines[0].startswith(f"{type(what).__name__}(") and lines[-1].endswith(")")
    of_messages = repr(pt.Experiment(pt.pbt(SPACE, interval=5), train, stop=pt.steps(20)))
    assert "\n" not in of_messages and "Best(task=" in repr(pt.views.status(run.record))


def test_a_table_prints_its_size_and_is_a_dictionary(run):
    table = run.table()
    assert repr(table).startswith("<Table of 16 rows: task, member") and len(table["task"]) == 16 and dict(table) == table


def test_html_escapes_what_users_named(shown):
    for what in shown.values():
        page = what._repr_html_()
        assert page.startswith("<div>") and "<b>lr" not in page
        assert page.count("<td") == page.count("</td>") and page.count("<div") == page.count("</div>")
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
