"""One member's replay memory on the host: first in, first out, bounded, sampled uniformly with replacement.

Inside an interval it is one array to which rows are appended; the window that is sampled moves along it. Between intervals it
is a list of chunks, see `chunks`.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from poptrain.rl.memory.rows import Row


class Replay:
    """The rows of one member, uint32 (capacity of the arrays, width).

    Args:
        held: rows that are in the memory already, the oldest first, (n, width).
        more: rows that the interval probably adds; the arrays grow if there are more.
        capacity: rows that are kept and sampled.
    """

    def __init__(self, row: Row, held: np.ndarray, more: int, capacity: int):
        self.row, self.capacity = row, capacity
        self.rows = np.empty((len(held) + more, row.width), np.uint32)
        self.rows[: len(held)] = held
        self.end = len(held)

    @property
    def begin(self) -> int:
        """The oldest row that is still in the memory."""
        return max(0, self.end - self.capacity)

    def add(
        self, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, reach: np.ndarray, reached: np.ndarray
    ) -> None:
        """Appends B transitions: (B, O), (B, A), (B, n), (B,), (B, O)."""
        end = self.end + len(rewards)
        if end > len(self.rows):
            larger = np.empty((2 * end, self.row.width), np.uint32)
            larger[: self.end] = self.rows[: self.end]
            self.rows = larger
        self.row.write(self.rows[self.end : end], observations, actions, rewards, reach, reached)
        self.end = end

    def sample(self, generator: np.random.Generator, out: np.ndarray) -> None:
        """Fills `out`, (…, width), with rows drawn uniformly, with replacement."""
        self.take(self.draw(generator, out.shape[:-1]), out)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the places of rows drawn uniformly, with replacement; int, of this shape."""
        return generator.integers(self.begin, self.end, shape)

    def take(self, places: np.ndarray, out: np.ndarray) -> None:
        """Fills `out`, (…, width), with the rows at some places, (…)."""
        np.take(self.rows, places, axis=0, out=out, mode="clip")


class Windows:
    """Makes n-step transitions of the steps of E environments, and adds each to a memory when its last step is known."""

    def __init__(self, replay: Replay, envs: int):
        self.replay, self.steps = replay, replay.row.steps
        self.open: list[deque[tuple[np.ndarray, np.ndarray, float]]] = [deque() for _ in range(envs)]
        self.one = np.ones(envs, np.float32)

    def add(
        self,
        real: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        reached: np.ndarray,
        terminated: np.ndarray,
        over: np.ndarray,
    ) -> None:
        """Takes one tick of all environments, E entries each.

        Args:
            real: False where the tick is a reset or does not count.
            terminated: the episode ended in the state reached, and nothing follows.
            over: the episode ended, by itself or by a time limit.
        """
        if self.steps == 1:
            reach = np.where(terminated, np.float32(0.0), self.one)
            if real.all():
                self.replay.add(observations, actions, rewards[:, None], reach, reached)
            else:
                self.replay.add(observations[real], actions[real], rewards[real, None], reach[real], reached[real])
            return
        for env in np.flatnonzero(real):
            window = self.open[env]
            window.append((observations[env].copy(), actions[env].copy(), float(rewards[env])))
            if over[env]:
                self._flush(window, reached[env], bool(terminated[env]))
            elif len(window) == self.steps:
                self._add_first(window, reached[env], False)

    def cut(self, reached: np.ndarray) -> None:
        """Ends all windows in the states `reached`, (E, O), as a time limit does."""
        for env, window in enumerate(self.open):
            self._flush(window, reached[env], False)

    def _flush(self, window: deque[tuple[np.ndarray, np.ndarray, float]], reached: np.ndarray, terminated: bool) -> None:
        while window:
            self._add_first(window, reached, terminated)

    def _add_first(self, window: deque[tuple[np.ndarray, np.ndarray, float]], reached: np.ndarray, terminated: bool) -> None:
        rewards = np.zeros((1, self.steps), np.float32)
        rewards[0, : len(window)] = [reward for _, _, reward in window]
        reach = np.asarray([0 if terminated else len(window)], np.float32)
        observation, action, _ = window.popleft()
        self.replay.add(observation[None], action[None], rewards, reach, reached[None])
