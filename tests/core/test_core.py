"""The history: a sequence of lines, prefixes of it, and what is derived from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poptrain as pt
from poptrain.core import History, Lost, Result, Task, rank
from poptrain.core.prefixes import prefixes
from poptrain.core.rng import chunk_seed, rng, task_seed, task_seeds
from poptrain.testing import play
from poptrain.testing.simulate import noisy

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
PBT = pt.pbt(SPACE, population=4, interval=5, sync=False, exploit=pt.truncation(0.5))


def errors_of(kind: type) -> list[type]:
    return [kind, *(each for below in kind.__subclasses__() for each in errors_of(below) if each.__module__ == kind.__module__)]


@pytest.mark.parametrize("kind", errors_of(pt.PoptrainError), ids=lambda kind: kind.__name__)
def test_every_error_says_its_exit_code_and_is_in_the_table(kind):
    assert f"Exit code {kind.exit_code}" in kind.__doc__
    assert any(line.split()[:2] == [f"`{kind.__name__}`", str(kind.exit_code)] for line in pt.errors.__doc__.splitlines())


def task(id, member, parent=None, steps=5):
    return Task(id, member, {"lr": 0.01}, parent, steps, task_seed(0, id))


def result(id, score, step=5, **more):
    return Result(id, score, step, ((step, score),), checkpoint=f"c{id}:0", **more)


@pytest.fixture(scope="module")
def long():
    return play(PBT, noisy, order="shuffled")


def test_every_prefix_equals_the_history_that_was_built_up_to_it(long):
    grown = History(long.seed, long.budget)
    for lines in range(long.lines + 1):
        prefix = long.at(lines)
        assert (prefix.n, prefix.lines) == (grown.n, grown.lines)
        assert prefix.pending() == grown.pending()
        assert (prefix.heads()[prefix.heads() >= 0] == grown.heads()).all()
        assert (prefix.standing()[prefix.heads() >= 0] == grown.standing()).all()
        assert (prefix.oks == grown.oks).all() and prefix.best() == grown.best()
        np.testing.assert_array_equal(prefix.scores, grown.scores)
        results = [grown.result(id) for id in range(grown.n)]
        kept = {result.checkpoint for result in results if result is not None and result.checkpoint}
        assert prefix.checkpoints(range(-1, long.n + 1)) == kept == grown.checkpoints(range(grown.n))
        if lines < long.lines:
            grown = grown.add(long.line(lines))


@pytest.mark.parametrize("begin", [0, 1, 7, -1])
def test_prefixes_one_after_another_equal_the_history_that_grew(long, begin):
    whole = long.add(Lost(3))
    begin %= whole.lines + 1
    found = []
    for lines, prefix in enumerate(prefixes(whole, begin), begin):
        other = History(whole.seed, whole.budget).filled([whole.line(number) for number in range(lines)])
        assert (prefix.n, prefix.lines, prefix.waiting, prefix.budget) == (other.n, other.lines, other.waiting, other.budget)
        for name in ("heads", "standing", "open", "pending", "best", "members", "finals", "first_best"):
            assert repr(getattr(prefix, name)()) == repr(getattr(other, name)()), name
        assert (prefix.oks == other.oks).all() and prefix.seats == other.seats
        assert [prefix.head(seat) for seat in range(5)] == [other.head(seat) for seat in range(5)]
        assert prefix.fold("lines", 0, lambda count, history, line: count + (history.n >= 0)) == prefix.lines
        found.append((prefix, prefix.heads().tolist(), prefix.best()))
    assert all((prefix.heads()[: len(heads)].tolist(), prefix.best()) == (heads, best) for prefix, heads, best in found)
    branch = found[0][0].add([task(found[0][0].n, 9)])
    assert branch.seats == found[0][0].seats + 1 and repr(whole) == f"<History of {whole.n:,} tasks in {whole.lines:,} lines>"


def test_adding_to_an_old_prefix_branches(long):
    before = [long.line(number) for number in range(long.lines)]
    middle = long.at(long.lines // 2)
    pending = middle.pending()
    branch = middle.add([result(pending[0].id, 1e9)])
    assert branch.best() == pending[0].id != long.best()
    assert [long.line(number) for number in range(long.lines)] == before


def test_lines_that_are_filled_in_at_once_equal_those_that_were_added(long):
    lines = [*(long.line(number) for number in range(long.lines)), (Lost(3),), (Lost(0),), (Lost(3),)]
    added = History(long.seed, long.budget)
    assert History().filled([]).n == 0
    for line in lines:
        added = added.add(line)
    filled = History(long.seed, long.budget).filled(lines)
    assert (filled.n, filled.lines, filled.waiting, filled.best()) == (added.n, added.lines, added.waiting, added.best())
    for name in ("member", "parent", "teacher", "prev", "steps", "step", "spent", "issued", "told", "lost"):
        assert filled.column(name).tolist() == added.column(name).tolist(), name
    assert filled.heads().tolist() == added.heads().tolist()
    np.testing.assert_array_equal(filled.scores, added.scores)


def test_the_seats_hold_what_they_published():
    history = History().add([task(0, 0), task(1, 1)])
    assert list(history.standing()) == [-1, -1]
    history = history.add([result(0, 1.0), result(1, 2.0)])
    assert list(history.standing()) == [0, 1]
    history = history.add([task(2, 0, parent=1)])  # an exploit: the member is worth what its parent was
    assert list(history.standing()) == [1, 1] and list(history.heads()) == [2, 1]
    history = history.add([result(2, 0.5, step=10)])
    assert list(history.standing()) == [2, 1]
    assert history.ancestry(2) == (1, 2) and history.step(2) == 10


def test_lost_checkpoints_count_as_failed_from_their_line_on():
    history = History().add([task(0, 0), task(1, 1)]).add([result(0, 1.0), result(1, 2.0)])
    lost = history.add(Lost(1))
    assert history.ok(1) and not lost.ok(1)
    assert history.best() == 1 and lost.best() == 0
    assert np.isnan(lost.scores[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=10), st.randoms(use_true_random=False))
def test_the_best_is_the_same_whether_it_was_followed_or_looked_up(lines, random):
    history = History().add([task(id, id) if id else Task(0, 0, {}, None, 5, 0, role="evaluator") for id in range(6)])
    told: list[int] = []
    for id, score, lose in lines:
        if lose and told:
            history = history.add(Lost(random.choice(told)))
        elif id not in told:
            told.append(id)
            history = history.add([result(id, float(score))])
        followed = history.best()
        fresh = History().filled([history.line(number) for number in range(history.lines)])
        assert fresh.best() == followed
        good = [id for id in told if history.ok(id) and id]
        assert followed == max(good, key=history.score, default=None)  # the earliest of equals


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_cannot_be_ranked_is_never_best(score):
    history = History().add([task(0, 0), task(1, 1)]).add([result(0, score), result(1, -5.0)])
    assert history.best() == 1 and not history.ok(0)


@pytest.mark.parametrize(
    "line",
    [
        [task(1, 0)],  # ids are dense
        [task(0, 0), task(1, 0)],  # a seat is busy
        [task(0, 0, parent=0)],  # a parent without a result
        [result(0, 1.0)],  # nothing pending
    ],
)
def test_lines_that_cannot_follow_are_refused(line):
    with pytest.raises(ValueError):
        History().add(line)


def test_what_a_seat_trained_is_counted_apart_from_its_lineage():
    history = History().add([task(0, 0), task(1, 1)]).add([result(0, 1.0), result(1, 2.0)])
    history = history.add([task(2, 0, parent=0)]).add([result(2, 3.0, step=10)])
    history = history.add([task(3, 1, parent=2)]).add([result(3, 3.0, step=15)])
    assert (history.step(3), history.spent(3)) == (15, 10)


def test_a_fold_costs_only_what_is_new_and_remembers_nothing_else(long):
    seen = []

    def step(state, history, line):
        seen.append(history.lines)
        return state + len(line)

    long.forget()
    half = long.at(long.lines // 2)
    first = half.fold("count", 0, step)
    assert long.fold("count", 0, step) - first == sum(len(long.line(k)) for k in range(half.lines, long.lines))
    assert seen == list(range(1, long.lines + 1))
    assert half.fold("count", 0, step) == first


def test_the_table_has_the_users_sign():
    history = History(sign=-1).add([task(0, 0)]).add([result(0, -3.0)])
    assert history.table()["score"] == [3.0] and history.table()["lr"] == [0.01]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from([1.0, 2.0, 2.0, float("nan"), float("inf"), float("-inf")]), min_size=1, max_size=12))
def test_rank_puts_what_is_not_finite_last_and_is_a_permutation(scores):
    order = rank(np.array(scores), rng(0, "rank"))
    assert sorted(order) == list(range(len(scores)))
    ordered = [scores[index] for index in order]
    finite = [score for score in ordered if np.isfinite(score)]
    assert finite == sorted(finite) and ordered[len(ordered) - len(finite) :] == finite


def test_ties_are_broken_without_favour():
    firsts = [int(rank(np.zeros(4), rng(seed, "ties"))[0]) for seed in range(400)]
    assert min(np.bincount(firsts, minlength=4)) > 60


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**63), st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=50, unique=True))
def test_task_seeds_never_meet(seed, ids):
    seeds = [task_seed(seed, id) for id in ids]
    assert len(set(seeds)) == len(ids) and all(0 <= value < 2**32 for value in seeds)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**63), st.integers(0, 2**33), st.integers(0, 40))
def test_task_seeds_of_many_are_those_of_each(seed, first, count):
    assert task_seeds(seed, first, count) == [task_seed(seed, first + index) for index in range(count)]


def test_chunks_have_seeds_of_their_own_and_the_first_keeps_the_tasks():
    seeds = [chunk_seed(12345, chunk) for chunk in range(1000)]
    assert seeds[0] == 12345 and len(set(seeds)) == 1000


def test_generators_are_named_not_streamed():
    assert rng(0, 1, "a").random() == rng(0, 1, "a").random()
    values = {rng(seed, id, purpose).random() for seed in range(5) for id in range(5) for purpose in ("a", "b")}
    assert len(values) == 50
