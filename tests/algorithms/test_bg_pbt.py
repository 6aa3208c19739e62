"""BG-PBT: the laws of its trust region, of its search, and of its targets (sections 6.2 and 6.5 of the paper's specification)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.bg_pbt.explore import LocalSearch
from poptrain.algorithms.bg_pbt.restart import restart_centre
from poptrain.algorithms.gp import posterior as gp
from poptrain.algorithms.gp.copula import copula
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.local_search import codes_of, searched
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.algorithms.gp.maximum import slopes
from poptrain.algorithms.gp.region_search import neighbourhood
from poptrain.algorithms.gp.rows import Rows
from poptrain.algorithms.gp.trust_region import Region, TrustRegion, changed, flips, widths
from poptrain.core import History, Result, Task
from poptrain.core.fingerprint import as_begun, describe
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng, task_seed
from poptrain.testing import play
from poptrain.testing.algorithms import every_kind
from poptrain.testing.simulate import noisy

MIXED = pt.Space(
    lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.0, 1.0), batch=pt.Int(1, 6), depth=pt.Ordinal(1, 2, 4),
    many=pt.Int(1, 1000), a=pt.Choice("x", "y", "z"), b=pt.Choice("p", "q"), width=pt.Ordinal(32, 64, static=True),
)  # fmt: skip
CONSTANT = pt.TrustRegion(length=1.0)


# -- the trust region -------------------------------------------------------------------------------------------------


def rounds(settings, winners, members=4, start=None):
    """Returns the regions after rounds in which the last member has a suggestion, and wins where `winners` is True."""
    history, found = History(0, None), []
    score, values = 0.0, np.full(members, 0.5)
    for number in range(len(winners) + 3):
        decided = number >= 3
        first = history.n
        if decided:
            values[-1] = rng(0, "value", number).random()
        parents = [None] * members if not number else list(range(first - members, first))
        line = [
            Task(first + k, k, {"x": float(values[k])}, parents[k], int(number > 0), task_seed(0, first + k))
            for k in range(members)
        ]
        history = history.add(line)
        score += 1.0
        best = members - 1 if decided and winners[number - 3] else 0
        history = history.add([Result(first + k, score + 0.5 * (k == best), number, checkpoint="c") for k in range(members)])
        if decided:
            found.append(settings.now(history))
    return found


def test_three_successes_lengthen_the_region_and_it_stays_within_its_bounds():
    lengths = [region.length for region in rounds(TrustRegion(), [True] * 12)]
    assert lengths[:3] == [0.4, 0.4, pytest.approx(0.6)] and lengths[5] == pytest.approx(0.9) and lengths[8:] == [1.0] * 4


def test_ten_failures_shorten_it_and_thirty_restart_it_without_the_rows_so_far():
    regions = rounds(TrustRegion(), [False] * 31)
    assert [region.length for region in regions[8:11]] == [0.4, pytest.approx(0.4 / 1.5), pytest.approx(0.4 / 1.5)]
    assert all(region.generation == 0 for region in regions[:29])
    after = regions[29]
    assert (after.generation, after.length, after.share, after.successes, after.failures, after.rows) == (1, 0.4, 1.0, 0, 0, 0)
    assert after.first == 4 * 33 and len(after.summits) == 1


def test_after_a_round_one_counter_is_zero_and_the_length_changes_only_at_a_tolerance():
    winners = (rng(0, "winners").random(60) < 0.5).tolist()
    before = Region(0.4, 1.0)
    for region in rounds(TrustRegion(), winners):
        assert 0.15 <= region.length <= 1.0 and min(region.successes, region.failures) == 0
        if region.length != before.length and region.generation == before.generation:
            assert (before.successes, region.successes) == (2, 0) or (before.failures, region.failures) == (9, 0)
        before = region


@pytest.mark.heavy
def test_a_score_that_never_rises_restarts_the_region():
    algorithm = pt.bg_pbt(every_kind(), population=4, interval=2)
    history = play(algorithm, lambda history, task: 1.0, budget=60)
    assert algorithm.explore.region.now(history).generation == 1


def test_a_round_without_competition_changes_nothing():
    region = TrustRegion()
    history = play(pt.random_search(every_kind(), population=4, interval=5), noisy)
    state = region.now(history)
    assert (state.successes, state.failures, state.length) == (0, 0, 0.4) and not any(changed(history, id) for id in range(4))


def test_the_state_of_the_region_does_not_depend_on_the_order_of_results():
    algorithm = pt.bg_pbt(every_kind(), population=4, interval=10, exploit=pt.truncation(0.5))
    states = {algorithm.explore.region.now(play(algorithm, noisy, order=order)) for order in ("together", "fifo", "lifo")}
    assert len(states) == 1


@pytest.mark.parametrize(
    "wrong", [{"length": 0.1}, {"most": 0.3}, {"factor": 1.0}, {"failures": 0}, {"patience": True}, {"share": 0.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(pt.UsageError, match="trust_region"):
        pt.bg_pbt(every_kind(), interval=5, trust_region=TrustRegion(**wrong))


def test_arguments_out_of_range_are_refused():
    for wrong in ({"beta": "pb"}, {"beta": -1}, {"window": 2}, {"retune": -1}, {"trust_region": 0.4}, {"as_in": "blog"}):
        with pytest.raises(pt.UsageError, match=next(iter(wrong))):
            pt.bg_pbt(every_kind(), interval=5, **wrong)


# -- suggestions ------------------------------------------------------------------------------------------------------


def test_every_suggestion_lies_in_the_box_and_in_the_ball_on_the_lattice_and_keeps_static_values():
    algorithm = pt.bg_pbt(MIXED, population=8, interval=5, exploit=pt.truncation(0.5), retune=0.0)
    history = play(algorithm, noisy, budget=30)
    seen = 0
    for id in range(history.n):
        task = history.task(id)
        if task.forecast is None or task.forecast.source != "model":
            continue
        seen += 1
        region = Region(task.note["region length"], task.note["region share"])
        lengths = np.array([task.note[f"length {name}"] for name in ("lr", "momentum", "batch", "depth", "many")])
        near = neighbourhood(MIXED, history.task(task.parent).hparams, region, lengths)
        assert near.contains(MIXED.encode(task.hparams))
        assert MIXED.finish(task.hparams) == task.hparams and task.hparams["width"] == history.task(task.parent).hparams["width"]
    assert seen > 10


def test_the_neighbourhood_is_a_box_and_a_ball_whatever_is_drawn():
    for key in range(20):
        g = rng(key, "near")
        centre = MIXED.sample(g)
        region = Region(0.15 + 0.5 * g.random(), g.random())
        near = neighbourhood(MIXED, centre, region, np.exp(g.normal(size=5)))
        for point in (*near.random(g, 30), *near.neighbours(near.centre), near.anywhere(g)):
            assert near.contains(point) and np.allclose(MIXED.encode(MIXED.decode(point)), point, atol=1e-6)
        assert not near.contains(near.centre + 10 * np.eye(len(near.centre))[7])


def test_few_levels_can_always_change_by_one():
    near = neighbourhood(MIXED, MIXED.finish({**MIXED.sample(rng(0)), "depth": 2, "batch": 3}), Region(0.15, 0.1), None)
    assert [len(near.levels[column]) for column in (2, 3)] == [3, 3] and near.flips == 1
    assert len(codes_of(pt.LogInt(1, 32))) == 32


def test_weights_of_the_box_have_a_geometric_mean_of_one_and_are_bounded():
    width = widths(Region(0.4, 1.0), [0.5, 1.0, 0.8, 0.64])
    assert np.exp(np.log(width / 0.4).mean()) == pytest.approx(1.0)
    assert widths(Region(0.4, 1.0), [1e-3, 1.0, 1e3]).tolist() == pytest.approx([0.2, 0.4, 0.8])
    assert [flips(Region(0.4, share), 3) for share in (1.0, 2 / 3, 0.45, 0.1)] == [3, 2, 1, 1] and flips(Region(0.4, 1.0), 0) == 0


def test_opened_to_the_whole_range_the_search_finds_the_maximum_of_the_bound():
    """Without categories and with L = 1 around the middle, the search is that of a plain Matérn bound over the whole box."""
    space = pt.Space(x=pt.Uniform(0.0, 1.0), y=pt.Uniform(0.0, 1.0))
    g = rng(0, "data")
    z = Inputs(np.zeros(40), g.random((40, 2)), np.zeros((40, 0), int))
    y = copula(-((z.units - 0.8) ** 2).sum(1))
    process = gp.fit(MaternOverlap(("x", "y"), 0), z, y)

    def bound(points):
        mean, sd = process.ask(Inputs(np.zeros(len(points)), points, np.zeros((len(points), 0), int)))
        return mean + 3 * sd

    def slope(point):
        mean, sd, by_mean, by_sd = slopes(process, Inputs(np.zeros(1), point[None], np.zeros((1, 0), int)))
        return mean + 3 * sd, by_mean + 3 * by_sd

    near = neighbourhood(space, {"x": 0.5, "y": 0.5}, Region(1.0, 1.0), None)
    assert near.bounds[0].tolist() == [0, 0] and near.bounds[1].tolist() == [1, 1]
    axis = np.linspace(0, 1, 101)
    grid = np.array(np.meshgrid(axis, axis)).reshape(2, -1).T
    found = searched(bound, slope, near, rng(0, "search"))
    assert bound(found[None])[0] >= bound(grid).max() - 1e-3


def test_two_clones_of_one_parent_get_different_suggestions():
    history = play(pt.bg_pbt(MIXED, population=8, interval=5), noisy, budget=20)
    heads = history.heads()
    best = int(heads[np.argmax(history.scores[heads])])
    others = [seat for seat in range(8) if seat != history.task(best).member]
    clones = [Clone(history.n + k, others[k], best, history.task(best).hparams) for k in range(3)]
    made = LocalSearch(5, 100, 9.0).propose(history, MIXED, clones)
    assert len({tuple(proposal.hparams.items()) for proposal in made}) == 3
    assert all(proposal.forecast.source == "model" and proposal.forecast.gain_sd > 0 for proposal in made)


def test_after_a_restart_clones_are_drawn_around_the_centre_of_the_auxiliary_process():
    history = play(pt.bg_pbt(MIXED, population=8, interval=5), noisy, budget=20)
    heads = history.heads().tolist()
    region = Region(0.4, 1.0, generation=1, first=history.n, summits=(heads[0], heads[3]))
    clones = [Clone(history.n + k, k, heads[5], history.task(heads[5]).hparams) for k in range(4)]
    search = LocalSearch(5, 100, 9.0)
    rows = Rows.of(history, MIXED, 5, 100, (5, 6), context=False)
    made = search._drawn(rows, region, clones, "0 rows")
    centre = restart_centre(rows, region, clones[0])
    near = neighbourhood(MIXED, centre, region, None)
    assert all(near.contains(MIXED.encode(made[clone.id].hparams)) for clone in clones)
    assert restart_centre(rows, region, clones[3]) == centre and len({str(p.hparams) for p in made.values()}) == 4
    assert all(proposal.forecast.fallback == "0 rows" for proposal in made.values())


# -- targets and kernel -----------------------------------------------------------------------------------------------


def test_the_copula_keeps_the_order_alone():
    y = rng(0, "y").normal(size=51)
    z = copula(y)
    assert (np.argsort(z) == np.argsort(y)).all() and np.allclose(np.sort(z), -np.sort(z)[::-1], atol=1e-5)
    assert (copula(np.exp(3 * y)) == z).all() and np.abs(z).max() < 2.5
    assert copula(np.array([4.0])).tolist() == [0.0] and copula(np.ones(5)).tolist() == [0.0] * 5 and not len(copula(np.zeros(0)))


@pytest.mark.heavy
def test_fitting_changes_the_matern_length_towards_that_of_the_data():
    g = rng(0, "lengths")
    z = Inputs(np.zeros(80), g.random((80, 3)), np.zeros((80, 0), int))
    y = np.sin(12 * z.units[:, 0]) + 0.05 * g.normal(size=80)  # a short length in the first column; the others do not matter
    kernel = MaternOverlap(("a", "b", "c"), 0)
    start = kernel.lengths(np.array([hyper.starts[0] for hyper in kernel.hypers]))
    lengths = kernel.lengths(gp.fit(kernel, z, (y - y.mean()) / y.std()).theta[:-1])
    assert abs(np.log(lengths / start)).max() > 0.2 and lengths[0] < 0.5 * min(lengths[1:])


def test_fitting_finds_the_category_that_matters():
    g = rng(0, "categories")
    z = Inputs(np.zeros(80), g.random((80, 2)), g.integers(0, 3, (80, 2)))
    y = 1.0 * (z.categories[:, 1] == 2) + 0.1 * g.normal(size=80)
    kernel = MaternOverlap(("a", "b"), 2)
    weights = kernel.weights(gp.fit(kernel, z, (y - y.mean()) / y.std()).theta[:-1])
    assert weights[1] > 2 * weights[0]


def test_the_overlap_is_one_for_equal_categories_and_the_mixture_is_positive_semidefinite():
    g = rng(1, "mixture")
    z = Inputs(np.arange(40) / 4, g.random((40, 3)), g.integers(0, 3, (40, 2)))
    kernel = MaternOverlap(("a", "b", "c"), 2)
    for mix in (-6.0, 0.0, 6.0):
        theta = np.array([hyper.starts[0] for hyper in kernel.hypers])
        theta[-1] = mix
        k = kernel.matrix(theta, z, z)
        assert np.allclose(np.diag(k), kernel.variance(theta)) and np.linalg.eigvalsh(k).min() > -1e-9
        overlap = kernel._overlap(theta, z, z)
        assert 0 < overlap.min() < overlap.max() == 1


def test_as_in_the_paper():
    algorithm = pt.bg_pbt(MIXED, interval=5, as_in="paper")
    assert algorithm.exploit == pt.truncation(0.125) and algorithm.starts == "random"
    explore = algorithm.explore
    assert (explore.beta, explore.retune, explore.context, explore.shared_noise, explore.redrawn) == (
        9.0,
        None,
        True,
        False,
        True,
    )
    assert not explore.learned_mixing and explore.least_signal == 0.0
    note = [task.note for task in map(play(algorithm, noisy, budget=40).task, range(40)) if "mixing" in task.note]
    assert note and all(each["mixing"] == 0.5 for each in note)


def test_a_model_that_hears_only_noise_is_not_followed():
    def noise(history, task):
        return float(rng(history.seed, task.id, "noise").normal())

    algorithm = pt.bg_pbt(MIXED, population=8, interval=5)
    history = play(algorithm, noise, budget=50)
    forecasts = [each for each in (history.task(id).forecast for id in range(history.n)) if each is not None]
    unheard = [each for each in forecasts if "look like noise" in (each.fallback or "")]
    assert unheard and all(each.source == "redraw" for each in unheard)
    follows = replace(algorithm, explore=replace(algorithm.explore, least_signal=0.0))
    history = play(follows, noise, budget=50)
    assert not any("noise" in (history.task(id).forecast.fallback or "") for id in range(history.n) if history.task(id).forecast)


def test_a_run_that_was_begun_before_that_rule_goes_on_without_it():
    algorithm = pt.bg_pbt(MIXED, population=8, interval=5)
    then = json.loads(json.dumps(describe(algorithm)))
    del then["explore"]["region"]["exact"]
    then_rounded = {"region": replace(algorithm.explore.region, exact=False)}
    assert as_begun(algorithm, then).explore == replace(algorithm.explore, **then_rounded)
    del then["explore"]["robust"]
    earlier = {"robust": False, **then_rounded}
    assert as_begun(algorithm, then).explore == replace(algorithm.explore, **earlier)
    del then["explore"]["anew"]
    earlier["anew"] = False
    assert as_begun(algorithm, then).explore == replace(algorithm.explore, **earlier)
    del then["explore"]["least_signal"]
    earlier["least_signal"] = 0.0
    assert as_begun(algorithm, then).explore == replace(algorithm.explore, **earlier)
    named = pt.bg_pbt(MIXED, population=8, interval=5, retune=0.0)
    then["explore"]["retune"] = 0.0
    assert as_begun(named, then).explore == replace(named.explore, **earlier)
