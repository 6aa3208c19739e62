"""SVPG on CartPole: what alpha does, which surrogate and bandwidth learn, and where gradients and repulsion balance.

    python -m benchmarks.svpg [--quick] [--only CELL …] [--json]

A team has 8 particles and 200,000 frames, those of all particles together. Its return is that of its best particle, over 100
episodes on seeds that were never trained on. All seeds of a cell are trained at once, as members of one population. A finished
cell is stored in ``benchmarks/results/svpg.json`` and is not repeated.
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import command_line, machine, over, report, show
from poptrain.rl import SVPG

RESULTS = Path(__file__).parent / "results" / "svpg.json"
SEEDS = np.arange(5)
INTERVALS = (10_000, 47_500, 47_500, 47_500, 47_500)  # the first one holds exactly one update
TEAM = SVPG(env="CartPole-v1")
ONCE = {"train_batch_size": 4096, "epochs": 4}  # surrogates with one Stein step for each batch
CELLS = {
    "ppo, alpha 0.001": replace(TEAM, alpha=0.001),
    "ppo, alpha 0.1": TEAM,
    "ppo, alpha 1": replace(TEAM, alpha=1.0),
    "ppo, alpha 10": replace(TEAM, alpha=10.0),
    "ppo, alpha 100": replace(TEAM, alpha=100.0),
    "ppo, alpha 1000": replace(TEAM, alpha=1000.0),
    "ppo, alpha 0.1, svgd": replace(TEAM, bandwidth="svgd"),
    "ppo, alpha 10, svgd": replace(TEAM, bandwidth="svgd", alpha=10.0),
    "a2c, alpha 0.1": replace(TEAM, surrogate="a2c", lr=1e-2, **ONCE),
    "reinforce, alpha 0.1": replace(TEAM, surrogate="reinforce", lr=1e-2, **ONCE),
}
TARGET = "ppo, alpha 0.1"


def measured(team: SVPG, intervals: tuple[int, ...]) -> dict[str, Any]:
    """Returns the returns of the best particles, the scores of all, and alpha at which the parts of the update are equal."""
    began, carry, balance = time.process_time(), team.init({}, SEEDS), []
    for i, steps in enumerate(intervals):
        carry, metrics = team.train(carry, {}, steps, 1000 * (SEEDS + 1) + i)
        balance.append((team.alpha * metrics["gradient"] / metrics["repulsion"]).tolist())
    returns = [float(team.evaluate(carry, i, 100, int(seed)).mean()) for i, seed in enumerate(SEEDS)]
    scores = np.stack([metrics[f"team/{i}"] for i in range(team.particles)], 1)
    found = {"best": returns, "particles": np.round(scores, 1).tolist()}
    return found | {"balance_first": balance[0], "balance_last": balance[-1], "cpu": round(time.process_time() - began, 1)}


def main() -> None:
    """Measures the missing cells, and prints all figures."""
    parser = command_line("svpg", __doc__, "two updates of tiny networks; nothing is stored")
    parser.add_argument("--only", nargs="*", default=[], metavar="CELL", choices=list(CELLS), help="cells to run")
    options, began = parser.parse_args(), time.perf_counter()
    warnings.filterwarnings("ignore", message=".*fewer than the longest episode")
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.quick else {}
    for name in [name for name in CELLS if name not in found and (not options.only or name in options.only)]:
        team = replace(CELLS[name], hidden=(8,)) if options.quick else CELLS[name]
        found[name] = measured(team, (10_000, 10_000) if options.quick else INTERVALS)
        print(name, found[name]["best"], flush=True)
        if not options.quick:
            RESULTS.write_text(json.dumps(found | {"machine": machine()}, indent=1) + "\n")
    made = []
    for name in [name for name in CELLS if name in found]:
        best, cell = found[name]["best"], found[name]
        target, holds = ("each >= 475", min(best) >= 475) if name == TARGET and not options.quick else ("", None)
        made.append(over(f"{name}: best particle", best, "", target, holds))
        made.append(over(f"{name}: mean of the particles", [float(np.nanmean(row)) for row in cell["particles"]]))
        made += [over(f"{name}: alpha of balance, {when} update", cell[f"balance_{when}"]) for when in ("first", "last")]
        made.append(over(f"{name}: CPU time of all seeds", [cell["cpu"]], "s"))
    show(made)
    if options.json:
        print(json.dumps(report("svpg", made, time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
