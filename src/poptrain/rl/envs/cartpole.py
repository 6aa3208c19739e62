"""jax/CartPole-v1: balance a pole on a cart by pushing left or right. Gymnasium's dynamics, step for step, in pure JAX."""

from __future__ import annotations

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec
from poptrain.rl.trees import Array

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, DT = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TOTAL, MOMENT = CART + POLE, POLE * HALF_LENGTH
MAX_POSITION, MAX_ANGLE = 2.4, 12.0 * 3.141592653589793 / 180.0


def reset(key: Array) -> tuple[Array, Array]:
    """Returns a state near the upright one, shape (4,), twice: it is also the observation."""
    state = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
    return state, state


def step(state: Array, action: Array) -> tuple[Array, Array, Array, Array]:
    """Returns (state, observation, reward, terminated) after a push: action 1 is right, 0 is left; shape (1,)."""
    position, speed, angle, spin = state
    force = jnp.where(action[0] == 1, FORCE, -FORCE)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    push = (force + MOMENT * spin**2 * sin) / TOTAL
    twist = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cos**2 / TOTAL))
    thrust = push - MOMENT * twist * cos / TOTAL
    state = jnp.stack([position + DT * speed, speed + DT * thrust, angle + DT * spin, spin + DT * twist])
    fallen = (jnp.abs(state[0]) > MAX_POSITION) | (jnp.abs(state[2]) > MAX_ANGLE)
    return state, state, jnp.float32(1.0), fallen


ENV = DeviceEnv(EnvSpec("jax/CartPole-v1", 4, 2, True, horizon=500), reset, step)
