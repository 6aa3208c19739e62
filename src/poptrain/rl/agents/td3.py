"""TD3: twin delayed deep deterministic policy gradient, for a whole population at once.

Fujimoto, van Hoof, Meger: Addressing Function Approximation Error in Actor-Critic Methods, arXiv 1802.09477.

    repeat: act with pi(s) + N(0, sigma), store (s, a, r, s')
            a' = clip(pi'(s') + clip(N(0, sigma~), -c, c))                                  eq. (14), target policy smoothing
            y = r + gamma min(Q1'(s', a'), Q2'(s', a'))                                     eq. (10), clipped double Q-learning
            descend (Q1(s, a) - y)^2 + (Q2(s, a) - y)^2
            every d updates: ascend Q1(s, pi(s)); move pi', Q1', Q2' by tau towards pi, Q1, Q2     section 5.2

==============  ====================  ======================================================================================
paper           here                  meaning
==============  ====================  ======================================================================================
sigma           exploration_noise     standard deviation of the noise on actions, which are within -1 and 1
sigma~, c       target_noise,         of the smoothed target action
                noise_clip
d               policy_delay          updates of the critics for one of the policy and the targets
gamma, tau      discount, tau
==============  ====================  ======================================================================================

*Departures from the paper.* The networks are 256-256 (the paper's have 400-300). `update_every` steps are made between bursts of
as many updates. Uniform actions and no updates come first, for `learning_starts` steps.
*Departures from the reference code.* Targets move only with the policy, as in both. Time limits are never terminal, by the
environment's own report and not by a count of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.core.answering import answering_class
from poptrain.rl.adam import init_tree_adam, tree_adam_step
from poptrain.rl.hparams import ENDLESS, Range
from poptrain.rl.loops.off_policy import Numbers
from poptrain.rl.memory.rows import Transitions, bootstrap
from poptrain.rl.mlp import init_mlp, mlp
from poptrain.rl.nets import Layers
from poptrain.rl.off_policy import OFF_POLICY_RANGES, OffPolicy
from poptrain.rl.trees import Array, Parts, Scalars, Tree


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.td3:TD3`.
@answering_class
@dataclass(frozen=True)
class TD3(OffPolicy):
    """A population of TD3 agents, a `PopulationTrainable`, for continuous actions.

    Every field from `learning_starts` on is a hyperparameter that may be tuned; no tuned value compiles anything again.

    >>> agent = TD3(env="HalfCheetah-v5")
    """

    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    noise_clip: float = 0.5
    policy_delay: int = 2

    ranges = OFF_POLICY_RANGES | {
        "actor_lr": Range(0.0),
        "critic_lr": Range(0.0),
        "exploration_noise": Range(0.0),
        "target_noise": Range(0.0),
        "noise_clip": ENDLESS,
        "policy_delay": Range(1, 1000, True),
    }

    def functions(self) -> Functions:
        """Returns the pure functions of one member."""
        return Functions(self.hidden)


@dataclass(frozen=True)
class Functions:
    """TD3's functions of one member, a `loops.off_policy.OffPolicyAgent`."""

    hidden: tuple[int, ...]
    actor_activation: str = "relu"
    critic_activation: str = "relu"

    learned: ClassVar[tuple[str, ...]] = ("params", "target", "actor_adam", "critic_adam")
    diagnostics: ClassVar[tuple[str, ...]] = ("critic_loss", "q")
    critics: ClassVar[int] = 2

    def init(self, observation: int, actions: int, generator: np.random.Generator) -> Parts:
        """Returns fresh networks; the targets equal them."""
        params = {
            "actor": init_mlp(generator, (observation, *self.hidden, actions)),
            "critics": [init_mlp(generator, (observation + actions, *self.hidden, 1)) for _ in range(self.critics)],
        }
        adams = {f"{name}_adam": init_tree_adam(params[part]) for name, part in (("actor", "actor"), ("critic", "critics"))}
        return {"params": params, "target": params, **adams}

    def action(self, xp: ModuleType, outputs: Numbers, noise: Numbers | None, hparams: Mapping[str, Numbers]) -> Numbers:
        """Returns the action of the policy, with exploration noise."""
        actions = xp.tanh(outputs)
        return actions if noise is None else xp.clip(actions + hparams["exploration_noise"] * noise, -1.0, 1.0)

    def update(self, state: Parts, batch: Transitions, hparams: Scalars, key: Array) -> tuple[Parts, Array]:
        """Returns the state after an update of the critics and, every `policy_delay` updates, of the policy and the targets."""
        params, adam = state["params"], state["critic_adam"]
        target = self.target(state["target"], batch, hparams, key)
        (loss, q), gradient = jax.value_and_grad(self.critic_loss, has_aux=True)(params["critics"], batch, target)
        adam, critics = tree_adam_step(adam, params["critics"], gradient, hparams["critic_lr"])
        state = state | {"params": params | {"critics": critics}, "critic_adam": adam}
        due = adam["count"] % hparams["policy_delay"] == 0
        state = jax.lax.cond(due, lambda state: self.improved(state, batch, hparams), lambda state: state, state)
        return state, jnp.stack([loss, q])

    def target(self, target: Parts, batch: Transitions, hparams: Scalars, key: Array) -> Array:
        """Returns what the critics should say about the batch, (B,)."""
        noise = hparams["target_noise"] * jax.random.normal(key, batch.actions.shape)
        noise = jnp.clip(noise, -hparams["noise_clip"], hparams["noise_clip"])
        actions = jnp.clip(self.policy(target["actor"], batch.reached) + noise, -1.0, 1.0)  # eq. (14)
        rewards, discount = bootstrap(batch, hparams["discount"])
        values = [self.value(critic, batch.reached, actions) for critic in target["critics"]]
        return rewards + discount * jnp.minimum(*values)  # eq. (10)

    def critic_loss(self, critics: list[Layers], batch: Transitions, target: Array) -> tuple[Array, Array]:
        """Returns the sum of the critics' mean squared errors, and the mean value."""
        values = [self.value(critic, batch.observations, batch.actions) for critic in critics]
        return sum(((value - target) ** 2).mean() for value in values), values[0].mean()

    def actor_loss(self, actor: Layers, critics: list[Layers], batch: Transitions, hparams: Scalars) -> Array:
        """Returns minus the value of the policy's actions, to the first critic."""
        return -self.value(critics[0], batch.observations, self.policy(actor, batch.observations)).mean()

    def improved(self, state: Parts, batch: Transitions, hparams: Scalars) -> Parts:
        """Returns the state after a step of the policy, and of the targets."""
        params = state["params"]
        gradient = jax.grad(self.actor_loss)(params["actor"], params["critics"], batch, hparams)
        adam, actor = tree_adam_step(state["actor_adam"], params["actor"], gradient, hparams["actor_lr"])
        params = params | {"actor": actor}
        return state | {"params": params, "actor_adam": adam, "target": polyak(state["target"], params, hparams["tau"])}

    def policy(self, actor: Layers, observations: Array) -> Array:
        """Returns the actions without noise, (B, A)."""
        return jnp.tanh(mlp(actor, observations, self.actor_activation))

    def value(self, critic: Layers, observations: Array, actions: Array) -> Array:
        """Returns one critic's values, (B,)."""
        return mlp(critic, jnp.concatenate([observations, actions], 1), self.critic_activation)[:, 0]


def polyak(target: Tree, params: Tree, tau: Array) -> Tree:
    """Returns target networks moved by a fraction `tau` towards the networks."""
    return jax.tree.map(lambda old, new: old + tau * (new - old), target, params)
