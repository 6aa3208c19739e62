"""Exploit and explore against the PBT paper's rules and the test vectors of the algorithm's specification."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.parts.exploit import donor_of, significantly_better, truncation, welch_p
from poptrain.algorithms.parts.explore import Custom, Proposal, additive, as_explore, perturb
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import History, Result, Task
from poptrain.core.rng import rng, task_seed
from poptrain.testing import play, simulate

A = np.array([10, 12, 11, 13, 9, 10, 11, 12, 10, 12.0])


def population(scores, returns=None, budget=None):
    history = History(0, budget)
    history = history.add([Task(m, m, {"lr": 0.01}, None, 5, task_seed(0, m)) for m in range(len(scores))])
    returns = returns or [()] * len(scores)
    told = [Result(m, s, 5, returns=tuple(r), checkpoint="c:0") for m, (s, r) in enumerate(zip(scores, returns, strict=True))]
    return Population.of(history.add(told))


def donors(strategy, snapshot, key=0):
    return [strategy.donor(snapshot, m, partial(rng, key, m)) for m in range(len(snapshot.seats))]


def test_welch_reproduces_the_reference_vectors():
    assert welch_p(A + 2, A) == pytest.approx(0.00105671, rel=1e-5)
    noisy = np.array([11, 30, 2, 14, 25, 1, 9, 20, 3, 15.0])
    assert welch_p(noisy, A) == pytest.approx(0.2696176, rel=1e-5)  # ν = 9.289; the specification prints 0.26967
    assert significantly_better(A + 2, A, 0.05) and not significantly_better(noisy, A, 0.05)


def test_welch_needs_two_returns_and_falls_back_on_means_without_variance():
    one = np.array([1.0])
    assert not significantly_better(one + 1, one, 0.05)
    assert significantly_better(np.full(3, 2.0), np.full(3, 1.0), 0.05)
    assert not significantly_better(np.full(3, 1.0), np.full(3, 1.0), 0.05)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e-160, 1e300, 5e-324])
@pytest.mark.parametrize("scale", [1.0, 1e-90, 1e-110, 1e-160, 1e-300, 1e200, 1e307])
def test_welch_compares_values_of_any_size_without_a_warning(scale, constant):
    """Squares of small variances vanish, and those of large values overflow: both were invalid divisions."""
    assert welch_p(scale * (A + 2), scale * A) == pytest.approx(welch_p(A + 2, A), rel=1e-9)
    assert significantly_better(scale * (A + 2), scale * A, 0.05) and not significantly_better(scale * A, scale * (A + 2), 0.05)
    level = np.full(5, constant)  # one side without variance: the other's degrees of freedom
    higher = scale * A.mean() > constant
    assert welch_p(scale * A, level) <= 0.5 if higher else welch_p(scale * A, level) >= 0.5
    assert significantly_better(scale * A, level, 0.5) == higher


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [[], [1.0], [1.0, np.nan], [1.0, np.inf], [-np.inf, 1.0], [np.inf, -np.inf]])
def test_welch_has_no_opinion_of_too_few_values_or_of_some_that_are_not_finite(wrong):
    for a, b in ((np.array(wrong), A), (A, np.array(wrong))):
        assert np.isnan(welch_p(a, b)) and not significantly_better(a, b, 0.5)


def test_welch_is_to_the_last_bit_what_the_formula_gives_where_that_can_be_computed():
    from scipy.special import stdtr

    for key in range(200):
        g = rng(key, "welch")
        a, b = (
            10.0 ** g.uniform(-30, 30) * g.normal(g.uniform(-2, 2), 10.0 ** g.uniform(-3, 3), g.integers(2, 20)) for _ in "ab"
        )
        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        nu = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        assert welch_p(a, b) == float(stdtr(nu, -(a.mean() - b.mean()) / np.sqrt(va + vb)))


def test_welch_copies_who_is_significantly_better_and_nobody_else():
    snapshot = population([A.mean(), A.mean() + 2], [tuple(A), tuple(A + 2)])
    assert donors(pt.welch(), snapshot) == [1, None]


def test_returns_are_gathered_up_the_lineage_and_are_the_donors_after_a_copy():
    history = History().add([Task(m, m, {}, None, 5, m) for m in range(2)])
    history = history.add([Result(m, 1.0, 5, returns=(10.0 * m, 10.0 * m + 1), checkpoint="c:0") for m in range(2)])
    history = history.add([Task(2, 0, {}, 1, 5, 9)]).add([Result(2, 1.0, 10, returns=(7.0,), checkpoint="c:0")])
    snapshot = Population.of(history)
    assert list(snapshot.returns(0, 10)) == [10.0, 11.0, 7.0]
    assert list(snapshot.returns(0, 2)) == [11.0, 7.0]


@pytest.mark.parametrize(
    "size, fraction, count",
    [(4, 0.25, 1), (8, 0.125, 1), (8, 0.25, 2), (5, 0.25, 1), (10, 0.125, 1), (20, 0.125, 2), (1, 0.25, 0),
     (4, 0, 0), (5, 0.5, 2), (3, 0.1, 1), (10, 0.3, 3)],
)  # fmt: skip
def test_truncation_replaces_the_floor_at_least_one_at_most_half(size, fraction, count):
    assert truncation(fraction).count(size) == count
    chosen = donors(truncation(fraction), population(list(range(size))))
    assert [donor is not None for donor in chosen] == [m < count for m in range(size)]
    assert all(donor >= size - count for donor in chosen if donor is not None)


def test_truncation_draws_uniformly_with_replacement_from_the_top():
    snapshot = population(list(range(8)))
    drawn = [truncation(0.25).donor(snapshot, 0, partial(rng, key)) for key in range(400)]
    assert set(drawn) == {6, 7} and 150 < drawn.count(6) < 250


@pytest.mark.parametrize("strategy", [pt.truncation(0.25), pt.welch(), pt.tournament(), pt.tournament(ties=True)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_always_replaced_and_never_a_donor(strategy, bad):
    for key in range(50):
        chosen = donors(strategy, population([3.0, bad, 1.0, bad, 2.0, 5.0]), key)
        assert chosen[1] is not None or not isinstance(strategy, type(pt.truncation()))
        assert not {1, 3} & set(chosen)
    assert chosen[1] is not None and chosen[3] is not None


def test_permuting_bad_members_never_changes_who_else_is_cloned():
    base = [3.0, float("nan"), 1.0, float("inf"), 2.0, 5.0, 4.0, 6.0]
    swapped = [3.0, float("inf"), 1.0, float("nan"), 2.0, 5.0, 4.0, 6.0]
    assert donors(pt.truncation(0.25), population(base)) == donors(pt.truncation(0.25), population(swapped))


def test_all_bad_or_alone_means_nobody_to_clone():
    for strategy in (pt.truncation(0.5), pt.welch(), pt.tournament()):
        assert donors(strategy, population([float("nan")] * 4)) == [None] * 4
        assert donors(strategy, population([float("nan")])) == [None]


def test_nobody_clones_a_member_that_has_no_steps_left():
    assert donors(pt.truncation(0.5), population([1.0, 2.0], budget=5)) == [None, None]


def test_perturb_multiplies_by_one_of_its_factors_or_stops_at_a_bound():
    space = pt.Space(a=pt.LogUniform(1e-4, 1e-1), b=pt.Uniform(0.2, 1.0), n=pt.Int(1, 64))
    seen = set()
    for key in range(300):
        h = space.sample(rng(key))
        new = perturb((0.8, 1.2), resample=0).vary(h, space, rng(key, "x"))
        for name in ("a", "b"):
            low, high = space[name].low, space[name].high
            ratio = new[name] / h[name]
            assert new[name] in (low, high) or min(abs(ratio - 0.8), abs(ratio - 1.2)) < 1e-9
            seen.add(round(ratio, 1))
        assert type(new["n"]) is int and 1 <= new["n"] <= 64
    assert {0.8, 1.2} <= seen


def test_hyperparameters_are_perturbed_independently():
    space = pt.Space(a=pt.Uniform(0.1, 10.0), b=pt.Uniform(0.1, 10.0))
    signs = {
        tuple(value > 1 for value in perturb(resample=0).vary({"a": 1.0, "b": 1.0}, space, rng(key)).values())
        for key in range(60)
    }
    assert len(signs) == 4


def test_additive_noise_has_the_stated_spread_and_stays_inside():
    space = pt.Space(a=pt.Uniform(0.0, 1.0))
    drawn = np.array([additive(0.1).vary({"a": 0.5}, space, rng(key))["a"] for key in range(2000)])
    assert abs(drawn.std() - 0.1) < 0.01 and abs(drawn.mean() - 0.5) < 0.01
    edge = np.array([additive(0.3).vary({"a": 0.0}, space, rng(key))["a"] for key in range(500)])
    assert edge.min() == 0.0 and (edge > 0).mean() > 0.4


def test_a_users_explore_gets_a_copy_and_its_answer_is_checked():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), width=pt.Ordinal(32, 64, static=True))
    start = {"lr": 0.01, "width": 32}

    def mutating(h, generator):
        h["lr"] = 0.02
        return h

    assert as_explore(mutating).vary(start, space, rng(0)) == {"lr": 0.02, "width": 32}
    assert start == {"lr": 0.01, "width": 32}
    for bad, word in [
        (lambda h, g: None, "NoneType"),
        (lambda h, g: {"lr": 0.01}, "width"),
        (lambda h, g: {**h, "lr": 7.0}, "lr"),
        (lambda h, g: {**h, "width": 64}, "static"),
        (lambda h, g: {**h, "lr": "0.1"}, "lr"),
        (lambda h, g: 1 / 0, "ZeroDivisionError"),
    ]:
        with pytest.raises(pt.UsageError, match=word):
            Custom(bad).vary(start, space, rng(0))


class Silent:
    """Implements no protocol."""


@pytest.mark.parametrize("make", [pt.pbt, pt.pb2, pt.pb2_mix])
@pytest.mark.parametrize("wrong", ["truncation", pt.truncation, Silent, Silent(), 0.2])
def test_an_exploit_that_is_none_names_the_protocol(make, wrong):
    with pytest.raises(
        pt.UsageError, match=r"exploit=.*donor\(population, position, draw\) and losers.*protocols.Exploit"
    ) as caught:
        make(pt.Space(x=pt.Uniform(0, 1)), population=4, interval=5, exploit=wrong)
    assert str(caught.value).startswith(make.__name__)


@pytest.mark.parametrize(
    "make", [pt.pbt, lambda space, **options: pt.fire_pbt(space, interval=options["interval"], explore=options["explore"])]
)
@pytest.mark.parametrize("wrong", ["perturb", Silent, Silent(), 0.2])
def test_an_explore_that_is_none_names_the_protocol(make, wrong):
    with pytest.raises(pt.UsageError, match=r"explore=.*propose\(history, space, clones\).*protocols.Explore"):
        make(pt.Space(x=pt.Uniform(0, 1)), interval=5, explore=wrong)


@dataclass(frozen=True)
class Halve:
    """An explore of a user's own, as the docstring of `explore` shows it; `count` is how many proposals it returns."""

    count: int | None = None

    def propose(self, history, space, clones):
        return [
            Proposal(space.finish({**clone.hparams, "lr": space["lr"].snap(clone.hparams["lr"] / 2)}))
            for clone in clones[: self.count]
        ]


