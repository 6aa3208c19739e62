"""A complete run: 4 PPO agents learn BipedalWalker-v3 for 500,000 steps each while PB2 tunes them.

    make demo            (or: python -m examples.demo [DIRECTORY])

This is ``poptrain run examples/bipedal_pb2.py --steps 500000``, followed by a test of the best agent, the schedule that trained
it, and the plots. The same command continues an interrupted demo.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import poptrain as pt
from poptrain.cli import start
from poptrain.engine.experiment import file_record
from poptrain.log.reader import exists, read
from poptrain.plots import save_all

STEPS, EPISODES = 500_000, 100
FILE = Path(__file__).parent / "bipedal_pb2.py"


def main(base: Path) -> None:
    began = time.monotonic()
    directory = unfinished(base)
    options = {"steps": STEPS}
    experiment = start.load(FILE, options)
    agent = experiment.trainable
    print(f"4 PPO agents × {STEPS:,} steps on {agent.env}, tuned by PB2; the run is kept in {directory}", flush=True)
    start.perform(experiment, directory, file_record(FILE, directory, options), quiet=False, json=False)

    run = pt.open_run(directory, agent)
    returns = agent.evaluate(run.best.load(), episodes=EPISODES)
    print(
        f"\nbest return {returns.mean():.1f} ± {returns.std():.1f} ({EPISODES} episodes never trained on, deterministic policy)"
    )
    print("\nthe schedule that trained it:")
    print(run.schedule().to_csv().rstrip())
    print("\nplots:")
    for path in save_all(run.record, directory.with_name(f"{directory.name}-plots")):
        print(f"  {path}")
    print(f"\n{time.monotonic() - began:.0f} s in all")


def unfinished(base: Path) -> Path:
    """Returns the first of DIRECTORY, DIRECTORY-2, … without a finished run."""
    number = 1
    while exists(path := base if number == 1 else base.with_name(f"{base.name}-{number}")) and read(path).finished:
        number += 1
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
