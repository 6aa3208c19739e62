"""FIRE PBT against PBT on V-MPO, as in section 4.2 of the FIRE paper (arXiv 2109.13800), at a size that two cores carry.

    python -m benchmarks.vmpo_fire [--quick] [--only TASK …] [--seeds N] [--json]

The learning rate and eps_eta are tuned, with the factors of the paper. Each method has 11 workers: PBT 11 members, FIRE two
sub-populations of 4 with 3 evaluators. All workers train for the same number of steps, and the points of FIRE's curves are the
mean returns of eighths of an interval. A return is that of the best checkpoint, over 100 episodes without noise, on seeds that
were never trained on. Every finished run is stored in ``benchmarks/results/vmpo_fire.json`` and is not repeated.

The paper has 50 workers, 6e9 steps of Ant and Humanoid, 100 rounds, and evaluators that may take 10 of them; here there are 10
or 12 rounds.
"""

from __future__ import annotations

import json
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import command_line, over, paired, report, show, stored_runs
from poptrain.rl import VMPO

RESULTS = Path(__file__).parent / "results" / "vmpo_fire.json"
EVALS = 8  # fewer points than 7 after the overlap can never be significant
SPACE = pt.Space(lr=pt.LogUniform(1e-5, 1e-2), eps_eta=pt.LogUniform(5e-3, 0.5))
EXPLORE = pt.perturb({"lr": (0.5, 0.8, 1.25, 2.0), "eps_eta": (0.8, 0.95, 1.05, 1.2)}, resample=0)
TASKS = {  # the agent, and steps of an interval: at least one whole episode of every environment in each of its eighths
    "Pendulum-v1": (VMPO(env="Pendulum-v1", num_envs=8), 12_800, 12),
    "Acrobot-v1": (VMPO(env="Acrobot-v1", num_envs=4), 16_000, 10),
}
METHODS = ("PBT", "FIRE")


def algorithm_of(method: str, interval: int) -> Any:
    """Returns PBT with 11 members, or FIRE PBT with 11 workers, as in the paper."""
    if method == "PBT":
        return pt.pbt(SPACE, 11, interval=interval, exploit=pt.truncation(0.25), explore=EXPLORE, starts="random")
    settings: dict[str, Any] = dict(evals=EVALS, max_eval=3 * interval, warmup=2 * interval, explore=EXPLORE, as_in="paper")
    return pt.fire_pbt(SPACE, (4, 4), 3, interval=interval, exploit=pt.truncation(0.34), **settings)


def run_of(task: str, method: str, seed: int, intervals: int | None = None) -> dict[str, Any]:
    """Returns one finished run: the return of its best checkpoint, and the best score so far after each interval."""
    agent, interval, budget = TASKS[task]
    began, cpu = time.perf_counter(), time.process_time()
    stop = pt.steps(interval * (intervals or budget))
    run = pt.run(algorithm_of(method, interval), agent, stop=stop, executor="vectorized", seed=seed, progress=False)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    curve = [generation.scores[-1] for generation in pt.views.spread(run.record).generations]
    returns = agent.evaluate(run.best.load(), episodes=100, seed=seed)
    handed = len(pt.views.subpopulations(run.record).hand_overs) if method == "FIRE" else 0
    found = {"return": round(float(returns.mean()), 2), "curve": np.round(np.maximum.accumulate(curve), 1).tolist()}
    found |= {"hparams": dict(run.best.hparams), "hand_overs": handed, "seconds": round(seconds, 1), "cpu": round(cpu, 1)}
    return found


def figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the figures of the stored runs: each method, and their difference on equal seeds."""
    made = []
    for task in TASKS:
        runs = {method: found.get(f"{task} {method}", {}) for method in METHODS}
        for method in METHODS:
            if own := list(runs[method].values()):
                made.append(over(f"{task} {method}: return", [run["return"] for run in own]))
                middle = [run["curve"][len(run["curve"]) // 2 - 1] for run in own]
                made.append(over(f"{task} {method}: best score at half of the budget", middle))
                made.append(over(f"{task} {method}: CPU time", [run["cpu"] for run in own], "s"))
        if pairs := paired(f"{task}: FIRE - PBT", task, runs["FIRE"], runs["PBT"]):
            made += pairs
            made.append(
                over(
                    f"{task}: hand-overs of FIRE",
                    [run["hand_overs"] for seed, run in runs["FIRE"].items() if seed in runs["PBT"]],
                )
            )
    return made


def main() -> None:
    """Makes the missing runs, seed by seed, and prints all figures."""
    parser = command_line("vmpo_fire", __doc__, "one seed and two intervals of each; nothing is stored")
    parser.add_argument("--only", nargs="*", default=[], metavar="TASK", choices=list(TASKS), help="tasks to run")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each method on each task")
    options, began = parser.parse_args(), time.perf_counter()
    warnings.filterwarnings("ignore", message=".*fewer than the longest episode")
    cells = {
        f"{task} {method}": (options.seeds, partial(run_of, task, method, intervals=2 if options.quick else None))
        for task in options.only or TASKS
        for method in METHODS
    }
    made = figures(stored_runs(RESULTS, cells, options.quick))
    show(made)
    if options.json:
        print(json.dumps(report("vmpo_fire", made, time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
