"""BG-PBT on HalfCheetah-v5 and Hopper-v5 (EnvPool), as in its paper (arXiv 2207.09405) at a size that two cores carry.

    nohup nice python -m benchmarks.bgpbt_study [--hours H] &     # hours for each seed; continues where it stopped
    python -m benchmarks.bgpbt_study --report --plot --json

Random search, PBT, PB2 and BG-PBT tune the nine numbers of `examples/bgpbt.py` with networks of two layers of 64; "architectures"
is BG-PBT that searches for the networks too, with generations and distillation. All have 8 members and train for 1,000,000 steps
for each member, distillation counted. The reported return is that of the best checkpoint by the training score: the mean of 50
episodes of the deterministic policy, on seeds that were never trained on. The paper trains for 150,000,000 steps in Brax and
reports that the learning rate falls and the batch grows; here both trends are those of the schedule of every winner.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, over
from benchmarks.study import Cell, Study, averages, differences, main
from examples.bgpbt import SIZES, Size, space
from poptrain.rl import PPO

TASKS = ("HalfCheetah-v5", "Hopper-v5")
SIZE, EPISODES = SIZES["cheetah"], 50
PAIRS = (
    ("pbt", "random"),
    ("pb2", "pbt"),
    ("bg_pbt", "random"),
    ("bg_pbt", "pbt"),
    ("bg_pbt", "pb2"),
    ("architectures", "bg_pbt"),
)
TRENDS = ("lr", "train_batch_size")


def algorithms(size: Size) -> dict[str, Any]:
    """Returns the methods, all with the defaults of this library."""
    whole = space(size)
    numbers = pt.Space({name: part for name, part in whole.items() if not part.static})
    shared: dict[str, Any] = dict(population=size.members, interval=size.interval)
    generations = pt.Generations(distill=size.distill, every=size.every, most=size.changes)
    return {
        "random": pt.random_search(numbers, **shared),
        "pbt": pt.pbt(numbers, **shared),
        "pb2": pt.pb2(numbers, **shared),
        "bg_pbt": pt.bg_pbt(numbers, **shared),
        "architectures": pt.bg_pbt(whole, **shared, generations=generations),
    }


def cells(tasks: tuple[str, ...], size: Size, seeds: int, searches: int) -> list[Cell]:
    """Returns every method on every task with its number of seeds; that of the search for architectures is `searches`."""
    return [
        Cell(f"{task}-{name}", algorithm, searches if name == "architectures" else seeds)
        for task in tasks
        for name, algorithm in algorithms(size).items()
    ]


def agent(cell: str, size: Size) -> PPO:
    """Returns the agent of a cell; its networks have two layers of 64 where hyperparameters do not say otherwise."""
    return PPO(env=cell.rpartition("-")[0], num_envs=size.envs, horizon=size.horizon, max_batch=size.batch[1], hidden=(64, 64))


def start(size: Size, cell: Cell, seed: int, directory: Path) -> pt.Run:
    """Trains, or resumes, one run."""
    stop, policy = pt.steps(size.steps), agent(cell.name, size)
    return pt.run(cell.algorithm, policy, stop=stop, executor="vectorized", directory=directory, seed=seed, progress=False)


def judge(size: Size, episodes: int, run: pt.Run, seed: int) -> dict[str, Any]:
    """Returns the reported return of a finished run, and what it trained at which speed."""
    best = run.best
    cell = run.record.home.name.rpartition("-")[0]  # without the seed
    returns = agent(cell, size).evaluate(best.load(), episodes=episodes, seed=seed)
    trained = sum(run.history.end(id) - run.history.begin(id) for id in range(run.history.n))
    kept = {"reported": float(returns.mean()), "reported_sd": float(returns.std()), "training": float(best.score)}
    return kept | {"steps": trained, "steps_per_second": round(trained / run.record.elapsed)}


def trend(schedule: list[list[Any]], name: str) -> float:
    """Returns by how many factors of two a hyperparameter rose from the first to the last piece of a schedule."""
    first, last = schedule[0][1][name], schedule[-1][1][name]
    return float(np.log2(last / first))


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the interquartile means, the comparisons, both trends, and the speed of mixed architectures."""
    claims = []
    tasks = sorted({cell.rpartition("-")[0] for cell in found})
    for task in tasks:
        claims += [(f"{task}: {one} ahead of {other}", f"{task}-{one}", f"{task}-{other}") for one, other in PAIRS]
    out = averages(found, "return", "return") + differences(found, claims, "return")
    for cell, runs in found.items():
        if cell.endswith(("bg_pbt", "architectures")) and runs:
            for name in TRENDS:
                rises = [trend(run["schedule"], name) for run in runs]
                out.append(over(f"{cell}: {name} from the first to the last piece of the winner", rises, "octaves"))
    for task in tasks:
        speeds = [[run["steps_per_second"] for run in found.get(f"{task}-{name}", ())] for name in ("architectures", "bg_pbt")]
        if all(speeds):
            ratio = float(np.median(speeds[0]) / np.median(speeds[1]))
            name = f"{task}: steps/s with a search for architectures / with one architecture"
            out.append(figure(name, ratio, "", ">= 0.8", ratio >= 0.8, min(map(len, speeds))))
    return out


TINY = Size("Pendulum-v1", 4, 4, 24_000, 2_000, 2_000, 8_000, (128, 512), (8, 16), 2, changes=1)


def study(planned: list[Cell], size: Size, episodes: int) -> Study:
    """Returns the study at some size."""
    return Study("bgpbt_study", planned, partial(start, size), partial(judge, size, episodes), figures)


if __name__ == "__main__":
    tiny = study(cells(("Pendulum-v1",), TINY, 1, 1), TINY, 2)
    main(study(cells(TASKS, SIZE, 5, 3), SIZE, EPISODES), tiny, __doc__.splitlines()[0])
