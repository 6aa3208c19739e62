"""SVPG: policies that share their gradients through a kernel, and repel each other.

Liu, Ramachandran, Liu, Peng: Stein Variational Policy Gradient, arXiv 1704.02399.

    repeat: every particle theta_i acts with its own policy until the team has a batch
            g_i = gradient of the surrogate of particle i, in the direction of ascent
            phi_i = 1/n sum over j of [ k(theta_j, theta_i) g_j / alpha + gradient by theta_j of k(theta_j, theta_i) ]
            theta_i += Adam(phi_i);  the critic of particle i learns alone

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
n               particles           policies of a team
alpha           alpha               temperature: 0 is n policy gradients side by side, infinity is repulsion alone
k, h            `stein`             Gaussian kernel exp(-d^2 / h); h follows the median of d^2
q_0             none                the prior is flat
==============  ==================  ========================================================================================

*What alpha is relative to.* g_i is the gradient of a mean over the transitions of a batch, weighted by advantages (or returns)
that are standardised over that batch, and it is clipped to `max_grad_norm`. So alpha does not depend on the scale of rewards or
on the length of episodes; the 10 of the paper is for another scale. Gradient and repulsion are equal at alpha times ``gradient``
/ ``repulsion`` of the metrics.
*Departures from the paper.* The surrogate "ppo" is not in it: the Stein step is taken at every minibatch, and a particle whose
policy moved by more than 1.5 `kl_target` follows only the others from there on. "reinforce" subtracts the mean return of the
batch, and continues a recording that is cut with the value of the critic. Observations are filtered, with one filter for all.
*Departures from the reference codes.* The median is taken over pairs of different particles, and h has a floor, because equal
particles have a median of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poptrain._jax import jax
from poptrain.core.answering import answering_class
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.rng import rng
from poptrain.rl import account as shared
from poptrain.rl.actor import Actor
from poptrain.rl.adam import init_tree_adam
from poptrain.rl.agents.ppo.shuffle import MAX_CHUNK, MAX_ROWS
from poptrain.rl.agents.ppo.value_scale import init_value_scale
from poptrain.rl.architecture import architecture_of
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.envs import make
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec, HostBackend
from poptrain.rl.hparams import ANY, ENDLESS, PopulationHparams, Range, resolve_hparams
from poptrain.rl.loops.device import fresh_world
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.batch import Layout
from poptrain.rl.memory.recording import empty_recordings
from poptrain.rl.memory.ring import empty_rings
from poptrain.rl.nets import init_params
from poptrain.rl.normaliser import init_normaliser
from poptrain.rl.on_policy import OnPolicy
from poptrain.rl.teams.stein import BANDWIDTHS
from poptrain.rl.teams.svpg_learner import DIAGNOSTICS, SURROGATES, Functions
from poptrain.rl.trees import Parts, stack, take

RANGES = {
    "lr": Range(0.0),
    "critic_lr": Range(0.0),
    "alpha": ENDLESS._replace(low=1e-6),
    "gae_lambda": Range(0.0, 1.0),
    "discount": Range(0.0, 1.0),
    "entropy_coeff": ANY,
    "clip": ENDLESS,
    "kl_target": ENDLESS,
    "epochs": Range(0, 1_000, True),
    "minibatch_size": Range(1, MAX_ROWS, True),
    "train_batch_size": Range(1, MAX_ROWS, True),
}


# A log records a trainable as module:name, so this class stays `poptrain.rl.teams.svpg:SVPG`.
@answering_class
@dataclass(frozen=True)
class SVPG(OnPolicy):
    """A population of SVPG teams, a `PopulationTrainable`: train it with ``executor="vectorized"``. A team is one member.

    Every field from `lr` on is a hyperparameter that may be tuned. Steps, and `train_batch_size`, are those of all particles
    together. The score is the highest of the particles' mean returns; ``team/0`` … are all of them. `evaluate` plays the best.

    >>> team = SVPG(env="jax/CartPole-v1", particles=4)

    Args:
        env: name of the environment, see `poptrain.rl.make`.
        particles: policies of a team.
        surrogate: "reinforce", "a2c" or "ppo".
        bandwidth: of the kernel: "svpg" (narrow) or "svgd" (wide), see `poptrain.rl.teams.stein.bandwidth`.
        hidden: sizes of the hidden layers of all networks; tanh.
        num_envs: environments per particle.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.
        max_batch: greatest train_batch_size when that is tuned; it decides the size of the arrays of the compiled program.
        chunk: rows of which a gradient is computed at once; accelerators are faster with more.
        max_grad_norm: norm at which a particle's own gradient is clipped, before the kernel mixes them.
        alpha: temperature; small values let the particles learn on their own.
        epochs: passes of the critic over a batch, and with "ppo" of the policy; other surrogates take one Stein step for a batch.
        minibatch_size: transitions of a particle in a step.
    """

    env: str
    particles: int = 8
    surrogate: str = "ppo"
    bandwidth: str = "svpg"
    hidden: tuple[int, ...] = (64, 64)
    num_envs: int = 4
    horizon: int | None = None
    backend: str | None = None
    max_batch: int = 200_000
    chunk: int = 128
    max_grad_norm: float = 0.5
    lr: float = 1e-3
    critic_lr: float = 1e-3
    alpha: float = 0.1
    gae_lambda: float = 0.95
    discount: float = 0.99
    entropy_coeff: float = 0.0
    clip: float = 0.2
    kl_target: float = 0.02
    epochs: int = 10
    minibatch_size: int = 128
    train_batch_size: int = 8192

    played: ClassVar[tuple[str, ...]] = ("params", "normaliser", "best")

    def __post_init__(self) -> None:
        self.check_sizes(chunk=MAX_CHUNK, max_batch=MAX_ROWS, particles=1000)
        for name, known in (("surrogate", SURROGATES), ("bandwidth", tuple(BANDWIDTHS))):
            value = getattr(self, name)
            if value not in known:
                options = " or ".join(f'"{option}"' for option in known)
                raise UsageError(f"SVPG: {name}={value!r}, expected {options}.{did_you_mean(str(value), known)}")
        make(self.env, self.backend)
        self.resolve({}, 1)

    @property
    def envs(self) -> int:
        """The environments of a team."""
        return self.particles * self.num_envs

    def resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        return resolve_hparams(self, self.ranges_of(RANGES, hparams), hparams, members)

    def fresh(self, env: DeviceEnv | HostBackend, hparams: PopulationHparams, seeds: np.ndarray) -> Parts:
        spec, members, n = env.spec, len(seeds), self.particles
        log_std = 0 if spec.discrete else spec.actions
        teams, networks = [], architecture_of("SVPG", self.hidden, {})
        for seed in seeds:
            paths: list[tuple[str | int, ...]] = [("init",), *(("init", i) for i in range(1, n))]
            params = stack(
                [init_params(rng(int(seed), *path), spec.observation, networks, spec.actions, log_std) for path in paths]
            )
            sizes = {name: sum(leaf[0].size for leaf in jax.tree.leaves(params[name])) for name in params}
            team = {"params": params, "normaliser": init_normaliser(spec.observation)}
            team |= {"stein_adam": init_tree_adam(np.zeros((n, sizes["policy"] + sizes["log_std"])))}
            team |= {"critic_adam": init_tree_adam(np.zeros((n, sizes["value"]))), "value_scale": stack([init_value_scale()] * n)}
            teams.append(team | {"scores": np.full(n, np.nan), "best": np.int64(0)})
        carry = stack(teams) | shared.fresh_account(members, DIAGNOSTICS)
        if isinstance(env, DeviceEnv):
            buffer = empty_rings(members, self.envs, spec.observation, spec.recorded)
            return carry | {"buffer": buffer, "env": fresh_world(env, self.envs, seeds)}
        return carry | {"buffer": empty_recordings(members, self.envs, spec.observation, spec.recorded)}

    def functions(self, spec: EnvSpec, layout: Layout, carry: Parts) -> Functions:
        distribution, sizes = CATEGORICAL if spec.discrete else GAUSSIAN, (spec.observation, *self.hidden, spec.actions)
        kind = (self.particles, self.surrogate, self.bandwidth)
        return Functions(layout, distribution, sizes, spec.recorded, self.max_grad_norm, *kind)

    def account(self, carry: Parts, happened: IntervalOutcome, settings: dict[str, np.ndarray]) -> tuple[Parts, Parts]:
        if happened.by_env is not None:
            sums, episodes = np.moveaxis(happened.by_env.reshape(len(carry["best"]), 2, self.particles, -1).sum(3), 1, 0)
            scores = np.where(episodes > 0, sums / np.maximum(episodes, 1), np.nan)
            finished = np.where(episodes > 0, scores, -np.inf).max(1)
            happened = happened._replace(score=np.where(np.isfinite(finished), finished, np.nan))
            scores = shared.known(scores, carry["scores"])
            best = np.where(np.isfinite(scores), scores, -np.inf).argmax(1)
            carry = carry | {"scores": scores, "best": best}
        team = {f"team/{i}": column for i, column in enumerate(carry["scores"].T)}
        return shared.account(carry, happened, {"best_particle": carry["best"]} | team)

    def player(self, spec: EnvSpec, state: Parts) -> Actor:
        return Actor(spec, take(state["params"], int(state["best"])), state["normaliser"])
