"""Studies: many long runs, one small JSON file each, continued where they stopped; tables come from the files alone.

    python -m benchmarks.NAME [--quick] [--hours H] [--report] [--plot] [--json]

A run trains in ``runs/studies/NAME/``, where it resumes by itself after a kill; when it is finished, its figures are written to
``benchmarks/results/NAME/CELL-SEED.json`` and the run directory is removed. Seed 0 of every cell comes first, so that a study
which was stopped early is balanced. ``--quick`` makes two tiny runs in a temporary place and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import machine, report, versions
from poptrain.rng import rng

RESULTS = Path(__file__).parent / "results"
Finished = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One method under one setting."""

    name: str  # a file name
    algorithm: Any
    seeds: int


@dataclass(frozen=True)
class Study:
    """What is run and what is kept of it.

    Args:
        name: of the study, and of its folder of results.
        cells: methods and settings.
        start: ``start(cell, seed, directory) -> Run``: trains, or resumes, one run.
        judge: ``judge(run, seed) -> dict``: the reported score of a finished run (``"reported"``) and whatever else is kept.
        figures: ``figures(found) -> figures``: found[cell name] is a list of finished runs, by seed.
    """

    name: str
    cells: Sequence[Cell]
    start: Callable[[Cell, int, Path], pt.Run]
    judge: Callable[[pt.Run, int], dict[str, Any]]
    figures: Callable[[dict[str, list[Finished]]], list[dict[str, Any]]]

    def work(self, results: Path, scratch: Path, hours: float | None = None) -> None:
        """Makes the runs that are missing, seed by seed."""
        began = time.perf_counter()
        for seed in range(max(cell.seeds for cell in self.cells)):
            for cell in self.cells:
                if hours is not None and time.perf_counter() - began > 3600 * hours:
                    return
                target = results / f"{cell.name}-{seed}.json"
                if seed < cell.seeds and not target.exists():
                    self._one(cell, seed, target, scratch / f"{cell.name}-{seed}")

    def _one(self, cell: Cell, seed: int, target: Path, directory: Path) -> None:
        began = time.perf_counter()
        directory.parent.mkdir(parents=True, exist_ok=True)
        run = self.start(cell, seed, directory)
        kept = {"study": self.name, "cell": cell.name, "seed": seed, **self.judge(run, seed), **told(run)}
        kept |= {"seconds": round(time.perf_counter() - began, 1), "machine": machine(), "versions": versions()}
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(".half")
        half.write_text(json.dumps(kept, separators=(",", ":")) + "\n")
        os.replace(half, target)
        shutil.rmtree(directory)
        print(f"{cell.name}, seed {seed}: {kept['reported']:.4g} in {kept['seconds']:.0f} s", flush=True)

    def found(self, results: Path) -> dict[str, list[Finished]]:
        """Returns the finished runs by cell, in the order of their seeds."""
        runs: dict[str, list[Finished]] = {cell.name: [] for cell in self.cells}
        for path in sorted(results.glob("*.json")):
            kept = json.loads(path.read_text())
            if kept["cell"] in runs:
                runs[kept["cell"]].append(kept)
        return {name: sorted(each, key=lambda kept: kept["seed"]) for name, each in runs.items()}


