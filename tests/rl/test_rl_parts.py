# ruff: noqa: E402
"""The parts of RL agents, each against a plain implementation of its definition."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")

from poptrain import rl
from poptrain._jax import jax, jnp
from poptrain.rl.adam import init_adam
from poptrain.rl.agents.ppo.learner import learn
from poptrain.rl.agents.ppo.shuffle import PRIMES, draw_order, times, walk_order
from poptrain.rl.agents.ppo.table import _advantages, make_scratch
from poptrain.rl.agents.ppo.value_scale import in_units, init_value_scale, rescale
from poptrain.rl.architecture import Architecture, Network
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.memory.marks import GOES_ON, RESET, TERMINATED, TRUNCATED
from poptrain.rl.memory.recording import Recording, host_slots, pack_recordings, unpack_recording
from poptrain.rl.nets import forward, init_params
from poptrain.rl.normaliser import init_normaliser, merge

TINY = Architecture(Network((8,)), Network((8,)))

HPARAMS = {
    "lr": 1e-2,
    "clip": 0.2,
    "kl_coeff": 0.5,
    "kl_target": 0.01,
    "gae_lambda": 0.9,
    "discount": 0.97,
    "entropy_coeff": 0.01,
    "value_coeff": 0.5,
    "epochs": 2,
    "minibatch_size": 8,
    "train_batch_size": 32,
}


def test_rooms_import_only_rooms_below_them():
    order = ["envs", "memory", "loops", "agents"]
    root = Path(rl.__file__).parent
    for rank, room in enumerate(order):
        for path in (root / room).rglob("*.py"):
            above = [name for name in order[rank + 1 :] if f"poptrain.rl.{name}" in path.read_text()]
            assert not above, f"{path.relative_to(root)} imports {above}"


def traced(**changes):
    ints = ("epochs", "minibatch_size", "train_batch_size")
    return {k: np.int32(v) if k in ints else np.float32(v) for k, v in (HPARAMS | changes).items()}


compiled_walk = jax.jit(walk_order, static_argnames="chunk")


@pytest.mark.parametrize("n", [1, 2, 37, 128, 1000, 99_991, 200_000])
def test_the_shuffle_visits_every_row_once(n):
    offset, stride = draw_order(jax.random.key(n), jnp.int32(n))
    chunk, rows, position = 128, [], offset
    for _ in range(-(-n // chunk)):
        new, position = compiled_walk(position, stride, jnp.int32(n), chunk)
        rows.append(np.asarray(new))
    assert np.array_equal(np.sort(np.concatenate(rows)[:n]), np.arange(n))


def test_strides_are_primes_beyond_every_batch():
    assert PRIMES.min() > 1 << 21 and len(set(PRIMES.tolist())) > 500
    for prime in PRIMES[:20].tolist():
        assert all(prime % divisor for divisor in range(2, 2000))


def test_a_stride_times_a_count_does_not_overflow():
    n, stride, count = 2_000_003, 1_999_998, 1_234_567
    assert int(times(jnp.uint32(stride), jnp.int32(count), jnp.int32(n))) == stride * count % n


def test_the_normaliser_equals_the_moments_of_all_samples():
    generator = np.random.default_rng(0)
    parts = [generator.normal(i, 1 + i, (50 * (i + 1), 3)) for i in range(4)]
    state = init_normaliser(3)
    for part in parts:
        state = merge(state, part.mean(0).astype(np.float32), part.var(0).astype(np.float32), np.float32(len(part)))
    whole = np.concatenate(parts)
    assert np.allclose(state["mean"], whole.mean(0), atol=1e-4) and np.allclose(state["var"], whole.var(0), rtol=1e-4)
    assert state["count"] == len(whole)


@pytest.mark.parametrize("distribution", [GAUSSIAN, CATEGORICAL])
def test_divergence_and_entropy_are_means_of_log_densities(distribution):
    old, new = np.asarray([[0.3], [-0.5]], np.float32), np.asarray([[0.1], [0.4]], np.float32)
    old_std, new_std = np.asarray([0.1, -0.3], np.float32), np.asarray([-0.2, 0.2], np.float32)
    wide = np.repeat(old, 200_000, 1)
    actions = distribution.sample(wide, old_std, distribution.noise(jax.random.key(0), wide.shape))
    log_old = distribution.log_prob(wide, old_std, actions)
    log_new = distribution.log_prob(np.repeat(new, 200_000, 1), new_std, actions)
    assert float(distribution.kl(old, old_std, new, new_std)[0]) == pytest.approx(float((log_old - log_new).mean()), abs=0.02)
    assert float(distribution.entropy(old, old_std)[0]) == pytest.approx(-float(log_old.mean()), abs=0.02)
    assert float(distribution.kl(old, old_std, old, old_std)[0]) == pytest.approx(0.0, abs=1e-6)


def test_rescaling_the_value_network_changes_no_value():
    params = init_params(np.random.default_rng(0), 3, TINY, 2, 2)
    x = jax.random.normal(jax.random.key(0), (3, 5))
    scale = {"mean": np.float32(3.0), "std": np.float32(2.0)}
    new, layers = rescale(scale, params["value"], jnp.float32(-100.0), jnp.float32(40.0))
    assert np.allclose(in_units(scale, forward(params["value"], x)), in_units(new, forward(layers, x)), atol=1e-4)


LAYOUT = Layout(2, 2, host_slots(512, 2, {"ticks": np.zeros(1, int), "n": np.zeros(1, int)}), 512, 4)


def episode_batch():
    """Two environments over six ticks: a terminal state, a time limit, resets, and a cut at the end."""
    generator = np.random.default_rng(1)
    marks = np.asarray(
        [[GOES_ON, GOES_ON], [TERMINATED, GOES_ON], [RESET, TRUNCATED], [GOES_ON, RESET], [GOES_ON, GOES_ON], [GOES_ON, GOES_ON]]
    )
    recording = Recording(LAYOUT.slots, 2, 3, 1)
    for tick in range(6):
        recording.begin(generator.normal(size=(2, 3)), generator.normal(size=(2, 1)))
        real = marks[tick] != RESET
        recording.record(generator.normal(size=2) * real, marks[tick], int(real.sum()))
    return recording, recording.batch(generator.normal(size=(2, 3)))


def test_advantages_follow_the_definition_across_ends_and_resets():
    recording, batch = episode_batch()
    scratch = {name: np.array(array) for name, array in make_scratch(LAYOUT, 3, 1, 1).items()}
    scratch["value"][:14] = values = np.random.default_rng(2).normal(size=14).astype(np.float32)
    values = values.reshape(7, 2)
    discount, decay = HPARAMS["discount"], HPARAMS["discount"] * HPARAMS["gae_lambda"]
    expected = np.zeros((6, 2))
    for env in range(2):
        for tick in range(6):
            if recording.marks[tick, env] == RESET:
                continue
            weight, later = 1.0, tick
            while True:  # eq. (16): sum of decayed temporal differences until something ends
                mark = recording.marks[later, env]
                following = 0.0 if mark == TERMINATED else values[later + 1, env]
                expected[tick, env] += weight * (recording.rewards[later, env] + discount * following - values[later, env])
                if mark != GOES_ON or later == 5:
                    break
                weight, later = weight * decay, later + 1
    out, (mean, std), _ = _advantages(batch, scratch, traced(), LAYOUT, batch.ticks)
    got = np.asarray(out["advantage"])[:12].reshape(6, 2)
    assert np.allclose(got, expected, atol=1e-5)
    real = expected[recording.marks[:6] != RESET]
    assert float(mean) == pytest.approx(real.mean(), abs=1e-5) and float(std) == pytest.approx(real.std(), abs=1e-5)


def fresh_state(observation=3, actions=1, seed=0):
    params = init_params(np.random.default_rng(seed), observation, TINY, actions, actions)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {
        "params": params,
        "adam": init_adam(size),
        "normaliser": init_normaliser(observation),
        "value_scale": init_value_scale(),
        "kl_scale": np.float32(1.0),
    }


@cache
def update_of(layout):
    """Returns one compiled update of a layout; hyperparameters are traced, so the tests share it."""
    static = {"layout": layout, "distribution": GAUSSIAN, "max_grad_norm": 0.5}
    return jax.jit(lambda *arguments: learn(*arguments, jax.random.key(0), **static))


def updated(batch, layout=LAYOUT, **changes):
    state, _, diagnostics = update_of(layout)(fresh_state(), batch, make_scratch(layout, 3, 1, 1), traced(**changes))
    return jax.device_get(state), np.asarray(diagnostics)


@pytest.mark.heavy
def test_the_chunk_size_does_not_change_an_update():
    _, batch = episode_batch()
    one, _ = updated(batch, minibatch_size=10)
    other, _ = updated(batch, LAYOUT._replace(chunk=16), minibatch_size=10)
    for a, b in zip(jax.tree.leaves(one["params"]), jax.tree.leaves(other["params"]), strict=True):
        assert np.allclose(a, b, atol=1e-5)


@pytest.mark.heavy
def test_a_window_that_wraps_around_shared_slots_learns_the_same():
    _, batch = episode_batch()
    plain, _ = updated(batch)
    slots, members, member, first = 11, 3, 1, 7
    shared = []
    for array in batch[:4]:
        whole = np.full((slots, members, 2, *array.shape[1:]), 7, array.dtype)
        for tick in range(7):
            whole[(first + tick) % slots, member] = array[2 * tick : 2 * tick + 2]
        shared.append(whole.reshape(-1, *array.shape[1:]))
    moved = Batch(*shared, None, batch.order, batch.n, batch.ticks, np.int32(first), np.int32(2 * member))
    other, _ = updated(moved, Layout(2, 6, slots, 16, 4))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        assert np.allclose(a, b, atol=1e-6)


@pytest.mark.heavy
def test_an_update_moves_towards_better_actions_and_adapts_the_penalty():
    generator = np.random.default_rng(0)
    recording = Recording(LAYOUT.slots, 2, 3, 1)
    for _ in range(256):
        actions = generator.normal(size=(2, 1)).astype(np.float32)
        recording.begin(generator.normal(size=(2, 3)), actions)
        recording.record(actions[:, 0], np.full(2, TERMINATED), 2)  # the reward is the action
    batch = recording.batch(np.zeros((2, 3)))
    state, diagnostics = updated(batch, epochs=20, minibatch_size=64, kl_coeff=0.0)
    assert float(forward(state["params"]["policy"], jnp.zeros((3, 1)))[0, 0]) > 0.1
    assert diagnostics[0] > 0.02 and state["kl_scale"] == np.float32(1.5)
    still, _ = updated(batch, lr=0.0)
    assert still["kl_scale"] == np.float32(0.5)
    assert state["normaliser"]["count"] == 512


def test_recordings_survive_a_carry_and_hold_nothing_stale():
    recording, _ = episode_batch()
    long = Recording(len(recording.marks), 2, 3, 1)
    for _ in range(9):
        long.begin(np.ones((2, 3)), np.ones((2, 1)))
        long.record(np.ones(2), GOES_ON, 2)
    buffer = pack_recordings([recording, long])
    assert buffer["marks"].shape == (2, 9, 2) and not buffer["observations"][0, 6:].any()
    back = unpack_recording(buffer, 0, Recording(len(recording.marks), 2, 3, 1))
    assert back.n == recording.n and np.array_equal(back.marks[:6], recording.marks[:6])
