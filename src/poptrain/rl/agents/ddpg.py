"""DDPG: deep deterministic policy gradient, for a whole population at once.

Lillicrap, Hunt, Pritzel, Heess, Erez, Tassa, Silver, Wierstra: Continuous Control with Deep Reinforcement Learning,
arXiv 1509.02971.

    repeat: act with pi(s) + N(0, sigma), store (s, a, r, s')
            y = r + gamma Q'(s', pi'(s'))
            descend (Q(s, a) - y)^2
            ascend Q(s, pi(s))                                                              eq. (6)
            move pi', Q' by tau towards pi, Q                                               algorithm 1

It is `td3` with one critic, no smoothing of target actions and no delay of the policy.

*Departures from the paper.* The noise is Gaussian and not an Ornstein-Uhlenbeck process, which makes no difference
(arXiv 1802.09477, section 6.1). There is no batch normalisation and no weight decay, and actions enter the critic at its first
layer. The networks and rates are those of `td3`, so that the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from poptrain._jax import jax, jnp
from poptrain.core.answering import answering_class
from poptrain.rl.adam import tree_adam_step
from poptrain.rl.agents import td3
from poptrain.rl.hparams import Range
from poptrain.rl.memory.rows import Transitions, bootstrap
from poptrain.rl.off_policy import OFF_POLICY_RANGES, OffPolicy
from poptrain.rl.trees import Array, Parts, Scalars


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.ddpg:DDPG`.
@answering_class
@dataclass(frozen=True)
class DDPG(OffPolicy):
    """A population of DDPG agents, a `PopulationTrainable`, for continuous actions.

    Every field from `learning_starts` on is a hyperparameter that may be tuned; no tuned value compiles anything again.

    >>> agent = DDPG(env="Pendulum-v1", learning_starts=1000)
    """

    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    exploration_noise: float = 0.1

    ranges = OFF_POLICY_RANGES | {"actor_lr": Range(0.0), "critic_lr": Range(0.0), "exploration_noise": Range(0.0)}

    def functions(self) -> Functions:
        """Returns the pure functions of one member."""
        return Functions(self.hidden)


@dataclass(frozen=True)
class Functions(td3.Functions):
    """DDPG's functions of one member, a `loops.off_policy.OffPolicyAgent`."""

    critics: ClassVar[int] = 1

    def update(self, state: Parts, batch: Transitions, hparams: Scalars, key: Array) -> tuple[Parts, Array]:
        """Returns the state after an update of the critic, the policy and the targets."""
        params = state["params"]
        target = self.target(state["target"], batch, hparams, key)
        (loss, q), gradient = jax.value_and_grad(self.critic_loss, has_aux=True)(params["critics"], batch, target)
        adam, critics = tree_adam_step(state["critic_adam"], params["critics"], gradient, hparams["critic_lr"])
        state = state | {"params": params | {"critics": critics}, "critic_adam": adam}
        return self.improved(state, batch, hparams), jnp.stack([loss, q])

    def target(self, target: Parts, batch: Transitions, hparams: Scalars, key: Array) -> Array:
        """Returns what the critic should say about the batch, (B,)."""
        rewards, discount = bootstrap(batch, hparams["discount"])
        return rewards + discount * self.value(target["critics"][0], batch.reached, self.policy(target["actor"], batch.reached))