def told(run: pt.Run) -> dict[str, Any]:
    """Returns what every study keeps: the curve of the best member, the winner's schedule, and how predictions came true."""
    history = run.history
    steps, best = [], []
    for id in range(history.n):
        score = history.score(id)
        if score == score:
            steps.append(history.step(id))
            best.append(score)
    order = np.unique(steps)
    top = np.maximum.accumulate([max(s for at, s in zip(steps, best, strict=True) if at == step) for step in order])
    notes = [(history.task(id), history.score(id)) for id in range(history.n)]
    predictions = [
        [_short(task.note["gain"]), _short(task.note["gain_sd"]), _short(score - history.score(task.parent))]
        for task, score in notes
        if "gain" in task.note and score == score
    ]
    return {
        "curve": [[int(step), _short(score)] for step, score in zip(order, top, strict=True)],
        "schedule": [[piece.start, dict(piece.hparams)] for piece in run.schedule().segments],
        "predictions": predictions,  # predicted gain, its sd, what was gained
        "fallbacks": sum("fallback" in task.note for task, _ in notes),
        "failed": sum(not history.ok(id) for id in range(history.n)),
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


# -- statistics -------------------------------------------------------------------------------------------------------


def iqm(values: Sequence[float]) -> float:
    """Returns the interquartile mean: the mean of the middle half, the outermost counted in part."""
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    weight = np.clip(np.minimum(np.arange(1, n + 1), n - np.arange(n)) - n / 4, 0, 1)
    return float(weight @ ordered / weight.sum()) if weight.sum() else float(np.mean(ordered))


def interval(values: Sequence[float], statistic: Callable[[Any], float] = iqm, draws: int = 2000) -> tuple[float, float]:
    """Returns the 95 % percentile-bootstrap interval of a statistic over seeds."""
    generator = rng(0, "bootstrap", len(values))
    found = [statistic(generator.choice(values, len(values))) for _ in range(draws)]
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def ahead(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the one-sided p-value of the Mann-Whitney test that `a` is greater than `b`; 1 with fewer than two on a side."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(a, b, alternative="greater").pvalue) if min(len(a), len(b)) > 1 else 1.0


def held(a: Sequence[float], b: Sequence[float]) -> bool | None:
    """True if the interquartile mean of `a` is above that of `b`; None with fewer than five seeds on a side."""
    return iqm(a) > iqm(b) if min(len(a), len(b)) >= 5 else None


def scores(found: dict[str, list[Finished]], cell: str) -> list[float]:
    """Returns the reported scores of a cell."""
    return [kept["reported"] for kept in found.get(cell, ())]


def table(found: dict[str, list[Finished]]) -> str:
    """Returns the cells as a Markdown table: median, interquartile mean, its interval."""
    lines = ["| cell | seeds | median | interquartile mean | 95 % interval |", "|---|---|---|---|---|"]
    for cell in found:
        values = scores(found, cell)
        if values:
            low, high = interval(values)
            lines.append(f"| {cell} | {len(values)} | {np.median(values):.4g} | {iqm(values):.4g} | {low:.4g} to {high:.4g} |")
    return "\n".join(lines)


def plot(found: dict[str, list[Finished]], path: Path) -> None:
    """Draws the learning curves (median and quartiles over seeds) and, below, the winners' schedules of each method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = {cell: runs for cell, runs in found.items() if runs}
    pieces = [hparams for runs in shown.values() for kept in runs for _, hparams in kept["schedule"]]
    numbers = [name for name, value in pieces[0].items() if _number(value)] if pieces else []
    figure, axes = plt.subplots(1 + len(numbers), 1, figsize=(8, 4 + 2 * len(numbers)), sharex=True, layout="constrained")
    axes = np.atleast_1d(axes)
    for index, (cell, runs) in enumerate(shown.items()):
        color = f"C{index}"
        steps = np.unique([step for kept in runs for step, _ in kept["curve"]])
        curves = [np.interp(steps, *zip(*kept["curve"], strict=True)) for kept in runs]
        low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        axes[0].plot(steps, middle, color=color, label=f"{cell} ({len(runs)})")
        axes[0].fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
        for axis, name in zip(axes[1:], numbers, strict=True):
            for kept in runs:
                if not kept["schedule"]:  # the best was never trained
                    continue
                starts = [start for start, _ in kept["schedule"]] + [steps[-1]]
                values = [hparams[name] for _, hparams in kept["schedule"]]
                axis.step(starts, [*values, values[-1]], where="post", color=color, alpha=0.5, lw=0.8)
            axis.set_ylabel(name)
    axes[0].set_ylabel("best score so far")
    axes[0].legend(fontsize=7)
    axes[-1].set_xlabel("steps per member")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# -- command line -----------------------------------------------------------------------------------------------------


def main(study: Study, tiny: Study, doc: str) -> None:
    """Runs a study, or `tiny` with ``--quick``, and prints its table and figures."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{study.name}", description=doc)
    parser.add_argument("--quick", action="store_true", help="two tiny runs in a temporary place; what they score says nothing")
    parser.add_argument("--hours", type=float, help="start no further run after so many hours")
    parser.add_argument("--report", action="store_true", help="run nothing: tables and figures from the stored results")
    parser.add_argument("--plot", action="store_true", help="draw learning curves and schedules beside the results")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            figures = finish(tiny, Path(folder), Path(folder) / "scratch", options)
    else:
        figures = finish(study, RESULTS / study.name, Path("runs/studies") / study.name, options)
    if options.json:
        print(json.dumps(report(study.name, figures, time.perf_counter() - began)), flush=True)


def finish(study: Study, results: Path, scratch: Path, options: Any) -> list[dict[str, Any]]:
    """Makes the runs that are missing (unless only a report is wanted), prints the table and returns the figures."""
    if not options.report:
        study.work(results, scratch, options.hours)
    found = study.found(results)
    if not any(found.values()):
        print(f"no results in {results}", flush=True)
        return []
    print(table(found), flush=True)
    if options.plot:
        plot(found, results / f"{study.name}.png")
    return study.figures(found)
