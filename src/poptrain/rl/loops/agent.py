"""What a loop needs of an agent that learns from rollouts. Loops do not import agents; agents pass these functions to a loop."""

from __future__ import annotations

from typing import Protocol

from poptrain.rl.actor import Actor
from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.trees import Array, Parts, Scalars


class RolloutAgent(Protocol):
    """Pure functions of one member, for batches of one layout. Hashable, because compiled programs are cached by it."""

    @property
    def layout(self) -> Layout:
        """The shapes of the batches."""
        ...

    @property
    def learned(self) -> tuple[str, ...]:
        """The parts of a carry that learning changes; together they are the `state` of the functions below."""
        ...

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of the numbers that `learn` returns about an update."""
        ...

    def actor(self, spec: EnvSpec, state: Parts) -> Actor:
        """Returns the policy in numpy, for environments on the host."""
        ...

    def act(self, state: Parts, observations: Array, key: Array) -> Array:
        """Returns actions as they are drawn, (E, A), for raw observations, (E, O)."""
        ...

    def value(self, state: Parts, observations: Array) -> Array:
        """Returns the values, (E,), of states with raw observations, (E, O)."""
        ...

    def learn(
        self, state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, key: Array, span: Array | None = None
    ) -> tuple[Parts, Parts, Array]:
        """Returns the state after an update, the scratch, and the diagnostics, (len(diagnostics),).

        Args:
            span: ticks to walk through, at least the batch's own; None: the batch's own.
        """
        ...

    def make_scratch(self, members: tuple[int, ...] = ()) -> Parts:
        """Returns working memory for `learn`, with these leading axes. Its content never matters."""
        ...
