"""One interval of a population whose environments run on the host: simulation and learning overlap.

All members share one simulator. A member takes a step when all its own environments have arrived, whatever the others do.
While a member learns in a background thread, the simulator continues with the rest. Nothing that a member does depends on
when others arrive, so its result is a function of its own seed, in whatever order the threads run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import numpy as np

from poptrain.core.rng import rng
from poptrain.rl.actor import Noise
from poptrain.rl.envs.spec import Arrival, EnvSpec, Simulator
from poptrain.rl.loops.agent import RolloutAgent
from poptrain.rl.loops.host_learner import HostLearner
from poptrain.rl.memory.marks import GOES_ON, RESET, TERMINATED, TRUNCATED
from poptrain.rl.memory.recording import Recording
from poptrain.rl.trees import Parts


class HostMember:
    """One member inside an interval: its parameters, recording and running episodes."""

    def __init__(
        self,
        spec: EnvSpec,
        agent: RolloutAgent,
        state: Parts,
        recording: Recording,
        hparams: Mapping[str, np.generic],
        seed: int,
        envs: int,
    ):
        self.spec, self.agent, self.state, self.recording, self.hparams, self.seed = spec, agent, state, recording, hparams, seed
        self.batch_size = int(hparams["train_batch_size"])
        self.actor = agent.actor(spec, state)
        self.noise = Noise(rng(seed, "actions"), spec, envs)
        self.over = np.zeros(envs, bool)  # environments for which the running tick is a reset
        self.resetting = False  # True if there are any
        self.running = np.zeros(envs)  # return so far
        self.length = np.zeros(envs, np.int64)
        self.returns: list[float] = []
        self.by_env = np.zeros((2, envs))  # sum of the returns of each environment, and the number of its episodes
        self.lengths: list[int] = []
        self.diagnostics: list[np.ndarray] = []
        self.steps = self.updates = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Begins a tick, and returns the actions for the environments."""
        drawn, actions = self.actor.act(observations, self.noise.next())
        self.recording.begin(observations, drawn)
        return actions

    def observe(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, limit: int) -> None:
        """Ends a tick with its results, (E,) each; accepts no more transitions than make `limit` in all.

        The last tick of an interval may bring more. These are left out, so that all members of a population are at exactly
        the same step.
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
            self.by_env[:, i] += self.running[i], 1.0
        self.running[over] = 0.0
        self.length[over] = 0
        self.over, self.resetting = over, bool(over.any())
        transitions = int(real.sum())
        self.recording.record(rewards, marks, transitions)
        self.steps += transitions

    def full(self) -> bool:
        """Returns True if no further whole tick fits in the batch. A batch exceeds its size only if one tick does."""
        return self.recording.n > 0 and self.recording.n + len(self.over) > self.batch_size

    def learned(self, state: Parts, diagnostics: np.ndarray) -> None:
        """Accepts the result of an update."""
        self.state, self.updates = state, self.updates + 1
        self.diagnostics.append(diagnostics)
        self.actor = self.agent.actor(self.spec, state)
        self.recording.clear()


def run_interval(members: Sequence[HostMember], simulator: Simulator, learner: HostLearner, envs: int, steps: int) -> None:
    """Trains every member for exactly `steps` transitions; the members hold the results.

    Args:
        simulator: freshly opened, with `envs` environments for each member in order; it delivers groups that divide `envs`.
    """
    _HostLoop(members, simulator, learner, envs, steps).run()


class _HostLoop:
    """Which members wait for the simulator, which learn, and which are ready to act."""

    def __init__(self, members: Sequence[HostMember], simulator: Simulator, learner: HostLearner, envs: int, steps: int):
        self.members, self.simulator, self.learner, self.envs, self.steps = members, simulator, learner, envs, steps
        population = len(members)
        self.observations = np.zeros((population, envs, members[0].actor.mean.size), np.float32)
        self.flat = self.observations.reshape(population * envs, -1)
        self.rewards = np.zeros(population * envs, np.float32)
        self.terminated, self.truncated = np.zeros(population * envs, bool), np.zeros(population * envs, bool)
        self.ids = np.arange(population * envs, dtype=np.int32).reshape(population, envs)
        self.arrived = [0] * population  # environments of a member that are back
        self.fresh = [True] * population  # nothing was sent yet, so the first arrival is the reset
        self.pending = population * envs  # environments that the simulator will deliver
        self.learning: dict[Future[tuple[Parts, np.ndarray]], int] = {}
        self.ready: deque[int] = deque()

    def run(self) -> None:
        left = len(self.members)
        while left:
            self._collect_updates()
            if self.pending and not self.ready:
                self._receive(self.simulator.recv())
            while self.ready:
                left -= self._act(self.ready.popleft())

    def _collect_updates(self) -> None:
        """Makes members ready whose updates have ended; waits for one if nothing else can happen."""
        if self.learning:
            done = [future for future in self.learning if future.done()]
            if not done and not self.pending:
                done = list(wait(self.learning, return_when=FIRST_COMPLETED).done)
            for future in done:
                member = self.learning.pop(future)
                self.members[member].learned(*future.result())
                self.ready.append(member)
        elif not self.pending:
            raise RuntimeError("the RL loop is deadlocked: nothing is pending in the simulator or the learner")

    def _receive(self, arrival: Arrival) -> None:
        """Stores what arrived, and ends the tick of each member whose environments are all back."""
        at = arrival.ids
        self.flat[at], self.rewards[at] = arrival.observations, arrival.rewards
        self.terminated[at], self.truncated[at] = arrival.terminated, arrival.truncated
        self.pending -= len(at)
        arrived, envs = self.arrived, self.envs
        for env in at.tolist():
            member = env // envs
            arrived[member] += 1
            if arrived[member] == envs:
                arrived[member] = 0
                self._end_tick(member)

    def _end_tick(self, member: int) -> None:
        own = self.members[member]
        if self.fresh[member]:
            self.fresh[member] = False
        else:
            mine = slice(member * self.envs, (member + 1) * self.envs)
            own.observe(self.rewards[mine], self.terminated[mine], self.truncated[mine], self.steps)
            if own.full():
                batch = own.recording.batch(self.observations[member])
                self.learning[self.learner.submit(own.state, batch, own.hparams, own.seed, own.updates)] = member
                return
        self.ready.append(member)

    def _act(self, member: int) -> bool:
        """Starts the member's next tick; returns True if its interval is over."""
        own, seen = self.members[member], self.observations[member]
        if own.steps == self.steps:
            own.recording.cut(seen)
            return True
        self.simulator.send(own.act(seen), self.ids[member])
        self.pending += self.envs
        return False
