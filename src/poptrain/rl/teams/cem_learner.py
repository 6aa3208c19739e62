"""The gradients of CEM-RL: compiled updates of the shared critics against one actor, and of an actor along the critics."""

from __future__ import annotations

from functools import lru_cache

from poptrain._jax import jax
from poptrain.rl.adam import tree_adam_step
from poptrain.rl.agents import td3
from poptrain.rl.memory.rows import Row
from poptrain.rl.nets import Layers
from poptrain.rl.trees import Array, Parts, Scalars, Tree


class CriticLearner:
    """The compiled bursts of a team: of the critics against one actor, and of an actor along the critics."""

    def __init__(self, agent: td3.Functions, row: Row, batch_size: int):
        self.agent, self.row, self.batch_size = agent, row, batch_size
        self._programs = {"critic": jax.jit(self._critic), "actor": jax.jit(self._actor)}

    def run(self, which: str, *arguments: Tree) -> tuple[Parts, Array]:
        """Returns the state after a burst, and the diagnostics; `which` is "critic" or "actor"."""
        return self._programs[which](*arguments)

    def _critic(
        self, state: Parts, actor: Layers, rows: Array, updates: Array, hparams: Scalars, seed: Array, done: Array
    ) -> tuple[Parts, Array]:
        key, agent = jax.random.key(seed), self.agent

        def body(i: Array, carry: Tree) -> Tree:
            state, batch = carry[0], self.row.decode(rows[i])
            target = agent.target({"actor": actor, "critics": state["target"]}, batch, hparams, jax.random.fold_in(key, done + i))
            (loss, q), gradient = jax.value_and_grad(agent.critic_loss, has_aux=True)(state["critics"], batch, target)
            adam, critics = tree_adam_step(state["adam"], state["critics"], gradient, hparams["critic_lr"])
            target = td3.polyak(state["target"], critics, hparams["tau"])
            return {"critics": critics, "target": target, "adam": adam}, jax.numpy.stack([loss, q])

        return jax.lax.fori_loop(0, updates, body, (state, jax.numpy.zeros(2)))

    def _actor(
        self, state: Parts, critics: list[Layers], rows: Array, updates: Array, hparams: Scalars, seed: Array, done: Array
    ) -> tuple[Parts, Array]:
        def body(i: Array, carry: Tree) -> Tree:
            state, batch = carry[0], self.row.decode(rows[i])
            loss, gradient = jax.value_and_grad(self.agent.actor_loss)(state["actor"], critics, batch, hparams)
            adam, actor = tree_adam_step(state["adam"], state["actor"], gradient, hparams["actor_lr"])
            return {"actor": actor, "adam": adam}, jax.numpy.stack([carry[1][0], -loss])

        return jax.lax.fori_loop(0, updates, body, (state, jax.numpy.full(2, jax.numpy.nan)))


@lru_cache(maxsize=16)
def critic_learner(agent: td3.Functions, row: Row, batch_size: int) -> CriticLearner:
    """Returns the one learner of this process for these settings."""
    return CriticLearner(agent, row, batch_size)
