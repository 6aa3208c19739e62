"""Off-policy training with environments on the host: act for a while, then make all updates that are due.

Every interval starts from resets that the task's seed decides, as in `host`; the windows of running episodes end there as at a
time limit. Members train one after another on each core: one update keeps a core busy, and nothing is shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from poptrain._jax import jax
from poptrain.core.cpus import cpus
from poptrain.core.rng import rng
from poptrain.rl.envs.spec import HostBackend, Simulator
from poptrain.rl.hparams import of_member
from poptrain.rl.loops.host import training_seeds, warn_if_short
from poptrain.rl.loops.interval import IntervalOutcome, mean
from poptrain.rl.loops.off_policy import ALMOST, BURST, Learner, OffPolicyAgent, Settings, part_due
from poptrain.rl.memory.chunks import held_rows, packed
from poptrain.rl.memory.replay import Replay, Windows
from poptrain.rl.mlp import host_mlp
from poptrain.rl.trees import Parts, stack, take


def train_on_host(
    backend: HostBackend,
    learner: Learner,
    settings: Settings,
    carry: Parts,
    hparams: dict[str, np.ndarray],
    steps: int,
    seeds: np.ndarray,
) -> tuple[Parts, IntervalOutcome]:
    """Returns the parts of the carry that training changes, and what happened.

    Args:
        hparams: all hyperparameters, (P,) each.
        steps: environment steps per member, trained exactly.
        seeds: of the tasks, (P,).
    """
    warn_if_short(backend, settings.horizon, steps, settings.num_envs)

    def one(member: int) -> _Member:
        own = _Member(backend, learner, settings, carry, of_member(hparams, member), steps, member, int(seeds[member]))
        simulator = backend.open(
            training_seeds(seeds[member : member + 1], settings.num_envs), settings.num_envs, settings.horizon
        )
        try:
            own.run(simulator)
        finally:
            simulator.close()
        return own

    with ThreadPoolExecutor(min(cpus(), len(seeds))) as threads:
        members = list(threads.map(one, range(len(seeds))))
    happened = IntervalOutcome(
        returns=[member.returns for member in members],
        score=np.asarray([mean(member.returns) for member in members]),
        running=np.asarray([member.running.mean() for member in members]),
        episode_length=np.asarray([mean(member.lengths) for member in members]),
        steps=np.full(len(members), steps),
        updates=np.asarray([member.updates for member in members]),
        diagnostics=dict(zip(learner.agent.diagnostics, np.stack([member.diagnostics for member in members], 1), strict=True)),
    )
    replay = packed(carry["replay"], [member.added for member in members], learner.row, settings.capacity)
    return {**stack([member.state for member in members]), "replay": replay}, happened


class _Member:
    """One member inside an interval."""

    def __init__(
        self,
        backend: HostBackend,
        learner: Learner,
        settings: Settings,
        carry: Parts,
        hparams: Mapping[str, np.generic],
        steps: int,
        member: int,
        seed: int,
    ):
        self.spec, self.learner, self.settings, self.hparams = backend.spec, learner, settings, hparams
        self.steps, self.seed = steps, seed
        self.before = int(carry["steps"][member])  # steps of earlier intervals
        self.state = take({name: carry[name] for name in learner.agent.learned}, member)
        held = held_rows(carry["replay"], member, learner.row, settings.capacity)
        self.held = len(held)
        self.replay = Replay(learner.row, held, steps, settings.capacity)
        self.windows = Windows(self.replay, settings.num_envs)
        self.actor = HostActor(learner.agent, self.state, hparams)
        self.explore = rng(seed, "actions")
        self.draw = rng(seed, "replay")
        self.rows = learner.buffer()
        self.running = np.zeros(settings.num_envs)
        self.length = np.zeros(settings.num_envs, np.int64)
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.updates = 0
        self.diagnostics = np.full(len(learner.agent.diagnostics), np.nan, np.float32)

    @property
    def added(self) -> np.ndarray:
        """The rows of this interval."""
        return self.replay.rows[self.held : self.replay.end]

    def run(self, simulator: Simulator) -> None:
        envs, spec = self.settings.num_envs, self.spec
        ids, done, over = np.arange(envs, dtype=np.int32), 0, np.zeros(envs, bool)
        seen, rewards, terminated, truncated = arrive(simulator, envs)
        since = 0  # steps since the last burst
        starts = int(self.hparams["learning_starts"])
        rate = float(self.hparams["updates_per_step"])
        credit = part_due(self.before, starts, rate)  # updates that are due, with the fraction that is left over
        while done < self.steps:
            uniform = self.before + done < starts
            actions = self._random(envs) if uniform else self.actor.act(seen, self._noise(envs))
            simulator.send(spec.scaled(actions), ids)
            reached, rewards, terminated, truncated = arrive(simulator, envs)
            real = without_surplus(~over, self.steps - done, seen, reached)
            over = terminated | truncated
            self.windows.add(real, seen, actions, rewards, reached, terminated, over)
            self._count(real, rewards, over)
            fresh = int(real.sum())
            done, since, seen = done + fresh, since + fresh, reached
            if not uniform:
                credit += fresh * rate
            if since >= self.settings.update_every or done >= self.steps:
                since = 0
                credit -= self._learn(int(credit + ALMOST))
        self.windows.cut(seen)

    def _random(self, envs: int) -> np.ndarray:
        return self.explore.uniform(-1.0, 1.0, (envs, self.spec.actions)).astype(np.float32)

    def _noise(self, envs: int) -> np.ndarray:
        return self.explore.standard_normal((envs, self.spec.actions), np.float32)

    def _count(self, real: np.ndarray, rewards: np.ndarray, over: np.ndarray) -> None:
        """Adds a tick to the running episodes."""
        self.running += np.where(real, rewards, 0.0)
        self.length += real
        if over.any():
            for env in np.flatnonzero(over & real):
                self.returns.append(float(self.running[env]))
                self.lengths.append(int(self.length[env]))
            self.running[over], self.length[over] = 0.0, 0

    def _learn(self, updates: int) -> int:
        """Returns how many updates were made: all, or none as long as the memory is empty."""
        if self.replay.end == self.replay.begin:
            return 0
        state, left = self.state, updates
        while left > 0:
            now = min(left, BURST)
            self.replay.sample(self.draw, self.rows[:now])
            state, diagnostics = self.learner.burst(state, self.rows, now, self.hparams, self.seed, self.updates)
            self.updates, left = self.updates + now, left - now
            self.diagnostics = np.asarray(diagnostics)  # waits, so that the rows may be filled again
        if state is not self.state:
            self.state = jax.device_get(state)
            self.actor = HostActor(self.learner.agent, self.state, self.hparams)
        return updates


class HostActor:
    """A policy network in numpy: observations (E, O) -> actions within -1 and 1, (E, A)."""

    def __init__(self, agent: OffPolicyAgent, state: Parts, hparams: Mapping[str, np.generic]):
        self.agent, self.hparams = agent, hparams
        self.layers = state["params"]["actor"]
        self.broken = not all(np.isfinite(part).all() for layer in self.layers for part in layer.values())

    def act(self, observations: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """Returns actions; a policy that is no longer finite acts with zero outputs, so that the simulator survives it.

        So does one whose weights are finite, and so large that its outputs are not.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = host_mlp(self.layers, observations, self.agent.actor_activation)
        if self.broken or np.isnan(outputs).any():
            self.broken = self.broken or bool(np.isfinite(observations).all())
            outputs = np.zeros_like(outputs)
        return self.agent.action(np, outputs, noise, self.hparams)


def without_surplus(real: np.ndarray, room: int, seen: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Returns which environments made a step that counts, (E,); the last tick of an interval may bring more than are left.

    Changes `reached`: an environment whose step does not count has reached no further than what was `seen` before, (E, O) each.

    Args:
        real: environments that made a step.
        room: steps that are left.
    """
    surplus = np.flatnonzero(real)[room:]
    if len(surplus):
        real[surplus], reached[surplus] = False, seen[surplus]
    return real


def arrive(simulator: Simulator, envs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns observations, rewards, terminated and truncated of all environments, in their order."""
    first = simulator.recv()
    if envs == 1:
        return first.observations, first.rewards, first.terminated, first.truncated
    arrivals: list[Sequence[np.ndarray]] = [first]
    while sum(len(arrival[0]) for arrival in arrivals) < envs:
        arrivals.append(simulator.recv())
    order = np.argsort(np.concatenate([arrival[0] for arrival in arrivals]))
    _, *columns = (np.concatenate(parts)[order] for parts in zip(*arrivals, strict=True))
    return columns[0], columns[1], columns[2], columns[3]
