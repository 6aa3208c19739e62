"""One episode of each actor of a team, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from poptrain.rl.envs import make
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec, Simulator
from poptrain.rl.envs.stepped import Stepped
from poptrain.rl.evaluation import LONGEST_EPISODE
from poptrain.rl.loops.host import SEEDS, evaluation_seeds
from poptrain.rl.loops.off_policy_host import HostActor, arrive
from poptrain.rl.memory.replay import Windows

ONE_EPISODE = {  # of the sizes of an agent, those that have no effect on a team whose actors play whole episodes
    "num_envs": "every actor plays its episodes in an environment of its own",
    "update_every": "all updates are made between two generations",
}


class Episodes(NamedTuple):
    """What one episode of N actors was."""

    returns: np.ndarray  # (N,); NaN of an actor whose actions were not numbers
    lengths: np.ndarray  # (N,)


def open_simulator(name: str, backend: str | None, seeds: list[int], horizon: int | None) -> tuple[EnvSpec, Simulator]:
    """Returns the spec, and fresh environments of any kind, one for each seed."""
    env = make(name, backend)
    if isinstance(env, DeviceEnv):
        return env.spec, Stepped(env, seeds, horizon or env.spec.horizon)
    return env.spec, env.open(seeds, len(seeds), horizon)


def play(
    spec: EnvSpec, simulator: Simulator, act: Callable[[np.ndarray], np.ndarray], actors: int, windows: Windows | None
) -> Episodes:
    """Returns one episode of each actor; all transitions go to a memory.

    An action that is NaN is replaced by 0: it would end some simulators, and the critics that learn from it.

    Args:
        simulator: freshly opened, with one environment for each actor.
        act: observations (N, O) -> actions within -1 and 1, (N, A).
        windows: of the memory; None: nothing is stored.
    """
    ids, running, spoiled = np.arange(actors, dtype=np.int32), np.ones(actors, bool), np.zeros(actors, bool)
    returns, lengths = np.zeros(actors), np.zeros(actors, np.int64)
    seen, *_ = arrive(simulator, actors)
    for _ in range(LONGEST_EPISODE):
        actions = act(seen)
        if np.isnan(actions).any():
            lost = np.isnan(actions).any(1)
            actions, spoiled = np.where(lost[:, None], np.float32(0.0), actions), spoiled | (lost & running)
        simulator.send(spec.scaled(actions), ids)
        reached, rewards, terminated, truncated = arrive(simulator, actors)
        over = terminated | truncated
        if windows is not None:
            windows.add(running, seen, actions, rewards, reached, terminated, over)
        returns += np.where(running, rewards, 0.0)
        lengths += running
        running = running & ~over
        seen = reached
        if not running.any():
            break
    return Episodes(np.where(spoiled, np.nan, returns), lengths)


def without_noise(
    name: str, backend: str | None, horizon: int | None, actors: Sequence[HostActor], episodes: int, seed: int
) -> list[list[float]]:
    """Returns the returns of each actor in some episodes without noise; every actor plays them from the same starts.

    Args:
        name, backend, horizon: of the environment.
        seed: of the starts, which no training has.
    """
    seeds = evaluation_seeds(seed % SEEDS, episodes) * len(actors)
    spec, simulator = open_simulator(name, backend, seeds, horizon)

    def act(seen: np.ndarray) -> np.ndarray:
        return np.concatenate([actor.act(part, None) for actor, part in zip(actors, np.split(seen, len(actors)), strict=True)])

    try:
        returns = play(spec, simulator, act, len(seeds), None).returns
    finally:
        simulator.close()
    return [own.tolist() for own in np.split(returns, len(actors))]
