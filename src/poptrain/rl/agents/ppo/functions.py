"""PPO's functions of one member, as the loops take them: act, value and learn for batches of one layout."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from poptrain._jax import jnp
from poptrain.rl.actor import Actor
from poptrain.rl.agents.ppo.learner import DIAGNOSTICS, LEARNED, learn
from poptrain.rl.agents.ppo.lesson import LESSON, TAUGHT
from poptrain.rl.agents.ppo.table import make_scratch
from poptrain.rl.agents.ppo.value_scale import in_units
from poptrain.rl.distributions import Distribution
from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.nets import forward
from poptrain.rl.normaliser import normalise
from poptrain.rl.trees import Array, Parts, Scalars


@dataclass(frozen=True)
class Functions:
    """A `loops.agent.RolloutAgent`. Equal ones share compiled programs, so every field may change a program.

    Args:
        sizes: of the policy's layers, from the observation to the outputs.
        action: numbers that one action is recorded as.
        max_grad_norm: global norm at which gradients are clipped.
        shapes: of the networks, see `architecture.shapes_of`.
        teacher: the same of the teacher's networks; None: there is no teacher.
    """

    layout: Layout
    distribution: Distribution
    sizes: tuple[int, ...]
    action: int
    max_grad_norm: float
    shapes: Hashable = ()
    teacher: Hashable | None = None

    @property
    def learned(self) -> tuple[str, ...]:
        """The parts of a carry that learning changes."""
        return LEARNED if self.teacher is None else (*LEARNED, LESSON)

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of the numbers that `learn` returns about an update."""
        return DIAGNOSTICS if self.teacher is None else DIAGNOSTICS + TAUGHT

    def actor(self, spec: EnvSpec, state: Parts) -> Actor:
        """Returns the policy in numpy."""
        return Actor(spec, state["params"], state["normaliser"])

    def act(self, state: Parts, observations: Array, key: Array) -> Array:
        """Returns actions as they are drawn, (E, A), for raw observations, (E, O)."""
        outputs = forward(state["params"]["policy"], normalise(state["normaliser"], observations.T))
        noise = self.distribution.noise(key, (self.sizes[-1], self.layout.num_envs))
        return self.distribution.sample(outputs, state["params"]["log_std"], noise).T

    def value(self, state: Parts, observations: Array) -> Array:
        """Returns the values, (E,), of states with raw observations, (E, O), in units of reward."""
        outputs = forward(state["params"]["value"], normalise(state["normaliser"], observations.T))
        return in_units(state["value_scale"], outputs[0])

    def learn(
        self, state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, key: Array, span: Array | None = None
    ) -> tuple[Parts, Parts, Array]:
        """Returns the state after an update, the scratch, and the diagnostics, see `learner.learn`."""
        return learn(
            state,
            batch,
            scratch,
            hparams,
            key,
            layout=self.layout,
            distribution=self.distribution,
            max_grad_norm=self.max_grad_norm,
            span=span,
        )

    def make_scratch(self, members: tuple[int, ...] = ()) -> Parts:
        """Returns working memory for `learn`, with these leading axes."""
        outputs = self.sizes[-1]
        scratch = make_scratch(self.layout, self.sizes[0], self.action, outputs, members)
        if self.teacher is not None:
            scratch["answers"] = jnp.zeros((*members, self.layout.table_rows, outputs + 1))
        return scratch
