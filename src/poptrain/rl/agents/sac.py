"""SAC: soft actor-critic with a learned temperature, for a whole population at once.

Haarnoja, Zhou, Hartikainen, Tucker, Ha, Tan, Kumar, Zhu, Gupta, Abbeel, Levine: Soft Actor-Critic Algorithms and Applications,
arXiv 1812.05905.

    repeat: act with a = tanh(u), u ~ N(mu(s), sigma(s)), store (s, a, r, s')
            y = r + gamma (min(Q1'(s', a'), Q2'(s', a')) - alpha log pi(a'|s')),   a' ~ pi(.|s')                    eq. (3), (5)
            descend (Q1(s, a) - y)^2 + (Q2(s, a) - y)^2                                                             eq. (6)
            descend alpha log pi(a|s) - min(Q1(s, a), Q2(s, a)),   a ~ pi(.|s) as a function of the noise           eq. (9)
            descend -alpha (log pi(a|s) + H) by alpha; move Q1', Q2' by tau towards Q1, Q2                          eq. (18)

==============  ====================  ======================================================================================
paper           here                  meaning
==============  ====================  ======================================================================================
alpha           alpha, log_alpha      temperature, the price of a nat; the carry has the logarithm of a learned one
H               target_entropy |A|    entropy that a learned temperature aims at, in nats
gamma, tau      discount, tau
==============  ====================  ======================================================================================

*Departures from the paper.* The temperature is learned as log alpha, as in the authors' code, so it stays positive.
`update_every` steps are made between bursts of as many updates. Entropies are those of actions within -1 and 1, whatever the
bounds of the environment, so the target does not depend on its units.
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
from poptrain.rl.agents import td3
from poptrain.rl.distributions import LOG_2PI
from poptrain.rl.hparams import LARGEST, PopulationHparams, Range, resolve_hparams
from poptrain.rl.loops.off_policy import Numbers
from poptrain.rl.memory.rows import Transitions, bootstrap
from poptrain.rl.mlp import init_mlp, mlp
from poptrain.rl.nets import Layers
from poptrain.rl.off_policy import OFF_POLICY_RANGES, OffPolicy
from poptrain.rl.trees import Array, Parts, Scalars

LOG_STD = -20.0, 2.0  # bounds of the logarithm of sigma
LARGEST_ENTROPY = float(np.log(2))  # nats: that of a uniform draw from -1 to 1
REACHABLE = Range(
    -LARGEST, LARGEST_ENTROPY, raise_it=" No action between -1 and 1 has more entropy, so the temperature would grow without end."
)


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.sac:SAC`.
@answering_class
@dataclass(frozen=True)
class SAC(OffPolicy):
    """A population of SAC agents, a `PopulationTrainable`, for continuous actions.

    Every field from `learning_starts` on is a hyperparameter that may be tuned; no tuned value compiles anything again.

    >>> agent = SAC(env="HalfCheetah-v5")

    Args:
        alpha: a fixed temperature; None learns it.
        target_entropy: of a learned temperature, in nats for each dimension of an action; at most log 2.
        alpha_lr: learning rate of the logarithm of a learned temperature, which begins at 1.
    """

    batch_size: int = 256
    actor_lr: float = 3e-4
    critic_lr: float = 1e-3
    alpha_lr: float = 1e-3
    target_entropy: float = -1.0
    alpha: float | None = None

    ranges = OFF_POLICY_RANGES | {
        "actor_lr": Range(0.0),
        "critic_lr": Range(0.0),
        "alpha_lr": Range(0.0),
        "target_entropy": REACHABLE,
        "alpha": Range(0.0),
    }

    def functions(self) -> Functions:
        """Returns the pure functions of one member."""
        return Functions(self.hidden)

    def _resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        if self.alpha is not None or "alpha" in hparams:
            return resolve_hparams(self, self.ranges, hparams, members)
        others = {name: allowed for name, allowed in self.ranges.items() if name != "alpha"}
        return resolve_hparams(self, others, hparams, members) | {"alpha": np.full(members, np.nan, np.float32)}


@dataclass(frozen=True)
class Functions(td3.Functions):
    """SAC's functions of one member, a `loops.off_policy.OffPolicyAgent`. The policy network returns mu and log sigma, (B, 2 A).

    A hyperparameter ``alpha`` that is NaN means the learned temperature.
    """

    learned: ClassVar[tuple[str, ...]] = (*td3.Functions.learned, "alpha_adam")
    diagnostics: ClassVar[tuple[str, ...]] = ("critic_loss", "q", "alpha", "entropy")

    def init(self, observation: int, actions: int, generator: np.random.Generator) -> Parts:
        """Returns fresh networks, and a temperature of 1; the targets equal the critics."""
        actor = init_mlp(generator, (observation, *self.hidden, 2 * actions))
        critics = [init_mlp(generator, (observation + actions, *self.hidden, 1)) for _ in range(self.critics)]
        params = {"actor": actor, "critics": critics, "log_alpha": np.zeros((), np.float32)}
        adams = {"actor_adam": "actor", "critic_adam": "critics", "alpha_adam": "log_alpha"}
        return {"params": params, "target": critics} | {name: init_tree_adam(params[part]) for name, part in adams.items()}

    def action(self, xp: ModuleType, outputs: Numbers, noise: Numbers | None, hparams: Mapping[str, Numbers]) -> Numbers:
        """Returns the action that the noise draws; without noise, tanh(mu)."""
        mean, log_std = xp.split(outputs, 2, -1)
        return xp.tanh(mean if noise is None else mean + xp.exp(xp.clip(log_std, *LOG_STD)) * noise)

    def update(self, state: Parts, batch: Transitions, hparams: Scalars, key: Array) -> tuple[Parts, Array]:
        """Returns the state after an update of the critics, the policy, the temperature and the targets."""
        params, (next_key, here_key) = state["params"], jax.random.split(key)
        alpha = jnp.where(jnp.isnan(hparams["alpha"]), jnp.exp(params["log_alpha"]), hparams["alpha"])
        target = self.soft_target(state, batch, hparams, alpha, jax.random.normal(next_key, batch.actions.shape))
        (loss, q), gradient = jax.value_and_grad(self.critic_loss, has_aux=True)(params["critics"], batch, target)
        critic_adam, critics = tree_adam_step(state["critic_adam"], params["critics"], gradient, hparams["critic_lr"])
        noise = jax.random.normal(here_key, batch.actions.shape)
        (_, entropy), gradient = jax.value_and_grad(self.soft_loss, has_aux=True)(params["actor"], critics, batch, alpha, noise)
        actor_adam, actor = tree_adam_step(state["actor_adam"], params["actor"], gradient, hparams["actor_lr"])
        # eq. (18), as a gradient of log alpha
        surplus = jnp.exp(params["log_alpha"]) * (entropy - hparams["target_entropy"] * batch.actions.shape[1])
        alpha_adam, log_alpha = tree_adam_step(state["alpha_adam"], params["log_alpha"], surplus, hparams["alpha_lr"])
        state = {
            "params": {"actor": actor, "critics": critics, "log_alpha": log_alpha},
            "target": td3.polyak(state["target"], critics, hparams["tau"]),
            "actor_adam": actor_adam,
            "critic_adam": critic_adam,
            "alpha_adam": alpha_adam,
        }
        return state, jnp.stack([loss, q, alpha, entropy])

    def soft_target(self, state: Parts, batch: Transitions, hparams: Scalars, alpha: Array, noise: Array) -> Array:
        """Returns what the critics should say about the batch, (B,); noise standard normal, (B, A)."""
        actions, log_prob = draw(mlp(state["params"]["actor"], batch.reached, self.actor_activation), noise)
        rewards, discount = bootstrap(batch, hparams["discount"])
        values = [self.value(critic, batch.reached, actions) for critic in state["target"]]
        return rewards + discount * (jnp.minimum(*values) - alpha * log_prob)  # eq. (3), (5)

    def soft_loss(
        self, actor: Layers, critics: list[Layers], batch: Transitions, alpha: Array, noise: Array
    ) -> tuple[Array, Array]:
        """Returns the policy's loss, and its entropy in nats, both estimated from one action for each observation."""
        actions, log_prob = draw(mlp(actor, batch.observations, self.actor_activation), noise)
        value = jnp.minimum(*(self.value(critic, batch.observations, actions) for critic in critics))
        return (alpha * log_prob - value).mean(), -log_prob.mean()  # eq. (9)


def draw(outputs: Array, noise: Array) -> tuple[Array, Array]:
    """Returns actions within -1 and 1, (B, A), and the logarithms of their densities, (B,).

    The density of tanh(u) is that of u, divided by the derivative 1 - tanh(u)^2; its logarithm is written such that it stays
    exact where tanh(u) rounds to 1 (appendix C).

    Args:
        outputs: mu and log sigma, (B, 2 A).
        noise: standard normal, (B, A).
    """
    mean, log_std = jnp.split(outputs, 2, -1)
    log_std = jnp.clip(log_std, *LOG_STD)
    u = mean + jnp.exp(log_std) * noise
    log_derivative = 2.0 * (jnp.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.tanh(u), (-0.5 * (noise**2 + LOG_2PI) - log_std - log_derivative).sum(-1)
