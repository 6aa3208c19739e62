"""Environments by name: ``jax/…`` and ``brax/…`` run inside the compiled program; EnvPool runs the names it has, Gymnasium the
others. ``delayed/…`` is one of the latter two with delayed rewards.

To add a pure-JAX environment, write one file with an ``ENV`` (a `DeviceEnv`) and add its name to `DEVICE`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from poptrain.core.answering import answering
from poptrain.core.errors import MissingExtra, UsageError, did_you_mean
from poptrain.rl.envs.delayed import delayed, parse
from poptrain.rl.envs.spec import BRAX, DeviceEnv, HostBackend

DEVICE = {
    "jax/Pendulum-v1": "poptrain.rl.envs.pendulum",
    "jax/CartPole-v1": "poptrain.rl.envs.cartpole",
}

_announced: set[str] = set()  # environments for which the fallback to Gymnasium was printed


@answering
def make(name: str, backend: str | None = None) -> DeviceEnv | HostBackend:
    """Returns the environment of this name: a `DeviceEnv`, or a `HostBackend` of EnvPool or Gymnasium.

    Args:
        name: ``jax/…``, ``brax/…`` (such as ``brax/ant``), any EnvPool name, any Gymnasium name (``module:Name-v0`` imports the
            module first). ``delayed/`` or ``delayed-5/`` before one of the latter two pays its rewards every 20 or 5 steps, and
            at the end of an episode.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.

    Raises:
        UsageError: the name is unknown, or the package that has it is not installed.
    """
    if backend not in (None, "envpool", "gymnasium"):
        raise UsageError(f"backend {backend!r}: expected 'envpool', 'gymnasium' or None (EnvPool where possible).")
    if not isinstance(name, str):
        raise UsageError(f"environment {name!r:.60}: expected the name of an environment, such as 'Pendulum-v1'.{_naming(name)}")
    inside, every = parse(name)
    if every is not None:
        env = make(inside, backend)
        if isinstance(env, DeviceEnv):
            raise UsageError(f"environment {name!r}: rewards of pure JAX environments cannot be delayed. Use a simulated one.")
        return delayed(env, name, every)
    if name in DEVICE:
        return import_module(DEVICE[name]).ENV
    if name.startswith(BRAX):
        robots = _optional("brax")
        if robots is None:
            raise MissingExtra(f"environment {name!r} needs Brax: pip install 'poptrain[rl,brax]'.")
        return robots.environment(name)
    if name.startswith("jax/"):
        raise UsageError(f"unknown environment {name!r}: expected one of {', '.join(DEVICE)}.{did_you_mean(name, DEVICE)}")
    pool = None if backend == "gymnasium" else _optional("envpool")
    if pool is not None and name in pool.names():
        return pool.backend(name)
    if backend == "envpool":
        if pool is None:
            raise MissingExtra("backend 'envpool' needs EnvPool: pip install 'poptrain[rl]' (Linux on x86-64).")
        raise UsageError(f"unknown environment {name!r}: EnvPool does not have it.{did_you_mean(name, pool.names())}")
    gym = _optional("gymnasium")
    if gym is None:
        raise MissingExtra(f"environment {name!r} needs EnvPool or Gymnasium: pip install 'poptrain[rl]'.")
    if ":" not in name and name not in gym.names():
        known = [*DEVICE, *(pool.names() if pool else ()), *gym.names()]
        raise UsageError(f"unknown environment {name!r}: neither EnvPool nor Gymnasium has it.{did_you_mean(name, known)}")
    if backend is None and name not in _announced:
        _announced.add(name)
        why = "is not installed" if pool is None else "does not have it"
        print(f"poptrain: {name} runs on Gymnasium, because EnvPool {why}; this is slower.", file=sys.stderr)
    return gym.backend(name)


def _naming(env: object) -> str:
    """Returns a sentence on how a class of the user, or one of its objects, gets a name."""
    if env is None:
        return ""
    own = env.__name__ if callable(env) and hasattr(env, "__name__") else type(env).__name__
    return (
        f" A class of yours gets one by gymnasium.register('{own}-v0', {own}); 'module:{own}-v0' imports the module that does "
        "so, also in workers."
    )


def _optional(package: str) -> ModuleType | None:
    """Returns our module for an optional package, or None where the package is not installed."""
    try:
        return import_module(f"poptrain.rl.envs.{package}")
    except ImportError:
        return None


__all__ = ["DEVICE", "make"]
