# ruff: noqa: E402
"""CEM-RL: the invariants of the search, of a generation, and the team as a member of a population."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl import CEMRL
from poptrain.rl.memory.chunks import held_rows
from poptrain.rl.memory.rows import Row
from poptrain.rl.mlp import host_mlp, init_mlp
from poptrain.rl.teams import cem_rl
from poptrain.rl.teams.cem import ask, better_half, damping, elite_weights, importance_mixing, tell
from poptrain.rl.teams.flat import act_all, flatten, unflatten
from poptrain.rl.trees import take

DRAW = np.random.default_rng(0)


def search(size=6, variance=1e-3):
    return {"mean": np.zeros(size, np.float32), "variance": np.full(size, variance, np.float32), "damping": np.float32(1e-3)}


# -- the search -----------------------------------------------------------------------------------------------------------


def test_weights_add_up_to_one_and_fall():
    weights = elite_weights(5)
    np.testing.assert_allclose(weights, [0.4295, 0.2634, 0.1662, 0.0972, 0.0437], atol=1e-4)
    assert weights.sum() == pytest.approx(1.0)


def test_a_population_mirrors_itself_at_the_mean():
    start = search() | {"mean": np.arange(6, dtype=np.float32)}
    np.testing.assert_allclose(ask(start, 10, rng(0, "x")).mean(0), start["mean"], atol=1e-6)
    assert ask(start, 7, rng(0, "x")).shape == (7, 6)


def test_only_the_ranking_counts_and_the_order_does_not():
    people, fitness = ask(search(), 10, rng(0, "x")), DRAW.normal(size=10)
    told, order = tell(search(), people, fitness, 1e-5), DRAW.permutation(10)
    for other in (tell(search(), people, np.exp(3 * fitness) + 9, 1e-5), tell(search(), people[order], fitness[order], 1e-5)):
        for name in told:
            np.testing.assert_allclose(other[name], told[name], rtol=1e-5)
    worst = np.where(fitness < np.median(fitness), np.nan, fitness)
    np.testing.assert_allclose(tell(search(), people, worst, 1e-5)["mean"], told["mean"], rtol=1e-5)
    assert (better_half(worst) == better_half(fitness)).all() and np.isfinite(worst[better_half(worst)]).all()


def test_the_closed_form_of_the_damping_is_that_of_the_code_and_it_bounds_the_variance():
    now = search()
    for g in range(1, 30):
        before = damping(1e-3, 1e-5, 0.95, g - 1)
        now = tell(now, ask(now, 10, rng(g, "x")), DRAW.normal(size=10), damping(1e-3, 1e-5, 0.95, g))
        assert now["damping"] == pytest.approx(0.95 * before + 0.05 * 1e-5, rel=1e-5)
        assert (now["variance"] >= now["damping"] * 0.9999).all() and (now["variance"] <= 1e-2).all()


def test_the_mean_lies_between_the_elites():
    people, fitness = DRAW.normal(size=(10, 6)).astype(np.float32), DRAW.normal(size=10)
    mean, elites = tell(search(), people, fitness, 1e-5)["mean"], people[np.argsort(-fitness)[:5]]
    assert (elites.min(0) < mean).all() and (mean < elites.max(0)).all()
    np.testing.assert_allclose(mean, elite_weights(5) @ elites, rtol=1e-5)  # of weights with the sum 1: inside their convex hull


def test_equal_elites_at_the_mean_leave_only_the_damping():
    told = tell(search(), np.zeros((10, 6), np.float32), np.arange(10.0), 1e-5)
    np.testing.assert_allclose(told["variance"], told["damping"])


def test_under_neutral_fitness_the_variance_stays_at_five_quarters_of_the_damping():
    now = search(size=2000)
    for g in range(12):
        now = tell(now, ask(now, 10, rng(g, "x")), DRAW.normal(size=10), 1e-3)
    assert now["variance"].mean() == pytest.approx(1.25e-3, rel=0.05)
    wide = tell(search(size=2000), ask(search(size=2000), 10, rng(0, "x")), DRAW.normal(size=10), 1e-3, divide_by_elites=False)
    assert wide["variance"].mean() > 1.6e-3


def test_it_finds_the_top_of_a_sphere():
    now = search(size=20, variance=1e-2) | {"mean": np.full(20, 0.3, np.float32)}
    for g in range(300):
        people = ask(now, 10, rng(g, "x"))
        now = tell(now, people, -(people**2).sum(1), 1e-5)
    assert (now["mean"] ** 2).sum() < 5e-3


def test_importance_mixing_reuses_all_of_an_equal_search_and_nothing_of_a_distant_one():
    people = ask(search(), 10, rng(0, "x"))
    reused, fresh = importance_mixing(search(), search(), people, rng(1, "x"))
    assert reused.tolist() == list(range(10)) and not len(fresh)
    far = search() | {"mean": np.full(6, 5.0, np.float32)}
    reused, fresh = importance_mixing(search(), far, people, rng(1, "x"))
    assert not len(reused) and fresh.shape == (10, 6) and abs(fresh.mean() - 5.0) < 0.05


def test_importance_mixing_makes_a_sample_of_the_new_search():
    new, means, kept = search(1) | {"mean": np.full(1, 0.02, np.float32)}, [], 0
    for seed in range(600):
        people = ask(search(1), 4, rng(seed, "a"))
        reused, fresh = importance_mixing(search(1), new, people, rng(seed, "b"))
        means.append(np.concatenate([people[reused], fresh]).mean())
        kept += len(reused)
    assert np.mean(means) == pytest.approx(0.02, abs=0.003) and 600 < kept < 2300


def test_a_population_of_networks_acts_as_its_networks():
    sizes = (3, 8, 8, 2)
    networks = [init_mlp(rng(seed, "x"), sizes) for seed in range(4)]
    seen = DRAW.normal(size=(4, 3)).astype(np.float32)
    together = act_all(unflatten(np.stack([flatten(network) for network in networks]), sizes), seen, "tanh")
    for network, row, outputs in zip(networks, seen, together, strict=True):
        np.testing.assert_allclose(host_mlp(network, row[None].copy(), "tanh")[0], outputs, atol=1e-6)


# -- a generation ---------------------------------------------------------------------------------------------------------

TEAM = CEMRL(env="Pendulum-v1", horizon=30, hidden=(16,), population_size=4, gradients=2, batch_size=16, learning_starts=0)
SEEDS = np.asarray([1, 2])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def spied(monkeypatch, team, generations=2):
    """Returns the individuals that each generation drew and played, and the updates of critics and of actors."""
    drawn, played, updates = [], [], []
    ask_, play_, bursts_ = cem_rl.ask, cem_rl._Team._play, cem_rl._Team._bursts
    monkeypatch.setattr(cem_rl, "ask", lambda *args: drawn.append(ask_(*args)) or drawn[-1].copy())
    monkeypatch.setattr(cem_rl._Team, "_play", lambda self, people: played.append(people.copy()) or play_(self, people))

    def bursts(self, which, state, other, each):
        updates.append((which, sum(len(places) for _, places in each)))
        return bursts_(self, which, state, other, each)

    monkeypatch.setattr(cem_rl._Team, "_bursts", bursts)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, 120 * generations, SEEDS[:1])
    return drawn, played, updates, carry, metrics


@pytest.mark.heavy
def test_a_generation_trains_the_first_actors_and_makes_as_many_updates_as_the_last_had_steps(monkeypatch):
    drawn, played, updates, carry, metrics = spied(monkeypatch, TEAM)
    assert len(played) == 2 and metrics["generation"] == [2] and metrics["steps"].tolist() == [240]
    np.testing.assert_array_equal(played[0], drawn[0])  # the first generation has nothing to learn from
    np.testing.assert_array_equal(played[1][2:], drawn[1][2:])
    assert all((played[1][i] != drawn[1][i]).any() for i in range(2))
    assert sorted(updates[-4:]) == [("actor", 120)] * 2 + [("critic", 60)] * 2
    assert carry["replay"]["count"].tolist() == [240]
    np.testing.assert_array_equal(flatten(take(carry, 0)["params"]["actor"]), carry["mean"][0])


def test_what_is_left_of_the_critics_updates_after_the_division_among_actors_is_not_made(monkeypatch):
    """Three trained actors of four, and 124 steps: 41 updates of the critics for each of them, and 124 of each actor."""
    monkeypatch.setattr(cem_rl._Team, "_bursts", lambda self, which, state, other, bursts: (state, np.zeros(2, np.float32)))
    drawn, played, updates, *_ = spied(monkeypatch, replace(TEAM, gradients=3, horizon=31))
    assert sorted(updates) == [("actor", 124)] * 3 + [("critic", 41)] * 3
    np.testing.assert_array_equal(played[1], drawn[1])  # the last actor rests, and so do the others without updates


@pytest.mark.heavy
def test_threads_change_no_bit(monkeypatch):
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(cem_rl, "cpus", lambda threads=threads: threads)
        carry, _ = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 360, SEEDS[:1])
        found.append(carry)
    assert same(*found)


def test_without_gradients_it_is_a_pure_search(monkeypatch):
    drawn, played, updates, carry, _ = spied(monkeypatch, replace(TEAM, gradients=0))
    assert all(np.array_equal(a, b) for a, b in zip(drawn, played, strict=True)) and not updates
    assert same(carry["params"]["critics"], TEAM.init({}, SEEDS[:1])["params"]["critics"])


def test_mixing_plays_only_what_is_new(monkeypatch):
    _, played, _, _, metrics = spied(monkeypatch, replace(TEAM, mixing=True, gradients=0), generations=4)
    assert len(played[0]) == 4 and metrics["steps"][0] == 30 * sum(map(len, played))


def test_a_generation_that_could_reuse_all_actors_plays_a_new_one(monkeypatch):
    """A search that hardly moved keeps all of its sample: without a new actor, generations without a step would never end."""
    monkeypatch.setattr(cem_rl, "importance_mixing", lambda old, search, people, draw: (np.arange(len(people)), people[:0]))
    _, played, _, carry, _ = spied(monkeypatch, replace(TEAM, mixing=True, gradients=0))
    assert [len(people) for people in played] == [4] + [1] * 4 and carry["generation"] == [5]


@pytest.mark.heavy
def test_both_diagnostics_of_the_critic_are_known_after_gradients():
    _, metrics = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 240, SEEDS[:1])
    assert np.isfinite([metrics["critic_loss"][0], metrics["q"][0]]).all()


def test_a_team_is_one_member_and_training_is_pure():
    start, _ = TEAM.train(TEAM.init({}, SEEDS), {}, 100, SEEDS)
    once, metrics = TEAM.train(start, {}, 200, SEEDS + 5)
    assert same(once, TEAM.train(start, {}, 200, SEEDS + 5)[0])
    alone = TEAM.train(TEAM.gather([(start, 1)]), {}, 200, SEEDS[1:] + 5)[0]
    assert same(alone, TEAM.gather([(once, 1)]))
    scores = np.stack([metrics[f"team/{i}"] for i in range(4)])
    np.testing.assert_allclose(metrics["score"], np.sort(scores, 0)[2:].mean(0))
    assert (metrics["steps"] == 240).all() and len(metrics["returns"][0]) == 8


def test_every_hyperparameter_of_the_search_takes_effect_on_a_clone():
    """Also those that are called the start of something: a copy would else log a value that is not in force."""
    team = replace(TEAM, gradients=0)
    carry, _ = team.train(team.init({}, SEEDS[:1]), {}, 240, SEEDS[:1])
    names = ("variance_start", "variance_end", "variance_decay")
    after = {team.train(carry, {name: [5e-3]}, 120, SEEDS[:1])[0]["variance"].tobytes() for name in names}
    assert len(after | {team.train(carry, {}, 120, SEEDS[:1])[0]["variance"].tobytes()}) == 4


def test_the_division_by_the_number_of_elites_is_an_option_of_a_team():
    """Two elites: without the division, the variance of the elites has twice the weight next to the damping."""
    pure = replace(TEAM, gradients=0)
    divided, whole = (
        team.train(team.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])[0] for team in (pure, replace(pure, divide_by_elites=False))
    )
    assert same(divided["mean"], whole["mean"]) and pure == replace(pure, divide_by_elites=True)
    spread = [carry["variance"][0] - carry["damping"][0] for carry in (divided, whole)]
    inside = whole["variance"][0] < 0.0099  # not at the bound
    np.testing.assert_allclose(spread[1][inside], 2 * spread[0][inside], atol=1e-8)


def test_an_actor_without_a_finite_return_is_not_in_the_better_half(monkeypatch):
    play = cem_rl._Team._play

    def spoiled(self, people):
        returns, frames = play(self, people)
        return np.where(np.arange(len(returns)) == 0, np.nan, returns), frames

    monkeypatch.setattr(cem_rl._Team, "_play", spoiled)
    team = replace(TEAM, gradients=0)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, 120, SEEDS[:1])
    assert np.isfinite(metrics["score"][0]) and np.isnan(metrics["team/0"][0]) and np.isfinite(carry["mean"]).all()


def test_an_actor_that_a_gradient_spoiled_spoils_neither_memory_nor_search(monkeypatch):
    """Its observations would be NaN in some simulators, and one of them in the memory ends the critics for good."""

    def spoiled(self, people, steps):
        return np.where(np.arange(len(people))[:, None] == 0, np.nan, people)

    monkeypatch.setattr(cem_rl._Team, "_follow_gradients", spoiled)
    carry, metrics = TEAM.train(TEAM.init({}, SEEDS[:1]), {}, 360, SEEDS[:1])
    assert metrics["generation"] == [3] and np.isnan(metrics["team/0"][0]) and np.isfinite(metrics["score"][0])
    row = Row(3, 1)
    assert (
        np.isfinite(row.decode(held_rows(carry["replay"], 0, row, 1000)).observations).all() and np.isfinite(carry["mean"]).all()
    )
    assert np.isfinite(metrics["returns"][0]).all()


def test_actors_of_finite_weights_that_overflow_act_with_zeros_and_are_not_fitted(monkeypatch):
    """Also if they are more than half: a single one among the elites would make the mean infinite, or NaN."""

    def spoiled(self, people, steps):
        return np.where(np.arange(people.shape[1]) % 3, 3e38, -3e38) * np.ones_like(people)

    monkeypatch.setattr(cem_rl._Team, "_follow_gradients", spoiled)
    team = replace(TEAM, gradients=3)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, 240, SEEDS[:1])
    fitness = np.asarray([metrics[f"team/{i}"][0] for i in range(4)])
    assert np.isnan(fitness[:3]).all() and metrics["score"][0] == fitness[3] and np.abs(carry["mean"]).max() < 10
    row = Row(3, 1)
    assert np.isfinite(held_rows(carry["replay"], 0, row, 1000).view(np.float32)).all()
    assert np.isfinite(metrics["returns"][0]).all()


def test_the_better_half_has_only_finite_fitness_as_long_as_there_is_one():
    assert better_half(np.asarray([np.nan, np.nan, 1.0, np.nan])).tolist() == [2]
    assert len(better_half(np.full(4, np.nan))) == 1


@pytest.mark.parametrize("tuned", [pt.pbt, pt.pb2], ids=["pbt", "pb2"])
def test_a_population_of_teams_is_tuned_and_a_run_resumes_bit_for_bit(tuned, tmp_path):
    space = pt.Space(actor_lr=pt.LogUniform(1e-4, 1e-2), variance_end=pt.LogUniform(1e-5, 1e-3))

    def run(directory, steps):
        algorithm = tuned(space, population=2, interval=120, exploit=pt.truncation(0.5))
        return pt.run(algorithm, TEAM, stop=pt.steps(steps), executor="vectorized", directory=directory)

    whole = run(None, 480)
    run(tmp_path / "r", 240)
    resumed = run(tmp_path / "r", 480)
    np.testing.assert_array_equal(whole.history.scores, resumed.history.scores)
    assert same(whole.best.load(), resumed.best.load())


def test_an_impossible_team_is_refused():
    with pytest.raises(UsageError, match="gradients=11"):
        CEMRL(env="jax/Pendulum-v1", gradients=11)
    with pytest.raises(UsageError, match="divide_by_elites=2"):
        CEMRL(env="jax/Pendulum-v1", divide_by_elites=2)
    with pytest.raises(UsageError, match=r"variance_start=0.1 is not within \[0, 0.01\]"):
        CEMRL(env="jax/Pendulum-v1", variance_start=0.1)  # the variance is bounded, so another value would be logged than used
