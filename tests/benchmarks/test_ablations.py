"""Verdicts of the ablations against planted data, and the published page against the stored data."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ablation_verdicts as verdicts
from benchmarks.ablation_cells import Claim, scores
from benchmarks.ablation_problems import DRIFT, drift, problems
from benchmarks.ablation_verdicts import judged, sentence, waited
from benchmarks.ablations import found, settings
from benchmarks.study import RESULTS

CLAIM = Claim("New beats old", "new", "old")


def cells(new, old):
    kept = lambda values: [{"reported": float(value), "seed": seed} for seed, value in enumerate(values)]
    return {"new": kept(new), "old": kept(old)}


def test_a_verdict_says_where_a_claim_holds_and_where_the_contrary_does():
    luck = np.random.default_rng(0).normal(size=(2, 8))
    stored = {
        "a": cells(luck[0] + 5, luck[1]),
        "b": cells(luck[0], luck[1] + 5),
        "c": cells(luck[0], luck[0][::-1]),
        "d": cells([], []),
    }
    assert sentence(CLAIM, stored) == "New beats old: yes on a; the opposite on b; no clear difference on c."
    assert judged(CLAIM, stored["d"]) is None


def test_three_clear_wins_are_not_enough():
    assert judged(CLAIM, cells([4, 5, 6], [1, 2, 3])) == "not told apart"


def test_a_barrier_costs_more_the_more_durations_differ_and_nothing_without_one():
    waits = [waited(True, spread, 0, rounds=6) for spread in (0.0, 0.1, 0.5)]
    assert waits[0] == pytest.approx(0) and 0.05 < waits[1] < waits[2] < 1
    assert waited(False, 0.5, 0, rounds=6) == pytest.approx(0)


def test_following_the_moving_optimum_is_better_than_any_constant():
    """drift: the schedule that stays at the optimum nears 1, where the best of 400 constants does not."""
    theta, generator = 0.0, np.random.default_rng(1)
    for _ in range(20):
        theta, _ = drift(theta, {"a": 10 ** (-1 - 2 * theta), "b": 0.6, "c": 0.2 + 0.6 * theta}, 50, 0)
    constants = [drift(None, DRIFT.sample(generator), 1000, 0)[0] for _ in range(400)]
    assert theta > 0.97 > max(constants) + 0.02 and min(constants) == 0.0


def test_every_cell_of_a_question_is_planned():
    planned = set(settings(problems()["drift"]))
    for question in verdicts.QUESTIONS:
        for _, cell in question.rows:
            assert cell in planned or cell.startswith("first-"), cell
        assert {cell for claim in question.claims for cell in (claim.better, claim.worse)} <= {cell for _, cell in question.rows}


def test_the_published_page_is_what_the_stored_data_say():
    stored = found(RESULTS)
    page = (verdicts.DOCS / "ablations.md").read_text()
    for question in verdicts.QUESTIONS:
        assert verdicts.table(question, stored) in page, f"{question.name}: run python -m benchmarks.ablations --write"
        for claim in question.claims:
            assert sentence(claim, stored) in page
        assert (verdicts.DOCS / "ablations" / f"{question.name}.png").exists()
    assert all(len(scores(cells, "pbt-20")) >= 5 for cells in stored.values()), "at least five seeds"
