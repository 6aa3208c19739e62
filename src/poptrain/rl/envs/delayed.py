"""Delayed rewards (arXiv 2001.02907, section 4.2): an environment pays its rewards every few steps, and when an episode ends.

Rewards of that kind are hard for agents that learn step by step, and easy for those that compare whole episodes: the sum over an
episode stays what it was. The name is ``delayed/HalfCheetah-v5``, or ``delayed-5/HalfCheetah-v5`` for 5 steps instead of 20.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs.spec import Arrival, HostBackend, Simulator

STEPS = 20  # between two payments, as in the paper


def parse(name: str) -> tuple[str, int | None]:
    """Returns the name of the environment inside, and the steps between two payments; None: `name` delays nothing."""
    found = re.fullmatch(r"delayed(?:-(\d+))?/(.+)", name)
    if not found:
        return name, None
    every = int(found[1] or STEPS)
    if every < 1:
        raise UsageError(f"environment {name!r}: expected at least 1 step between two payments, as in 'delayed-20/{found[2]}'.")
    return found[2], every


def delayed(backend: HostBackend, name: str, every: int) -> HostBackend:
    """Returns an environment that pays every `every` steps of an episode and at its end, by itself or by a time limit."""
    return HostBackend(
        replace(backend.spec, name=name),
        lambda seeds, group, horizon: _Delayed(backend.open(seeds, group, horizon), len(seeds), every),
    )


class _Delayed:
    """A `Simulator` whose rewards come late. A new episode begins with no debt."""

    def __init__(self, inner: Simulator, envs: int, every: int):
        self.inner, self.every = inner, every
        self.owed, self.steps, self.resets = np.zeros(envs), np.zeros(envs, np.int64), np.ones(envs, bool)

    def send(self, actions: np.ndarray, ids: np.ndarray) -> None:
        self.inner.send(actions, ids)

    def recv(self) -> Arrival:
        arrival = self.inner.recv()
        at, over = arrival.ids, arrival.terminated | arrival.truncated
        steps = np.where(self.resets[at], 0, self.steps[at] + 1)  # the tick of a reset is not a step
        owed = np.where(steps > 0, self.owed[at] + arrival.rewards, 0.0)
        due = over | (steps % self.every == 0)
        self.owed[at], self.steps[at], self.resets[at] = np.where(due, 0.0, owed), steps, over
        return arrival._replace(rewards=np.where(due, owed, 0.0).astype(np.float32))

    def close(self) -> None:
        self.inner.close()
