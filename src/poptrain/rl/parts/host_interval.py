"""One interval of a population whose environments run on the host: simulating and learning overlap.

All members share one simulator. A member takes a step when all its environments have arrived, whatever the others do;
while a member learns, in a thread of its own, the simulator goes on with the rest. Nothing that a member does depends on
when others arrive, so the result is a function of its own seed, however the threads race.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import numpy as np

from poptrain.core.rng import rng
from poptrain.rl.envs.spec import EnvSpec, Simulator
from poptrain.rl.parts.actor import Actor, Noise
from poptrain.rl.parts.gae import GOES_ON, RESET, TERMINATED, TRUNCATED
from poptrain.rl.parts.learners import Learner
from poptrain.rl.parts.recording import Recording


class Seat:
    """One member inside an interval: its parameters, recording and running episodes."""

    def __init__(
        self, spec: EnvSpec, state: dict[str, Any], recording: Recording, hparams: Mapping[str, Any], seed: int, envs: int
    ):
        self.spec, self.state, self.recording, self.hparams, self.seed = spec, state, recording, hparams, seed
        self.actor = Actor(spec, state["params"], state["normaliser"])
        self.noise = Noise(rng(seed, "actions"), spec, envs)
        self.over = np.zeros(envs, bool)  # the tick that runs is a reset
        self.resetting = False  # any of them
        self.running = np.zeros(envs)  # return so far
        self.length = np.zeros(envs, np.int64)
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.diagnostics: list[np.ndarray] = []
        self.steps = self.updates = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Begins a tick; returns the environments' actions."""
        drawn, actions = self.actor.act(observations, self.noise.next())
        self.recording.begin(observations, drawn)
        return actions

    def observe(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, limit: int) -> None:
        """Ends a tick with what it brought, (E,) each; takes no more transitions than make `limit` in all.

        The last tick of an interval brings a few too many. Those are left out, so that all members of a population stand
        at exactly the same step.
        """
        envs, room = len(rewards), limit - self.steps
        over = terminated | truncated
        if room >= envs and not self.resetting and not over.any():  # nearly every tick
            self.running += rewards
            self.length += 1
            self.recording.record(rewards, GOES_ON, envs)
            self.steps += envs
            return
        real = ~self.over
        surplus = np.flatnonzero(real)[room:]
        real[surplus] = False
        self.recording.truncate(surplus)
        marks = np.where(terminated, TERMINATED, np.where(truncated, TRUNCATED, GOES_ON))
        marks[~real] = RESET
        rewards = np.where(real, rewards, np.float32(0.0))
        self.running += rewards
        self.length += real
        for i in np.flatnonzero(over & real):
            self.returns.append(float(self.running[i]))
            self.lengths.append(int(self.length[i]))
        self.running[over] = 0.0
        self.length[over] = 0
        self.over, self.resetting = over, bool(over.any())
        transitions = int(real.sum())
        self.recording.record(rewards, marks, transitions)
        self.steps += transitions

    def full(self) -> bool:
        """True if the batch is: no further whole tick fits, so that a batch exceeds train_batch_size only if one tick does."""
        return self.recording.n > 0 and self.recording.n + len(self.over) > self.hparams["train_batch_size"]

    def learned(self, state: dict[str, Any], diagnostics: np.ndarray) -> None:
        """Takes over what the learner returned."""
        self.state, self.updates = state, self.updates + 1
        self.diagnostics.append(diagnostics)
        self.actor = Actor(self.spec, state["params"], state["normaliser"])
        self.recording.clear()


def run_interval(seats: Sequence[Seat], simulator: Simulator, learner: Learner, envs: int, steps: int) -> None:
    """Trains every seat for exactly `steps` transitions; the seats hold the result.

    Args:
        simulator: freshly opened, with `envs` environments for each seat in order, arriving in groups that divide `envs`.
    """
    population = len(seats)
    observations = np.zeros((population, envs, seats[0].actor.mean.size), np.float32)
    flat = observations.reshape(population * envs, -1)
    rewards = np.zeros(population * envs, np.float32)
    terminated, truncated = np.zeros(population * envs, bool), np.zeros(population * envs, bool)
    ids = np.arange(population * envs, dtype=np.int32).reshape(population, envs)
    arrived = [0] * population
    fresh = [True] * population  # nothing was sent yet: the first arrival is the reset
    flying, left = population * envs, population
    learning: dict[Future, int] = {}
    ready: deque[int] = deque()

    while left:
        if learning:
            done = [f for f in learning if f.done()]
            if not done and not flying:
                done = wait(learning, return_when=FIRST_COMPLETED).done
            for future in done:
                member = learning.pop(future)
                seats[member].learned(*future.result())
                ready.append(member)
        elif not flying:
            raise RuntimeError("the simulator owes nothing and nobody learns")  # it would wait for ever
        if flying and not ready:
            arrival = simulator.recv()
            at = arrival.ids
            flat[at], rewards[at] = arrival.observations, arrival.rewards
            terminated[at], truncated[at] = arrival.terminated, arrival.truncated
            flying -= len(at)
            for env in at.tolist():
                member = env // envs
                arrived[member] += 1
                if arrived[member] == envs:
                    arrived[member] = 0
                    seat = seats[member]
                    if fresh[member]:
                        fresh[member] = False
                    else:
                        own = ids[member]
                        begin, end = own[0], own[-1] + 1
                        seat.observe(rewards[begin:end], terminated[begin:end], truncated[begin:end], steps)
                        if seat.full():
                            batch = seat.recording.batch(observations[member])
                            future = learner.submit(seat.state, batch, seat.hparams, seat.seed, seat.updates)
                            learning[future] = member
                            continue
                    ready.append(member)
        while ready:
            member = ready.popleft()
            seat = seats[member]
            if seat.steps == steps:
                seat.recording.cut(observations[member])
                left -= 1
            else:
                simulator.send(seat.act(observations[member]), ids[member])
                flying += envs
