# ruff: noqa: E402
"""P3S-TD3: the rules of the pull, a lone learner is TD3 bit for bit, and the team as a member of a population."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl import P3S, TD3
from poptrain.rl.loops.off_policy import Learner
from poptrain.rl.loops.off_policy_host import HostActor
from poptrain.rl.memory.chunks import held_rows
from poptrain.rl.memory.replay import Replay
from poptrain.rl.memory.rows import Row, Transitions
from poptrain.rl.teams import episodes, p3s
from poptrain.rl.teams.p3s_rules import adapted, best_of, distance
from poptrain.rl.trees import all_finite, take

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than the longest episode")
SMALL = {"env": "Pendulum-v1", "horizon": 20, "hidden": (16,), "batch_size": 16, "learning_starts": 30, "update_every": 10}
TEAM = P3S(learners=3, period=40, **SMALL)
SEEDS = np.asarray([1, 2])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(("spread", "beta"), [(0.151, 2.0), (0.149, 1.0), (0.1, 1.0), (0.0662, 0.5)])
def test_the_pull_doubles_beyond_the_radius_and_halves_within(spread, beta):
    assert adapted(1.0, spread, 0.05, 2.0, 0.02) == beta


def test_the_pull_stays_within_its_bounds_and_the_radius_has_a_floor():
    up = down = 1.0
    for _ in range(50):
        up, down = adapted(up, 9.0, 0.0, 2.0, 0.05), adapted(down, 0.0, 0.0, 2.0, 0.05)
    assert (up, down) == (2.0**10, 2.0**-10)
    assert adapted(1.0, 0.06, 0.0, 2.0, 0.05) == 1.0 and adapted(1.0, 0.076, 0.0, 2.0, 0.05) == 2.0


def test_the_best_has_finished_an_episode():
    assert best_of([[], [], []]) == -1 and best_of([[], [-900.0], []]) == 1
    assert best_of([[1.0, 3.0], [2.5], [np.nan]]) == 1 and best_of([[np.nan], []]) == -1
    assert distance(np.zeros((2, 3)), np.full((2, 3), 2.0)) == 2.0


def test_a_lone_learner_is_td3_bit_for_bit():
    lone, td3 = replace(TEAM, learners=1), TD3(**SMALL)
    ours, _ = lone.train(lone.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])
    theirs, _ = td3.train(td3.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])
    assert same(ours["replay"], theirs["replay"])
    for name in ("params", "target", "actor_adam", "critic_adam"):
        assert same(jax.tree.map(lambda x: x[:, 0], ours["learners"][name]), theirs[name])


def test_the_pull_has_no_gradient_at_the_best_policy_and_points_to_it_elsewhere():
    agent, draw = p3s.Functions((8,)), np.random.default_rng(0)
    state, other = agent.init(3, 2, rng(0, "x")), agent.init(3, 2, rng(1, "x"))["params"]["actor"]
    batch = Transitions(draw.normal(size=(5, 3)).astype(np.float32), *[None] * 4)

    def slope(pull, best):
        hparams = {"pull": np.float32(pull), "best_actor": best}
        return jax.grad(agent.actor_loss)(state["params"]["actor"], state["params"]["critics"], batch, hparams)

    free = slope(0.0, other)
    for a, b in zip(jax.tree.leaves(slope(50.0, state["params"]["actor"])), jax.tree.leaves(free), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    pulled = jax.tree.map(lambda a, b: a - b, slope(50.0, other), free)
    moved = jax.tree.map(lambda p, g: p - 1e-4 * g, state["params"]["actor"], pulled)
    apart = [
        distance(*(np.asarray(agent.policy(x, batch.observations)) for x in (actor, other)))
        for actor in (state["params"]["actor"], moved)
    ]
    assert apart[1] < apart[0]


def test_the_best_learner_is_not_pulled_and_all_others_are(monkeypatch):
    carry, _ = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])
    best, pulls, burst = int(carry["best"][0]), [], Learner.burst

    def spied(self, state, rows, updates, hparams, seed, done):
        pulls.append(float(hparams["pull"]))
        return burst(self, state, rows, updates, hparams, seed, done)

    monkeypatch.setattr(Learner, "burst", spied)
    TEAM.train(carry, {}, 60, SEEDS[:1] + 5)
    by_learner = np.asarray(pulls).reshape(-1, TEAM.learners)
    assert best >= 0 and len(by_learner) == 2
    assert not by_learner[:, best].any() and (np.delete(by_learner, best, 1) == float(carry["beta"][0])).all()


@pytest.mark.parametrize(
    ("name", "value", "base"), [("rho", 50.0, {}), ("d_min", 5.0, {}), ("beta_factor", 8.0, {"rho": [50.0]})]
)
def test_every_hyperparameter_of_the_pull_takes_effect_on_a_clone(name, value, base):
    carry, _ = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])
    usual, other = (TEAM.train(carry, hparams, 120, SEEDS[:1])[0]["beta"] for hparams in (base, base | {name: [value]}))
    assert other < usual, "a wider radius weakens the pull, and a larger factor does so faster"


def test_a_team_shares_one_memory_and_training_is_pure():
    start, _ = TEAM.train(TEAM.init({}, SEEDS), {}, 150, SEEDS)
    once, metrics = TEAM.train(start, {}, 240, SEEDS + 5)
    assert same(once, TEAM.train(start, {}, 240, SEEDS + 5)[0])
    structure, arrays = carries.flatten(carries.lane(start, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    assert same(TEAM.train(TEAM.gather([(restored, 0)]), {}, 240, SEEDS[1:] + 5)[0], TEAM.gather([(once, 1)]))
    assert (once["frames"] == 390).all() and (metrics["steps"] == 240).all()
    assert (once["replay"]["count"] == 390).all(), "one memory with the transitions of all learners"
    scores = np.stack([metrics[f"team/{i}"] for i in range(3)])
    np.testing.assert_allclose(metrics["score"], scores.max(0))
    assert (once["best"] >= 0).all() and (once["beta"] != 1.0).all()


def test_the_best_policy_is_a_snapshot_that_rests_during_a_period():
    carry, _ = TEAM.train(TEAM.init({}, SEEDS), {}, 120, SEEDS)  # one period
    later, _ = TEAM.train(carry, {}, 117, SEEDS)  # one tick less than another
    assert same(carry["best_actor"], later["best_actor"]) and not same(carry["learners"], later["learners"])
    end, _ = TEAM.train(carry, {}, 120, SEEDS)
    assert not same(carry["best_actor"], end["best_actor"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learners": 0}, "learners=0"),
        ({"reduce": "max"}, 'reduce=.max., expected "mean"'),
        ({"env": "jax/Pendulum-v1"}, "use 'Pendulum-v1'"),
    ],
)
def test_an_impossible_team_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        P3S(**{"env": "Pendulum-v1"} | arguments)


def test_the_order_of_learners_only_permutes_the_results(monkeypatch):
    """Each learner keeps its environment and its random numbers, and draws the same transitions of the shared memory."""
    monkeypatch.setattr(p3s, "side_by_side", lambda train, teams: [train(i) for i in range(teams)])
    order, still = np.asarray([2, 0, 1]), {"target_noise": [0.0], "rho": [50.0]}  # that noise is keyed by the place
    start = TEAM.init(still, SEEDS[:1])
    usual, metrics = TEAM.train(start, still, 600, SEEDS[:1])
    prepare, seeds, draw = p3s._Team.__init__, p3s.training_seeds, Replay.draw

    def permuted(self, *args):
        prepare(self, *args)
        self.draws, self.explore = ([own[i] for i in order] for own in (self.draws, self.explore))

    def places(self, generator, shape):
        rows = draw(self, generator, shape)
        return rows // 3 * 3 + np.argsort(order)[rows % 3]

    monkeypatch.setattr(p3s._Team, "__init__", permuted)
    monkeypatch.setattr(p3s, "training_seeds", lambda *args: [seeds(*args)[i] for i in order])
    monkeypatch.setattr(Replay, "draw", places)
    moved = start | {name: jax.tree.map(lambda x: x[:, order], start[name]) for name in ("learners", "old_actors")}
    other, permuted_metrics = TEAM.train(moved, still, 600, SEEDS[:1])
    for name in ("learners", "old_actors", "recent"):
        assert same(jax.tree.map(lambda x: x[:, order], usual[name]), other[name]), name
    assert all(same(usual[name], other[name]) for name in ("beta", "best_actor", "params", "score"))
    assert order[other["best"][0]] == usual["best"][0] and usual["beta"][0] != 1.0
    assert [permuted_metrics[f"team/{i}"][0] for i in range(3)] == [metrics[f"team/{i}"][0] for i in order]


# -- a learner that is not finite -----------------------------------------------------------------------------------------


def spoiled(carry, learner, part, value=np.nan):
    """Returns the carry after a learner's network broke; of all learners, it has had the highest returns."""
    carry = carries.copy(carry)
    layers = carry["learners"]["params"][part]
    for array in jax.tree.leaves(layers):
        array[:, learner] = value * np.where(np.arange(array[:, learner].size) % 3, 1, -1).reshape(array[:, learner].shape)
    carry["recent"][:, learner] = 1e3
    return carry


