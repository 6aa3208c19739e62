"""The only place that imports JAX, so that XLA's CPU flags are set before its backend starts.

With jaxlib 0.10 on few cores, a batched training loop dead-locks in most runs under XLA's concurrency-optimised CPU
scheduler (every thread of the pool idle, the caller in ``BlockUntilReady``). Without that scheduler no run hung, at the same
speed. Modules that need JAX write ``from poptrain._jax import jax, jnp``. The import starts no backend and compiles nothing.
"""

from __future__ import annotations

import os

from poptrain.core.errors import MissingExtra

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"


def protect_from_deadlock(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Appends the scheduler flag to ``XLA_FLAGS``, unless the user has chosen it already."""
    flags = environment.get("XLA_FLAGS", "")
    if FLAG not in flags:
        environment["XLA_FLAGS"] = f"{flags} {FLAG}=false".strip()


protect_from_deadlock()

try:
    import jax
    import jax.flatten_util  # not loaded by jax itself
    import jax.numpy as jnp
except ImportError as error:
    needed = "this part of poptrain needs JAX: pip install 'poptrain[jax]', or 'poptrain[rl]' with environments"
    raise MissingExtra(f"{needed} ({error})") from error

__all__ = ["FLAG", "MissingExtra", "jax", "jnp", "protect_from_deadlock"]
