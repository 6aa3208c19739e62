"""Returns of whole episodes under a fixed policy. They are what is reported of an agent; its training score selects it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from poptrain.rl.envs.spec import Simulator

LONGEST_EPISODE = 100_000  # steps after which an episode without a time limit is abandoned


def episode_returns(act: Callable[[np.ndarray], np.ndarray], observation: int, simulator: Simulator, episodes: int) -> np.ndarray:
    """Returns the undiscounted return of one episode in each of `episodes` environments; shape (episodes,).

    Each environment contributes one episode. Taking the first episodes that end would favour short ones.

    Args:
        act: observations (episodes, O) -> actions, as the simulator takes them.
        observation: O.
    """
    observations = np.zeros((episodes, observation), np.float32)
    rewards, over = np.zeros(episodes), np.zeros(episodes, bool)
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    ids = np.arange(episodes, dtype=np.int32)
    for step in range(LONGEST_EPISODE):
        arrived = 0
        while arrived < episodes:  # finished environments are included, because arrivals come in whole groups
            arrival = simulator.recv()
            at = arrival.ids
            observations[at], rewards[at] = arrival.observations, arrival.rewards
            over[at] = arrival.terminated | arrival.truncated
            arrived += len(at)
        if step:
            returns += np.where(running, rewards, 0.0)
            running &= ~over
            if not running.any():
                break
        simulator.send(act(observations), ids)
    return returns
