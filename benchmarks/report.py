"""How long it takes to look at a run: report and plots of 16 members × 200 generations, `status` of a log of 100,000 tasks.

    python -m benchmarks.report [--quick] --json

Every figure is the wall time of the whole command, interpreter and imports included; the log comes from a simulated run with
five hyperparameters, one in a hundred tasks failing. `status` is also timed without its digest, where it must decode every line.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import poptrain as pt
from benchmarks.common import figure, installed, main
from poptrain.core import History, Result, Task
from poptrain.core.fingerprint import describe
from poptrain.core.rng import rng
from poptrain.log.writer import Log
from poptrain.sinks.digest import Digest
from poptrain.views.digest import NAME

SPACE = pt.Space(
    lr=pt.LogUniform(1e-6, 1e-1), momentum=pt.Uniform(0.1, 0.99), gamma=pt.Complement(0.9, 0.9999), width=pt.Int(8, 64),
    act=pt.Choice("relu", "tanh"),
)  # fmt: skip
MEMBERS, INTERVAL = 16, 50


def simulated_result(history: History, task: Task) -> Result:
    """Returns the simulated result of a task: noise, and a drift that the learning rate decides."""
    generator = rng(history.seed, task.id, "simulated")
    begin, before = history.step(task.parent), 0.0 if task.parent is None else history.score(task.parent)
    step, seconds = begin + task.steps, float(generator.uniform(0.5, 1.5))
    if generator.random() < 0.01:
        return Result(task.id, float("nan"), begin, error="ValueError: the loss exploded (train.py:31)", seconds=seconds)
    score = before + float(np.exp(-((np.log10(task.hparams["lr"]) + 3) ** 2)) + 0.3 * generator.normal())
    metrics = {"loss": float(generator.random()), "steps_per_second": float(1e4 * generator.random())}
    return Result(task.id, score, step, ((step, score),), metrics=metrics, checkpoint=f"t{task.id}-1.1:{task.seed:016x}",
                  seconds=seconds, saving=0.001)  # fmt: skip


def write_log(directory: Path, tasks: int) -> int:
    """Writes the log of a finished run with at least `tasks` tasks, and its digest; returns the size of the log in bytes."""
    algorithm = pt.pbt(SPACE, population=MEMBERS, interval=INTERVAL)
    budget = INTERVAL * -(-tasks // MEMBERS)
    about = {"mode": "max", "metric": "score", "seed": 0, "budget": budget, "interval": INTERVAL, "trainable": "simulated:train",
             "algorithm": describe(algorithm)}  # fmt: skip
    history, sink = History(0, budget), Digest()
    with Log.create(directory, about, durable=False) as log:
        sink.open(log.record)
        while asked := algorithm.ask(history):
            log.append(asked)
            history = history.add(asked)
            results = [simulated_result(history, task) for task in history.pending()]
            log.append(results)
            history = history.add(results)
        log.note("end", reason="every member reached its last step")
        sink.write(log.record, history)
    return sum(path.stat().st_size for path in directory.glob("log-*.jsonl"))


class Times(NamedTuple):
    """Seconds of a command, one entry each time it ran."""

    wall: list[float]
    cpu: list[float]  # user and system: what it would take alone on a machine that others use too


def times_of(words: Sequence[Any], repeats: int) -> Times:
    """Returns how long a command takes."""
    times = Times([], [])
    for _ in range(repeats):
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "poptrain", *map(str, words)], stdout=subprocess.DEVNULL)
        _, code, used = os.wait4(process.pid, 0)
        if code:
            raise RuntimeError(f"poptrain {words[0]} ended with {os.waitstatus_to_exitcode(code)}")
        times.wall.append(time.perf_counter() - began)
        times.cpu.append(used.ru_utime + used.ru_stime)
    return times


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as name:
        folder, repeats = Path(name), 3 if quick else 7
        write_log(folder / "run", MEMBERS * 200)
        figures = []
        if installed("plotly"):
            page = folder / "page.html"
            figures.append(_median("report, 16 x 200", times_of(["report", folder / "run", "--out", page], repeats).wall))
            figures.append(figure("report, 16 x 200, size", page.stat().st_size / 1e6, "MB"))
        if installed("matplotlib"):
            plots = folder / "plots"
            figures.append(_median("plots, 16 x 200", times_of(["plot", folder / "run", "--out", plots], 3).wall))
            figures.append(figure("plots, 16 x 200, size", sum(path.stat().st_size for path in plots.iterdir()) / 1e6, "MB"))
        count = 20_000 if quick else 100_000
        figures.append(figure(f"log of {count:,} tasks, size", write_log(folder / "long", count) / 1e6, "MB"))
        times = times_of(["status", folder / "long"], 3 * repeats)
        figures.append(_median(f"status, {count:,} tasks", times.wall, "< 0.5", statistics.median(times.wall) < 0.5))
        figures.append(_median(f"status, {count:,} tasks, CPU time", times.cpu))
        figures.append(_median("the interpreter, its imports and --version alone", times_of(["--version"], repeats).wall))
        os.remove(folder / "long" / NAME)
        figures.append(_median(f"status, {count:,} tasks, without the digest", times_of(["status", folder / "long"], 3).wall))
    return figures


def _median(name: str, values: list[float], target: str = "", holds: bool | None = None) -> dict[str, Any]:
    return figure(name, statistics.median(values), "s", target, holds, len(values), statistics.stdev(values))


if __name__ == "__main__":
    main("report", measure, __doc__.splitlines()[0])
