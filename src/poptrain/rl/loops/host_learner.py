"""Updates in the background: an agent's `learn`, compiled for one member, on as many threads as there are CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from poptrain._jax import jax
from poptrain.core.cpus import cpus
from poptrain.rl.loops.agent import RolloutAgent
from poptrain.rl.memory.batch import Batch
from poptrain.rl.trees import Array, Parts, Scalars


class HostLearner:
    """Runs updates of one agent's members. The update is compiled at the first call and never again."""

    def __init__(self, agent: RolloutAgent):
        self.agent = agent
        self._program = jax.jit(self._update, donate_argnames="scratch")
        self._compiled: jax.stages.Compiled | None = None
        self._spare: list[Parts] = []  # working memory that no update uses, as much as ever was in use at once
        self._threads = ThreadPoolExecutor(cpus(), thread_name_prefix="poptrain-learner")

    def _update(
        self, state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, seed: Array, update: Array
    ) -> tuple[Parts, Parts, Array]:
        key = jax.random.fold_in(jax.random.key(seed), update)
        return self.agent.learn(state, batch, scratch, hparams, key)

    def submit(
        self, state: Parts, batch: Batch, hparams: Mapping[str, np.generic], seed: int, update: int
    ) -> Future[tuple[Parts, np.ndarray]]:
        """Starts one update; the future holds (state, diagnostics) as numpy. `batch` must not change until then.

        Args:
            seed: of the member's task.
            update: number of this update inside the interval, from 0; the randomness is a function of both.
        """
        arguments = (state, batch, dict(hparams), np.uint32(seed), np.int32(update))
        if self._compiled is None:
            self._spare.append(self.agent.make_scratch())
            self._compiled = self._program.lower(*arguments[:2], self._spare[0], *arguments[2:]).compile()
        return self._threads.submit(self._run, self._compiled, *arguments)

    def _run(
        self,
        compiled: jax.stages.Compiled,
        state: Parts,
        batch: Batch,
        hparams: Mapping[str, np.generic],
        seed: np.uint32,
        update: np.int32,
    ) -> tuple[Parts, np.ndarray]:
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = self.agent.make_scratch()
        state, scratch, diagnostics = compiled(state, batch, scratch, hparams, seed, update)
        state, diagnostics = jax.device_get((state, diagnostics))  # waits for the result
        self._spare.append(scratch)
        return state, diagnostics


@lru_cache(maxsize=128)  # an agent and every architecture has one
def learner_for(agent: RolloutAgent) -> HostLearner:
    """Returns the one learner of this process for equal agents."""
    return HostLearner(agent)
