"""PBT and PB2 over TD3 against random search: eight members each, equal frames, ranges as people write them down.

    python -m benchmarks.td3_pbt [--quick] [--seeds N] [--json]

TD3 has two layers of 64 units and batches of 64, so that a run takes a minute on one core. Five options are tuned over ranges of
up to three decades. A return is that of the best checkpoint, over 100 episodes without noise, on seeds that no training saw.
Every finished run is stored in ``benchmarks/results/td3_pbt.json`` and is not repeated.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import poptrain as pt
from benchmarks.common import command_line, over, paired, report, show, stored_runs
from poptrain.rl import TD3

RESULTS = Path(__file__).parent / "results" / "td3_pbt.json"
MEMBERS, INTERVAL, ROUNDS = 8, 1000, 12
AGENT = TD3(env="Pendulum-v1", hidden=(64, 64), batch_size=64, learning_starts=1000)
SPACE = pt.Space(
    actor_lr=pt.LogUniform(1e-5, 1e-2),
    critic_lr=pt.LogUniform(1e-5, 1e-2),
    discount=pt.Complement(0.9, 0.999),
    tau=pt.LogUniform(1e-3, 0.1),
    exploration_noise=pt.LogUniform(0.01, 1.0),
)
METHODS = {
    "random": lambda: pt.random_search(SPACE, MEMBERS, interval=INTERVAL),
    "PBT": lambda: pt.pbt(SPACE, MEMBERS, interval=INTERVAL),
    "PB2": lambda: pt.pb2(SPACE, MEMBERS, interval=INTERVAL),
}


def run_of(method: str, seed: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Returns one finished run: the return of its best checkpoint, and the best score of each interval."""
    began, cpu = time.perf_counter(), time.process_time()
    stop = pt.steps(INTERVAL * rounds)
    run = pt.run(METHODS[method](), AGENT, stop=stop, executor="vectorized", seed=seed, progress=False)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    curve = [round(generation.scores[-1], 1) for generation in pt.views.spread(run.record).generations]
    returns = AGENT.evaluate(run.best.load(), episodes=100, seed=seed)
    found = {"return": round(float(returns.mean()), 2), "curve": curve, "hparams": dict(run.best.hparams)}
    return found | {"seconds": round(seconds, 1), "cpu": round(cpu, 1)}


def figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the figures of the stored runs: each method, and its difference from random search on equal seeds."""
    made = []
    for method in METHODS:
        if own := list(found.get(method, {}).values()):
            made.append(over(f"{method}: return", [run["return"] for run in own]))
            made.append(over(f"{method}: CPU time", [run["cpu"] for run in own], "s"))
    for method in list(METHODS)[1:]:
        made += paired(f"{method} - random", f"{method} against random", found.get(method, {}), found.get("random", {}))
    return made


def main() -> None:
    """Makes the missing runs, seed by seed, and prints all figures."""
    parser = command_line("td3_pbt", __doc__, "one seed and two intervals of each; nothing is stored")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each method")
    options, began = parser.parse_args(), time.perf_counter()
    rounds = 2 if options.quick else ROUNDS
    cells = {method: (options.seeds, partial(run_of, method, rounds=rounds)) for method in METHODS}
    made = figures(stored_runs(RESULTS, cells, options.quick))
    show(made)
    if options.json:
        print(json.dumps(report("td3_pbt", made, time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
