"""Studies: many long runs with one small JSON file each. A study continues where it stopped.

    python -m benchmarks.NAME [--quick] [--hours H] [--report] [--plot] [--json]

A run trains in ``runs/studies/NAME/``, where it resumes by itself after a kill; when it is finished, its figures are written to
``benchmarks/results/NAME/CELL-SEED.json`` and the run directory is removed. Seed 0 of every cell comes first, so that a study
which was stopped early is balanced. A study of very many short runs is `compact`: one line for each in
``benchmarks/results/NAME.jsonl``. ``--quick`` makes tiny runs in a temporary place and keeps nothing.
"""

from __future__ import annotations

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
from benchmarks.common import command_line, figure, machine, report, versions
from poptrain.statistics import ahead, caution, interval, iqm, verdict

__all__ = [
    "Cell", "Study", "ahead", "averages", "differences", "finish", "interval", "iqm", "main", "plot", "scores", "table",
    "summary",
]  # fmt: skip

RESULTS = Path(__file__).parent / "results"
Finished = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One method under one setting."""

    name: str  # part of a file name
    algorithm: Any
    seeds: int


@dataclass(frozen=True)
class Study:
    """What is run, and what is stored of it.

    Args:
        name: of the study, and of its folder of results.
        cells: methods and settings.
        start: ``start(cell, seed, directory) -> Run``: trains, or resumes, one run.
        judge: ``judge(run, seed) -> dict``: the reported score of a finished run (``"reported"``) and whatever else is stored.
        figures: ``figures(found) -> figures``: found[cell name] is a list of finished runs, by seed.
        summary: ``summary(run) -> dict``: what else is stored of every run; default `summary`.
        draw: ``draw(found, path)``: the figure of the study; default `plot`.
        compact: store one line per run in one file, instead of one file each; for many short runs.
        derived: ``derived(found) -> {cell name: runs}``: further cells that need no runs of their own.
    """

    name: str
    cells: Sequence[Cell]
    start: Callable[[Cell, int, Path], pt.Run]
    judge: Callable[[pt.Run, int], dict[str, Any]]
    figures: Callable[[dict[str, list[Finished]]], list[dict[str, Any]]]
    summary: Callable[[pt.Run], dict[str, Any]] | None = None
    draw: Callable[[dict[str, list[Finished]], Path], None] | None = None
    compact: bool = False
    derived: Callable[[dict[str, list[Finished]]], dict[str, list[Finished]]] | None = None

    def work(self, results: Path, scratch: Path, hours: float | None = None) -> None:
        """Makes the runs that are missing, seed by seed."""
        began = time.perf_counter()
        done = {(kept["cell"], kept["seed"]) for kept in self.kept(results)}
        for seed in range(max(cell.seeds for cell in self.cells)):
            for cell in self.cells:
                if hours is not None and time.perf_counter() - began > 3600 * hours:
                    return
                if seed < cell.seeds and (cell.name, seed) not in done:
                    self._one(cell, seed, results, scratch / f"{cell.name}-{seed}")

    def _one(self, cell: Cell, seed: int, results: Path, directory: Path) -> None:
        began = time.perf_counter()
        directory.parent.mkdir(parents=True, exist_ok=True)
        run = self.start(cell, seed, directory)
        kept = {"study": self.name, "cell": cell.name, "seed": seed, **self.judge(run, seed), **(self.summary or summary)(run)}
        kept["seconds"] = round(time.perf_counter() - began, 1)
        self._keep(kept, results)
        shutil.rmtree(directory, ignore_errors=True)
        print(f"{cell.name}, seed {seed}: {kept['reported']:.4g} in {kept['seconds']:.0f} s", flush=True)

    def _keep(self, kept: Finished, results: Path) -> None:
        """Writes a finished run, whole or not at all."""
        where = {"machine": machine(), "versions": versions()}
        if self.compact:
            results.parent.mkdir(parents=True, exist_ok=True)
            path = results.with_suffix(".jsonl")
            known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            places = [each for each in known if "cell" not in each]
            with path.open("a") as file:  # a line about the machine describes the runs after it
                file.write("".join(_line(each) for each in ([where] if places[-1:] != [where] else []) + [kept]))
            return
        target = results / f"{kept['cell']}-{kept['seed']}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(".half")
        half.write_text(_line(kept | where))
        os.replace(half, target)

    def kept(self, results: Path) -> list[Finished]:
        """Returns all finished runs that are stored."""
        if not self.compact:
            return [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
        path = results.with_suffix(".jsonl")
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith("\n"):  # torn by a crash; that run is made again
            path.write_text("".join(lines := lines[:-1]))
        return [kept for kept in map(json.loads, lines) if kept.get("study") == self.name]

    def found(self, results: Path) -> dict[str, list[Finished]]:
        """Returns the finished runs by cell, in the order of their seeds."""
        runs: dict[str, list[Finished]] = {cell.name: [] for cell in self.cells}
        for kept in self.kept(results):
            if kept["cell"] in runs:
                runs[kept["cell"]].append(kept)
        found = {name: sorted(each, key=lambda kept: kept["seed"]) for name, each in runs.items()}
        return found if self.derived is None else found | self.derived(found)


def _line(kept: Finished) -> str:
    return json.dumps(kept, separators=(",", ":")) + "\n"


def summary(run: pt.Run) -> dict[str, Any]:
    """Returns what every study stores: the curve of the best member, the winner's schedule, and predicted and real gains."""
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
        [_short(task.forecast.gain), _short(task.forecast.gain_sd), _short(score - history.score(task.parent))]
        for task, score in notes
        if task.forecast and task.forecast.gain is not None and score == score
    ]
    return {
        "curve": [[int(step), _short(score)] for step, score in zip(order, top, strict=True)],
        "schedule": [[piece.start, dict(piece.hparams)] for piece in run.schedule().segments],
        "predictions": predictions,  # predicted gain, its sd, what was gained
        "fallbacks": sum(task.forecast is not None and task.forecast.fallback is not None for task, _ in notes),
        "failed": sum(not history.ok(id) for id in range(history.n)),
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


# -- tables and plots ------------------------------------------------------------------------------------------------------


def scores(found: dict[str, list[Finished]], cell: str) -> list[float]:
    """Returns the reported scores of a cell."""
    return [kept["reported"] for kept in found.get(cell, ())]


def averages(found: dict[str, list[Finished]], what: str, unit: str = "", digits: int = 1) -> list[dict[str, Any]]:
    """Returns the interquartile mean of every cell as a figure; its name contains the interval."""
    out = []
    for cell in found:
        if values := scores(found, cell):
            low, high = interval(values)
            name = f"{cell}: {what}, interquartile mean, 95 % from {low:.{digits}f} to {high:.{digits}f}"
            out.append(figure(name, iqm(values), unit, n=len(values), spread=float(np.std(values))))
    return out


def differences(found: dict[str, list[Finished]], pairs: Sequence[tuple[str, str, str]], unit: str = "") -> list[dict[str, Any]]:
    """Returns how far `better` is ahead of `worse`, for each (label, better, worse), and whether chance can explain it."""
    out = []
    for label, better, worse in pairs:
        a, b = scores(found, better), scores(found, worse)
        if a and b:
            word, few = verdict(a, b), min(len(a), len(b)) < 5
            name = f"{label}: {word}; difference of interquartile means, one-sided p = {ahead(a, b):.3g}"
            out.append(figure(name, iqm(a) - iqm(b), unit, "ahead", None if few else word == "ahead", min(len(a), len(b))))
    return out


def table(found: dict[str, list[Finished]]) -> str:
    """Returns the cells as a Markdown table: median, interquartile mean, its interval."""
    lines = ["| cell | seeds | median | interquartile mean | 95 % interval |", "|---|---|---|---|---|"]
    for cell in found:
        values = scores(found, cell)
        if values:
            low, high = interval(values)
            lines.append(f"| {cell} | {len(values)} | {np.median(values):.4g} | {iqm(values):.4g} | {low:.4g} to {high:.4g} |")
    runs = min((len(each) for each in found.values() if each), default=0)
    return "\n".join(lines + ["", caution(runs)] if runs else lines)


def plot(found: dict[str, list[Finished]], path: Path) -> None:
    """Draws the learning curves and, in a second file ``…_schedules.png``, what the winners trained with."""
    import matplotlib

    matplotlib.use("Agg")
    shown = {cell: runs for cell, runs in found.items() if runs}
    _draw_curves(shown, path)
    _draw_schedules(shown, path.with_name(f"{path.stem}_schedules.png"))


def _draw_curves(shown: dict[str, list[Finished]], path: Path) -> None:
    """Draws the median over seeds of the best score so far, with a band between the quartiles."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for index, (cell, runs) in enumerate(shown.items()):
        steps = np.unique([step for kept in runs for step, _ in kept["curve"]])
        curves = [np.interp(steps, *zip(*kept["curve"], strict=True)) for kept in runs]
        low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        axis.plot(steps, middle, color=f"C{index}", label=f"{cell} ({len(runs)})")
        axis.fill_between(steps, low, high, color=f"C{index}", alpha=0.15, lw=0)
    axis.set(xlabel="steps per member", ylabel="best score so far")
    axis.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_schedules(shown: dict[str, list[Finished]], path: Path) -> None:
    """Draws a row for each hyperparameter that is a number and a column for each cell: a line a seed, and their median."""
    import matplotlib.pyplot as plt

    pieces = [hparams for runs in shown.values() for kept in runs for _, hparams in kept["schedule"]]
    names = [name for name, value in (pieces[0] if pieces else {}).items() if _number(value)]
    if not names:
        return
    size = (1.2 + 1.6 * len(shown), 0.8 + 1.5 * len(names))
    figure, axes = plt.subplots(
        len(names), len(shown), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for column, (cell, runs) in zip(axes.T, shown.items(), strict=True):
        end = max(step for kept in runs for step, _ in kept["curve"])
        at = np.linspace(0, end, 201)
        column[0].set_title(f"{cell} ({len(runs)})", fontsize=8)
        for axis, name in zip(column, names, strict=True):
            lines = []
            for kept in runs:
                if kept["schedule"]:  # else the best was never trained
                    starts = [start for start, _ in kept["schedule"]]
                    values = np.array([hparams[name] for _, hparams in kept["schedule"]])
                    lines.append(values[np.searchsorted(starts, at, side="right") - 1])
                    axis.plot(at, lines[-1], color="C0", alpha=0.35, lw=0.8)
            axis.plot(at, np.median(lines, axis=0), color="C3", lw=1.5)
            axis.tick_params(labelsize=6)
    for axis, name in zip(axes[:, 0], names, strict=True):
        values = [hparams[name] for hparams in pieces]
        axis.set_ylabel(name, fontsize=8)
        if min(values) > 0 and max(values) > 20 * min(values):
            axis.set_yscale("log")
    figure.supxlabel("steps per member", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# -- command line -----------------------------------------------------------------------------------------------------


def main(study: Study, tiny: Study, doc: str) -> None:
    """Runs a study, or `tiny` with ``--quick``, and prints its table and figures."""
    parser = command_line(study.name, doc, "two tiny runs in a temporary directory; their scores mean nothing")
    parser.add_argument("--hours", type=float, help="start no further run after this many hours")
    parser.add_argument("--report", action="store_true", help="run nothing; print tables and figures of the stored results")
    parser.add_argument("--plot", action="store_true", help="also draw learning curves and schedules next to the results")
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
        (study.draw or plot)(found, results / f"{study.name}.png")
    return study.figures(found)
