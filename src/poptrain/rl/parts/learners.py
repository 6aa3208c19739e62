"""Compiled learners, one program for each layout of memory, and the threads that run them beside a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import numpy as np

from poptrain._jax import jax
from poptrain.rl.parts.batch import Batch, Layout
from poptrain.rl.parts.cores import cores
from poptrain.rl.parts.distributions import Distribution
from poptrain.rl.parts.learner import learn
from poptrain.rl.parts.table import Scratch, make_scratch


class Learner:
    """`learn` for one member, compiled at the first call and never again, from as many threads as there are cores."""

    def __init__(self, layout: Layout, distribution: Distribution, sizes: tuple[int, ...], action: int, max_grad_norm: float):
        def program(state: Any, batch: Batch, scratch: Scratch, hparams: Any, seed: Any, update: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(seed), update)
            return update_member(state, batch, scratch, hparams, key)

        update_member = partial(learn, layout=layout, distribution=distribution, max_grad_norm=max_grad_norm)
        self._program = jax.jit(program, donate_argnames="scratch")
        self._compiled: Any = None
        self._make_scratch = partial(make_scratch, layout, sizes[0], action, sizes[-1])
        self._spare: list[Scratch] = []  # as many as ever learned at once
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="poptrain-learner")

    def submit(self, state: dict[str, Any], batch: Batch, hparams: Mapping[str, np.generic], seed: int, update: int) -> Future:
        """Starts one update; the future holds (state, diagnostics) as numpy. `batch` must stay untouched until then."""
        arguments = (state, batch, dict(hparams), np.uint32(seed), np.int32(update))
        if self._compiled is None:
            self._spare.append(self._make_scratch())
            self._compiled = self._program.lower(*arguments[:2], self._spare[0], *arguments[2:]).compile()
        return self._threads.submit(self._run, *arguments)

    def _run(self, state: Any, batch: Batch, hparams: Any, seed: Any, update: Any) -> Any:
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = self._make_scratch()
        state, scratch, diagnostics = self._compiled(state, batch, scratch, hparams, seed, update)
        state, diagnostics = jax.device_get((state, diagnostics))  # waits
        self._spare.append(scratch)
        return state, diagnostics


@lru_cache(maxsize=16)
def learner_for(layout: Layout, distribution: Distribution, sizes: tuple[int, ...], action: int, max_grad_norm: float) -> Learner:
    """Returns the one `Learner` of this process for these settings.

    Args:
        sizes: of the policy's layers, from the observation to the outputs.
        action: numbers that an action is recorded as.
    """
    return Learner(layout, distribution, sizes, action, max_grad_norm)
