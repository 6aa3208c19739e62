"""Faults of Ray Tune's own PBT, and poptrain's results with the same arguments: bounds, integers, NaN, a restored run.

    python -m benchmarks.tune_faults --json

Exploration is compared on 200 chains of 10 steps from 0.9 in uniform(0, 1), and on an integer that starts at 1. The experiments
run on a local Ray, each in a process of its own: three trials of which one reports NaN from its second round on, and a
synchronous population whose driver is killed at iteration 13 of 20 and restored with `Tuner.restore`. An experiment that has not
ended after 90 seconds counts as hanging, and is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import figure, main

CHAINS, LENGTH = 200, 10
PATIENCE = 90.0  # seconds
SIDES = ("poptrain", "Ray Tune")


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures; `quick` leaves out the experiments, which take two to five minutes."""
    figures = explored()
    return figures if quick else figures + nan_member() + restored()


# -- exploration ------------------------------------------------------------------------------------------------------


def explored() -> list[dict[str, Any]]:
    """Returns how often a value leaves its range, and whether an integer at 1 ever moves by perturbation alone."""
    import random

    from ray import tune
    from ray.tune.schedulers.pbt import _explore

    import poptrain as pt
    from poptrain.integrations.ray_tune.space import from_mutations

    random.seed(0)
    mutations = {"x": tune.uniform(0.0, 1.0)}
    space = from_mutations("hyperparam_mutations", mutations)
    outside = dict.fromkeys(SIDES, 0)
    for chain in range(CHAINS):
        ours = theirs = {"x": 0.9}
        for step in range(LENGTH):
            ours = space.perturb(ours, pt.rng(chain, step), (1.2, 0.8), 0.25)
            theirs, _ = _explore(theirs, mutations, 0.25, (1.2, 0.8), None)
            outside["poptrain"] += not 0 <= ours["x"] <= 1
            outside["Ray Tune"] += not 0 <= theirs["x"] <= 1
    whole = {"n": tune.randint(1, 10)}
    space = from_mutations("hyperparam_mutations", whole)
    moved = {
        "poptrain": sum(space.perturb({"n": 1}, pt.rng(i), (1.2, 0.8), 0.0)["n"] != 1 for i in range(CHAINS)),
        "Ray Tune": sum(_explore({"n": 1}, whole, 0.0, (1.2, 0.8), None)[0]["n"] != 1 for _ in range(CHAINS)),
    }
    total = CHAINS * LENGTH
    rates = {side: outside[side] / total for side in SIDES}
    ours, theirs = moved["poptrain"] / CHAINS, moved["Ray Tune"] / CHAINS
    return [
        *both("values outside uniform(0, 1) after exploring", rates, "", "= 0", 0, total),
        figure("an integer at 1 moved by perturbation, poptrain", ours, "", "> 0", ours > 0, CHAINS),
        figure("an integer at 1 moved by perturbation, Ray Tune", theirs, n=CHAINS),
    ]


def both(name: str, values: dict[str, float], unit: str, target: str, wanted: float, n: int = 1) -> list[dict[str, Any]]:
    """Returns the figure of both sides; only ours has a target."""
    ours, theirs = values["poptrain"], values["Ray Tune"]
    return [
        figure(f"{name}, poptrain", ours, unit, target, ours == wanted, n),
        figure(f"{name}, Ray Tune", theirs, unit, n=n),
    ]


# -- experiments ------------------------------------------------------------------------------------------------------

EXPERIMENT = """
import json, os, sys, time
from pathlib import Path
import ray
from ray import tune

side, kind, storage, verb = sys.argv[1:]
if side == "poptrain":
    from poptrain.integrations.ray_tune import PopulationBasedTraining
else:
    from ray.tune.schedulers import PopulationBasedTraining


class Ascent(tune.Trainable):
    def setup(self, config):
        self.x, self.config = 1.0, config

    def reset_config(self, config):
        self.setup(config)
        return True

    def step(self):
        self.x -= 2 * self.config["lr"] * self.x
        diverges = kind == "nan" and self.config["lr"] > 0.05
        return {"score": float("nan") if diverges else 1 - self.x**2}

    def save_checkpoint(self, directory):
        Path(directory, "x").write_text(repr(self.x))

    def load_checkpoint(self, directory):
        self.x = float(Path(directory, "x").read_text())


class Kill(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["training_iteration"] >= int(os.environ.get("KILL_AT", 10**9)):
            time.sleep(2)
            os._exit(9)


ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
if verb == "begin":
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=5, synch=True,
        hyperparam_mutations={"lr": tune.uniform(1e-3, 0.1 if kind == "nan" else 0.04)},
    )
    grid = tune.Tuner(
        Ascent,
        param_space={"lr": tune.grid_search([0.005, 0.01, 0.09 if kind == "nan" else 0.03])},
        tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=storage, name="x", stop={"training_iteration": 20}, verbose=0, callbacks=[Kill()]),
    ).fit()
else:
    grid = tune.Tuner.restore(storage + "/x", Ascent).fit()
scores = [result.metrics["score"] for result in grid]
print(json.dumps({"healthy": sum(score == score for score in scores), "done": [r.metrics["training_iteration"] for r in grid]}))
"""


def nan_member() -> list[dict[str, Any]]:
    """Returns how many of three trials end healthy if one of them begins with NaN."""
    healthy = {}
    for side in SIDES:
        with place() as directory:
            reported = experiment(side, "nan", directory, "begin")
            healthy[side] = reported["healthy"] if reported else 0
    return both("trials of 3 that end with a finite score, one began with NaN", healthy, "trials", "= 3", 3)


def restored() -> list[dict[str, Any]]:
    """Returns how many of three trials reach their last iteration after the driver was killed and the experiment restored."""
    done = {}
    for side in SIDES:
        with place() as directory:
            experiment(side, "restore", directory, "begin", KILL_AT="13", TUNE_GLOBAL_CHECKPOINT_S="0")
            reported = experiment(side, "restore", directory, "restore")
            done[side] = sum(step == 20 for step in reported["done"]) if reported else 0
    return both("trials of 3 that finish a synchronous run after Tuner.restore", done, "trials", "= 3", 3)


def experiment(side: str, kind: str, directory: Path, verb: str, **environment: str) -> dict[str, Any] | None:
    """Runs an experiment in a process of its own and returns what it prints; None if it was killed, or hangs."""
    script = directory / "experiment.py"
    script.write_text(EXPERIMENT)
    command = [sys.executable, str(script), side, kind, str(directory), verb]
    with open(directory / "output", "w+") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.terminate()  # Ray's driver takes its cluster down with it
            process.wait()
        output.seek(0)
        last = [line for line in output.read().splitlines() if line.startswith('{"healthy"')]
    return json.loads(last[-1]) if last else None


class place:
    """A directory under ``runs`` that is gone afterwards."""

    def __enter__(self) -> Path:
        Path("runs").mkdir(exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=Path("runs").absolute()))
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


if __name__ == "__main__":
    main("tune_faults", measure, __doc__)
