"""Populations of agents that learn from rollouts: what PPO and V-MPO have in common as trainables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core import Hparams
from poptrain.core.arguments import check_number
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.account import evaluation_only
from poptrain.rl.actor import Actor, Noise
from poptrain.rl.envs import make
from poptrain.rl.envs.pictures import pictures
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec, HostBackend
from poptrain.rl.envs.stepped import Stepped
from poptrain.rl.evaluation import check_episodes, episode_returns, played_parts
from poptrain.rl.hparams import PopulationHparams, Range, check_space
from poptrain.rl.loops import host
from poptrain.rl.loops.agent import RolloutAgent
from poptrain.rl.loops.device import train_in_shares
from poptrain.rl.loops.device_interval import Program, program_for
from poptrain.rl.loops.host_learner import learner_for
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.batch import Layout
from poptrain.rl.memory.recording import gather, host_slots
from poptrain.rl.memory.ring import ring_slots
from poptrain.rl.settings import LARGEST, check_sizes
from poptrain.rl.trees import Parts
from poptrain.space import Space
from poptrain.trainable.episodes import EpisodeLimit


class OnPolicy(ABC):
    """A population of agents that learn from rollouts, a `PopulationTrainable`. Agents are dataclasses with these fields:

    Attributes:
        env: name of the environment, see `poptrain.rl.make`.
        hidden: sizes of the hidden layers of both networks; tanh.
        num_envs: environments per member.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.
        max_batch: greatest train_batch_size when that is tuned; it decides the size of the arrays of the compiled program.
        chunk: rows that are prepared at once; accelerators are faster with more.
        max_grad_norm: at which gradients are clipped.
        train_batch_size: transitions of an update.
    """

    env: str
    hidden: tuple[int, ...]
    num_envs: int
    horizon: int | None
    backend: str | None
    max_batch: int
    chunk: int
    max_grad_norm: float
    train_batch_size: int

    population: ClassVar[bool] = True
    whole_episodes: ClassVar[str] = "pass a shorter horizon"  # where no episode ends in an interval
    played: ClassVar[tuple[str, ...]] = ("params", "normaliser")

    @property
    def envs(self) -> int:
        """The environments of a member."""
        return self.num_envs

    def check_sizes(self, **limits: int) -> None:
        """Raises a `UsageError` if a field that is a size is not a whole number from 1 to its limit, or `max_grad_norm` no norm.

        Args:
            limits: the greatest `chunk`, `max_batch` and sizes of the agent's own.
        """
        check_sizes(self, {"num_envs": (1, LARGEST)} | {name: (1, most) for name, most in limits.items()})
        check_number(type(self).__name__, "max_grad_norm", self.max_grad_norm, 0.0, float("inf"))
        if self.max_grad_norm == 0:
            raise UsageError(
                f"{type(self).__name__}: max_grad_norm={self.max_grad_norm!r} clips every gradient to nothing, so no member "
                "would learn. Pass a number above 0; float('inf') clips none."
            )

    # -- what an agent defines ----------------------------------------------------------------------------------------

    @abstractmethod
    def resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        """Returns all hyperparameters, (P,) each."""

    @abstractmethod
    def fresh(self, env: DeviceEnv | HostBackend, hparams: PopulationHparams, seeds: np.ndarray) -> Parts:
        """Returns the carry of P fresh members; seeds (P,)."""

    @abstractmethod
    def functions(self, spec: EnvSpec, layout: Layout, carry: Parts) -> RolloutAgent:
        """Returns the pure functions of one member, for batches of one layout and carries of these shapes."""

    @abstractmethod
    def account(self, carry: Parts, happened: IntervalOutcome, settings: dict[str, np.ndarray]) -> tuple[Parts, Parts]:
        """Returns the carry with the interval added, and its metrics."""

    # -- PopulationTrainable ------------------------------------------------------------------------------------------

    def check_space(self, space: Space, budget: int | None) -> None:
        """Raises a `UsageError` if this agent lacks one of the hyperparameters, or refuses an end of a range or an option."""
        check_space(self.resolve, space)

    def first_update(self, hparams: Hparams) -> tuple[int, str]:
        """Returns the steps of a member that come before its first update, and the name of the setting that states them."""
        return int(hparams.get("train_batch_size", self.train_batch_size)), "train_batch_size"

    def episode_limit(self) -> EpisodeLimit | None:
        """Returns how long the episodes of a member may be, for `check`."""
        return host.episode_limit(make(self.env, self.backend), self.horizon, self.envs)

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh members; seeds (P,)."""
        seeds = np.asarray(seeds)
        self.resolve(hparams, len(seeds))
        return self.fresh(make(self.env, self.backend), hparams, seeds)

    def train(self, carry: Parts, hparams: PopulationHparams, steps: int, seeds: ArrayLike) -> tuple[Parts, Parts]:
        """Returns the carry after `steps` more environment steps, and the metrics of the interval.

        A pure function, bit for bit. On the host exactly `steps` are trained; in JAX environments they are rounded up to
        whole ticks. ``score`` is the mean return of the training episodes that ended; if none did, the last known one; if
        none ever has, the mean return so far of those that run. It is NaN for a member whose parameters are no longer
        finite. With `steps` 0 nothing is trained, and the score is the mean over one episode in each environment.

        Args:
            hparams: the tuned ones, (P,) each, or one value for all.
            seeds: of the tasks, (P,).
        """
        seeds = np.asarray(seeds)
        settings = self.resolve(hparams, len(seeds))
        changed: Parts = {}
        if steps <= 0:
            returns = [self.evaluate(carry, i, self.num_envs, int(seed), False) for i, seed in enumerate(seeds)]
            happened = evaluation_only(carry, returns)
        else:
            changed, happened = self._interval(carry, self.capacity(hparams), settings, steps, seeds)
        return self.account(carry | changed, happened, settings)

    def gather(self, lanes: Sequence[tuple[Parts, int]]) -> Parts:
        """Returns one carry of the given lanes, each (carry, index), as copies; shorter recordings are padded."""
        return gather(lanes)

    # -- after training -----------------------------------------------------------------------------------------------

    def evaluate(
        self, carry: Parts, lane: int | None = None, episodes: int = 100, seed: int = 0, deterministic: bool = True
    ) -> np.ndarray:
        """Returns the undiscounted returns of one member over whole episodes that it never trained on; (episodes,).

        Args:
            carry, lane: a population's carry and the member in it; lane None: the carry of one member, as ``run.best.load()``
                returns it.
            seed: of the environments; training and evaluation draw theirs from disjoint ranges.
            deterministic: act by the mode of the policy; else draw actions.
        """
        check_episodes(type(self).__name__, episodes, seed, deterministic)
        env = make(self.env, self.backend)
        seeds = host.evaluation_seeds(seed, episodes)
        own = played_parts(type(self).__name__, self.played, env.spec, carry, lane)
        noise = None if deterministic else Noise(rng(int(seed), "evaluation noise"), env.spec, episodes)
        actor, seen, horizon = self.player(env.spec, own), env.spec.observation, self.horizon or env.spec.horizon
        simulator = Stepped(env, seeds, horizon) if isinstance(env, DeviceEnv) else env.open(seeds, episodes, self.horizon)
        try:
            return episode_returns(lambda seen: actor.act(seen, noise.next() if noise else None)[1], seen, simulator, episodes)
        finally:
            simulator.close()

    def render(self, carry: Parts, hparams: PopulationHparams | None = None, seed: int = 0) -> Iterator[np.ndarray]:
        """Yields pictures of one episode by the mode of the policy, uint8 (height, width, 3); `carry` is one member's.

        Raises:
            UsageError: the environment cannot draw pictures.
        """
        spec = make(self.env, self.backend).spec
        actor = self.player(spec, played_parts(type(self).__name__, self.played, spec, carry, None))
        (episode,), horizon = host.evaluation_seeds(seed, 1), self.horizon or spec.horizon
        return pictures(self.env, lambda seen: actor.act(seen, None)[1], episode, horizon, self.backend)

    def player(self, spec: EnvSpec, state: Parts) -> Actor:
        """Returns the policy that is evaluated and shown, from the `played` parts of one member's carry."""
        return Actor(spec, state["params"], state["normaliser"])

    # -- inside -------------------------------------------------------------------------------------------------------

    def ranges_of(self, ranges: Mapping[str, Range], hparams: PopulationHparams) -> dict[str, Range]:
        """Returns the agent's ranges; a `train_batch_size` that is tuned is bounded by `max_batch`."""
        limit = Range(1, self.max_batch, True, " Raise max_batch to allow more.")
        return {**ranges, "train_batch_size": limit if "train_batch_size" in hparams else ranges["train_batch_size"]}

    def capacity(self, hparams: PopulationHparams) -> int:
        """Returns the rows of the largest batch, which are known beforehand unless train_batch_size is tuned."""
        return self.max_batch if "train_batch_size" in hparams else int(self.train_batch_size)

    def _interval(
        self, carry: Parts, capacity: int, settings: dict[str, np.ndarray], steps: int, seeds: np.ndarray
    ) -> tuple[Parts, IntervalOutcome]:
        env, envs = make(self.env, self.backend), self.envs
        rows = max(capacity, int(carry["buffer"]["n"].max()) + envs)
        if not isinstance(env, DeviceEnv):
            layout = Layout(envs, envs, host_slots(rows, envs, carry["buffer"]), rows + envs, self.chunk)
            learner = learner_for(self.functions(env.spec, layout, carry))
            return host.train_on_host(env, learner, self.horizon, carry, settings, steps, seeds)
        slots, horizon = ring_slots(rows, envs), self.horizon or env.spec.horizon

        def program(members: int) -> Program:
            layout = Layout(envs, envs * members, slots, slots * envs, self.chunk)
            return program_for(env, members, self.functions(env.spec, layout, carry), horizon)

        return train_in_shares(program, carry, settings, steps, seeds)
