"""ERL's learner: DDPG with layer normalisation and clipped gradients, on the networks of the authors' code.

The critic reads observations and actions with separate layers, whose outputs the next layer sees together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.adam import init_tree_adam, tree_adam_step
from poptrain.rl.agents import ddpg, td3
from poptrain.rl.memory.rows import Transitions
from poptrain.rl.mlp import ACTIVATIONS, init_mlp, mlp
from poptrain.rl.trees import Array, Parts, Scalars, Tree

LAST_SCALE = 0.1  # of the last layers of a fresh critic and of the learner's fresh actor
MAX_GRAD_NORM = 10.0


@dataclass(frozen=True)
class Functions(ddpg.Functions):
    """The learner's functions, a `loops.off_policy.OffPolicyAgent`.

    A critic is ``{"observation": layer, "action": layer, "joint": layers}``.
    """

    actor_activation: str = "tanh"
    critic_activation: str = "elu"
    critic_hidden: tuple[int, int] = (200, 300)

    learned: ClassVar[tuple[str, ...]] = ("params", "target", "actor_adam", "critic_adam")

    def init(self, observation: int, actions: int, generator: np.random.Generator) -> Parts:
        """Returns fresh networks; the targets equal them."""
        own, joint = self.critic_hidden
        critic = {
            "observation": init_mlp(generator, (observation, own))[0],
            "action": init_mlp(generator, (actions, own))[0],
            "joint": init_mlp(generator, (2 * own, joint, 1), LAST_SCALE, norm=True),
        }
        actor = init_mlp(generator, (observation, *self.hidden, actions), LAST_SCALE, norm=True)
        params = {"actor": actor, "critics": [critic]}
        adams = {"actor_adam": init_tree_adam(actor), "critic_adam": init_tree_adam([critic])}
        return {"params": params, "target": params, **adams}

    def update(self, state: Parts, batch: Transitions, hparams: Scalars, key: Array) -> tuple[Parts, Array]:
        """Returns the state after an update of the critic, the policy and the targets."""
        params = state["params"]
        target = self.target(state["target"], batch, hparams, key)
        (loss, q), gradient = jax.value_and_grad(self.critic_loss, has_aux=True)(params["critics"], batch, target)
        critic_adam, critics = tree_adam_step(state["critic_adam"], params["critics"], clipped(gradient), hparams["critic_lr"])
        gradient = jax.grad(self.actor_loss)(params["actor"], critics, batch, hparams)
        actor_adam, actor = tree_adam_step(state["actor_adam"], params["actor"], clipped(gradient), hparams["actor_lr"])
        params = {"actor": actor, "critics": critics}
        target = td3.polyak(state["target"], params, hparams["tau"])
        adams = {"actor_adam": actor_adam, "critic_adam": critic_adam}
        return {"params": params, "target": target, **adams}, jnp.stack([loss, q])

    def value(self, critic: Parts, observations: Array, actions: Array) -> Array:
        """Returns the critic's values, (B,)."""
        squash = ACTIVATIONS[self.critic_activation]
        parts = [(critic["observation"], observations), (critic["action"], actions)]
        together = jnp.concatenate([squash(x @ layer["w"] + layer["b"]) for layer, x in parts], 1)
        return mlp(critic["joint"], together, self.critic_activation)[:, 0]


def clipped(gradient: Tree) -> Tree:
    """Returns a gradient whose global norm is at most `MAX_GRAD_NORM`."""
    norm = jnp.sqrt(sum((part * part).sum() for part in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda part: part * jnp.minimum(1.0, MAX_GRAD_NORM / (norm + 1e-6)), gradient)
