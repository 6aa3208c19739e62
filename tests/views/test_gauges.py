"""Gauges: bookkeeping that adds up, and histories by hand whose answers are known."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from test_views import failure, record_of, result, task

import poptrain as pt
from poptrain import views
from poptrain.core import History, Result
from poptrain.log.writer import MemoryLog
from poptrain.testing import play
from poptrain.testing.simulate import broken, noisy
from poptrain.views.digest import packed, unpacked
from poptrain.views.foresight import centred_ranks, foresight_of
from poptrain.views.gauges import gauges_of
from poptrain.views.index import history_of
from poptrain.views.state import state_of

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.0, 0.99))


def recorded(history, mode="max"):
    """Returns a played history as a record."""
    log = MemoryLog({"mode": mode, "metric": "score", "seed": history.seed, "budget": history.budget, "interval": 5})
    for number in range(history.lines):
        log.append(history.line(number))
    return log.record


def test_gauges_of_a_known_history():
    record = record_of(
        [task(0, 0, 1.0), task(1, 1, 2.0), task(2, 2, 3.0)],
        [result(0, 1.0, 10), result(1, 2.0, 10), result(2, 4.0, 10)],
        [task(3, 0, 3.3, 2), task(4, 1, 2.0, 1), task(5, 2, 3.0, 2)],  # 0 copies 2: selection +3
        [result(3, 7.0, 20), result(4, 2.5, 20), result(5, 6.0, 20)],  # the clone is ahead of its donor by 1
        [task(6, 0, 3.3, 3), task(7, 1, 2.6, 3), task(8, 2, 3.0, 5)],  # 1 copies 0: selection +4.5
        [result(6, 8.0, 30), result(7, 7.5, 30), failure(8, 20)],  # the clone is behind its donor
    )
    g = views.gauges(record)
    assert g.members == 3 and g.gain == pytest.approx((7.0 + 5.5 + 2.0) / 3)
    assert g.selection == pytest.approx(7.5 / 3) and g.share == pytest.approx(7.5 / 14.5)
    assert (g.explored, g.explored_better, g.explored_p) == (2, 1, 1.0)
    assert g.pressure == pytest.approx(2 / 6)
    assert (g.founders, g.effective, g.one_since, g.common_step) == (1, 1.0, 20, 10)
    assert [(d.step, d.founders) for d in g.history] == [(0, 3), (10, 2), (20, 1)]
    assert g.history[1].effective == pytest.approx(9 / 5)
    said = " ".join(g.sentences())
    assert "which is 52 % of its gain of" in said and "All 3 members descend from one since step 20" in said
    assert "is not known from one run" in " ".join(views.status(record).gauges.sentences())


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("sync", [True, False])
def test_selection_and_training_add_up_to_the_gain(mode, sync):
    algorithm = pt.pbt(SPACE, population=6, interval=5, sync=sync, exploit=pt.truncation(0.4))
    for objective in (noisy, broken(0.2)):
        for seed in range(5):
            record = recorded(play(algorithm, objective, seed=seed, order="shuffled"), mode)
            told = record.history()
            trained = {}
            healthy = [one for one in map(told.task, range(told.n)) if told.ok(one.id)]
            for one in healthy:
                if one.parent is not None:
                    trained[one.member] = trained.get(one.member, 0.0) + told.score(one.id) - told.score(one.parent)
            firsts = {one.member for one in healthy if one.parent is None}
            if firsts != set(range(6)):
                continue  # a member whose first task failed has no gain of its own
            g = views.gauges(record)
            assert g.gain == pytest.approx(g.selection + sum(trained.values()) / 6)


def test_gauges_read_on_as_if_read_at_once():
    history = play(pt.pbt(SPACE, population=6, interval=5, exploit=pt.truncation(0.4)), noisy)
    whole = views.gauges(recorded(history))
    log = MemoryLog({"mode": "max", "metric": "score", "seed": 0, "budget": 50, "interval": 5})
    for number in range(history.lines):
        log.append(history.line(number))
        now = views.gauges(log.record)
    assert now == whole and 1 <= now.effective <= 6


def test_exploring_that_helps_is_seen_and_exploring_that_does_not_is_not():
    def helpful(history, one):  # every perturbation of lr upwards pays
        before = history.score(one.parent) if one.parent is not None else 0.0
        return before + float(np.log(one.hparams["lr"])) + 20

    wide = pt.Space(lr=pt.LogUniform(1e-6, 1e3, init=(1e-5, 1e-4)))
    up = pt.pbt(wide, population=8, interval=5, explore=pt.perturb((1.2,), resample=0))
    g = views.gauges(recorded(play(up, helpful)))
    assert g.explored >= 5 and g.explored_better == g.explored and g.explored_p < 0.05
    none = pt.pbt(SPACE, population=8, interval=5, explore=None)
    assert views.gauges(recorded(play(none, noisy))).explored == 0, "equal hyperparameters are no experiment"


def test_members_that_never_meet_have_nothing_to_say():
    g = views.gauges(recorded(play(pt.random_search(SPACE, population=5, interval=5), noisy)))
    assert g.selection == 0 and g.pressure == 0 and g.effective == 5 and g.one_since is None and not g.sentences()
    assert views.gauges(record_of()).members == 0 and views.gauges(record_of()).gain is None


def test_persistence_is_the_rank_correlation_inside_rounds():
    fixed = lambda history, one: one.hparams["momentum"] + len(history.ancestry(one.id))
    assert views.gauges(recorded(play(pt.pbt(SPACE, population=6, interval=5), fixed))).persistence == pytest.approx(1.0)
    luck = lambda history, one: float(pt.rng(one.seed, "luck").random())
    free = pt.random_search(SPACE, population=20, interval=1)
    assert abs(views.gauges(recorded(play(free, luck))).persistence) < 0.15
    assert centred_ranks(np.array([5.0, 1.0, 5.0])).tolist() == [0.5, -1.0, 0.5]


def test_controls_are_compared_with_and_left_out_of_the_rest():
    algorithm = pt.pbt(SPACE, population=8, interval=5, controls=2)
    record = recorded(play(algorithm, noisy))
    g, told = views.gauges(record), record.history()
    held = {seat: told.score(id) for seat, id in told.finals().items()}
    assert g.members == 6 and g.controls == 2
    assert g.ahead == pytest.approx(max(held[seat] for seat in range(6)) - max(held[6], held[7]))
    assert "the best of 2 controls" in g.sentences()[-1]


def test_a_role_that_only_another_version_knows_makes_no_view_fail():
    lines = [[task(0, 0, 0.1, role="student")], [result(0, 0.5, 10)], [task(1, 0, 0.1, 0, role="student")], [result(1, 0.7, 20)]]
    record = record_of(*lines)
    found = pt.views.gauges(record)
    assert (found.members, found.gain, found.share, found.sentences()) == (0, None, None, ())
    assert pt.views.status(record).tasks == 2
    mixed = record_of([task(0, 0, 0.1), task(1, 1, 0.1, role="student")], [result(0, 0.5, 10), result(1, 9.0, 10)])
    assert (pt.views.gauges(mixed).members, pt.views.gauges(mixed).gain) == (1, 0.0)


def test_threads_that_look_at_one_record_see_what_one_thread_sees():
    lines = []
    for id in range(0, 1200, 2):
        before = [None, None] if id == 0 else [id - 2, id - 1 if id % 8 else id - 2]
        lines += [[task(id + seat, seat, 0.1, before[seat]) for seat in (0, 1)]]
        lines += [[result(id + seat, id + seat / 2, 10 + 5 * id) for seat in (0, 1)]]

    def look(record):
        state, history = state_of(record), history_of(record)
        return repr((gauges_of(state), state.lines, state.steps, state.exploits, history.lines, history.n, history.best()))

    expected = look(record_of(*lines))
    pace = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            record, gate = record_of(*lines), Barrier(3)
            with ThreadPoolExecutor(3) as pool:
                found = list(pool.map(lambda _: (gate.wait(), look(record))[1], range(3)))  # noqa: B023
            assert found == [expected] * 3
    finally:
        sys.setswitchinterval(pace)


def test_a_model_that_foresees_is_worth_more_than_a_redraw_and_one_that_guesses_is_not():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(3, 60))
    steps = np.repeat(np.arange(20), 3).tolist()
    shrinking = 1 / (1 + np.arange(20).repeat(3))  # both fall over time, which is not foresight
    knows = foresight_of(list(zip(noise[0], noise[0] + 0.5 * noise[1], steps, strict=True)))
    guesses = foresight_of(list(zip(noise[0] * 1e-3 + shrinking, noise[2] * 1e-3 + shrinking, steps, strict=True)))
    assert knows.correlation > 0.6 and knows.pays and knows.gain > 0.5 and "worth more than a redraw" in knows.sentence()
    assert guesses.pays is False and guesses.p > 0.05 and "not clearly better than a redraw here" in guesses.sentence()
    few = foresight_of([(1.0, 1.0, 1)] * 3)
    assert (few.proposals, few.correlation, few.pays, few.sentence()) == (3, None, None, None)
    assert foresight_of([(1.0, 2.0, 1)] * 20).sentence() is None, "equal predictions have no order"


def test_steps_that_copies_gave_up_are_counted_and_said():
    def falling(history, one):  # a dip: whoever has trained least is ahead
        return -float(history.end(one.id))

    history, running = History(0, 100), []
    algorithm = pt.pbt(SPACE, population=6, interval=5, sync=False)
    while True:
        if tasks := algorithm.ask(history):
            history = history.add(tasks)
            running += tasks
        if not running:
            break
        one = running.pop(0)  # one slot: the others wait, and are younger
        begin = history.step(one.parent)
        history = history.add([Result(one.id, falling(history, one), begin + one.steps, checkpoint=f"c{one.id}")])
    back = 0
    for one in map(history.task, range(history.n)):
        before = history.previous(one.id)
        if one.donor is not None and before >= 0:
            back += max(0, history.step(before) - history.step(one.parent))
    found = views.gauges(recorded(history))
    assert found.back == back > 0 and found.back_share == pytest.approx(
        back / sum(each.steps for each in map(history.task, range(history.n)))
    )
    said = [text for text in found.sentences() if text.startswith("Members went back by")]
    assert bool(said) == (found.back_share >= 1 / 3) and "use sync=True, or a warmup" in said[0]
    synchronous = views.gauges(recorded(play(pt.pbt(SPACE, population=6, interval=5), falling, budget=50)))
    assert synchronous.back == 0 and not any("went back" in text for text in synchronous.sentences())


def test_the_gauge_says_how_often_the_model_was_not_followed_and_why():
    def noise(history, one):
        return float(np.random.default_rng(one.seed).normal())

    record = recorded(play(pt.pb2(SPACE, population=8, interval=5, plateau="copy"), noise, budget=200))
    found, seen = views.gauges(record).foresight, views.suggestions(record)
    without = [each for each in seen if each.source == "redraw"]
    assert (found.followed, found.unfollowed, found.why) == (len(seen) - len(without), len(without), without[-1].fallback)
    assert found.unfollowed > found.followed, "of noise alone, hardly any round has a model that is followed"
    assert found.sentences()[0].startswith(f"The model chose the values of {found.followed} of {len(seen)} proposals; the others")
    assert "the gains look like noise" in found.sentences()[0] and found.sentences()[0] in views.gauges(record).sentences()
    state = state_of(record)
    assert gauges_of(unpacked(packed(state))).foresight == found
    assert foresight_of([]).sentences() == ()


@pytest.mark.parametrize("sizes", [[3] * 20, [2] * 30 + [8] * 3, [2] * 20 + [16], [1] * 16])
def test_a_model_that_guesses_pays_in_one_case_of_twenty_whatever_the_sizes_of_the_rounds(sizes):
    generator = np.random.default_rng(7)
    steps = np.repeat(np.arange(len(sizes)), sizes).tolist()

    def guess():
        return foresight_of(list(zip(*generator.normal(size=(2, len(steps))), steps, strict=True)))

    assert np.mean([guess().p < 0.05 for _ in range(400)]) < 0.083  # three standard errors above 0.05


def test_a_model_whose_better_half_gains_less_does_not_pay():
    steps = np.repeat(np.arange(20), 3).tolist()
    gains = np.tile([1.0, 2.0, 3.0], 20)
    gains[59] = -500.0  # one proposal that was rated highest lost more than all the others gained
    found = foresight_of(list(zip(np.tile([1.0, 2.0, 3.0], 20), gains, steps, strict=True)))
    assert found.correlation > 0.9 and found.p < 0.001 and found.gain < 0
    assert found.pays is False and "but proposals that it rated higher gained" in found.sentence()
    assert f"gained {-found.gain:.3g} less" in found.sentence()


def test_a_donor_that_is_retuned_makes_no_pair_because_its_values_are_no_longer_compared():
    def climbing(history, one):
        before = history.score(one.parent) if one.parent is not None else 0.0
        return before - one.steps * (one.hparams["lr"] - 0.5) ** 2

    space = pt.Space(lr=pt.Uniform(0.0, 1.0))
    history = play(pt.pb2(space, population=8, interval=5, plateau="copy", retune=0.1), climbing, budget=60)
    tasks = [history.task(id) for id in range(history.n)]
    goes_on = {task.parent: task for task in tasks if task.parent is not None and history.task(task.parent).member == task.member}
    copies = [task for task in tasks if task.parent is not None and history.task(task.parent).member != task.member]
    pairs = [(goes_on[copy.parent], copy) for copy in copies if copy.parent in goes_on]
    kept = [(own, copy) for own, copy in pairs if own.hparams == history.task(own.parent).hparams != copy.hparams]
    assert len(kept) < len(pairs), "some donors are retuned"
    found = views.gauges(recorded(history))
    better = sum(history.score(copy.id) > history.score(own.id) for own, copy in kept)
    assert (found.explored, found.explored_better) == (len(kept), better)


def test_the_gauge_of_a_run_has_every_proposal_of_the_model_and_survives_a_digest():
    def climbing(history, one):
        before = history.score(one.parent) if one.parent is not None else 0.0
        return before - one.steps * (one.hparams["lr"] - 0.5) ** 2

    space = pt.Space(lr=pt.Uniform(0.0, 1.0))
    record = recorded(play(pt.pb2(space, population=8, interval=5, plateau="copy"), climbing, budget=60))
    found = views.gauges(record)
    seen = [each for each in views.suggestions(record) if each.source == "model" and each.observed is not None]
    assert found.foresight.proposals == len(seen) > 12 and found.foresight.pays
    assert found.foresight.sentence() in found.sentences()
    assert views.as_json(found)["foresight"]["pays"] is True
    state = state_of(record)
    assert gauges_of(unpacked(packed(state))).foresight == found.foresight
