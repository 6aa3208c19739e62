"""Pictures of one episode: EnvPool draws what it knows (but MuJoCo, which wants a screen), Gymnasium the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs import DEVICE
from poptrain.rl.envs.spaces import flatten

Policy = Callable[[np.ndarray], np.ndarray]  # observations (1, O) -> actions (1, A), or (1,) whole numbers
UNLIMITED = 10_000  # steps after which an episode without a time limit is given up


def pictures(
    name: str, policy: Policy, seed: int, horizon: int | None = None, backend: str | None = None
) -> Iterator[np.ndarray]:
    """Yields a picture of each step of one episode, uint8 of shape (height, width, 3).

    Args:
        name: of the environment, see `poptrain.rl.make`.
        horizon: steps after which the episode ends; None: the environment's own limit.

    Raises:
        UsageError: the environment has no pictures here.
    """
    if name in DEVICE:
        raise UsageError(f"env {name!r} has no pictures: it is computed, not simulated. Train on {name.removeprefix('jax/')!r}.")
    limit = {"max_episode_steps": horizon} if horizon else {}
    shown = (_pool(name, seed, limit) if backend != "gymnasium" else None) or _gym(name, seed, limit)
    env, observe, act, picture, start = shown
    try:
        observation = start()
        for _ in range(horizon or UNLIMITED):
            yield picture()
            observation, _, terminated, truncated, _ = env.step(act(policy(observe(observation))))
            if np.all(terminated) or np.all(truncated):
                break
        yield picture()
    finally:
        env.close()


def _pool(name: str, seed: int, limit: dict[str, int]) -> Any:
    try:
        import envpool
    except ImportError:
        return None
    if name not in envpool.list_all_envs() or "mujoco" in type(envpool.make_spec(name)).__module__:
        return None
    from poptrain.rl.envs.envpool import quiet

    with quiet():
        env = envpool.make_gymnasium(name, num_envs=1, seed=[seed], render_mode="rgb_array", **limit)
        space = env.observation_space
    return env, lambda seen: flatten(space, seen, 1), lambda action: action, lambda: env.render()[0], lambda: env.reset()[0]


def _gym(name: str, seed: int, limit: dict[str, int]) -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError("pictures of an environment need Gymnasium: pip install 'poptrain[rl]'") from error
    try:
        env = gymnasium.make(name, render_mode="rgb_array", **limit)
        env.reset(seed=seed)
        first = env.render()
    except Exception as error:  # each environment fails in its own way: no screen, a missing package, no such mode
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"env {name!r} has no pictures here: {type(error).__name__}: {why}") from error
    if not isinstance(first, np.ndarray) or first.ndim != 3:
        raise UsageError(f"env {name!r} has no pictures here: its render gave {type(first).__name__}, not an image.")

    def act(actions: np.ndarray) -> Any:
        if hasattr(env.action_space, "n"):
            return int(actions[0]) + int(getattr(env.action_space, "start", 0))
        return np.asarray(actions[0], env.action_space.dtype).reshape(env.action_space.shape)

    return env, lambda seen: flatten(env.observation_space, seen, 1), act, env.render, lambda: env.reset(seed=seed)[0]
