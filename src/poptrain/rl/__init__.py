"""Reinforcement learning in JAX, the whole population at once: agents, environments and the parts that agents share.

Rooms import only rooms to their left: ``envs`` (simulators) ← ``memory`` (transitions) ← ``loops`` (acting, learning) ←
``agents`` ← ``teams``. The files next to them are small tools for all agents: networks, distributions, the observation filter,
Adam, hyperparameters, evaluation, films, and what the trainables of agents have in common.
"""

from poptrain.rl.agents.ddpg import DDPG
from poptrain.rl.agents.ppo import PPO
from poptrain.rl.agents.sac import SAC
from poptrain.rl.agents.td3 import TD3
from poptrain.rl.agents.vmpo import VMPO
from poptrain.rl.envs import make
from poptrain.rl.film import film
from poptrain.rl.teams.cem_rl import CEMRL
from poptrain.rl.teams.erl import ERL
from poptrain.rl.teams.p3s import P3S
from poptrain.rl.teams.svpg import SVPG

__all__ = ["CEMRL", "DDPG", "ERL", "P3S", "PPO", "SAC", "SVPG", "TD3", "VMPO", "film", "make"]
