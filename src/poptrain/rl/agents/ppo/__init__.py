"""PPO: proximal policy optimisation, for a whole population at once.

Schulman, Wolski, Dhariwal, Radford, Klimov: Proximal Policy Optimization Algorithms, arXiv 1707.06347.

    repeat: act with policy pi_old until train_batch_size transitions are there
            A = generalised advantage estimates (arXiv 1506.02438)
            for epochs, for minibatches: ascend  min(r A, clip(r, 1 - eps, 1 + eps) A) - beta KL(pi_old || pi)
                                                 - c1 (V - V_target)^2 + c2 S                          eq. (7), (8), (9)
            beta *= 1.5 or 0.5, if the KL divergence is off its target

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
epsilon         clip                of the probability ratio
beta            kl_coeff            initial value of the adaptive coefficient; the carry holds the factor by which it moved
d_targ          kl_target           KL divergence in nats per update
gamma, lambda   discount,           of the advantages
                gae_lambda
c1, c2          value_coeff,        of the loss
                entropy_coeff
K, M, N T       epochs,             passes over a batch, rows of a gradient, rows of a batch
                minibatch_size,
                train_batch_size
==============  ==================  ========================================================================================

*Departures from the paper.* Clipping and the adaptive KL penalty act together, as in RLlib (kl_coeff 0 leaves only the clip);
beta moves by 1.5 and 0.5 beyond 2 and 0.5 times the target. Advantages are standardised per batch, observations by a running
filter, and gradients are clipped by their global norm. The policy and the value network share no weights.
*Departures from RLlib.* The value loss is not clipped, and the value network is rescaled to the returns (`value_scale`). A
batch is the greatest number of whole ticks (one step of all the member's environments) within train_batch_size, but at
least one; the rows that do not fill a last minibatch are left out of that epoch. The observation filter does not change
while a batch is collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.account import evaluation_only
from poptrain.rl.actor import Actor, Noise
from poptrain.rl.agents.ppo.carry import account, fresh_carry
from poptrain.rl.agents.ppo.functions import Functions
from poptrain.rl.agents.ppo.hparams import RANGES
from poptrain.rl.agents.ppo.shuffle import MAX_CHUNK, MAX_ROWS
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.envs import make
from poptrain.rl.envs.pictures import pictures
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec
from poptrain.rl.envs.stepped import Stepped
from poptrain.rl.evaluation import episode_returns
from poptrain.rl.hparams import PopulationHparams, Range, resolve_hparams
from poptrain.rl.loops import host
from poptrain.rl.loops.device import train_in_shares
from poptrain.rl.loops.device_interval import Program, program_for
from poptrain.rl.loops.host_learner import learner_for
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.batch import Layout
from poptrain.rl.memory.recording import gather, host_slots
from poptrain.rl.memory.ring import ring_slots
from poptrain.rl.trees import Parts, take


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.ppo:PPO`.
@dataclass(frozen=True)
class PPO:
    """A population of PPO agents, a `PopulationTrainable`: train it with ``executor="vectorized"``.

    Every field from `lr` on is a hyperparameter that may be tuned; a field is its value where it is not tuned. No tuned value
    changes the compiled program.

    >>> agent = PPO(env="BipedalWalker-v3", hidden=(32, 32), kl_coeff=1.0)

    Args:
        env: name of the environment, see `poptrain.rl.make`.
        hidden: sizes of the hidden layers of both networks; tanh.
        num_envs: environments per member.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.
        max_batch: greatest train_batch_size when that is tuned; it decides the size of the arrays of the compiled program.
        chunk: rows of which a gradient is computed at once; accelerators are faster with more.
        max_grad_norm: global norm at which gradients are clipped.
    """

    env: str
    hidden: tuple[int, ...] = (64, 64)
    num_envs: int = 16
    horizon: int | None = None
    backend: str | None = None
    max_batch: int = 200_000
    chunk: int = 128
    max_grad_norm: float = 0.5
    lr: float = 3e-4
    clip: float = 0.2
    kl_coeff: float = 0.2
    kl_target: float = 0.01
    gae_lambda: float = 0.95
    discount: float = 0.99
    entropy_coeff: float = 0.0
    value_coeff: float = 0.5
    epochs: int = 10
    minibatch_size: int = 128
    train_batch_size: int = 4096

    population: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        sizes = {"num_envs": self.num_envs, "max_batch": self.max_batch, "chunk": self.chunk, "horizon": self.horizon or 1}
        sizes |= {f"hidden[{i}]": size for i, size in enumerate(self.hidden)}
        limits = {"chunk": MAX_CHUNK, "max_batch": MAX_ROWS}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= limits.get(name, 1 << 30):
                raise UsageError(f"PPO: {name}={size!r}, expected a whole number from 1 to {limits.get(name, 1 << 30)}.")
        make(self.env, self.backend)
        self._resolve({}, 1)

    # -- PopulationTrainable ------------------------------------------------------------------------------------------

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh members; seeds (P,)."""
        seeds = np.asarray(seeds)
        self._resolve(hparams, len(seeds))
        return fresh_carry(make(self.env, self.backend), self.num_envs, self.hidden, seeds)

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
        settings = self._resolve(hparams, len(seeds))
        changed: Parts = {}
        if steps <= 0:
            returns = [self.evaluate(carry, i, self.num_envs, int(seed), False) for i, seed in enumerate(seeds)]
            happened = evaluation_only(carry, returns)
        else:
            changed, happened = self._interval(carry, self._capacity(hparams), settings, steps, seeds)
        return account(carry | changed, happened, settings["kl_coeff"])

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
        env = make(self.env, self.backend)
        seeds = host.evaluation_seeds(seed, episodes)
        own = {name: carry[name] for name in ("params", "normaliser")}
        own = own if lane is None else take(own, lane)
        noise = None if deterministic else Noise(rng(int(seed), "evaluation noise"), env.spec, episodes)
        actor, seen, horizon = Actor(env.spec, **own), env.spec.observation, self.horizon or env.spec.horizon
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
        actor = Actor(spec, carry["params"], carry["normaliser"])
        (episode,), horizon = host.evaluation_seeds(seed, 1), self.horizon or spec.horizon
        return pictures(self.env, lambda seen: actor.act(seen, None)[1], episode, horizon, self.backend)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        return resolve_hparams(self, RANGES | {"train_batch_size": Range(1, self._capacity(hparams), True)}, hparams, members)

    def _capacity(self, hparams: PopulationHparams) -> int:
        """Returns the rows of the largest batch, which are known beforehand unless train_batch_size is tuned."""
        return self.max_batch if "train_batch_size" in hparams else int(self.train_batch_size)

    def _interval(
        self, carry: Parts, capacity: int, settings: dict[str, np.ndarray], steps: int, seeds: np.ndarray
    ) -> tuple[Parts, IntervalOutcome]:
        env, envs = make(self.env, self.backend), self.num_envs
        rows = max(capacity, int(carry["buffer"]["n"].max()) + envs)
        if not isinstance(env, DeviceEnv):
            layout = Layout(envs, envs, host_slots(rows, envs), rows + envs, self.chunk)
            learner = learner_for(self._functions(env.spec, layout))
            return host.train_on_host(env, learner, self.horizon, carry, settings, steps, seeds)
        slots, horizon = ring_slots(rows, envs), self.horizon or env.spec.horizon

        def program(members: int) -> Program:
            layout = Layout(envs, envs * members, slots, slots * envs, self.chunk)
            return program_for(env, members, self._functions(env.spec, layout), horizon)

        return train_in_shares(program, carry, settings, steps, seeds)

    def _functions(self, spec: EnvSpec, layout: Layout) -> Functions:
        distribution = CATEGORICAL if spec.discrete else GAUSSIAN
        return Functions(layout, distribution, (spec.observation, *self.hidden, spec.actions), spec.recorded, self.max_grad_norm)
