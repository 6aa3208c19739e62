# ruff: noqa: E402
"""ERL: the invariants of the genetic algorithm and of a generation, and the team as a member of a population."""

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
from poptrain.rl import ERL
from poptrain.rl.memory.chunks import held_rows
from poptrain.rl.memory.rows import Row
from poptrain.rl.mlp import host_mlp, init_mlp, mlp
from poptrain.rl.teams import erl, genetic
from poptrain.rl.teams.erl_learner import clipped
from poptrain.rl.teams.flat import act_all, flatten, unflatten
from poptrain.rl.teams.genetic import Rules, cross, evolve, mutate
from poptrain.rl.trees import take

DRAW = np.random.default_rng(0)
SIZES = (3, 8, 8, 2)
SEEDS = np.asarray([1, 2])


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def unpack(vector):
    return unflatten(vector, SIZES, norm=True)


def people(k=10, seed=0):
    return np.stack([flatten(init_mlp(rng(seed, "x", i), SIZES, norm=True)) for i in range(k)])


def rows(matrix):
    return [row.tobytes() for row in matrix]


RULES = Rules(elites=1, mutation_rate=0.9, mutation_strength=0.1, crossover_rate=0.0)


# -- networks as vectors --------------------------------------------------------------------------------------------------


def test_a_network_with_layer_normalisation_acts_the_same_in_all_three_forms():
    networks = [init_mlp(rng(seed, "x"), SIZES, norm=True) for seed in range(4)]
    for network in networks:
        network[0]["gain"] += 0.5
        network[1]["shift"] -= 0.25
    seen = DRAW.normal(size=(4, 3)).astype(np.float32)
    together = act_all(unpack(np.stack([flatten(network) for network in networks])), seen, "tanh")
    for network, row, outputs in zip(networks, seen, together, strict=True):
        np.testing.assert_allclose(host_mlp(network, row[None].copy(), "tanh")[0], outputs, atol=1e-5)
        np.testing.assert_allclose(mlp(network, row[None], "tanh")[0], outputs, atol=1e-5)
    sums = seen @ networks[0][0]["w"] + networks[0][0]["b"]
    plain = (sums - sums.mean(1, keepdims=True)) / sums.std(1, keepdims=True)
    first = np.arctanh(np.tanh(1.5 * plain))
    np.testing.assert_allclose(
        host_mlp([networks[0][0], {"w": np.eye(8), "b": 0}], seen.copy(), "tanh"), np.tanh(first), atol=1e-3
    )


# -- the genetic algorithm ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elites", [1, 3, 9])
@pytest.mark.parametrize("newcomer", [False, True])
def test_the_best_live_on_bit_for_bit_also_when_the_learner_joins(elites, newcomer):
    for seed in range(20):
        before, fitness = people(seed=seed % 5), rng(seed, "fitness").normal(size=10)
        guest = np.full(before.shape[1], 7.0, np.float32) if newcomer else None
        after = evolve(before, fitness, RULES._replace(elites=elites), unpack, rng(seed, "x"), guest)
        assert after.shape == before.shape
        best = before[np.argsort(-fitness)[:elites]]
        assert set(rows(best)) <= set(rows(after))
        if newcomer:
            np.testing.assert_array_equal(after[np.argmin(fitness)], guest)


@pytest.mark.parametrize(("k", "elites"), [(2, 1), (3, 2), (3, 1)])
def test_tiny_populations_keep_their_best_too(k, elites):
    for seed in range(60):
        before, fitness = people(k), rng(seed, "fitness").normal(size=k)
        after = evolve(before, fitness, RULES._replace(elites=elites), unpack, rng(seed, "x"), before[0] + 9.0)
        assert set(rows(before[np.argsort(-fitness)[:elites]])) <= set(rows(after))


