"""Environments by name: ``jax/…`` inside the compiled program, EnvPool where it knows the name, else Gymnasium.

To add a pure-JAX environment, write one file with an ``ENV`` (a `DeviceEnv`) and name it in `DEVICE`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from poptrain.core.errors import MissingExtra, UsageError, did_you_mean
from poptrain.rl.envs.spec import DeviceEnv, HostBackend

DEVICE = {
    "jax/Pendulum-v1": "poptrain.rl.envs.pendulum",
    "jax/CartPole-v1": "poptrain.rl.envs.cartpole",
}

_told: set[str] = set()


def make(name: str, backend: str | None = None) -> DeviceEnv | HostBackend:
    """Returns the environment of this name: a `DeviceEnv`, or a `HostBackend` of EnvPool or Gymnasium.

    Args:
        name: ``jax/…``, any EnvPool name, any Gymnasium name (``module:Name-v0`` imports the module first).
        backend: "envpool" or "gymnasium" to insist on one of them; None prefers EnvPool.

    Raises:
        UsageError: nobody knows the name, or the package that does is not installed.
    """
    if backend not in (None, "envpool", "gymnasium"):
        raise UsageError(f"backend {backend!r}: expected 'envpool', 'gymnasium' or None (EnvPool if it can).")
    if name in DEVICE:
        return import_module(DEVICE[name]).ENV
    if name.startswith("jax/"):
        raise UsageError(f"env {name!r} is not one of {', '.join(DEVICE)}.{did_you_mean(name, DEVICE)}")
    pool = None if backend == "gymnasium" else _room("envpool")
    if pool is not None and name in pool.names():
        return pool.backend(name)
    if backend == "envpool":
        if pool is None:
            raise MissingExtra("backend 'envpool' needs EnvPool: pip install 'poptrain[rl]' (Linux on x86-64).")
        raise UsageError(f"env {name!r}: EnvPool does not know it.{did_you_mean(name, pool.names())}")
    gym = _room("gymnasium")
    if gym is None:
        raise MissingExtra(f"env {name!r} needs EnvPool or Gymnasium: pip install 'poptrain[rl]'.")
    if ":" not in name and name not in gym.names():
        known = [*DEVICE, *(pool.names() if pool else ()), *gym.names()]
        raise UsageError(f"env {name!r}: neither EnvPool nor Gymnasium knows it.{did_you_mean(name, known)}")
    if backend is None and name not in _told:
        _told.add(name)
        why = "has no wheel here" if pool is None else "does not know it"
        print(f"poptrain: {name} runs on Gymnasium, because EnvPool {why}; expect it to be slower.", file=sys.stderr)
    return gym.backend(name)


def _room(package: str) -> ModuleType | None:
    """Our module for an optional package, or None where that is not installed."""
    try:
        return import_module(f"poptrain.rl.envs.{package}")
    except ImportError:
        return None


__all__ = ["DEVICE", "make"]
