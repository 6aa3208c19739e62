"""Before anybody has learned, members search at random; a member that has learned is copied; without returns nothing changes."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.parts.plateau import EARLIER
from poptrain.core import History, Result

SPACE = pt.Space(lr=pt.LogUniform(1e-6, 1e-1), width=pt.Ordinal(8, 16, static=True))
POPULATION, EPISODES, SPREAD = 8, 16, 100.0


def run(algorithm, rounds: int, mean, returns: bool = True, seed: int = 0) -> History:
    """Returns a run in which the episodes of a task have the mean ``mean(task, history)`` and a spread of `SPREAD`."""
    g, history = np.random.default_rng(seed), History(seed, rounds)
    while tasks := algorithm.ask(history):
        history = history.add(tasks)
        results = []
        for task in tasks:
            told = g.normal(mean(task, history), SPREAD, EPISODES)
            step = 0 if task.parent is None else history.step(task.parent)
            extra = {"returns": tuple(told)} if returns else {}
            results.append(Result(task.id, float(np.mean(told)), step + task.steps, checkpoint=f"c{task.id}", **extra))
        history = history.add(tuple(results))
    return history


def copies(history: History) -> list[int]:
    """Returns the tasks that continue another seat's weights."""
    tasks = (history.task(id) for id in range(history.n))
    return [task.id for task in tasks if task.parent is not None and history.task(task.parent).member != task.member]


@pytest.mark.parametrize("make", [pt.pbt, pt.pb2])
def test_a_flat_population_searches_and_does_not_copy(make):
    algorithm = make(SPACE, POPULATION, interval=1, plateau="search")
    flat = run(algorithm, 24, lambda task, history: -1000.0)
    assert not copies(flat)
    tried = {flat.task(id).hparams["lr"] for id in range(flat.n)}
    assert len(tried) >= POPULATION + 10, "values that had their chance are drawn again"
    assert min(tried) < 1e-5 and max(tried) > 1e-2
    widths = {flat.task(id).member: flat.task(id).hparams["width"] for id in range(POPULATION)}
    assert all(flat.task(id).hparams["width"] == widths[flat.task(id).member] for id in range(flat.n)), "static values stay"


def test_who_has_learned_is_copied_by_all_who_lose():
    algorithm = pt.pbt(SPACE, POPULATION, interval=1, explore=lambda hparams, g: hparams, plateau="search")

    def mean(task, history):
        """A member learns once its rate is high; what it has learned stays."""
        learned = task.parent is not None and history.score(task.parent) > -500
        return -200.0 if learned or (task.parent is not None and task.hparams["lr"] > 3e-2) else -1000.0

    found = run(algorithm, 30, mean, seed=3)
    assert copies(found)
    for id in copies(found):
        assert found.score(found.task(id).parent) > -500
    assert all(found.score(head) > -500 for head in found.heads())


def test_a_member_that_has_become_worse_copies_also_before_anybody_has_learned():
    algorithm = pt.pbt(SPACE, POPULATION, interval=1, plateau="search")
    broken = lambda task, history: -5000.0 if task.member == 2 and task.parent == 2 else -1000.0
    found = run(algorithm, 3, broken)
    assert {found.task(id).member for id in copies(found)} == {2}


def redrawn(history: History) -> list[int]:
    """Returns the tasks that begin with values that were drawn again."""
    return [id for id in range(history.n) if "redrawn" in history.task(id).note]


def test_slow_learning_is_seen_over_several_intervals():
    """A gain of half a standard deviation is hardly seen in sixteen episodes, and clearly in four times as many."""
    algorithm = pt.pbt(SPACE, POPULATION, interval=1, plateau="search")
    slow = lambda task, history: -1000.0 + (0.7 * SPREAD if task.member == 5 and task.parent is not None else 0.0)
    kept = {False: 0, True: 0}
    for seed in range(8):
        for together in kept:
            search = replace(algorithm.search, evidence=4 if together else 1, worst_first=together)
            found = run(replace(algorithm, search=search), 9, slow, seed=seed)
            kept[together] += all(found.task(id).member != 5 for id in redrawn(found))
    assert kept[True] >= 7
    assert kept[True] > kept[False]


def test_the_worst_draw_their_values_again_and_the_best_keep_theirs():
    algorithm = pt.pbt(SPACE, POPULATION, interval=1, plateau="search")
    ranked = lambda task, history: -1000.0 + 0.15 * SPREAD * task.member
    runs = [run(algorithm, 5, ranked, seed=seed) for seed in range(6)]
    members = [found.task(id).member for found in runs for id in redrawn(found)]
    assert len(members) > POPULATION
    assert np.mean(members) < (POPULATION - 1) / 2 - 0.5


def test_runs_from_before_the_search_had_options_are_decided_as_then():
    """The digests are those of the decisions that the earlier rule made; 15 and 29 copies, 19 and 12 new draws."""

    def slowly(task, history):
        gains = task.parent is not None and 1e-4 < task.hparams["lr"] < 1e-3
        return -1000.0 + (5.0 * history.step(task.parent) if gains else 0.0)

    algorithm = replace(pt.pbt(SPACE, POPULATION, interval=1, plateau="search"), search=EARLIER)
    digests = []
    for seed in (0, 1):
        found = run(algorithm, 30, slowly, seed=seed)
        tasks = [(task.member, task.parent, f"{task.hparams['lr']:.6g}") for task in map(found.task, range(found.n))]
        digests.append(sha256(repr(tasks).encode()).hexdigest()[:16])
    assert digests == ["08a48795de5fcc20", "e65e33b66778d3c7"]


def test_without_returns_every_decision_is_as_later():
    searching, copying = (pt.pbt(SPACE, POPULATION, interval=1, plateau=each) for each in ("search", "copy"))
    mean = lambda task, history: -1000.0
    a, b = (run(each, 8, mean, returns=False) for each in (searching, copying))
    assert [a.task(id) for id in range(a.n)] == [b.task(id) for id in range(b.n)]


def test_the_option_is_named_and_checked():
    assert pt.pb2(SPACE, interval=1).plateau == "search"
    assert pt.pb2(SPACE, interval=1, as_in="paper").plateau == "copy"
    assert pt.pb2(SPACE, interval=1, plateau="copy").plateau == pt.pbt(SPACE, interval=1).plateau == "copy"
    with pytest.raises(pt.UsageError, match="plateau='serch', expected 'search' or 'copy'"):
        pt.pbt(SPACE, interval=1, plateau="serch")
