"""The rollout buffer inside a compiled program: a ring of ticks that all members of a population write together.

The ring has the capacity of the largest batch; a carry holds only its filled part. It moves in and out in pages of one
size, so that the compiled code does not depend on how much is filled. A *window* says where the members' recordings are:
``{"head": next slot to write, "ticks": (P,), "n": transitions (P,)}``; all recordings end at the head.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.trees import Array, Parts

PAGE_TICKS = 64  # ticks that are moved into or out of the ring at once
RING_COLUMNS = ("observations", "actions", "rewards", "marks", "bootstrap")  # the arrays of a ring


def ring_slots(rows: int, num_envs: int) -> int:
    """Returns the ticks that a ring needs for `rows` transitions and the state reached, in whole pages."""
    return -(-(-(-rows // num_envs) + 1) // PAGE_TICKS) * PAGE_TICKS


def empty_rings(members: int, num_envs: int, observation: int, action: int) -> Parts:
    """Returns the buffer of members without transitions: `recording.empty_recordings` with bootstrap values."""
    lead = (members, 0, num_envs)
    return {
        "observations": np.zeros((*lead, observation), np.float32),
        "actions": np.zeros((*lead, action), np.float32),
        "rewards": np.zeros(lead, np.float32),
        "marks": np.zeros(lead, np.uint8),
        "bootstrap": np.zeros(lead, np.float32),
        "ticks": np.zeros(members, np.int32),
        "n": np.zeros(members, np.int32),
    }


def write_slot(array: Array, row: Array, slot: Array) -> Array:
    """Returns an array of the ring, (slots, …), with one slot replaced."""
    return jax.lax.dynamic_update_index_in_dim(array, row, slot, 0)


class Ring:
    """The compiled operations on a ring of one shape. Its arrays have shape (slots, P, E, …)."""

    def __init__(self, spec: EnvSpec, members: int, layout: Layout):
        self.spec, self.members, self.layout = spec, members, layout
        self._empty = jax.jit(self._make)
        self._put = jax.jit(self._put_page, donate_argnums=0)
        self._get = jax.jit(self._get_page)

    def _make(self) -> Parts:
        lead = (self.layout.slots, self.members, self.layout.num_envs)
        return {
            "observations": jnp.zeros((*lead, self.spec.observation)),
            "actions": jnp.zeros((*lead, self.spec.recorded)),
            "rewards": jnp.zeros(lead),
            "marks": jnp.zeros(lead, jnp.uint8),
            "bootstrap": jnp.zeros(lead),
        }

    def _put_page(self, ring: Parts, page: Parts, slot: Array) -> Parts:
        return {k: jax.lax.dynamic_update_slice_in_dim(ring[k], page[k], slot, 0) for k in RING_COLUMNS}

    def _get_page(self, ring: Parts, slot: Array) -> Parts:
        slots = (slot + jnp.arange(PAGE_TICKS)) % self.layout.slots
        return {k: ring[k][slots] for k in RING_COLUMNS}

    def batch(self, ring: Parts, window: Parts, member: Array) -> Batch:
        """Returns one member's recording; for use inside a compiled program."""
        ticks = window["ticks"][member]
        return Batch(
            **{k: ring[k].reshape(-1, *ring[k].shape[3:]) for k in RING_COLUMNS},
            order=None,
            n=window["n"][member],
            ticks=ticks,
            first_slot=(window["head"] - ticks) % self.layout.slots,
            lane=member * self.layout.num_envs,
        )

    def load(self, buffer: Parts) -> tuple[Parts, Parts]:
        """Returns the ring and the window that hold the buffer of a carry: every recording ends at the head."""
        ring = self._empty()
        longest = int(buffer["ticks"].max())
        for begin in range(0, longest, PAGE_TICKS):
            page = {name: _page(buffer[name], buffer["ticks"], longest, begin) for name in RING_COLUMNS}
            ring = self._put(ring, page, np.int32(begin))
        return ring, {"head": np.int32(longest % self.layout.slots), "ticks": buffer["ticks"], "n": buffer["n"]}

    def store(self, ring: Parts, window: Parts) -> Parts:
        """Returns the buffer of a carry: arrays (P, ticks, E, …) as long as the fullest member's recording."""
        longest, slots = int(window["ticks"].max()), self.layout.slots
        begin = (int(window["head"]) - longest) % slots
        pages = [jax.device_get(self._get(ring, np.int32((begin + page) % slots))) for page in range(0, longest, PAGE_TICKS)]
        buffer = {}
        for name in RING_COLUMNS:
            shape, dtype = ring[name].shape[2:], ring[name].dtype
            whole = np.concatenate([np.zeros((0, self.members, *shape), dtype), *(page[name] for page in pages)])[:longest]
            out = np.zeros((self.members, longest, *shape), dtype)
            for member, ticks in enumerate(window["ticks"]):
                out[member, :ticks] = whole[longest - int(ticks) :, member]
            buffer[name] = out
        return buffer | {"ticks": window["ticks"], "n": window["n"]}


def _page(whole: np.ndarray, filled: np.ndarray, longest: int, begin: int) -> np.ndarray:
    """Returns one page, (PAGE_TICKS, P, E, …), of a buffer's array, (P, ticks, E, …); all recordings end at tick `longest`."""
    array = np.zeros((PAGE_TICKS, *whole.shape[:1], *whole.shape[2:]), whole.dtype)
    for member, ticks in enumerate(filled):
        shift = longest - int(ticks)  # shorter recordings begin later
        first, last = max(begin, shift), min(begin + PAGE_TICKS, longest)
        if first < last:
            array[first - begin : last - begin, member] = whole[member, first - shift : last - shift]
    return array