def test_without_mutation_no_new_weight_appears_except_the_learners():
    before, guest = people(), people(1, seed=9)[0]
    fitness = DRAW.normal(size=10)
    now = before
    for g in range(20):
        now = evolve(now, fitness, RULES._replace(mutation_rate=0.0, crossover_rate=0.7), unpack, rng(g, "x"), guest)
        for column in range(before.shape[1]):
            assert set(now[:, column]) <= {*before[:, column], guest[column]}


def test_only_the_ranking_counts_and_nan_is_the_worst():
    before, fitness = people(), DRAW.normal(size=10)
    after = evolve(before, fitness, RULES, unpack, rng(0, "x"))
    np.testing.assert_array_equal(evolve(before, np.exp(3 * fitness) + 9, RULES, unpack, rng(0, "x")), after)
    fitness[np.argmin(fitness)] = np.nan
    np.testing.assert_array_equal(evolve(before, fitness, RULES, unpack, rng(0, "x")), after)


def test_the_generation_before_is_untouched():
    before = people()
    copy = before.copy()
    evolve(before, np.arange(10.0), RULES._replace(crossover_rate=1.0), unpack, rng(0, "x"), before[0])
    np.testing.assert_array_equal(before, copy)


def test_selection_prefers_the_better():
    """With elites and parents alone, the better half of the ranking has more descendants than the other."""
    counts = np.zeros(10)
    before = np.repeat(np.arange(10.0, dtype=np.float32)[:, None], people().shape[1], 1)
    for seed in range(200):
        after = evolve(before, -np.arange(10.0), RULES._replace(mutation_rate=0.0), unpack, rng(seed, "x"))
        counts += np.bincount(after.astype(int).ravel(), minlength=10) / before.shape[1]
    assert counts[0] > 2 * 200 and counts[:5].sum() > 0.8 * counts.sum()


def test_a_mutation_changes_up_to_a_tenth_of_three_in_four_weight_matrices_and_nothing_else():
    changed, shares = 0, []
    for seed in range(250):
        vector = people(1)[0]
        before = vector.copy()
        mutate(unpack(vector), 0.1, rng(seed, "x"))
        for new, old in zip(unpack(vector), unpack(before), strict=True):
            for name in set(new) - {"w"}:
                np.testing.assert_array_equal(new[name], old[name])
            share = (new["w"] != old["w"]).mean()
            changed += share > 0
            shares.append(share)
    nothing_drawn = np.mean([1 / np.ceil(0.1 * rows * columns) for rows, columns in zip(SIZES, SIZES[1:], strict=False)])
    assert changed / len(shares) == pytest.approx(0.75 * (1 - nothing_drawn), abs=0.06)
    assert max(shares) <= 0.1


def test_a_zero_weight_stays_zero_unless_it_is_drawn_anew(monkeypatch):
    vector = np.zeros(people(1).shape[1], np.float32)
    monkeypatch.setattr(genetic, "RESET", 0.0)
    for seed in range(20):
        mutate(unpack(vector), 0.1, rng(seed, "x"))
    assert not vector.any()
    monkeypatch.setattr(genetic, "RESET", 0.05)
    for seed in range(100):
        mutate(unpack(vector), 0.1, rng(seed, "x"))
    assert vector.any()


def test_the_strengths_of_mutations_have_their_shares():
    """Of weights 1: nine in ten move by about a tenth, one in twenty by about ten, one in twenty becomes standard normal."""
    moves = []
    for seed in range(300):
        layers = [{"w": np.ones((40, 50), np.float32)}]
        mutate(layers, 0.1, rng(seed, "x"))
        moves.append(layers[0]["w"][layers[0]["w"] != 1.0] - 1.0)
    moves = np.abs(np.concatenate(moves))
    assert (moves < 0.4).mean() == pytest.approx(0.92, abs=0.02)
    assert (moves > 4.0).mean() == pytest.approx(0.05 * 0.69, abs=0.01)