@dataclass(frozen=True)
class CopyTheBest:
    """An exploit of a user's own, as the docstring of `exploit` shows it."""

    def losers(self, population):
        return np.ones(len(population.seats), bool)

    def donor(self, population, position, draw):
        best = population.top(1)
        return int(best[0]) if len(best) and best[0] != position else None


def test_strategies_of_a_users_own_are_used():
    space = pt.Space(lr=pt.LogUniform(1e-9, 1e-1, init=(1e-3, 1e-1)))
    history = play(pt.pbt(space, population=4, interval=10, exploit=CopyTheBest(), explore=Halve()), simulate.noisy)
    copies = [task for task in map(history.task, range(4, history.n)) if task.donor is not None]
    assert len(copies) == 3 * 4
    assert all(task.hparams["lr"] == pytest.approx(history.task(task.parent).hparams["lr"] / 2) for task in copies)
    with pytest.raises(pt.UsageError, match="propose returned 1 proposal for 3 clones"):
        play(pt.pbt(space, population=4, interval=10, exploit=CopyTheBest(), explore=Halve(1)), simulate.noisy)


@dataclass(frozen=True)
class Says:
    """An exploit and an explore of a user's own, with a mistake in what it returns."""

    losing: object = True
    donating: object = 0
    proposing: object = None

    def losers(self, population):
        return np.full(len(population.seats), self.losing) if isinstance(self.losing, (bool, int)) else self.losing

    def donor(self, population, position, draw):
        return self.donating

    def propose(self, history, space, clones):
        return self.proposing


