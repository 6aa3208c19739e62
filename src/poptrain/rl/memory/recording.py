"""One member's rollout buffer on the host: ticks of all its environments, kept until its batch is full.

The arrays have the capacity of the largest batch but are only touched as far as they are filled, and lie on 64-byte
boundaries, so that XLA's CPU backend reads them in place. In a carry, recordings are trimmed to the fullest member.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.rl.memory.batch import Batch
from poptrain.rl.memory.marks import GOES_ON, RESET, TRUNCATED
from poptrain.rl.trees import Parts, stack, take

RECORDED = ("observations", "actions", "rewards", "marks")  # the arrays of a recording


def host_slots(rows: int, num_envs: int, buffer: Parts) -> int:
    """Returns the greatest number of ticks that `rows` transitions may take, if those of a buffer are among them.

    Within an interval every environment makes at least one transition in two ticks, because a reset follows a transition at
    worst; a mark ends the recording, and the last slot holds the state reached. Intervals that are shorter than a few ticks leave
    more marks and ticks with few transitions; their recordings get twice the usual size, or four times, and so on: few sizes,
    because each compiles a program.
    """
    slots = 3 * -(-rows // num_envs) + 2
    while (buffer["ticks"] + 2 * -(-(rows - buffer["n"]) // num_envs) + 3).max() > slots:
        slots *= 2
    return slots


def _aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)  # zero pages take no memory before they are written
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + size].view(dtype).reshape(shape)


def _rows(array: np.ndarray) -> np.ndarray:
    """Returns an array (ticks, E, …) as rows (ticks * E, …)."""
    return array.reshape(-1, *array.shape[2:])


class Recording:
    """Transitions of E environments. `begin` a tick with its observations and actions, then `record` its results."""

    def __init__(self, slots: int, num_envs: int, observation: int, action: int):
        self.observations = _aligned((slots, num_envs, observation), np.float32)
        self.actions = _aligned((slots, num_envs, action), np.float32)
        self.rewards = _aligned((slots, num_envs), np.float32)
        self.marks = _aligned((slots, num_envs), np.uint8)
        self.order = _aligned((slots * num_envs,), np.int32)
        self.ticks = 0
        self.n = 0  # transitions among them

    def begin(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Stores the observations, (E, O), and the actions, (E, A), of the tick that begins."""
        self.observations[self.ticks] = observations
        self.actions[self.ticks] = actions

    def record(self, rewards: np.ndarray, marks: np.ndarray | int, transitions: int) -> None:
        """Stores the results of the tick, (E,) each, and advances to the next tick."""
        self.rewards[self.ticks] = rewards
        self.marks[self.ticks] = marks
        self.ticks += 1
        self.n += transitions

    def truncate(self, environments: np.ndarray) -> None:
        """Truncates the last recorded tick of some environments, in the states that the next tick begins with."""
        if self.ticks:
            last = self.marks[self.ticks - 1]
            last[environments[last[environments] == GOES_ON]] = TRUNCATED

    def cut(self, observations: np.ndarray) -> None:
        """Ends the recording of an interval: running episodes count as truncated in the states `observations`, (E, O)."""
        if self.ticks:
            self.truncate(np.arange(len(observations)))
            self.observations[self.ticks] = observations
            self.marks[self.ticks] = RESET
            self.ticks += 1

    def batch(self, observations: np.ndarray) -> Batch:
        """Returns all transitions as a batch whose last tick reached the states `observations`, (E, O)."""
        self.observations[self.ticks] = observations
        self.order[: self.n] = np.flatnonzero(self.marks[: self.ticks].ravel() != RESET)
        zero = np.int32(0)
        arrays: Parts = {name: _rows(getattr(self, name)) for name in RECORDED} | {"order": self.order}
        numbers: Parts = {"n": np.int32(self.n), "ticks": np.int32(self.ticks), "first_slot": zero, "lane": zero}
        return Batch(**arrays, bootstrap=None, **numbers)

    def clear(self) -> None:
        """Removes all transitions."""
        self.ticks = self.n = 0


def pack_recordings(recordings: Sequence[Recording]) -> Parts:
    """Returns the recordings as the buffer of a carry: arrays (P, ticks, E, …) trimmed to the fullest, copied."""
    longest = max(recording.ticks for recording in recordings)
    arrays = {name: np.stack([getattr(r, name)[:longest] for r in recordings]) for name in RECORDED}
    for i, recording in enumerate(recordings):
        for array in arrays.values():
            array[i, recording.ticks :] = 0  # rows of an earlier batch must not reach a checkpoint
    return arrays | {
        "ticks": np.asarray([r.ticks for r in recordings], np.int32),
        "n": np.asarray([r.n for r in recordings], np.int32),
    }


def unpack_recording(buffer: Parts, member: int, recording: Recording) -> Recording:
    """Returns `recording`, filled with one member's part of a carry's buffer."""
    recording.ticks, recording.n = int(buffer["ticks"][member]), int(buffer["n"][member])
    for name in RECORDED:
        getattr(recording, name)[: recording.ticks] = buffer[name][member, : recording.ticks]
    return recording


def empty_recordings(members: int, num_envs: int, observation: int, action: int) -> Parts:
    """Returns the buffer of members without transitions."""
    return pack_recordings([Recording(0, num_envs, observation, action) for _ in range(members)])


def gather(lanes: Sequence[tuple[Parts, int]]) -> Parts:
    """Returns one carry of the given lanes, each (carry with a buffer, index), as copies; shorter recordings are padded."""
    longest = max(carry["buffer"]["marks"].shape[1] for carry, _ in lanes)
    return stack([_padded(take(carry, i), longest) for carry, i in lanes])


def _padded(lane: Parts, ticks: int) -> Parts:
    """Returns one member's carry with its recording padded to `ticks`."""
    buffer = {
        name: np.pad(array, [(0, ticks - len(array))] + [(0, 0)] * (array.ndim - 1)) if array.ndim else array
        for name, array in lane["buffer"].items()
    }
    return lane | {"buffer": buffer}
