"""Populations of agents with replay memories: what TD3, DDPG and SAC have in common as trainables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core import Hparams
from poptrain.core.arguments import check_flag
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.account import account, evaluation_only, fresh_account
from poptrain.rl.envs import make
from poptrain.rl.envs.pictures import pictures
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec
from poptrain.rl.envs.stepped import Stepped
from poptrain.rl.evaluation import check_episodes, episode_returns, played_parts
from poptrain.rl.hparams import PopulationHparams, Range, check_space, of_member, resolve_hparams
from poptrain.rl.loops.host import episode_limit, evaluation_seeds
from poptrain.rl.loops.off_policy import OffPolicyAgent, Settings, learner_for
from poptrain.rl.loops.off_policy_device import fresh_off_policy_world, off_policy_program, train_off_policy_on_device
from poptrain.rl.loops.off_policy_host import HostActor, train_on_host
from poptrain.rl.memory.chunks import empty_chunks, gathered
from poptrain.rl.memory.rows import Row
from poptrain.rl.settings import LARGEST, check_sizes
from poptrain.rl.trees import Parts, stack, take
from poptrain.space import Space
from poptrain.trainable.episodes import EpisodeLimit

SIZES = ("num_envs", "batch_size", "memory", "update_every", "n_step")
OFF_POLICY_RANGES = {
    "learning_starts": Range(0, 1 << 30, True),
    "updates_per_step": Range(0.0, 100.0),
    "discount": Range(0.0, 1.0),
    "tau": Range(0.0, 1.0),
}


@dataclass(frozen=True)
class OffPolicy(ABC):
    """A population of agents that learn from replay memories, a `PopulationTrainable`.

    Args:
        env: name of an environment with continuous actions, see `poptrain.rl.make`.
        hidden: sizes of the hidden layers of all networks.
        num_envs: environments per member.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.
        batch_size: transitions of an update.
        memory: transitions that a member remembers; the oldest are forgotten.
        update_every: steps between bursts of updates. The steps between two bursts are made with one policy.
        n_step: rewards in a target before it bootstraps.
        pixels: True stores observations as uint8; they must be whole numbers from 0 to 255.
        learning_starts: steps with uniform actions and without updates at the beginning.
        updates_per_step: updates for each further step.
        discount, tau: of the targets.
    """

    env: str
    hidden: tuple[int, ...] = (256, 256)
    num_envs: int = 1
    horizon: int | None = None
    backend: str | None = None
    batch_size: int = 100
    memory: int = 1_000_000
    update_every: int = 50
    n_step: int = 1
    pixels: bool = False
    learning_starts: int = 10_000
    updates_per_step: float = 1.0
    discount: float = 0.99
    tau: float = 0.005

    population: ClassVar[bool] = True
    whole_episodes: ClassVar[str] = "pass a shorter horizon"  # where no episode ends in an interval
    ranges: ClassVar[Mapping[str, Range]] = OFF_POLICY_RANGES
    sizes: ClassVar[Mapping[str, tuple[int, int]]] = {}  # limits of further fields that are whole numbers
    unused: ClassVar[Mapping[str, str]] = {}  # fields that have no effect, and why
    noisy: ClassVar[bool] = True  # it explores with noise on its actions

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_sizes(self, dict.fromkeys(SIZES, (1, LARGEST)) | self.sizes, self.unused)
        check_flag(name, "pixels", self.pixels)
        spec = make(self.env, self.backend).spec
        if self.pixels and not spec.pixels:
            raise UsageError(
                f"{name}: pixels=True stores observations as whole numbers from 0 to 255, and those of {self.env!r} are others. "
                "Leave out pixels."
            )
        if spec.discrete:
            raise UsageError(f"{name} needs continuous actions, and {self.env!r} has discrete ones: use PPO or VMPO.")
        with np.errstate(over="ignore"):
            bounded = np.isfinite(np.subtract(spec.high, spec.low, dtype=np.float32)).all()
        if not bounded:
            raise UsageError(f"{name} needs actions with bounds, and those of {self.env!r} have none: use PPO or VMPO.")
        self._resolve({}, 1)

    @abstractmethod
    def functions(self) -> OffPolicyAgent:
        """Returns the pure functions of one member."""

    # -- PopulationTrainable ------------------------------------------------------------------------------------------

    def check_space(self, space: Space, budget: int | None) -> None:
        """Raises a `UsageError` if this agent lacks one of the hyperparameters, or refuses an end of a range or an option."""
        check_space(self._resolve, space)

    def first_update(self, hparams: Hparams) -> tuple[int, str]:
        """Returns the steps of a member that come before its first update, and the name of the setting that states them."""
        return int(hparams.get("learning_starts", self.learning_starts)), "learning_starts"

    def episode_limit(self) -> EpisodeLimit | None:
        """Returns how long the episodes of a member may be, for `check`."""
        return episode_limit(make(self.env, self.backend), self.horizon, self.num_envs)

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh members; seeds (P,)."""
        seeds = np.asarray(seeds)
        self._resolve(hparams, len(seeds))
        env, agent = make(self.env, self.backend), self.functions()
        state = stack([agent.init(env.spec.observation, env.spec.actions, rng(int(seed), "init")) for seed in seeds])
        carry = state | fresh_account(len(seeds), agent.diagnostics)
        carry |= {"steps": np.zeros(len(seeds), np.int64), "replay": empty_chunks(len(seeds))}
        if isinstance(env, DeviceEnv):
            carry["env"] = fresh_off_policy_world(env, self._row(env.spec), self.num_envs, seeds)
        return carry

    def train(self, carry: Parts, hparams: PopulationHparams, steps: int, seeds: ArrayLike) -> tuple[Parts, Parts]:
        """Returns the carry after `steps` more environment steps, and the metrics of the interval.

        A pure function, bit for bit. On the host exactly `steps` are trained; in JAX environments they are rounded up to
        whole ticks of `num_envs` steps. ``score`` is the mean return of the training episodes that ended; if none did, the
        last known one; if none ever has, the mean return so far of those that run. It is NaN for a member whose parameters
        are no longer finite. With `steps` 0 nothing is trained, and the score is the mean over 10 episodes without noise.
        """
        seeds = np.asarray(seeds)
        settings = self._resolve(hparams, len(seeds))
        if steps <= 0:
            return self._evaluated(carry, seeds)
        env = make(self.env, self.backend)
        agent, row, loop = self.functions(), self._row(env.spec), self._settings()
        if isinstance(env, DeviceEnv):
            slots = max(self.memory, 1 << (steps + self.num_envs).bit_length())  # few sizes: each compiles a program
            program = off_policy_program(env, agent, row, self.batch_size, loop, slots)
            changed, happened = train_off_policy_on_device(program, carry, settings, steps, seeds)
        else:
            learner = learner_for(agent, row, self.batch_size)
            changed, happened = train_on_host(env, learner, loop, carry, settings, steps, seeds)
        return account(carry | changed | {"steps": carry["steps"] + happened.steps}, happened)

    def gather(self, lanes: Sequence[tuple[Parts, int]]) -> Parts:
        """Returns one carry of the given lanes, each (carry, index), as copies; memories that keep their places are shared."""
        small = [take({name: part for name, part in carry.items() if name != "replay"}, i) for carry, i in lanes]
        return stack(small) | {"replay": gathered([(carry["replay"], i) for carry, i in lanes])}

    # -- after training -----------------------------------------------------------------------------------------------

    def evaluate(
        self, carry: Parts, lane: int | None = None, episodes: int = 100, seed: int = 0, deterministic: bool = True
    ) -> np.ndarray:
        """Returns the undiscounted returns of one member over whole episodes that it never trained on; (episodes,).

        Args:
            carry, lane: a population's carry and the member in it; lane None: the carry of one member, as ``run.best.load()``
                returns it.
            seed: of the environments; training and evaluation draw theirs from disjoint ranges.
            deterministic: act without noise; else explore, by the agent's own settings.
        """
        check_episodes(type(self).__name__, episodes, seed, deterministic)
        env = make(self.env, self.backend)
        seeds, shape = evaluation_seeds(seed, episodes), (episodes, env.spec.actions)
        actor = self._actor(played_parts(type(self).__name__, ("params",), env.spec, carry, lane))
        generator = rng(int(seed), "evaluation noise")

        def act(seen: np.ndarray) -> np.ndarray:
            noise = None if deterministic or not self.noisy else generator.standard_normal(shape, np.float32)
            return env.spec.scaled(actor.act(seen, noise))

        horizon = self.horizon or env.spec.horizon
        simulator = Stepped(env, seeds, horizon) if isinstance(env, DeviceEnv) else env.open(seeds, episodes, self.horizon)
        try:
            return episode_returns(act, env.spec.observation, simulator, episodes)
        finally:
            simulator.close()

    def render(self, carry: Parts, hparams: PopulationHparams | None = None, seed: int = 0) -> Iterator[np.ndarray]:
        """Yields pictures of one episode without noise, uint8 (height, width, 3); `carry` is one member's.

        Raises:
            UsageError: the environment cannot draw pictures.
        """
        spec = make(self.env, self.backend).spec
        actor = self._actor(played_parts(type(self).__name__, ("params",), spec, carry, None))
        (episode,), horizon = evaluation_seeds(seed, 1), self.horizon or spec.horizon
        return pictures(self.env, lambda seen: spec.scaled(actor.act(seen, None)), episode, horizon, self.backend)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _actor(self, state: Parts) -> HostActor:
        return HostActor(self.functions(), state, of_member(self._resolve({}, 1), 0))

    def _evaluated(self, carry: Parts, seeds: np.ndarray) -> tuple[Parts, Parts]:
        """Returns the carry and the metrics of an interval of 0 steps: the score is the mean over 10 episodes without noise."""
        returns = [self.evaluate(carry, i, 10, int(seed)) for i, seed in enumerate(seeds)]
        return account(carry, evaluation_only(carry, returns))

    def _resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        return resolve_hparams(self, self.ranges, hparams, members)

    def _row(self, spec: EnvSpec) -> Row:
        return Row(spec.observation, spec.actions, self.n_step, self.pixels)

    def _settings(self) -> Settings:
        return Settings(self.num_envs, self.horizon, self.memory, self.update_every)