KEPT = Proposal({"lr": 0.01})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"losing": None}, "losers returned object of shape (), expected one bool for each of 4 members"),
        ({"losing": [True]}, "losers returned bool of shape (1,), expected one bool for each of 4 members"),
        ({"losing": 1}, "losers returned int64 of shape (4,), expected one bool for each of 4 members"),
        ({"donating": "1"}, "donor returned '1', expected the position of a member, from 0 to 3, or None to go on"),
        ({"donating": -1}, "donor returned -1, expected the position of a member, from 0 to 3"),
        ({"donating": 4}, "donor returned 4, expected the position of a member, from 0 to 3"),
        ({"donating": 1.0}, "donor returned 1.0, expected the position"),
        ({"donating": True}, "donor returned True, expected the position"),
        ({"proposing": None}, "propose returned NoneType, expected a list of Proposal"),
        ({"proposing": KEPT}, "propose returned Proposal, expected a list of Proposal"),
        ({"proposing": [{"lr": 0.01}] * 4}, "propose returned a dict in its list, expected Proposal"),
        ({"proposing": [KEPT._replace(note=3)] * 4}, "expected mappings by name as its hparams and its note"),
    ],
    ids=str,
)
def test_what_a_strategy_of_a_users_own_returns_is_checked(wrong, words):
    own = Says(**wrong)
    with pytest.raises(pt.UsageError, match=re.escape(words)):
        play(pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), 4, interval=10, exploit=own, explore=own), simulate.noisy)


def test_a_failed_member_cannot_be_the_donor_of_a_users_own_exploit():
    failed = population([1.0, float("nan"), 2.0])
    with pytest.raises(pt.UsageError, match=r"donor returned 1, a member that failed; population\.donors says"):
        donor_of(Says(donating=1), failed, 0, partial(rng, 0))
    assert donor_of(Says(donating=np.int64(2)), failed, 0, partial(rng, 0)) == 2
