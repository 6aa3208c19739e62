# ruff: noqa: E402
"""Replay memories: exact rows, first in first out, chunks that never change, and n-step transitions that never cross a reset."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

from poptrain._jax import jax, jnp
from poptrain.core.rng import rng
from poptrain.rl.memory import chunks
from poptrain.rl.memory.chunks import chunk_rows, empty_chunks, gathered, held_rows, packed
from poptrain.rl.memory.replay import Replay, Windows
from poptrain.rl.memory.rows import Row, Transitions, bootstrap
from poptrain.rl.memory.windows import advance, empty_windows
from poptrain.rl.trees import take


def decoded(row, rows):
    return Transitions(*(np.asarray(part) for part in row.decode(jnp.asarray(rows))))


@pytest.mark.parametrize("pixels", [False, True])
def test_a_row_comes_back_bit_for_bit(pixels):
    row, draw = Row(7, 2, steps=3, pixels=pixels), np.random.default_rng(0)
    seen, reached = (draw.integers(0, 256, (5, 7)).astype(np.float32) for _ in range(2))
    batch = Transitions(seen, draw.normal(size=(5, 2)), draw.normal(size=(5, 3)), np.asarray([0, 1, 2, 3, 3.0]), reached)
    batch = Transitions(*(part.astype(np.float32) for part in batch))
    rows = np.zeros((5, row.width), np.uint32)
    row.write(rows, *batch)
    for part, back in zip(batch, decoded(row, rows), strict=True):
        np.testing.assert_array_equal(part, back)
    np.testing.assert_array_equal(row.encode(batch), rows)
    assert row.width == 2 * (2 if pixels else 7) + 2 + 3 + 1


def test_special_numbers_survive_a_memory():
    row, odd = Row(1, 1), np.asarray([[np.nan], [np.inf], [-0.0], [1e-42]], np.float32)
    rows = np.zeros((4, row.width), np.uint32)
    row.write(rows, odd, odd, odd, np.ones(4), odd)
    np.testing.assert_array_equal(decoded(row, rows).observations.view(np.uint32), odd.view(np.uint32))


def test_the_memory_is_first_in_first_out_and_samples_all_of_it():
    row = Row(1, 1)
    replay = Replay(row, np.zeros((0, row.width), np.uint32), 100, capacity=10)
    for i in range(25):
        one = np.full((1, 1), i, np.float32)
        replay.add(one, one, one, one[0], one)
    out = np.zeros((400, row.width), np.uint32)
    replay.sample(rng(0, "x"), out)
    assert set(decoded(row, out).observations[:, 0]) == set(range(15, 25))


# -- n-step transitions ---------------------------------------------------------------------------------------------------

# An episode that terminates after 4 steps, one that a time limit cuts after 2, one that runs on; rewards are 1, 2, 4, 8, …
ENDS = {3: "terminated", 5: "truncated"}
TICKS = 9


def expected(n):
    """Returns (begin, rewards, reach, reached) of every transition, written down without any memory."""
    rows = []
    for begin in range(TICKS):
        end = min(e for e in [*ENDS, TICKS - 1] if e >= begin)
        last = min(begin + n - 1, end)
        rewards = [2.0**i for i in range(begin, last + 1)]
        terminated = ENDS.get(last) == "terminated"
        rows.append((begin, rewards + [0.0] * (n - len(rewards)), 0 if terminated else len(rewards), last + 1))
    return sorted(rows)


def as_tuples(batch):
    parts = zip(batch.observations[:, 0], batch.rewards, batch.reach, batch.reached[:, 0], strict=True)
    return sorted((int(a), b.tolist(), int(c), int(d)) for a, b, c, d in parts)


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_windows_never_cross_a_reset(n):
    row = Row(1, 1, steps=n)
    replay = Replay(row, np.zeros((0, row.width), np.uint32), TICKS, capacity=1000)
    windows = Windows(replay, 1)
    for t in range(TICKS):
        here, there, now = (np.full((1, 1), float(x), np.float32) for x in (t, t + 1, 2.0**t))
        over = np.asarray([t in ENDS])
        windows.add(np.asarray([True]), here, here, now[0], there, np.asarray([ENDS.get(t) == "terminated"]), over)
        if t in ENDS:  # a tick that resets
            windows.add(np.asarray([False]), here, here, now[0], there, over & False, over & False)
    windows.cut(np.full((1, 1), float(TICKS), np.float32))
    assert as_tuples(decoded(row, replay.rows[: replay.end])) == expected(n)


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_compiled_windows_are_those_of_the_host(n):
    row = Row(1, 1, steps=n)
    window, rows = take(empty_windows(1, row, 1), 0), []
    step = jax.jit(lambda window, t, terminated, over: advance(
        window, row, (t[None, None], t[None, None], 2.0 ** t[None]), t[None, None] + 1.0, terminated[None], over[None]
    ))  # fmt: skip
    for t in range(TICKS):
        over = t in ENDS or t == TICKS - 1
        window, new, ready = step(window, jnp.float32(t), jnp.asarray(ENDS.get(t) == "terminated"), jnp.asarray(over))
        rows.append(np.asarray(new)[np.asarray(ready)])
    assert as_tuples(decoded(row, np.concatenate(rows))) == expected(n)


def test_targets_discount_each_reward_and_stop_where_the_episode_terminates():
    batch = Transitions(
        jnp.zeros((2, 1)), jnp.zeros((2, 1)), jnp.asarray([[1.0, 2.0], [1.0, 0.0]]), jnp.asarray([2.0, 0.0]), None
    )
    rewards, discount = bootstrap(batch, jnp.float32(0.5))
    assert rewards.tolist() == [2.0, 1.0] and discount.tolist() == [0.25, 0.0]


# -- chunks ---------------------------------------------------------------------------------------------------------------

ROW = Row(1, 1)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * ROW.width * 10)


def numbered(begin, end):
    return np.repeat(np.arange(begin, end, dtype=np.uint32)[:, None], ROW.width, 1)


def test_rows_go_through_chunks_in_order_whatever_the_intervals(small_chunks):
    memory, count = empty_chunks(1), 0
    for added in (3, 0, 7, 1, 25, 9, 100, 2):
        memory = packed(memory, [numbered(count, count + added)], ROW, capacity=42)
        count += added
        held = held_rows(memory, 0, ROW, 42)
        assert held[:, 0].tolist() == list(range(max(0, count - 42), count))
        assert sum(chunk.shape[1] for chunk in memory["chunks"]) < 42 + 2 * chunk_rows(ROW), "the memory is bounded"


def test_a_full_chunk_never_changes(small_chunks):
    memory = packed(empty_chunks(1), [numbered(0, 35)], ROW, 1000)
    later = packed(memory, [numbered(35, 72)], ROW, 1000)
    assert [chunk.shape[1] for chunk in later["chunks"]] == [10] * 7 + [2]
    for k in range(3):
        np.testing.assert_array_equal(memory["chunks"][k], later["chunks"][k])


def test_memories_of_different_length_train_side_by_side(small_chunks):
    a = packed(empty_chunks(1), [numbered(0, 95)], ROW, 30)
    b = packed(empty_chunks(1), [numbered(500, 503)], ROW, 30)
    both = gathered([(a, 0), (b, 0), (a, 0)])
    for step in range(4):
        both = packed(
            both, [numbered(95 + 8 * step, 103 + 8 * step), numbered(503 + 8 * step, 511 + 8 * step)] + [numbered(0, 0)], ROW, 30
        )
        both = gathered([(both, 0), (both, 1), (both, 2)])
    assert held_rows(both, 0, ROW, 30)[:, 0].tolist() == list(range(97, 127))
    assert held_rows(both, 1, ROW, 30)[:, 0].tolist() == list(range(505, 535))
    assert held_rows(both, 2, ROW, 30)[:, 0].tolist() == list(range(65, 95))


def test_memories_that_keep_their_places_are_shared_and_not_copied(small_chunks):
    """A gather comes before every interval, also where nobody is replaced, and a memory may have a million rows."""
    memory = packed(empty_chunks(3), [numbered(0, 35), numbered(100, 142), numbered(200, 235)], ROW, 1000)
    same = gathered([(memory, i) for i in range(3)])
    assert all(a is b for a, b in zip(same["chunks"], memory["chunks"], strict=True))
    later = packed(same, [numbered(35, 72), numbered(142, 150), numbered(235, 236)], ROW, 1000)
    assert [a is b for a, b in zip(later["chunks"], memory["chunks"], strict=False)] == [True] * 3 + [False] * 2
    for i, (begin, end) in enumerate(((0, 72), (100, 150), (200, 236))):
        assert held_rows(later, i, ROW, 1000)[:, 0].tolist() == list(range(begin, end))


def test_a_clone_and_its_parent_go_on_apart(small_chunks):
    memory = packed(empty_chunks(2), [numbered(0, 35), numbered(100, 135)], ROW, 1000)
    before = [chunk.copy() for chunk in memory["chunks"]]
    cloned = packed(gathered([(memory, 1), (memory, 1)]), [numbered(500, 530), numbered(600, 615)], ROW, 1000)
    assert held_rows(cloned, 0, ROW, 1000)[:, 0].tolist() == [*range(100, 135), *range(500, 530)]
    assert held_rows(cloned, 1, ROW, 1000)[:, 0].tolist() == [*range(100, 135), *range(600, 615)]
    assert all((a == b).all() for a, b in zip(before, memory["chunks"], strict=True)), "the parent's memory is untouched"