def test_a_crossover_only_exchanges_units():
    for seed in range(50):
        one, other = people(1, seed=1)[0], people(1, seed=2)[0]
        a, b = one.copy(), other.copy()
        cross(unpack(a), unpack(b), rng(seed, "x"))
        for new, (left, right) in ((a, (one, other)), (b, (other, one))):
            for fresh, own, foreign in zip(unpack(new), unpack(left), unpack(right), strict=True):
                from_own = (fresh["w"] == own["w"]).all(0)
                assert (from_own | (fresh["w"] == foreign["w"]).all(0)).all()
        assert ((a == one) | (a == other)).all() and ((b == one) | (b == other)).all()


def test_large_gradients_are_clipped_and_small_ones_are_not():
    gradient = {"w": np.full((2, 2), 50.0, np.float32), "b": np.zeros(2, np.float32)}
    np.testing.assert_allclose(clipped(gradient)["w"], 5.0, rtol=1e-4)
    np.testing.assert_allclose(clipped({"w": gradient["w"] / 100})["w"], 0.5)


# -- a generation ---------------------------------------------------------------------------------------------------------

TEAM = ERL(env="Pendulum-v1", horizon=20, hidden=(8,), critic_hidden=(8, 8), population_size=4, batch_size=16,
           learning_starts=0, synchronise=2, champion_episodes=2)  # fmt: skip
FRAMES = 20 * 5  # of a generation: four actors and the learner's


def generations(monkeypatch, team, count, steps=FRAMES):
    """Returns each generation's (people before, fitness, newcomer, people after), the carry and the metrics."""
    seen, evolve_ = [], evolve

    def spy(before, fitness, rules, unpack, generator, newcomer=None):
        after = evolve_(before, fitness, rules, unpack, generator, newcomer)
        seen.append((before.copy(), fitness.copy(), newcomer, after.copy()))
        return after

    monkeypatch.setattr(erl, "evolve", spy)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, steps * count, SEEDS[:1])
    return seen, carry, metrics


def test_every_second_generation_has_the_learners_actor_and_every_one_its_champion(monkeypatch):
    seen, carry, metrics = generations(monkeypatch, replace(TEAM, learning_starts=10_000), 5)
    assert [each[2] is not None for each in seen] == [False, True, False, True, False]
    for before, fitness, newcomer, after in seen:
        assert before[np.argmax(fitness)].tobytes() in rows(after)
        assert newcomer is None or newcomer.tobytes() in rows(after)
    before, fitness, _, after = seen[-1]
    np.testing.assert_array_equal(flatten(take(carry, 0)["params"]["actor"]), before[np.argmax(fitness)])
    np.testing.assert_array_equal(carry["population"][0], after)
    assert metrics["generation"].tolist() == [5]
    np.testing.assert_array_equal([metrics[f"team/{i}"][0] for i in range(4)], fitness)


@pytest.mark.heavy
def test_frames_are_those_of_all_actors_and_updates_are_as_many(monkeypatch):
    _, carry, metrics = generations(monkeypatch, replace(TEAM, learning_starts=150), 3)
    assert metrics["steps"].tolist() == [300] and carry["replay"]["count"].tolist() == [300]
    assert metrics["updates"].tolist() == [200], "the first generation is before learning_starts"
    assert metrics["test_steps"].tolist() == [40] and len(metrics["returns"][0]) == 2
    np.testing.assert_allclose(metrics["score"], np.mean(metrics["returns"][0]))
    _, _, twice = generations(monkeypatch, replace(TEAM, episodes=2, updates_per_step=0.5), 1, steps=180)
    assert twice["steps"].tolist() == [180] and twice["updates"].tolist() == [90]


@pytest.mark.heavy
def test_updates_add_up_over_generations_that_have_less_than_one(monkeypatch):
    _, _, metrics = generations(monkeypatch, replace(TEAM, updates_per_step=0.004), 5)
    assert metrics["updates"].tolist() == [2]


