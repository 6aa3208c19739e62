"""Learned learning-rate schedules against the hand-made one: Table 1 of the FIRE PBT paper, on small digits with label noise.

    nohup nice python -m benchmarks.schedules &              # about an hour on 2 cores; continues where it stopped
    python -m benchmarks.schedules --report --plot --json

The network and the data of `examples/image_classification.py`, 90 epochs, a decision every 20 of 1,080 steps; five experiments of
every method. Random search draws λ from the range that PBT and FIRE begin with and trains with the paper's hand-made schedule.
Each experiment reports its best validation accuracy, the test accuracy of that same checkpoint, and the test accuracy of 8 fresh
networks that are trained by the best one's schedule on training and validation images together (mean; the table's main column).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, over
from benchmarks.study import Cell, Study, main, plot
from examples.image_classification import FIRST, STEPS, accuracy, by_hand, greedy, network, replayed, space
from poptrain import plots
from poptrain._jax import jax
from poptrain.statistics import apart

SEEDS, REPLAYS, EVALS = 5, 8, 10
CHANCE = 0.1  # the accuracy of a network that diverged
INTERVAL = greedy["interval"]

COLUMNS: dict[str, Any] = {
    "top validation accuracy": lambda run: run["validation"],
    "matching test accuracy": lambda run: run["test"],
    "replayed test accuracy": lambda run: run["reported"],
    f"replayed test accuracy, median of {REPLAYS} networks": lambda run: float(np.median(run["replays"])),
}


def cells(seeds: int = SEEDS) -> list[Cell]:
    """Returns the methods; the number is that of the workers."""
    drawn = pt.Space(lr=pt.LogUniform(*FIRST))
    methods = {
        "random-22": pt.random_search(drawn, 22, interval=INTERVAL),
        "pbt-22": pt.pbt(space, 22, **greedy, starts="random"),
        "pbt-50": pt.pbt(space, 50, **greedy, starts="random"),
        "fire-22": pt.fire_pbt(space, (8, 8), evals=EVALS, as_in="paper", **greedy),
        "fire-36": pt.fire_pbt(space, (8, 8, 8), evals=EVALS, as_in="paper", **greedy),
        "fire-50": pt.fire_pbt(space, (8, 8, 8, 8), evals=EVALS, as_in="paper", **greedy),
    }
    return [Cell(name, algorithm, seeds) for name, algorithm in methods.items()]


def start(cell: Cell, seed: int, directory: Path) -> pt.Run:
    """Trains one experiment."""
    compiled = directory.parent.parent / "compiled"  # by XLA, for all experiments
    jax.config.update("jax_compilation_cache_dir", str(compiled.resolve()))
    trainable = network(factor=by_hand if cell.name.startswith("random") else None)
    return pt.run(cell.algorithm, trainable, stop=pt.steps(STEPS), executor="vectorized", directory=directory, seed=seed)


def judge(run: pt.Run, seed: int) -> dict[str, Any]:
    """Returns a row of the table for one experiment, and its compute."""
    history, schedule = run.history, run.schedule(run.best.task.id)
    factor = by_hand if run.record.run["algorithm"]["type"] == "Independent" else None
    again = replayed(schedule, REPLAYS, 1000 + seed, factor)
    population = 1 + max(history.task(id).member for id in range(history.n) if not history.task(id).tags)
    parents = ((history.task(id), history.task(id).parent) for id in range(history.n))
    handed = [task for task, parent in parents if parent is not None and task.member < population <= history.task(parent).member]
    return {
        "reported": float(np.nan_to_num(again, nan=CHANCE).mean()),
        "replays": [round(float(score), 5) for score in np.nan_to_num(again, nan=CHANCE)],
        "validation": float(run.best.score),
        "test": float(accuracy(run.best.load()["weights"], "test")),
        "best_step": int(schedule.step),
        "hand_overs": len(handed),
        "member_steps": int(sum(history.step(id) - history.step(history.task(id).parent) for id in range(history.n))),
        "training_seconds": round(run.record.elapsed, 1),
    }


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the table, row by row, the compute of an experiment, and what FIRE PBT is ahead by."""
    out = []
    for cell, runs in found.items():
        if runs:
            for what, value in COLUMNS.items():
                out.append(over(f"{cell}: {what}", [100 * value(run) for run in runs], "%"))
            lost = sum(score < 0.5 for run in runs for score in run["replays"])
            out.append(figure(f"{cell}: replayed networks that failed", lost, f"of {REPLAYS * len(runs)}", n=len(runs)))
            steps, seconds = (float(np.mean([run[key] for run in runs])) for key in ("member_steps", "training_seconds"))
            out.append(figure(f"{cell}: compute of an experiment, {seconds:.0f} s", steps, "member-steps", n=len(runs)))
            if cell.startswith("fire"):
                out.append(over(f"{cell}: hand-overs", [run["hand_overs"] for run in runs], "per experiment"))
    for fire, other in (("fire-22", "pbt-22"), ("fire-36", "pbt-50"), ("fire-50", "pbt-50"), ("fire-22", "random-22")):
        for what, value in COLUMNS.items():
            a, b = ([100 * value(run) for run in found[cell]] for cell in (fire, other))
            if a and b:
                gap, n = float(np.mean(a) - np.mean(b)), min(len(a), len(b))
                known = other.startswith("pbt") and n >= SEEDS
                name = f"{fire} - {other}: {what}, two-sided p = {apart(a, b):.3g}"
                target = "> 0" if other.startswith("pbt") else ""
                out.append(figure(name, gap, "points", target, gap > 0 if known else None, n))
    return out


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the best score so far (bands over the experiments) and, in a second file, the schedules of the best."""
    plot(found, path)
    curves: dict[str, Any] = {}
    peaks = [kept["schedule"][0][1]["lr"] for kept in found["random-22"]]  # λ of each experiment's best
    if peaks:
        peak = float(np.exp(np.mean(np.log(peaks))))
        curves[f"by hand, λ = {peak:.2g}"] = lambda step: max(peak * float(by_hand(step)), 1e-4)
    for cell, runs in found.items():
        if runs and not cell.startswith("random"):
            curves[cell] = [_schedule(kept) for kept in runs]
    figure = plots.schedules(curves, "lr", STEPS, title="Schedules of the best of each experiment")
    plots.save(figure, path.with_name("learned.png"))


def _schedule(kept: dict[str, Any]) -> pt.views.Schedule:
    starts = [start for start, _ in kept["schedule"]]
    ends = [*starts[1:], kept["best_step"]]
    pieces = zip(starts, ends, kept["schedule"], strict=True)
    segments = tuple(pt.views.Segment(start, end, hparams, 0, 0) for start, end, (_, hparams) in pieces)
    return pt.views.Schedule(0, 0, kept["best_step"], kept["validation"], "score", "max", segments)


if __name__ == "__main__":
    study = Study("schedules", cells(), start, judge, figures, draw=draw)
    tiny = Study("schedules", [cell for cell in cells(1) if cell.name == "fire-22"], start, judge, figures, draw=draw)
    main(study, tiny, __doc__.splitlines()[0])
