"""A complete run and its baseline: PB2 tunes 4 PPO agents on BipedalWalker-v3, against random search with the same budget.

    make demo            (or: python -m examples.demo [DIRECTORY])

This is ``poptrain run examples/bipedal_pb2.py --steps 250000`` and the same with `pt.random_search`, followed by a test of both
best agents, the schedule that PB2 learned, its family tree, and a film of its best agent. The same command continues an
interrupted demo.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import poptrain as pt
from poptrain.cli import start
from poptrain.engine.experiment import Experiment, file_record
from poptrain.engine.result import Standing
from poptrain.log.finding import exists
from poptrain.log.reader import read
from poptrain.plots import save_all

STEPS, EPISODES, JUDGED, TRIED = 250_000, 50, 30, 3
FILE = Path(__file__).parent / "bipedal_pb2.py"


def main(base: Path) -> None:
    began = time.monotonic()
    tuned, random = unfinished(base)
    options = {"steps": STEPS}
    experiment = start.load(FILE, options)
    agent, space = experiment.trainable, experiment.algorithm.space
    interval = experiment.algorithm.interval
    print(f"4 PPO agents × {STEPS:,} steps on {agent.env}, tuned by PB2; the run is kept in {tuned}", flush=True)
    start.perform(experiment, tuned, file_record(FILE, tuned, options), quiet=False, json=False)
    print(f"\nthe same budget for random search: 4 agents with constant hyperparameters; kept in {random}", flush=True)
    baseline = replace(experiment, algorithm=pt.random_search(space, population=4, interval=interval))
    start.perform(baseline, random, None, quiet=False, json=False)

    # Agents train with noise, and one that walks with noise may fall without: so the best agent is chosen without it, on
    # episodes of its own (seed 1), and what is printed are others (seed 0).
    runs = {name: pt.open_run(path, agent) for name, path in {"PB2": tuned, "random search": random}.items()}
    judge = lambda carry: float(agent.evaluate(carry, episodes=JUDGED, seed=1).mean())
    best = {name: run.judged(judge)[0][0] for name, run in runs.items()}
    returns = {name: agent.evaluate(each.load(), episodes=EPISODES) for name, each in best.items()}
    print(
        f"\nreturns of the best agents ({EPISODES} episodes never trained on, deterministic policy; chosen by {JUDGED} others):"
    )
    for name, each in returns.items():
        print(f"  {name:<14} {each.mean():7.1f} ± {each.std():.1f}")
    print(verdict(*returns.values()))
    show(experiment, tuned, best["PB2"])
    print(f"\n{time.monotonic() - began:.0f} s in all")


def verdict(tuned: np.ndarray, random: np.ndarray) -> str:
    """Returns what one seed can say, and where more seeds are."""
    ahead = "PB2" if tuned.mean() > random.mean() else "random search"
    return (
        f"{ahead} is ahead by {abs(tuned.mean() - random.mean()):.0f}. This is one seed: docs/value.md compares them over many."
    )


def show(experiment: Experiment, directory: Path, best: Standing) -> None:
    """Prints the schedule of an agent, and draws the plots of its run and a film of it."""
    run, plots = pt.open_run(directory, experiment.trainable), directory.with_name(f"{directory.name}-plots")
    print("\nthe schedule that trained PB2's best agent:")
    print(run.schedule(best.task.id).to_csv().rstrip())
    print("\nplots:")
    for path in save_all(run.record, plots):
        print(f"  {path}{'   <- the family tree' if path.stem == 'lineage' else ''}")
    walking = pt.rl.film(experiment.trainable, best.load(), plots / "walker.webp", tried=TRIED)
    print(f"  {walking.path}   <- the best agent walks; open it in a browser")


def unfinished(base: Path) -> tuple[Path, Path]:
    """Returns the first pair of DIRECTORY, DIRECTORY-2, … with its DIRECTORY-random, … of which not both runs are finished."""
    number = 1
    while True:
        path = base if number == 1 else base.with_name(f"{base.name}-{number}")
        pair = path, path.with_name(f"{path.name}-random")
        if not all(exists(each) and read(each).finished for each in pair):
            return pair
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
