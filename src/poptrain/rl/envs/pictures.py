"""Pictures of one episode. EnvPool draws its own environments except MuJoCo, which needs a screen; Gymnasium draws the others."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from poptrain.core.errors import UsageError
from poptrain.rl.envs import DEVICE
from poptrain.rl.envs.delayed import parse
from poptrain.rl.envs.spaces import Observation, flat_observations, native_action
from poptrain.rl.envs.spec import BRAX, simulated

Policy = Callable[[np.ndarray], np.ndarray]  # observations (1, O) -> actions (1, A), or (1,) whole numbers
LONGEST_FILM = 10_000  # steps after which an episode without a time limit ends


class _Screen(NamedTuple):
    """One environment that can draw itself."""

    env: Any  # of EnvPool or Gymnasium
    reset: Callable[[], Observation]
    picture: Callable[[], Any]  # -> uint8 (height, width, 3)
    act: Callable[[np.ndarray], Any]  # the policy's actions, (1, A) or (1,) -> the action as the environment takes it


def pictures(
    name: str, policy: Policy, seed: int, horizon: int | None = None, backend: str | None = None
) -> Iterator[np.ndarray]:
    """Yields a picture of each step of one episode, uint8 of shape (height, width, 3).

    Args:
        name: of the environment, see `poptrain.rl.make`.
        horizon: steps after which the episode ends; None: the environment's own limit.

    Raises:
        UsageError: the environment cannot draw pictures here.
    """
    name, _ = parse(name)  # rewards are not in the picture
    if name in DEVICE or name.startswith(BRAX):
        raise UsageError(
            f"environment {name!r} has no pictures, because it is a pure JAX function. "
            f"Train on {simulated(name)!r} to get pictures."
        )
    screen = (_envpool(name, seed, horizon) if backend != "gymnasium" else None) or _gymnasium(name, seed, horizon)
    space = screen.env.observation_space
    try:
        observation = screen.reset()
        for _ in range(horizon or LONGEST_FILM):
            yield screen.picture()
            actions = policy(flat_observations(space, observation, 1))
            observation, _, terminated, truncated, _ = screen.env.step(screen.act(actions))
            if np.all(terminated) or np.all(truncated):
                break
        yield screen.picture()
    finally:
        screen.env.close()


def _envpool(name: str, seed: int, horizon: int | None) -> _Screen | None:
    try:
        import envpool
    except ImportError:
        return None
    known = envpool.registration.registry.specs.get(name)
    if known is None or "mujoco" in known[0]:  # without OpenGL, MuJoCo would end the process
        return None
    from poptrain.rl.envs.envpool import quiet

    limit = {"max_episode_steps": horizon} if horizon else {}
    with quiet():
        env: Any = envpool.make_gymnasium(name, num_envs=1, seed=[seed], render_mode="rgb_array", **limit)
        _ = env.observation_space  # read once: every read of a fresh one warns
    return _Screen(env, lambda: env.reset()[0], lambda: env.render()[0], lambda actions: actions)


def _gymnasium(name: str, seed: int, horizon: int | None) -> _Screen:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError("pictures of an environment need Gymnasium: pip install 'poptrain[rl]'") from error
    known = gymnasium.registry.get(name)
    if known is not None and str(known.entry_point).startswith("gymnasium.envs.mujoco"):
        _check_mujoco(name)
        _without_log()
    try:
        env = gymnasium.make(name, max_episode_steps=horizon, render_mode="rgb_array")
        env.reset(seed=seed)
        first: object = env.render()
    except Exception as error:  # each environment fails in its own way: no screen, a missing package, no such mode
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"environment {name!r} cannot draw pictures here: {type(error).__name__}: {why}") from error
    if not isinstance(first, np.ndarray) or first.ndim != 3:
        raise UsageError(f"environment {name!r} cannot draw pictures: render() returned {type(first).__name__}, not an image.")
    space = env.action_space
    return _Screen(env, lambda: env.reset(seed=seed)[0], env.render, lambda actions: native_action(space, actions[0]))


def _without_log() -> None:
    """Keeps MuJoCo from writing MUJOCO_LOG.TXT where the process runs: its models cause warnings that no user can act on."""
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(lambda text: None)


def _check_mujoco(name: str) -> None:
    """Raises a `UsageError` if MuJoCo cannot draw here: without OpenGL, some of its versions end the whole process."""
    words = f"import gymnasium; env = gymnasium.make({name!r}, render_mode='rgb_array'); env.reset(); env.render()"
    with tempfile.TemporaryDirectory() as folder:  # MuJoCo leaves a file of errors where it runs
        tried = subprocess.run([sys.executable, "-c", words], cwd=folder, capture_output=True, text=True, check=False)
    if tried.returncode:
        said = [line.strip() for line in (tried.stderr + tried.stdout).splitlines() if line.strip()]
        why = " ".join(said[-1].split())[:200].rstrip(".") if said else f"the process ended with {tried.returncode}"
        raise UsageError(
            f"environment {name!r} cannot draw pictures here: {why}. MuJoCo needs pip install 'poptrain[mujoco]' and OpenGL; "
            "on a machine without a screen, set MUJOCO_GL=egl or MUJOCO_GL=osmesa where the library is installed."
        )
