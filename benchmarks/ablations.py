"""The questions of O. Sigaud's slides on population-based training, each with random search as control.

    nohup nice python -m benchmarks.ablations &              # 15 to 60 minutes on 2 cores; continues where it stopped
    python -m benchmarks.ablations --report --json           # tables, verdicts and figures from the stored results alone
    python -m benchmarks.ablations --write                   # the same, and docs/ablations.md with its plots

Population size at equal steps per member and at equal total steps; truncation, t-test or tournament; steps, factors or redraws;
copying weights, hyperparameters or both; asynchronous or synchronous; PBT's schedule or its final values held constant; and
today's defaults, the paper's, or those of release 0.1. All other cells have today's defaults, but for what they vary. The
problems are those of `benchmarks/ablation_problems.py`, the verdicts are made in `benchmarks/ablation_verdicts.py`.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.ablation_problems import Problem, problems
from benchmarks.common import command_line, installed, report
from benchmarks.study import RESULTS, Cell, Finished, Study
from poptrain import views

POPULATION = 20  # in cells that do not vary it
SIZES = (5, 10, 20, 40, 100)
POINTS = 20  # of a stored curve


Row = list[tuple[int, dict[str, Any]]]  # (first step, hyperparameters from there on)


@dataclass(frozen=True)
class Setting:
    """What one cell trains: an algorithm, for `share` of the problem's steps; `after` trains what a run of another cell found."""

    algorithm: Any
    share: float = 1.0
    lanes: int | None = None
    after: Callable[[Row, Problem], Any] | None = None  # (winner's schedule under `algorithm`, problem) -> algorithm to train


