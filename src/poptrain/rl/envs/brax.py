"""``brax/…``: the robots of Brax, whose physics is pure JAX, so that agents and robots are one program: made for accelerators.

``brax/ant`` has the physics "spring", which is the fastest and the kind that Brax had when population methods were tested on it
(BG-PBT, arXiv 2207.09405). ``brax/ant/generalized`` has another one: "spring", "positional", "generalized" or "mjx", which is
MuJoCo's. Returns of one physics say nothing about those of another, or of MuJoCo's environments of the same name.
"""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from functools import lru_cache
from io import StringIO

with redirect_stdout(StringIO()):  # MuJoCo prints which optional packages are missing
    from brax import envs

from poptrain._jax import jax, jnp
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.rl.envs.spec import BRAX, DeviceEnv, EnvSpec
from poptrain.rl.trees import Array, Tree

PHYSICS, HORIZON = ("spring", "positional", "generalized", "mjx"), 1000
UNSUITED = ("fast",)  # Brax's own tests use it; it moves nothing


def names() -> list[str]:
    """Returns every environment that the installed Brax has, without its physics."""
    return [BRAX + name for name in envs._envs if name not in UNSUITED]


@lru_cache(maxsize=16)
def environment(name: str) -> DeviceEnv:
    """Returns the environment ``brax/NAME`` or ``brax/NAME/PHYSICS``.

    Raises:
        UsageError: Brax does not have it, or not with this physics.
    """
    robot, _, physics = name.removeprefix(BRAX).partition("/")
    if BRAX + robot not in names():
        near = did_you_mean(BRAX + robot, names())
        raise UsageError(f"unknown environment {name!r}: expected one of {', '.join(names())}.{near}")
    if physics not in ("", *PHYSICS):
        raise UsageError(f"environment {name!r}: expected {BRAX}{robot} with /{', /'.join(PHYSICS)}, or nothing for /spring.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Brax is not developed any further
        try:
            env = envs.get_environment(robot, backend=physics or "spring")
        except ValueError as error:
            raise UsageError(f"environment {name!r}: Brax cannot make it ({error}). Choose another physics.") from None
        started = jax.eval_shape(env.reset, jax.random.key(0))
    shapes, structure = jax.tree.flatten(started)

    # A checkpoint holds plain arrays, so a state is the tuple of Brax's own.

    def flat(state: Tree) -> tuple[Array, ...]:
        leaves = jax.tree.leaves(state)
        return tuple(jnp.asarray(leaf, shape.dtype) for leaf, shape in zip(leaves, shapes, strict=True))

    def reset(key: Array) -> tuple[Tree, Array]:
        state = env.reset(key)
        return flat(state), jnp.asarray(state.obs, jnp.float32)

    def step(state: Tree, action: Array) -> tuple[Tree, Array, Array, Array]:
        after = env.step(jax.tree.unflatten(structure, state), action)
        return flat(after), jnp.asarray(after.obs, jnp.float32), jnp.asarray(after.reward, jnp.float32), after.done > 0.5

    size = env.action_size
    return DeviceEnv(EnvSpec(name, env.observation_size, size, False, (-1.0,) * size, (1.0,) * size, HORIZON), reset, step)
