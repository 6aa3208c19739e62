"""Reinforcement learning in JAX, the whole population at once: agents, environments and the parts they share."""

from poptrain.rl.agents.ppo import PPO
from poptrain.rl.envs import make

__all__ = ["PPO", "make"]
