"""How fast agents with replay memories train: TD3 next to a single-threaded PyTorch TD3, members over cores, CEM-RL next to TD3.

    python -m benchmarks.rl_speed [--quick] [--json]

Everything trains on HalfCheetah in EnvPool, one update a step, each measurement in a process of its own that may use one core or
two, after an interval that compiles. What is compared runs in turns, three times. The PyTorch TD3 is that of Stable-Baselines3,
with networks of the same sizes and one thread; its environment is the same EnvPool, so that it does not wait for a slower one.
Nothing else should run on the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.common import figure, installed, main

ENV, HORIZON, ROUNDS = "HalfCheetah-v5", 200, 3
Spent = dict[str, float]  # frames, and the seconds of wall time and CPU time that they took


def spent(work: Callable[[], int]) -> Spent:
    """Returns what some work took, which returns its frames."""
    wall, cpu = time.perf_counter(), time.process_time()
    frames = work()
    return {"frames": frames, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def trained(agent: Any, frames: int, members: int = 1) -> Spent:
    """Returns what an interval of an agent or a team took, after one of the same length that compiled and filled the memory."""
    carry = agent.init({}, list(range(members)))
    carry, _ = agent.train(carry, {}, frames, list(range(members)))

    def work() -> int:
        _, metrics = agent.train(carry, {}, frames, [members + each for each in range(members)])
        assert all(metrics["updates"] > 0)
        return int(sum(metrics["steps"]))

    return spent(work)


def ours(batch: int, frames: int, hidden: tuple[int, ...] = (256, 256), members: int = 1) -> Spent:
    """Returns what TD3 took."""
    from poptrain.rl import TD3

    agent = TD3(env=ENV, horizon=HORIZON, hidden=hidden, batch_size=batch, learning_starts=0)
    return trained(agent, frames, members)


def cem_rl(frames: int) -> Spent:
    """Returns what CEM-RL took, with 10 actors of which 5 follow the gradient."""
    from poptrain.rl import CEMRL

    return trained(CEMRL(env=ENV, horizon=HORIZON, learning_starts=0), frames)


def torch_td3(batch: int, frames: int) -> Spent:
    """Returns what Stable-Baselines3's TD3 took on one thread."""
    import envpool
    import gymnasium
    import numpy as np
    import torch
    from stable_baselines3 import TD3

    torch.set_num_threads(1)

    class One(gymnasium.Env):  # type: ignore[type-arg]
        """One environment of EnvPool."""

        def __init__(self) -> None:
            self.pool = envpool.make_gymnasium(ENV, num_envs=1, seed=0, max_episode_steps=HORIZON)
            self.observation_space, self.action_space = self.pool.observation_space, self.pool.action_space

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            return self.pool.reset()[0][0].astype(np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            seen, reward, terminated, truncated, _ = self.pool.step(np.asarray(action)[None])
            return seen[0].astype(np.float32), float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}

    model = TD3(
        "MlpPolicy",
        One(),
        batch_size=batch,
        learning_starts=0,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [256, 256]},
        device="cpu",
    )
    model.learn(200)

    def work() -> int:
        model.learn(frames, reset_num_timesteps=False)
        return frames

    return spent(work)


WORK: dict[str, Callable[..., Spent]] = {"ours": ours, "torch": torch_td3, "cem-rl": cem_rl}


def child(cores: int, name: str, *numbers: int) -> Spent:
    """Returns what some work took in a process of its own, which may use so many cores."""
    words = [sys.executable, "-m", "benchmarks.rl_speed", "--child", json.dumps([cores, name, *numbers])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    found: Spent = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {numbers} on {cores}: {found['frames'] / found['wall']:.0f} frames/s", flush=True)
    return found


def in_turns(rounds: int, *works: Callable[[], Spent]) -> list[list[Spent]]:
    """Returns what each work took in each round."""
    found = [[work() for work in works] for _ in range(rounds)]
    return [list(each) for each in zip(*found, strict=True)]


def ratio(name: str, values: Sequence[float], target: str, holds: Callable[[float], bool], quick: bool) -> dict[str, Any]:
    """Returns the figure of a ratio, the median of the rounds."""
    spread = (max(values) - min(values)) / 2 if len(values) > 1 else None
    kept = median(values)
    return figure(name, kept, "x", "" if quick else target, None if quick else holds(kept), len(values), spread)


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the figures; their spread is half the range of the rounds."""
    rounds, frames = (1, 200) if quick else (ROUNDS, 1_500)
    for batch in (256, 100):
        if not installed("stable_baselines3"):
            break
        own, peer = in_turns(rounds, lambda b=batch: child(1, "ours", b, frames), lambda b=batch: child(1, "torch", b, frames))
        rates = [[each["frames"] / each["wall"] for each in side] for side in (own, peer)]
        about = f"TD3, batch {batch}: updates/s on one core"
        for name, each in zip(("ours", "PyTorch"), rates, strict=True):
            yield figure(f"{about}, {name}", median(each), "/s", n=rounds)
        apart = [a / b for a, b in zip(*rates, strict=True)]
        yield ratio(f"{about}, ours over PyTorch", apart, ">= 2.5", lambda found: found >= 2.5, quick)
    if len(os.sched_getaffinity(0)) > 1:
        one, two = in_turns(rounds, lambda: child(1, "members", frames // 4), lambda: child(2, "members", frames // 4))
        faster = [a["wall"] / b["wall"] for a, b in zip(one, two, strict=True)]
        yield ratio("8 members of TD3, two cores over one", faster, ">= 1.7", lambda found: found >= 1.7, quick)
    team, alone = in_turns(rounds, lambda: child(2, "cem-rl", frames), lambda: child(2, "wide", frames))
    for clock, most in (("cpu", 3.0), ("wall", 1.8)):
        cost = [a[clock] / a["frames"] / (b[clock] / b["frames"]) for a, b in zip(team, alone, strict=True)]
        words = {"cpu": "CPU time", "wall": "wall time on two cores"}[clock]
        about = f"CEM-RL, 10 actors, {words} a frame over one TD3"
        yield ratio(about, cost, f"<= {most}", lambda found, top=most: found <= top, quick)


WORK |= {
    "members": lambda frames: ours(100, frames, members=8),
    "wide": lambda frames: ours(100, frames, hidden=(400, 300)),  # the networks of CEM-RL
}


def serve(work: str) -> None:
    """Does what `child` asks for, and prints what it took."""
    cores, name, *numbers = json.loads(work)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before JAX counts them
    print(json.dumps(WORK[name](*numbers)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        serve(sys.argv[2])
    else:
        main("rl_speed", measure, __doc__)