@pytest.mark.parametrize(("part", "value"), [("actor", np.nan), ("critics", np.nan), ("actor", 1e30)])
def test_a_learner_that_is_not_finite_is_never_the_best_and_spoils_nobody(part, value):
    """1e30 is finite, and the actions of such weights are not."""
    start, _ = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 150, SEEDS[:1])
    with pytest.warns(UserWarning, match="learner 1 of a team are not finite"):
        carry, metrics = TEAM.train(spoiled(start, 1, part, value), {}, 260, SEEDS[:1])
    assert carry["best"][0] in (0, 2) and np.isnan(metrics["team/1"][0])
    assert metrics["score"][0] == max(metrics["team/0"][0], metrics["team/2"][0])
    assert np.isfinite([metrics["score"][0], metrics["critic_loss"][0], carry["beta"][0]]).all()
    assert carry["beta"][0] != start["beta"][0], "the others still adapt their pull"
    rows = held_rows(carry["replay"], 0, Row(3, 1), 1000)
    assert len(rows) == 410 and np.isfinite(rows.view(np.float32)).all()
    for i in (0, 2):
        assert all_finite(take(take(carry["learners"], 0), i))
    assert all_finite(carry["params"]) and np.isfinite(TEAM.evaluate(carry, 0, 2)).all()


