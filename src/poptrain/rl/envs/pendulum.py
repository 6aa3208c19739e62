"""jax/Pendulum-v1: swing a pendulum up with a weak motor. Gymnasium's dynamics, step for step, in pure JAX."""

from __future__ import annotations

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec
from poptrain.rl.trees import Array

GRAVITY, MASS, LENGTH, DT = 10.0, 1.0, 1.0, 0.05
MAX_SPEED, MAX_TORQUE = 8.0, 2.0

Swing = tuple[Array, Array]  # angle in rad, 0 is upright; speed in rad/s


def _observe(state: Swing) -> Array:
    angle, speed = state
    return jnp.stack([jnp.cos(angle), jnp.sin(angle), speed])


def reset(key: Array) -> tuple[Swing, Array]:
    """Returns a random angle and speed, and their observation: cosine and sine of the angle, and the speed."""
    angle, speed = jax.random.uniform(key, (2,), minval=-1.0) * jnp.asarray([jnp.pi, 1.0])
    return (angle, speed), _observe((angle, speed))


def step(state: Swing, action: Array) -> tuple[Swing, Array, Array, Array]:
    """Returns (state, observation, reward, terminated) after a torque in N m, shape (1,)."""
    angle, speed = state
    torque = jnp.clip(action[0], -MAX_TORQUE, MAX_TORQUE)
    upright = (angle + jnp.pi) % (2.0 * jnp.pi) - jnp.pi
    reward = -(upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
    acceleration = 3.0 * GRAVITY / (2.0 * LENGTH) * jnp.sin(angle) + 3.0 / (MASS * LENGTH**2) * torque
    speed = jnp.clip(speed + acceleration * DT, -MAX_SPEED, MAX_SPEED)
    state = (angle + speed * DT, speed)
    return state, _observe(state), reward, jnp.asarray(False)


ENV = DeviceEnv(EnvSpec("jax/Pendulum-v1", 3, 1, False, (-MAX_TORQUE,), (MAX_TORQUE,), 200), reset, step)
