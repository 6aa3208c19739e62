"""Returns of whole episodes under a fixed policy. They are what is reported of an agent; its training score selects it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from poptrain.core.arguments import check_flag
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.rl.envs.spec import EnvSpec, Simulator
from poptrain.rl.trees import Parts, take

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


MOST_EPISODES = 100_000


def check_episodes(agent: str, episodes: object, seed: object, deterministic: object) -> None:
    """Raises a `UsageError` unless these are a number of episodes, a seed, and a flag."""
    check_flag(f"{agent}.evaluate", "deterministic", deterministic)
    if isinstance(episodes, bool) or not isinstance(episodes, (int, np.integer)) or not 1 <= episodes <= MOST_EPISODES:
        raise UsageError(f"{agent}.evaluate: episodes={episodes!r}, expected a whole number from 1 to {MOST_EPISODES:,}.")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise UsageError(f"{agent}.evaluate: seed={seed!r}, expected a whole number.")


def played_parts(agent: str, names: Collection[str], spec: EnvSpec, carry: object, lane: int | None) -> Parts:
    """Returns the parts of a carry with which one member plays.

    Args:
        agent: its name, for messages.
        names: of the parts; ``params`` is one of them.
        spec: of the environment in which the member is going to play.
        carry, lane: of a population, and the member; lane None: of one member.

    Raises:
        UsageError: it is not a carry of such an agent, or of one for another environment, or the lane does not fit it.
    """
    if not isinstance(carry, Mapping) or any(name not in carry for name in names):
        raise UsageError(
            f"{agent}: expected the carry of a member, which run.best.load() returns, but got {type(carry).__name__}"
            f"{' of another agent' if isinstance(carry, Mapping) else ''}."
        )
    members = np.shape(carry.get("score"))  # () of one member, (P,) of a population
    whose = counted(members[0], "member") if members else "one member"
    if lane is None and members:
        raise UsageError(
            f"{agent}: the carry is that of {whose}: pass lane, the number of one of them, or the carry of one, "
            "which run.best.load() returns."
        )
    whole = isinstance(lane, (int, np.integer)) and not isinstance(lane, bool)
    if lane is not None and not (members and whole and -members[0] <= lane < members[0]):
        raise UsageError(f"{agent}: lane={lane!r}, but the carry is that of {whose}.")
    own = {name: carry[name] for name in names}
    own = own if lane is None else take(own, lane)
    network = own["params"].get("actor", own["params"].get("policy"))
    sees = np.shape(network[0]["w"])[-2]
    if sees != spec.observation:
        raise UsageError(
            f"{agent}: the policy reads observations of {sees} numbers, and those of {spec.name!r} have {spec.observation}: "
            "it was trained in another environment."
        )
    return own