def test_a_team_without_a_finite_learner_scores_nan():
    carry, _ = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 150, SEEDS[:1])
    for i in range(3):
        carry = spoiled(carry, i, "critics")
    carry, metrics = TEAM.train(carry, {}, 130, SEEDS[:1])
    assert np.isnan(metrics["score"][0]) and carry["best"].tolist() == [-1]


# -- options that papers and codes leave open -----------------------------------------------------------------------------


def test_the_distance_of_the_paper_is_the_sum_over_the_dimensions_of_an_action():
    actions, others = np.zeros((2, 3)), np.full((2, 3), 2.0)
    assert distance(actions, others, "sum") == 6.0 == 3 * distance(actions, others, "mean")
    draw = np.random.default_rng(0)
    batch = Transitions(draw.normal(size=(5, 3)).astype(np.float32), *[None] * 4)
    losses = {}
    for reduce in ("mean", "sum"):
        agent = p3s.Functions((8,), reduce=reduce)
        state, other = agent.init(3, 2, rng(0, "x")), agent.init(3, 2, rng(1, "x"))["params"]["actor"]
        params = state["params"]
        free, pulled = (
            float(agent.actor_loss(params["actor"], params["critics"], batch, {"pull": np.float32(pull), "best_actor": other}))
            for pull in (0.0, 3.0)
        )
        losses[reduce] = pulled - free
        here, there = (np.asarray(agent.policy(actor, batch.observations)) for actor in (params["actor"], other))
        assert losses[reduce] == pytest.approx(3.0 * distance(here, there, reduce), rel=1e-4)
    assert losses["sum"] == pytest.approx(2 * losses["mean"], rel=1e-4)


def test_a_smaller_factor_comes_to_rest_where_2_swings_to_and_fro():
    """A quadratic critic with its top at distance 1 from the best: D = 1 / (2 (1 + beta)^2)."""

    def path(factor):
        betas = [1.0]
        for _ in range(40):
            betas.append(adapted(betas[-1], 0.5 * (1 + betas[-1]) ** -2, 0.0, 2.0, 0.0123, factor))
        return set(betas[-10:])

    assert path(2.0) == {4.0, 8.0} and len(path(2.0**0.5)) == 1


def test_the_best_may_be_chosen_by_episodes_of_its_own_that_are_not_stored():
    team = replace(TEAM, selection_episodes=2)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])  # chosen at its last step
    first, *others = (
        episodes.without_noise("Pendulum-v1", None, 20, [actor], 2, int(SEEDS[0]) + 120)[0]
        for actor in (HostActor(team.functions(), take(take(carry["learners"], 0), i), {}) for i in range(3))
    )
    assert carry["best"][0] == np.argmax([np.mean(own) for own in (first, *others)])
    assert carry["replay"]["count"].tolist() == [120] and metrics["steps"].tolist() == [120]
    assert same(carry["params"]["actor"], carry["best_actor"])