def settings(problem: Problem) -> dict[str, Setting]:
    """Returns every cell of a problem by its name."""

    def pbt(population: int = POPULATION, **options: Any) -> Any:
        return pt.pbt(problem.space, population, interval=problem.interval, **options)

    def random(population: int) -> Any:
        return pt.random_search(problem.space, population, interval=problem.interval)

    found = {"random-100": Setting(random(100))}  # its first n members are a random search of n
    for size in SIZES:
        found[f"pbt-{size}"] = Setting(pbt(size))
        if size != POPULATION:
            found[f"pbt-{size}-total"] = Setting(pbt(size), POPULATION / size)
            found[f"random-{size}-total"] = Setting(random(size), POPULATION / size)
    varied: dict[str, dict[str, Any]] = {
        "truncation-5": dict(exploit=pt.truncation(0.05)),
        "welch": dict(exploit=pt.welch()),
        "tournament": dict(exploit=pt.tournament()),
        "steps": dict(explore=pt.additive(0.1, resample=0)),
        "factors": dict(explore=pt.perturb()),
        "resample": dict(explore=pt.resample()),
        "selection": dict(explore=None),
        "weights": dict(copy="weights"),
        "hparams": dict(copy="hparams"),
        "paper": dict(as_in="paper"),
        "release-0.1": dict(exploit=pt.truncation(0.2), explore=pt.perturb(), starts="random"),
    }
    found |= {name: Setting(pbt(**options)) for name, options in varied.items()}
    found["async"] = Setting(pbt(sync=False), lanes=POPULATION // 4)
    sequential = pt.optuna_search(problem.space, POPULATION, interval=problem.interval) if installed("optuna") else None
    found["optuna"] = Setting(sequential, lanes=1)  # without Optuna, its runs are read from the results and not made
    found["held"] = Setting(pbt(), after=held)
    found["schedule"] = Setting(pbt(), after=scheduled)
    return found


def held(row: Row, problem: Problem) -> Any:
    """Returns as many members as the run had, all with the last hyperparameters of its winner from step 0 on."""
    return pt.random_search(problem.space, POPULATION, interval=problem.interval, initial=[row[-1][1]] * POPULATION)


def scheduled(row: Row, problem: Problem) -> Any:
    """Returns as many members as the run had, all with the whole schedule of its winner."""
    return pt.schedule_replay([row] * POPULATION, interval=problem.interval, space=problem.space)


def study(problem: Problem) -> Study:
    """Returns the study of one problem."""
    plan = settings(problem)

    def trained(setting: Setting, algorithm: Any, seed: int, directory: Path) -> pt.Run:
        return pt.run(algorithm, problem.trainable, stop=pt.steps(round(problem.steps * setting.share)), seed=seed,
                      executor=problem.executor(setting.lanes), directory=directory if problem.vectorized else None)  # fmt: skip

    winners: dict[int, Row] = {}  # by seed

    def start(cell: Cell, seed: int, directory: Path) -> pt.Run:
        setting = cell.algorithm
        if setting.after is None or seed not in winners:
            run = trained(setting, setting.algorithm, seed, directory if setting.after is None else directory / "source")
            if setting.algorithm == plan[f"pbt-{POPULATION}"].algorithm:
                segments = run.schedule(run.final_best.task.id).segments
                winners[seed] = [(segment.start, dict(segment.hparams)) for segment in segments]
            if setting.after is None:
                return run
        return trained(
            setting, setting.after(winners[seed], problem), seed + 1000, directory / "after"
        )  # no other run uses these seeds

    def judge(run: pt.Run, seed: int) -> dict[str, Any]:
        judged = {"reported": _short(problem.quality(run.final_best.load(), seed))}
        if run.history.seats == max(SIZES) and run.record.run["algorithm"]["type"] == "Independent":
            judged["first"] = {str(n): _of_first(run, n, problem, seed) for n in SIZES}
        return judged

    cells = [Cell(name, setting, problem.seeds) for name, setting in plan.items()]
    return Study(problem.name, cells, start, judge, lambda found: [], summary, compact=True)


def _of_first(run: pt.Run, n: int, problem: Problem, seed: int) -> list[float]:
    """Returns what the first n members alone would report, and the best training score among them."""
    alive = [seat for seat in range(n) if run.history.ok(run.history.head(seat))]
    best = max(alive, key=lambda seat: run.history.score(run.history.head(seat)))
    return [_short(problem.quality(run.member(best).load(), seed)), _short(run.member(best).score)]


def summary(run: pt.Run) -> dict[str, Any]:
    """Returns what is stored of every run: the curve of the best score so far, the gauges, and where the time was spent."""
    history = run.history
    ids = np.flatnonzero(history.oks)
    order = np.unique(history.column("step")[ids])
    scores, steps = history.scores[ids], history.column("step")[ids]
    best = np.maximum.accumulate([scores[steps == step].max() for step in order])
    picked = np.unique(np.linspace(0, len(order) - 1, POINTS).astype(int))
    gauges, time = views.gauges(run.record), views.overhead(run.record)
    return {
        "curve": [[int(order[i]), _short(best[i])] for i in picked],
        "share": gauges.share and _short(gauges.share),
        "explored": [gauges.explored, gauges.explored_better],
        "one_since": gauges.one_since,
        "effective": gauges.effective and _short(gauges.effective),
        "failed": int(history.n - len(ids)),
        "time": {name: _short(getattr(time, name)) for name in ("wall", "training", "queued", "waiting", "deciding")},
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


# -- command line -----------------------------------------------------------------------------------------------------


def results(problem: Problem, root: Path = RESULTS) -> Path:
    """Returns where the results of a problem are kept, without the ending."""
    return root / "ablations" / problem.name


def found(root: Path, quick: bool = False) -> dict[str, dict[str, list[Finished]]]:
    """Returns the stored runs by problem and cell."""
    return {name: study(problem).found(results(problem, root)) for name, problem in problems(quick).items()}


def work(root: Path, scratch: Path, quick: bool, only: list[str] | None, hours: float | None = None) -> None:
    """Makes the runs that are missing; quick: a few cells of each problem."""
    for name, problem in problems(quick).items():
        if only and name not in only:
            continue
        planned = study(problem)
        planned = replace(planned, cells=[cell for cell in planned.cells if cell.algorithm.algorithm is not None])
        if quick:
            keep = ("random-100", "pbt-5", "pbt-20", "selection", "held") if name != "pendulum" else ("pbt-5", "async")
            planned = replace(planned, cells=[cell for cell in planned.cells if cell.name in keep])
        print(f"-- {name}", flush=True)
        planned.work(results(problem, root), scratch / name, hours)


def main() -> None:
    """The command line."""
    parser = command_line("ablations", __doc__.splitlines()[0], "two seeds of a few cells in a temporary directory")
    parser.add_argument("--only", action="append", metavar="PROBLEM", help="drift, greedy or pendulum; may be repeated")
    parser.add_argument("--hours", type=float, help="start no further run of a problem after this many hours")
    parser.add_argument("--report", action="store_true", help="run nothing; print tables, verdicts and figures from the results")
    parser.add_argument("--write", action="store_true", help="run nothing; also write docs/ablations.md and its plots")
    options = parser.parse_args()
    from benchmarks import ablation_verdicts as verdicts

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if options.quick else RESULTS
        scratch = Path(folder) / "scratch" if options.quick else Path("runs/studies/ablations")
        if not (options.report or options.write):
            work(root, scratch, options.quick, options.only, options.hours)
        stored = found(root, options.quick)
    print(verdicts.text(stored), flush=True)
    if options.write:
        verdicts.write(stored)
    if options.json:
        print(json.dumps(report("ablations", verdicts.figures(stored), time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