def test_fitness_is_the_mean_of_an_actors_returns_and_without_updates_the_learner_rests(monkeypatch):
    played, play_ = [], erl._Team._play
    monkeypatch.setattr(erl._Team, "_play", lambda *args: played.append(play_(*args)) or played[-1])
    team = replace(TEAM, episodes=2, learning_starts=10_000)
    carry, metrics = team.train(team.init({}, SEEDS[:1]), {}, 180, SEEDS[:1])
    np.testing.assert_array_equal(carry["fitness"][0], np.mean([played[0].returns, played[1].returns], 0))
    assert (played[0].returns != played[1].returns).all() and metrics["learner"] == played[2].returns
    assert same(carry["params"]["learner"], TEAM.init({}, SEEDS[:1])["params"]["learner"]) and metrics["updates"] == 0


def test_the_learners_actor_explores_within_the_bounds_with_noise_that_begins_at_zero():
    carry = TEAM.init({}, SEEDS[:1])
    hparams = {name: np.float32(getattr(TEAM, name)) for name in TEAM.ranges} | {"exploration_noise": np.float32(50.0)}
    team = erl._Team(TEAM, TEAM._row(erl.make("Pendulum-v1").spec), carry, hparams, 0, 3)

    class Still:
        def act(self, seen, noise):
            return np.zeros((1, 1), np.float32)

    act = team._noisy(Still())
    actions = np.concatenate([act(None) for _ in range(50)])
    assert np.abs(actions).max() == 1.0
    team.hparams = hparams | {"exploration_noise": np.float32(0.3)}
    starts = np.concatenate([team._noisy(Still())(None) for _ in range(2000)])
    assert starts.std() == pytest.approx(0.3 * 0.2, rel=0.1)


@pytest.mark.heavy
def test_a_team_is_one_member_and_training_is_pure():
    start, _ = TEAM.train(TEAM.init({}, SEEDS), {}, 100, SEEDS)
    once, metrics = TEAM.train(start, {}, 200, SEEDS + 5)
    assert same(once, TEAM.train(start, {}, 200, SEEDS + 5)[0])
    structure, arrays = carries.flatten(carries.lane(start, 1))
    restored = carries.stacked(carries.unflatten(structure, arrays))
    assert same(TEAM.train(TEAM.gather([(restored, 0)]), {}, 200, SEEDS[1:] + 5)[0], TEAM.gather([(once, 1)]))
    assert (metrics["steps"] == 200).all() and (once["generation"] == 3).all()


@pytest.mark.heavy
def test_every_hyperparameter_takes_effect_on_a_clone():
    team = replace(TEAM, population_size=6)
    carry, _ = team.train(team.init({}, SEEDS[:1]), {}, 140, SEEDS[:1])
    changes = {"learning_starts": 300, "elite_fraction": 0.6, "synchronise": 1, "mutation_rate": 0.2, "updates_per_step": 0.5}

    def trace(hparams):
        after, _ = team.train(carry, hparams, 280, SEEDS[:1])
        return after["population"].tobytes() + after["params"]["learner"]["actor"][0]["w"].tobytes()

    traces = {trace({name: np.asarray([changes.get(name, 0.8)])}) for name in team.ranges} | {trace({})}
    assert len(traces) == len(team.ranges) + 1


@pytest.mark.heavy
def test_a_learner_that_diverged_joins_no_population_and_scores_nan():
    carry, metrics = TEAM.train(TEAM.init({}, SEEDS[:1]), {"actor_lr": 1e38, "critic_lr": 1e38}, 400, SEEDS[:1])
    assert np.isnan([metrics["score"][0], metrics["learner"][0]]).all() and np.isfinite(carry["population"]).all()
    assert np.isfinite(held_rows(carry["replay"], 0, Row(3, 1), 1000).view(np.float32)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population_size": 1}, "population_size=1"),
        ({"critic_hidden": (3,)}, r"critic_hidden=\(3,\)"),
        ({"episodes": 0}, "episodes=0"),
    ],
)
def test_an_impossible_team_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        ERL(**{"env": "Pendulum-v1"} | arguments)
