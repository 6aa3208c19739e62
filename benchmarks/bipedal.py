"""The main benchmark: PBT tunes 4 PPO agents on BipedalWalker-v3 for 1,000,000 steps each (`examples/bipedal_walker.py`).

    python -m benchmarks.bipedal [--quick] --json

The time is that of `pt.run` on a durable directory: compilation, resets, updates, checkpoints and log included. The simulator
alone is measured in the same process, with the same number of environments and random actions, before and after every run,
because clocks of shared machines drift. Stable-Baselines3 and RLlib train one agent each, where they are installed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, installed, main, over
from examples.bipedal_walker import agent, experiment
from poptrain.rl import PPO, make

POPULATION = experiment.algorithm.population


def simulator_rate(steps: int, seed: int) -> float:
    """Returns steps per second of the simulator alone: the same pool, random actions, nothing else."""
    backend, envs = make(agent.env), agent.num_envs * POPULATION
    simulator = backend.open(range(seed, seed + envs), agent.num_envs, agent.horizon)
    actions = np.random.default_rng(seed).uniform(-1, 1, (64, agent.num_envs, backend.spec.actions)).astype(np.float32)
    began = time.perf_counter()
    for tick in range(steps // agent.num_envs):
        simulator.send(actions[tick % 64], simulator.recv().ids)
    rate = steps / (time.perf_counter() - began)
    simulator.close()
    return rate


def trained(steps: int, interval: int, seed: int) -> tuple[float, float, Any]:
    """Returns (seconds, agent steps, run) of one durable run."""
    algorithm = replace(experiment.algorithm, interval=interval)
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as folder:
        began = time.perf_counter()
        run = pt.run(algorithm, agent, stop=pt.steps(steps), executor=experiment.executor, directory=f"{folder}/run", seed=seed)
        seconds = time.perf_counter() - began
        best = run.best.load()
        history = run.history
        done = sum(history.step(id) - history.step(history.task(id).parent) for id in range(history.n))
    return seconds, done, (run.best.score, best)


def five_updates() -> float:
    """Returns how many updates 1,000,000 steps make with batches of 200,000, in intervals of 50,000."""
    cheap = PPO(env="CartPole-v1", hidden=(4,), num_envs=64, epochs=1, minibatch_size=20_000, chunk=1024)
    hparams, seeds = {"train_batch_size": np.asarray([200_000])}, np.asarray([1])
    carry = cheap.init(hparams, seeds)
    for interval in range(20):
        carry, metrics = cheap.train(carry, hparams, 50_000, seeds + interval)
    return float(metrics["updates"][0])


def stable_baselines_rate(steps: int) -> float:
    """Returns steps per second of one Stable-Baselines3 PPO agent with the same networks, minibatches and epochs."""
    import gymnasium
    import stable_baselines3
    import torch
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)  # small networks are slower with several threads
    envs = DummyVecEnv([lambda: gymnasium.make(agent.env)] * agent.num_envs)
    model = stable_baselines3.PPO(
        "MlpPolicy", envs, n_steps=256, batch_size=agent.minibatch_size, n_epochs=agent.epochs, seed=0, device="cpu",
        policy_kwargs={"net_arch": list(agent.hidden)},
    )  # fmt: skip
    began = time.perf_counter()
    model.learn(steps)
    return model.num_timesteps / (time.perf_counter() - began)


def rllib_rate(steps: int) -> float:
    """Returns steps per second of one RLlib PPO trial with the same networks, minibatches and epochs."""
    from ray.rllib.algorithms.ppo import PPOConfig

    config = (
        PPOConfig()
        .environment(agent.env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=agent.num_envs, observation_filter="MeanStdFilter")
        .training(train_batch_size_per_learner=4096, minibatch_size=agent.minibatch_size, num_epochs=agent.epochs)
    )
    trial = config.build_algo()
    done, began = 0, time.perf_counter()
    while done < steps:
        trial.train()
        done += 4096
    rate = done / (time.perf_counter() - began)
    trial.stop()
    return rate


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures; quick: one seed and a tenth of the steps, where returns mean nothing."""
    steps, interval, seeds = (100_000, 25_000, 1) if quick else (1_000_000, 50_000, 3)
    seconds, rates, alone, ratios, returns, scores = [], [], [], [], [], []
    for seed in range(seeds):
        before = simulator_rate(100_000, seed)
        took, done, (score, best) = trained(steps, interval, seed)
        after = simulator_rate(100_000, seed + 1000)
        seconds.append(took)
        rates.append(done / took)
        alone.append((before + after) / 2)
        ratios.append(rates[-1] / alone[-1])
        scores.append(score)
        returns.append(float(agent.evaluate(best, episodes=100, seed=seed).mean()))
        print(f"seed {seed}: {took:.0f} s, {rates[-1]:.0f} of {alone[-1]:.0f} steps/s, return {returns[-1]:.1f}", flush=True)
    size = f"{POPULATION} x {steps:,} steps"
    updates = five_updates()
    figures = [
        over(f"{size}, wall time", seconds, "s"),
        over(f"{size}, agent steps", rates, "steps/s"),
        over(f"simulator alone, {agent.num_envs * POPULATION} environments", alone, "steps/s"),
        over(f"{size}, ratio to the simulator alone", ratios, "", ">= 0.7", float(np.mean(ratios)) >= 0.7),
        over("best checkpoint, training score", scores, "return"),
        over("best checkpoint, 100 deterministic episodes, unseen seeds", returns, "return", ">= 220",
             None if quick else float(np.mean(returns)) >= 220),
        figure("updates of a batch of 200,000 in 1,000,000 steps", updates, "updates", "== 5", updates == 5),
    ]  # fmt: skip
    for package, name, rate in (
        ("stable_baselines3", "Stable-Baselines3 PPO, one agent", stable_baselines_rate),
        ("ray.rllib", "RLlib PPO, one trial", rllib_rate),
    ):
        if installed(package):
            figures.append(figure(name, rate(10_000 if quick else 50_000), "steps/s"))
        else:
            print(f"{name}: skipped, {package} is not installed", flush=True)
    return figures


if __name__ == "__main__":
    main("bipedal", measure, __doc__)
