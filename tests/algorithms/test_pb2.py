"""PB2, PB2-Mult, PB2-Mix: evaluation before training, what the model learns from, suggestions, fallbacks, dispatch."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.gp import posterior as gp
from poptrain.algorithms.gp.categories import Modelled, Uniformly
from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.rows import Rows, pending
from poptrain.algorithms.parts.explore import Clone
from poptrain.algorithms.parts.lost import hopeless, lost
from poptrain.algorithms.pb2 import Suggest
from poptrain.algorithms.pb2_mix import Apart, BanditRounds, Together
from poptrain.core import History, Result, Task
from poptrain.core.fingerprint import as_begun, as_logged, describe
from poptrain.core.rng import rng, task_seed
from poptrain.testing.simulate import constant, noisy, play

SPACE = pt.Space(x=pt.Uniform(0.0, 1.0))
OPTIMUM = 0.7


def climb(history, task, noise=0.0):
    """A gain per step that is best at x = 0.7, whatever came before."""
    before = history.score(task.parent) if task.parent is not None else 0.0
    return before - task.steps * (task.hparams["x"] - OPTIMUM) ** 2 + noise * float(rng(task.seed, "noise").normal())


def clones(history):
    """Returns the tasks that began with a copy of another member."""
    tasks = [history.task(id) for id in range(history.n)]
    return [task for task in tasks if task.parent is not None and history.task(task.parent).member != task.member]


# -- evaluation first -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [True, False])
def test_members_are_scored_before_they_train_and_the_budget_holds(sync):
    history = play(pt.pb2(SPACE, interval=10, sync=sync), climb, budget=50, order="shuffled")
    first = [history.task(id) for id in range(4)]
    assert all(task.steps == 0 and task.parent is None for task in first)
    for task in first:
        second = next(t for t in map(history.task, range(4, history.n)) if t.member == task.member)
        assert second.parent == task.id and second.hparams == task.hparams
    assert all(task.steps == 10 for task in map(history.task, range(4, history.n)))
    steps = [history.step(int(head)) for head in history.heads()]
    assert max(steps) == 50 and (not sync or min(steps) == 50)
    assert sum(history.spent(int(head)) for head in history.heads()) <= 4 * 50


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trainable_that_cannot_be_scored_untrained_begins_without(value):
    objective = lambda history, task: climb(history, task) if task.steps else value
    history = play(pt.pb2(SPACE, interval=10), objective, budget=50)
    assert all(history.task(id).parent is None and history.task(id).steps == 10 for id in range(4, 8))
    assert history.n == 4 + 4 * 5 and clones(history)


def test_evaluation_first_can_be_left_out():
    history = play(pt.pb2(SPACE, interval=10, evaluate_first=False), climb, budget=50)
    assert all(history.task(id).steps == 10 for id in range(history.n))
    forecast = clones(history)[0].forecast
    assert forecast.rows == 0 and "3" in forecast.fallback, "the first interval of every member has no score before it"


def test_the_first_exploit_already_has_a_model():
    history = play(pt.pb2(SPACE, interval=10), climb, budget=50)
    forecast = clones(history)[0].forecast
    assert forecast.rows == 4 and forecast.source == "model" and forecast.gain is not None


# -- data -------------------------------------------------------------------------------------------------------------


def told(history, tasks, scores, steps=10):
    """Adds tasks given as (member, hparams, parent) with their results."""
    first = history.n
    line = [
        Task(first + i, member, hparams, parent, steps if parent is not None else 0, task_seed(0, first + i))
        for i, (member, hparams, parent) in enumerate(tasks)
    ]
    history = history.add(line)
    results = [
        Result(task.id, score, history.step(task.parent) + task.steps, checkpoint="c")
        for task, score in zip(line, scores, strict=True)
    ]
    return history.add(results)


def small():
    history = told(History(0, 100), [(m, {"x": 0.1 * m}, None) for m in range(4)], [0.0, 1.0, 2.0, float("nan")])
    return told(history, [(m, {"x": 0.2 * m}, m) for m in range(3)], [10.0, 21.0, float("inf")])


def test_rows_are_gains_from_a_healthy_parent():
    rows = Rows.of(small(), SPACE, 10, 200)
    assert rows.ids.tolist() == [4, 5] and np.allclose(rows.gains, [1.0, 2.0])
    inputs = rows.inputs(rows.ids)
    assert inputs.time.tolist() == [0, 0] and np.allclose(inputs.units[:, 1], [0.0, 0.2])
    next_ones = rows.at(np.array([5]), np.array([[0.5]]))
    assert next_ones.time.tolist() == [1], "the context is that of the next interval"
    assert next_ones.units[0, 0] > inputs.units[:, 0].max(), "and the parent's score now"


def test_a_clones_gain_counts_from_its_parent():
    history = told(small(), [(2, {"x": 0.9}, 5)], [22.0])
    rows = Rows.of(history, SPACE, 10, 200)
    assert np.allclose(rows.gains, [1.0, 2.0, 0.1]) and rows.inputs(rows.ids).time.tolist() == [0, 0, 1]


def test_the_window_keeps_the_newest_rows():
    history = play(pt.pbt(SPACE, population=4, interval=5), climb, budget=50)
    assert Rows.of(history, SPACE, 5, 7).ids.tolist() == Rows.of(history, SPACE, 5, 200).ids.tolist()[-7:]


def test_intervals_of_time_are_counted_in_segments():
    history = told(small(), [(2, {"x": 0.9}, 5)], [22.0], steps=3)
    rows = Rows.of(history, SPACE, None, 200)
    assert rows.inputs(rows.ids).time.tolist() == [0, 0, 1]


def test_survivors_and_open_tasks_are_pending_and_clones_are_not():
    history = told(History(0, 100), [(m, {"x": 0.1 * m}, None) for m in range(4)], [0.0, 1.0, 2.0, 3.0])
    history = history.add([Task(4, 0, {"x": 0.5}, 0, 10, 9)])
    parents, tasks = pending(history, frozenset({1}))
    assert dict(zip(tasks.tolist(), parents.tolist(), strict=True)) == {4: 0, 2: 2, 3: 3}
    parents, tasks = pending(history.with_budget(0), frozenset())
    assert tasks.tolist() == [4], "who is finished does not go on"


def test_a_member_that_is_still_being_evaluated_is_pending():
    history = History(0, 100).add([Task(m, m, {"x": 0.1 * m}, None, 0, m) for m in range(3)])
    history = history.add([Result(0, 1.0, 0, checkpoint="c")]).add([Task(3, 0, {"x": 0.0}, 0, 10, 9)])
    assert sorted(pending(history, frozenset())[1].tolist()) == [1, 2, 3]


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
def test_a_population_too_small_for_a_model_is_warned_of(make):
    with pytest.warns(UserWarning, match="population=3 gives the model 3 rows a round"):
        make(SPACE, population=3, interval=10)


def test_columns_leave_out_constants_and_tell_static_and_categorical_apart():
    space = pt.Space(
        a=pt.Uniform(0, 1),
        b=pt.Uniform(2, 2),
        c=pt.Choice("u", "v"),
        d=pt.Ordinal(1, 2, static=True),
        e=pt.Int(3, 3),
        f=pt.LogInt(1, 9),
    )
    assert ModelColumns.of(space) == ModelColumns((0, 3, 5), (0, 5), (2,))


# -- suggestions ------------------------------------------------------------------------------------------------------

EVERY = pt.Space(
    uniform=pt.Uniform(-1.0, 3.0),
    log=pt.LogUniform(1e-5, 1e-2),
    complement=pt.Complement(0.9, 0.9999),
    whole=pt.Int(-3, 70),
    logwhole=pt.LogInt(1, 5000),
    order=pt.Ordinal("small", "middle", "large"),
    flag=pt.Choice(True, False),
    fixed=pt.Uniform(0.5, 0.5),
    layers=pt.Int(1, 4, static=True),
    name=pt.Choice("a", "b", "c", static=True),
)


def inside(history, task):
    """The best configuration is in the middle of every numeric range."""
    before = history.score(task.parent) if task.parent is not None else 0.0
    away = [p.encode(task.hparams[name]) - 0.5 for name, p in EVERY.items() if p.numeric]
    return before + task.steps * (1 - float(np.square(away).sum()) + 0.1 * float(rng(task.seed, "noise").normal()))


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
@pytest.mark.parametrize("sync", [True, False])
def test_every_type_is_tuned_inside_its_bounds_on_its_lattice(make, sync):
    algorithm = make(EVERY, population=6, interval=10, sync=sync, window=16, exploit=pt.truncation(0.5))
    history = play(algorithm, inside, budget=60, order="fifo")
    modelled = [task for task in clones(history) if task.forecast.source == "model"]
    assert len(modelled) >= 4
    for task in clones(history):
        EVERY.check(task.hparams)
        parent = history.task(task.parent).hparams
        assert all(task.hparams[name] == parent[name] for name in ("layers", "name", "fixed"))
        for name, p in EVERY.items():
            assert type(task.hparams[name]) is type(parent[name]) and p.decode(p.encode(task.hparams[name])) == task.hparams[name]
    for name in ("uniform", "log", "whole", "logwhole"):
        assert len({task.hparams[name] for task in modelled}) > 1


def test_a_repair_has_the_last_word():
    space = pt.Space(low=pt.Uniform(0, 1), high=pt.Uniform(0, 1), repair=lambda h: {**h, "high": max(h["low"], h["high"])})
    history = play(pt.pb2(space, interval=10, exploit=pt.truncation(0.5)), noisy, budget=60)
    assert all(task.hparams["high"] >= task.hparams["low"] for task in map(history.task, range(history.n)))


def test_the_optimum_of_a_noiseless_line_is_found_within_thirty_evaluations():
    algorithm = pt.pb2(SPACE, population=2, interval=1, exploit=pt.truncation(0.5))
    for seed in range(3):
        history = play(algorithm, climb, seed=seed, budget=16)
        assert abs(clones(history)[-1].hparams["x"] - OPTIMUM) <= 0.05


def test_a_batch_is_spread_out_and_away_from_the_survivors():
    for seed in range(3):
        paper = pt.pb2(SPACE, population=8, interval=10, exploit=pt.truncation(0.5), as_in="paper")
        history = play(paper, climb, seed=seed, budget=60)
        for number in range(history.lines):
            line = [task for task in history.line(number) if isinstance(task, Task) and task.steps]
            mine = [task.hparams["x"] for task in line if task in clones(history)]
            rest = [task.hparams["x"] for task in line if task not in clones(history)]
            for index, x in enumerate(mine):
                assert min((abs(x - other) for other in mine[:index] + rest), default=1) >= 1e-3 - 1e-9


def test_notes_say_why():
    task = clones(play(pt.pb2(SPACE, interval=10), climb, budget=50))[-1]
    said = {"variance", "length x", "forgetting", "noise"}
    assert said <= set(task.note) and "length score before" not in task.note
    paper = clones(play(pt.pb2(SPACE, interval=10, as_in="paper"), climb, budget=50))[-1]
    assert said | {"length score before"} <= set(paper.note)
    assert all(isinstance(value, (int, float)) for value in task.note.values())
    forecast = task.forecast
    assert forecast.gain is not None and forecast.gain_sd > 0 and forecast.beta is not None and forecast.rows
    assert 0 < task.note["forgetting"] < 0.5
    mixed = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b"))
    history = play(pt.pb2_mix(mixed, interval=10), climb, budget=50)
    assert {"mixing", "forgetting of categories"} <= set(clones(history)[-1].note)
    assert all(0 < task.note["chance c"] <= 1 for task in clones(history))


def test_notes_of_mult_say_whose_rows_were_learned_from():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b", "c", "d"))
    history = play(pt.pb2_mult(space, interval=10), climb, budget=100)
    notes = [task.note for task in clones(history) if task.forecast.source == "model"]
    assert all(note["learned from all"] == (note["rows of the category"] < 3) for note in notes)
    assert {note["learned from all"] for note in notes} == {True, False}


def test_a_hyperparameter_named_score_has_a_length_of_its_own():
    space = pt.Space(x=SPACE["x"], score=pt.Uniform(0, 1))
    history = play(pt.pb2(space, interval=10, as_in="paper"), climb, budget=50)
    assert {"length score", "length score before", "length x"} <= set(clones(history)[-1].note)


def test_the_note_of_equal_gains_tells_the_gain():
    steady = lambda history, task: 0.5 + 0.1 * task.steps * (task.parent is not None) + (
        history.score(task.parent) - 0.5 if task.parent is not None else 0.0
    )  # fmt: skip
    task = clones(play(pt.pb2(SPACE, interval=10), steady, budget=50))[-1]
    assert task.note["nothing to learn"] and task.forecast.gain == pytest.approx(1.0) and task.forecast.gain_sd == 0


def test_predicted_gains_are_in_units_of_the_score():
    history = play(pt.pb2(SPACE, population=8, interval=10), climb, budget=200)
    task = clones(history)[-1]
    gained = history.score(task.id) - history.score(task.parent)
    assert abs(task.forecast.gain - gained) < 0.1


def test_suggestions_do_not_depend_on_the_scale_of_the_scores():
    plain = play(pt.pb2(SPACE, interval=10, exploit=pt.truncation(0.5), plateau="copy"), climb, budget=100)
    for a, b in ((1e6, -3e5), (1e-6, 5.0), (17.3, 1e3)):
        scaled = lambda history, task, a=a, b=b: a * climb(_unscaled(history, a, b), task) + b
        seen = play(pt.pb2(SPACE, interval=10, exploit=pt.truncation(0.5), plateau="copy"), scaled, budget=100)
        for id in range(plain.n):
            assert seen.task(id).member == plain.task(id).member and seen.task(id).parent == plain.task(id).parent
            assert abs(seen.task(id).hparams["x"] - plain.task(id).hparams["x"]) < 1e-3


class _unscaled:
    def __init__(self, history, a, b):
        self.history, self.a, self.b = history, a, b

    def score(self, id):
        return (self.history.score(id) - self.b) / self.a


# -- fallbacks and degenerate data ------------------------------------------------------------------------------------


def test_too_few_rows_give_a_step_from_the_parent_with_its_reason():
    explore = pt.pb2(SPACE, interval=10).explore
    drawn = [explore.propose(small(), SPACE, [Clone(7 + k, 2, 5, {"x": 0.4})])[0] for k in range(300)]
    near = np.array([abs(hparams["x"] - 0.4) < 0.25 for hparams, *_ in drawn])
    assert 0.8 < near.mean() < 0.95  # three quarters are steps of 0.1 of the range, the others are anywhere
    assert all("2 rows" in proposal.forecast.fallback for proposal in drawn)


def test_too_few_rows_give_a_uniform_draw_in_the_papers_form():
    history = small()
    explore = pt.pb2(SPACE, interval=10, as_in="paper").explore
    drawn = [explore.propose(history, SPACE, [Clone(7 + k, 2, 5, {"x": 0.4})])[0] for k in range(300)]
    xs = np.array([hparams["x"] for hparams, *_ in drawn])
    assert abs(xs.mean() - 0.5) < 0.06 and xs.min() < 0.05 and xs.max() > 0.95
    assert all("2 rows" in proposal.forecast.fallback for proposal in drawn)


def test_a_covariance_that_cannot_be_factored_gives_a_uniform_draw(monkeypatch):
    from scipy.linalg import LinAlgError

    def broken(*args):
        raise LinAlgError("not positive definite")

    monkeypatch.setattr(gp, "fit", broken)
    history = play(pt.pb2(SPACE, interval=10), climb, budget=50)
    assert clones(history) and all(task.forecast.fallback == "not positive definite" for task in clones(history))


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
def test_degenerate_histories_never_raise(make):
    wide = pt.Space({f"x{i}": pt.Uniform(0, 1) for i in range(12)}, c=pt.Choice("a", "b"))
    flat = pt.Space(x=pt.Uniform(1.0, 1.0), c=pt.Choice("a", "b", "c"))
    two = pt.Space(x=pt.Int(0, 1), c=pt.Choice(None))
    for space in (wide, flat, two):
        for objective in (constant, noisy, lambda h, t: 1e300 * t.id, lambda h, t: float(t.id % 3)):
            for population in (1, 4):
                history = play(make(space, population=population, interval=10, exploit=pt.truncation(0.5)), objective, budget=40)
                assert not history.pending()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-200, 1e150, 1e307])
def test_scores_near_the_ends_of_floats_are_learned_from(size):
    algorithm = pt.pb2(SPACE, population=8, interval=1, plateau="copy")
    history = play(algorithm, lambda h, t: size * climb(_unscaled(h, size, 0), t), budget=12)
    late = [abs(task.hparams["x"] - OPTIMUM) for task in clones(history)[-8:]]
    assert np.median(late) < 0.1


@pytest.mark.filterwarnings("error")
def test_scores_too_far_apart_to_subtract_never_raise():
    history = play(pt.pb2(SPACE, interval=10), lambda h, t: 1.7e308 * (-1) ** t.id, budget=60)
    assert not history.pending()


@pytest.mark.parametrize("numbers", [pt.Int(0, 5), pt.Ordinal(*range(6)), pt.LogInt(1, 6)], ids=["int", "ordinal", "logint"])
@pytest.mark.parametrize("population", [4, pytest.param(8, marks=pytest.mark.heavy)])
def test_few_levels_are_shared(numbers, population):
    space = pt.Space(x=numbers)
    rising = lambda h, t: (h.score(t.parent) if t.parent is not None else 0.0) + t.steps * space["x"].encode(t.hparams["x"])
    history = play(pt.pb2(space, population=population, interval=1), rising, budget=30 if population > 4 else 20)
    top = space["x"].decode(1.0)
    assert np.mean([task.hparams["x"] == top for task in clones(history)[population:]]) > 0.8


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
def test_a_static_category_is_an_input_of_the_model(make):
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("low", "high", static=True))

    def objective(history, task):
        before = history.score(task.parent) if task.parent is not None else 0.0
        return before - task.steps * (task.hparams["x"] - (0.2 if task.hparams["c"] == "low" else 0.8)) ** 2

    errors = []
    for seed in range(2):
        history = play(make(space, population=6, interval=1, exploit=pt.tournament()), objective, seed=seed, budget=20)
        errors += [abs(t.hparams["x"] - (0.2 if t.hparams["c"] == "low" else 0.8)) for t in clones(history)[:15]]
    assert np.median(errors) < 0.05, "0.2 if the two are mixed up"


def test_equal_scores_fill_the_space():
    history = play(pt.pb2(SPACE, population=6, interval=5, exploit=pt.truncation(0.5), plateau="copy"), constant, budget=60)
    xs = np.array([task.hparams["x"] for task in clones(history)])
    assert all(np.abs(xs - centre).min() < 0.12 for centre in np.linspace(0.05, 0.95, 10))


# -- Mult and Mix -----------------------------------------------------------------------------------------------------


def tasks_of(history):
    return [(task.member, dict(task.hparams), task.parent, task.steps) for task in map(history.task, range(history.n))]


@pytest.mark.parametrize("sync", [True, False])
def test_mult_with_one_category_is_pb2_exactly(sync):
    space = pt.Space(x=pt.Uniform(0, 1), n=pt.LogInt(1, 100), c=pt.Choice("only"))
    options = dict(interval=10, sync=sync, exploit=pt.truncation(0.5))
    objective = lambda history, task: climb(history, task, noise=0.1)
    for seed in range(2):
        plain = play(pt.pb2(space, **options), objective, seed=seed, budget=50, order="fifo")
        mult = play(pt.pb2_mult(space, **options), objective, seed=seed, budget=50, order="fifo")
        assert tasks_of(plain) == tasks_of(mult)


def test_without_categories_both_are_pb2():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b", static=True))
    assert pt.pb2_mix(space, interval=10) == pt.pb2_mult(space, interval=10) == pt.pb2(space, interval=10)
    assert pt.pb2(space, interval=10).explore == Suggest(10, "pb2", 200, Uniformly())
    mixed = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b"))
    assert isinstance(pt.pb2_mix(mixed, interval=10).explore.categories, Together)
    assert isinstance(pt.pb2_mult(mixed, interval=10).explore.categories, Apart)


def test_the_model_of_pb2_chooses_options_unless_it_is_told_not_to():
    mixed = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b"))
    model, uniform = pt.pb2(mixed, interval=10), pt.pb2(mixed, interval=10, categories="uniform")
    assert model == pt.pb2(mixed, interval=10, categories="model") and model.name == "pb2"
    assert model.explore.categories == Modelled() and uniform.explore.categories == Uniformly()
    paper = pt.pb2(mixed, interval=10, as_in="paper")
    assert paper.explore.categories == Uniformly() and not paper.explore.anew
    assert pt.pb2(mixed, interval=10, candidates=0).explore.categories == Uniformly()
    with pytest.raises(pt.errors.UsageError, match="expected 'model' or 'uniform'. Did you mean 'uniform'"):
        pt.pb2(mixed, interval=10, categories="unifrom")
    with pytest.raises(pt.errors.UsageError, match="with candidates=0 use 'uniform'"):
        pt.pb2(mixed, interval=10, categories="model", candidates=0)


@pytest.mark.heavy
def test_the_model_finds_the_option_that_gains_and_members_that_go_on_keep_theirs():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("bad", "good", "worse", "bad too"))
    gains = {"bad": 0.0, "good": 1.0, "worse": -1.0, "bad too": 0.0}

    def objective(history, task):
        before = history.score(task.parent) if task.parent is not None else 0.0
        return before + task.steps * (gains[task.hparams["c"]] - (task.hparams["x"] - 0.5) ** 2)

    found = {}
    for categories in ("model", "uniform"):
        late = []
        for seed in range(3):
            history = play(pt.pb2(space, 8, interval=1, categories=categories), objective, seed=seed, budget=25)
            copied = clones(history)
            late += [task.hparams["c"] == "good" for task in copied[len(copied) // 2 :]]
            for task in map(history.task, range(history.n)):
                if task.parent is not None and task.donor is None:
                    assert task.hparams["c"] == history.task(task.parent).hparams["c"]
        found[categories] = np.mean(late)
    assert found["model"] > 0.95 > found["uniform"]


def test_a_run_that_was_begun_with_uniform_options_goes_on_with_them():
    mixed = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b"))
    algorithm = pt.pb2(mixed, interval=10)
    then = json.loads(json.dumps(describe(replace(algorithm, explore=replace(algorithm.explore, categories=Uniformly())))))
    del then["explore"]["anew"], then["explore"]["robust"]
    begun = as_logged(as_begun(algorithm, then), then)
    assert begun.explore == replace(algorithm.explore, categories=Uniformly(), anew=False, robust=False)
    named = pt.pb2(mixed, interval=10, categories="model")
    assert as_begun(named, then).explore.categories == Modelled()


# -- a model that hears only noise ------------------------------------------------------------------------------------


def test_members_are_lost_while_all_are_worse_than_they_were_at_first():
    first = [Task(id, id, {"x": 0.5}, None, 0, 0) for id in range(3)]
    then = [Task(3 + id, id, {"x": 0.5}, id, 5, 0) for id in range(3)]
    later = [Task(6 + id, id, {"x": 0.5}, 3 + id, 5, 0) for id in range(3)]
    told = lambda tasks, step, *scores: [
        Result(task.id, score, step, checkpoint=f"c{task.id}:0") for task, score in zip(tasks, scores, strict=True)
    ]
    begun = History().add(first).add(told(first, 0, 9.0, 9.0, 9.0)).add(then).add(told(then, 5, 1.0, 2.0, 3.0)).add(later)
    assert not lost(begun), "an evaluation before training is not what members were at first"
    nan = float("nan")
    for scores, expected in [((1.9, 0.0, nan), True), ((2.0, 0.0, 0.0), False), ((0.0, 2.1, 0.0), False), ((nan,) * 3, False)]:
        assert lost(begun.add(told(later, 10, *scores))) == expected, scores


@pytest.mark.parametrize("make", [partial(pt.pb2, plateau="copy"), pt.bg_pbt], ids=["pb2", "bg_pbt"])
@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_in_noise_members_draw_all_numbers_anew_while_all_decline(make, slope):
    space = pt.Space({f"x{i}": pt.Uniform(0, 1) for i in range(4)})

    def drifting(history, task):  # what is tuned does not matter
        return slope * history.end(task.id) / 5 + float(rng(history.seed, task.id, "noise").normal())

    history = play(make(space, population=8, interval=5), drifting, budget=80)
    moved: dict[tuple[bool, bool], list[float]] = {}
    for task in map(history.task, range(history.n)):
        if task.forecast is not None and "look like noise" in (task.forecast.fallback or ""):
            parent = history.task(task.parent)
            far = float(np.mean([abs(task.hparams[name] - parent.hparams[name]) > 0.3 for name in space]))
            moved.setdefault((lost(history.at(history.issued(task.id))), task.donor is not None), []).append(far)
    near, cloned, going = (moved.get(key, []) for key in ((False, True), (True, True), (True, False)))
    assert not near or np.mean(near) < 0.25
    assert not moved.get((False, False)), "members that go on keep their values as long as one is not lost"
    if slope < 0:
        assert len(cloned) > 5 and np.mean(cloned) > 0.35
        assert len(going) > 10 and np.mean(going) > 0.35
    else:
        assert not cloned and not going


def test_of_hopeless_members_the_best_quarter_by_gain_is_kept():
    first = [Task(id, id, {"x": 0.5}, None, 5, 0) for id in range(5)]
    second = [Task(5 + id, id, {"x": 0.5}, id, 5, 0) for id in range(5)]
    history = History().add(first).add([Result(id, -float(id), 5, checkpoint=f"c{id}:0") for id in range(5)])
    history = history.add(second).add([Result(5 + id, -6.0 + id, 10, checkpoint=f"c{5 + id}:0") for id in range(5)])
    assert hopeless(history, [5, 6, 7, 8, 9]) == {5, 6, 7}  # gains of -6, -4, -2, 0 and 2
    assert hopeless(history, [5]) == set() == hopeless(history, [])


def by_category(history, task):
    before = history.score(task.parent) if task.parent is not None else 0.0
    return before + task.steps * {"bad": 0.0, "good": 1.0, "worse": -1.0}[task.hparams["c"]]


@pytest.mark.parametrize("make", [pt.pb2_mult, pt.pb2_mix])
def test_without_numbers_the_bandit_alone_finds_the_best_category(make):
    space = pt.Space(c=pt.Choice("bad", "good", "worse"))
    shares = []
    for seed in range(5):
        history = play(make(space, population=4, interval=1), by_category, seed=seed, budget=60)
        late = clones(history)[-20:]
        assert all(task.forecast.fallback == "no numeric hyperparameter" for task in late)
        shares.append(np.mean([task.hparams["c"] == "good" for task in late]))
    assert np.mean(shares) > 0.6, "a uniform draw has a third"


@pytest.mark.heavy
def test_pb2_redraws_categories_uniformly():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("bad", "good", "worse"))
    history = play(pt.pb2(space, population=4, interval=1, window=8, as_in="paper"), by_category, budget=150)
    drawn = [task.hparams["c"] for task in clones(history)]
    assert all(0.2 < drawn.count(c) / len(drawn) < 0.47 for c in space["c"].options)


def test_mix_learns_where_each_category_has_its_optimum():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("low", "high"))

    def objective(history, task):
        before = history.score(task.parent) if task.parent is not None else 0.0
        optimum = 0.2 if task.hparams["c"] == "low" else 0.8
        return before - task.steps * (task.hparams["x"] - optimum) ** 2

    for make in (pt.pb2_mult, pt.pb2_mix):
        history = play(make(space, population=6, interval=1, exploit=pt.truncation(0.5)), objective, budget=30)
        late = clones(history)[-20:]
        error = np.median([abs(task.hparams["x"] - (0.2 if task.hparams["c"] == "low" else 0.8)) for task in late])
        assert error < 0.1


def test_bandit_state_is_the_same_however_results_arrive():
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("bad", "good", "worse"))
    algorithm = pt.pb2_mix(space, population=4, interval=1, window=6)
    plays = [play(algorithm, by_category, budget=12, order=order) for order in ("together", "fifo", "lifo")]
    assert tasks_of(plays[0]) == tasks_of(plays[1]) == tasks_of(plays[2])


@pytest.mark.parametrize("sync", [True, False])
def test_what_a_bandit_remembers_does_not_grow_and_is_numbers(sync):
    space = pt.Space(c=pt.Choice("bad", "good", "worse"))
    history = play(pt.pb2_mix(space, population=4, interval=1, sync=sync), by_category, budget=100)
    fold = BanditRounds(space, ("c",), (3,), 100)
    state = history.fold(fold, fold.start(), fold.step)
    assert len(state.issued) <= 4 and len(state.ended) <= 4
    again = [np.array(weights) for weights in json.loads(json.dumps([weights.tolist() for weights in state.weights]))]
    assert all((a == b).all() for a, b in zip(again, state.weights, strict=True))


# -- arguments, runs --------------------------------------------------------------------------------------------------

CASES = {
    "beta misspelt": (dict(beta="pb3"), ["beta='pb3'", "Did you mean 'pb2'"]),
    "beta negative": (dict(beta=-1.0), ["beta=-1.0"]),
    "beta NaN": (dict(beta=float("nan")), ["beta=nan"]),
    "beta True": (dict(beta=True), ["beta=True"]),
    "window 2": (dict(window=2), ["window=2", "3"]),
    "window 2.5": (dict(window=2.5), ["window=2.5"]),
    "candidates 10^9": (dict(candidates=10**9), ["candidates=1000000000", "at most 10,000"]),
    "population 0": (dict(population=0), ["population=0"]),
    "interval 0": (dict(interval=0), ["interval=0"]),
    "warmup -1": (dict(warmup=-1), ["warmup=-1"]),
    "average 0": (dict(average=0), ["average=0"]),
    "exploit by name": (dict(exploit="truncation"), ["'truncation'", "pt.truncation"]),
    "evaluate_first 1": (dict(evaluate_first=1), ["evaluate_first=1", "True or False"]),
    "initial outside": (dict(initial=[{"x": 5}]), ["x", "5"]),
    "a dict as space": (dict(space={"x": (0, 1)}), ["dict", "pt.Space"]),
}


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
@pytest.mark.parametrize("case", CASES)
def test_wrong_arguments_are_named(make, case):
    given, words = CASES[case]
    given = {"interval": 10, **given}
    with pytest.raises(pt.UsageError) as caught:
        make(given.pop("space", SPACE), **given)
    text = str(caught.value)
    assert all(word in text for word in words) and "\n" not in text and len(text) < 400, text
    if "space" not in CASES[case][0] and "initial" not in CASES[case][0]:
        assert text.startswith(make.__name__), text


def train(carry, hp, steps, seed):
    carry = 1.0 if carry is None else carry
    for _ in range(steps):
        carry *= 1 - hp["lr"]
    return carry, {"loss": carry}


def test_a_run_resumes_and_minimises(tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    algorithm = pt.pb2(space, interval=5)
    options = dict(metric="loss", mode="min", seed=1)
    whole = pt.run(algorithm, train, stop=pt.steps(60), directory=tmp_path / "whole", **options)
    pt.run(algorithm, train, stop=pt.steps(30), directory=tmp_path / "parts", **options)
    parts = pt.run(algorithm, train, stop=pt.steps(60), directory=tmp_path / "parts", **options)
    assert whole.best.score < 0.1 and parts.best.score < 0.1
    assert tasks_of(parts.history)[: 4 * 6] == tasks_of(whole.history)[: 4 * 6]
    assert whole.schedule()
    assert any((task.forecast.gain or 0) > 0 for task in clones(whole.history)), "an improvement is a positive gain"


# -- members that go on -------------------------------------------------------------------------------------------------


def drifting(history, task):
    """A gain per step that is best at x = 0.2 at first, and at x = 0.8 after 300 steps."""
    begin = history.step(task.parent) if task.parent is not None else 0
    before = history.score(task.parent) if task.parent is not None else 0.0
    return before + task.steps * (1 - (task.hparams["x"] - 0.2 - 0.6 * min(begin / 300, 1)) ** 2)


def retuned(history):
    """Returns the tasks of members that went on with their own weights and other hyperparameters."""
    tasks = [history.task(id) for id in range(history.n)]
    own = [task for task in tasks if task.parent is not None and history.task(task.parent).member == task.member]
    return [task for task in own if task.hparams != history.task(task.parent).hparams]


def test_members_that_go_on_follow_an_optimum_that_moves_and_say_so():
    history = play(pt.pb2(SPACE, population=4, interval=10), drifting, budget=300)
    changed = retuned(history)
    assert changed and all(task.note["retuned"] and task.note["sure by"] > 1 and task.donor is None for task in changed)
    assert all(task.forecast.source == "model" for task in changed)
    late = [task.hparams["x"] for task in changed if history.step(task.parent) > 200]
    assert np.mean(late) > 0.55


@pytest.mark.parametrize("make", [pt.pb2, pt.pb2_mult, pt.pb2_mix])
def test_a_retuned_member_keeps_its_categories_and_static_values(make):
    space = pt.Space(x=pt.Uniform(0, 1), c=pt.Choice("a", "b", "c"), w=pt.Ordinal(1, 2, static=True))
    changed = retuned(history := play(make(space, population=4, interval=10), drifting, budget=160))
    assert changed
    for task in changed:
        before = history.task(task.parent).hparams
        assert (task.hparams["c"], task.hparams["w"]) == (before["c"], before["w"])


@pytest.mark.heavy
def test_nobody_is_retuned_without_the_option_or_without_being_sure():
    for options in ({"retune": None}, {"retune": 1e6}, {"as_in": "paper"}):
        assert not retuned(play(pt.pb2(SPACE, population=4, interval=10, **options), drifting, budget=300))


# -- the noise of gains ---------------------------------------------------------------------------------------------------


def test_neighbouring_gains_share_the_noise_of_a_score_with_opposite_signs():
    history = play(pt.pbt(SPACE, population=2, interval=10, exploit=pt.truncation(0)), climb, budget=50)
    rows = Rows.of(history, SPACE, 10, 100, context=False, shared_noise=True)
    noise, parents = rows.noise, history.column("parent")[rows.ids]
    assert np.allclose(np.diag(noise), 1) and (np.linalg.eigvalsh(noise) > 0).all()
    follows = parents[None, :] == rows.ids[:, None]
    assert follows.any() and np.allclose(noise[follows], -0.45)
    unrelated = ~(follows | follows.T | np.eye(len(noise), dtype=bool))
    assert np.allclose(noise[unrelated], 0)


def test_one_outlier_does_not_hide_the_other_gains():
    history = play(pt.pbt(SPACE, population=4, interval=10), climb, budget=50)
    spiked = lambda h, task: climb(h, task) + (1e6 if task.id == 9 else 0.0)
    hidden = play(pt.pbt(SPACE, population=4, interval=10, exploit=pt.truncation(0)), spiked, budget=50)
    assert history.n == hidden.n
    targets = Rows.of(hidden, SPACE, 10, 100, context=False, shared_noise=True).targets
    assert len(np.unique(targets)) == 4 and np.abs(targets).max() < 10  # each member has a gain of its own


def test_with_a_trust_region_suggestions_of_pb2_lie_near_their_parents():
    space = pt.Space(x=pt.Uniform(0, 1), y=pt.Uniform(0, 1), kind=pt.Choice("a", "b"))
    region = pt.TrustRegion(length=0.2, least=0.1, most=0.2)
    algorithm = pt.pb2(space, population=4, interval=10, retune=None, trust_region=region, as_in="paper")
    history = play(algorithm, lambda history, task: float(task.hparams["x"]) * history.n, budget=80)
    suggested = [task for task in map(history.task, range(history.n)) if task.forecast and task.forecast.source == "model"]
    assert len(suggested) > 3 and all("region length" in task.note for task in suggested)
    for task in suggested:
        parent = history.task(task.parent).hparams
        assert all(abs(task.hparams[name] - parent[name]) <= 0.2 + 1e-6 for name in ("x", "y")), "L w / 2 with w at most 2"
    with pytest.raises(pt.UsageError, match="trust_region"):
        pt.pb2(space, population=4, interval=10, trust_region=0.4)
