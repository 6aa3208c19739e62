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
filter, and gradients are clipped by their global norm. The policy and the value network share no weights. A student may
learn from a teacher at the same time (`lesson`).
*Departures from RLlib.* The value loss is not clipped, and the value network is rescaled to the returns (`value_scale`). A
batch is the greatest number of whole ticks (one step of all the member's environments) within train_batch_size, but at
least one; the rows that do not fill a last minibatch are left out of that epoch. The observation filter does not change
while a batch is collected.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poptrain.core.answering import answering_class
from poptrain.rl.agents.ppo.carry import account, fresh_carry
from poptrain.rl.agents.ppo.functions import Functions
from poptrain.rl.agents.ppo.hparams import RANGES
from poptrain.rl.agents.ppo.lesson import LESSON
from poptrain.rl.agents.ppo.shuffle import MAX_CHUNK, MAX_ROWS
from poptrain.rl.agents.ppo.students import TeachableOnPolicy
from poptrain.rl.architecture import NAMES as ARCHITECTURE
from poptrain.rl.architecture import architecture_of, shapes_of, without_architecture
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.envs import make
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec, HostBackend
from poptrain.rl.hparams import PopulationHparams, resolve_hparams
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.batch import Layout
from poptrain.rl.trees import Parts


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.ppo:PPO`.
@answering_class
@dataclass(frozen=True)
class PPO(TeachableOnPolicy):
    """A population of PPO agents, a `PopulationTrainable`: train it with ``executor="vectorized"``.

    Every field from `lr` to `train_batch_size` is a hyperparameter that may be tuned; a field is its value where it is not tuned.
    None of them changes the compiled program. The architecture may be tuned as well, with these static hyperparameters:
    policy_layers, policy_width, policy_spectral_norm, value_layers, value_width and value_spectral_norm (`rl.architecture`).

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
        distill_policy, distill_value: weights of the KL divergence from a teacher, and of the difference from its values.
        distill_lr: learning rate while a teacher teaches; None: `lr`, as it is tuned.
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
    distill_policy: float = field(default=5.0, kw_only=True)
    distill_value: float = field(default=0.5, kw_only=True)
    distill_lr: float | None = field(default=3e-4, kw_only=True)

    def __post_init__(self) -> None:
        self.check_sizes(chunk=MAX_CHUNK, max_batch=MAX_ROWS)
        make(self.env, self.backend)
        self.resolve({}, 1)
        self.check_teaching()

    def resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        architecture_of("PPO", self.hidden, hparams)
        return resolve_hparams(self, self.ranges_of(RANGES, hparams), without_architecture(hparams), members, ARCHITECTURE)

    def fresh(self, env: DeviceEnv | HostBackend, hparams: PopulationHparams, seeds: np.ndarray) -> Parts:
        return fresh_carry(env, self.num_envs, architecture_of("PPO", self.hidden, hparams), seeds)

    def functions(self, spec: EnvSpec, layout: Layout, carry: Parts) -> Functions:
        distribution, sizes = CATEGORICAL if spec.discrete else GAUSSIAN, (spec.observation, *self.hidden, spec.actions)
        teacher = shapes_of(carry[LESSON]["params"]) if LESSON in carry else None
        return Functions(layout, distribution, sizes, spec.recorded, self.max_grad_norm, shapes_of(carry["params"]), teacher)

    def account(self, carry: Parts, happened: IntervalOutcome, settings: dict[str, np.ndarray]) -> tuple[Parts, Parts]:
        return account(carry, happened, settings["kl_coeff"])
