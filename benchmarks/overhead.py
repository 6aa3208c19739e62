"""What poptrain itself costs: the training step does nothing, so all the time is overhead.

    python -m benchmarks.overhead [--quick] --json

A durable task is a committed checkpoint (array file, manifest, syncs, rename) and its share of the log. The raw rate is the same
file operations alone, by bare system calls, in the same run: rates of shared disks drift, ratios do not.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.common import figure, installed, main
from poptrain.checkpoints.store import DiskStore
from poptrain.core import History
from poptrain.testing.simulate import noisy, simulated

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.1, 0.99))
POPULATION, INTERVAL = 16, 5


def trivial(carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
    """Counts steps; its carry is a small array, so that a checkpoint has two files."""
    carry = np.zeros(4) if carry is None else carry + steps
    return carry, {"score": hp["lr"] * float(carry[0])}


def algorithm(population: int = POPULATION) -> Any:
    return pt.pbt(SPACE, population=population, interval=INTERVAL)


def tasks_per_second(executor: Any, rounds: int, directory: Path | None) -> float:
    """Returns finished tasks per second of a whole run, including its start and end."""
    began = time.perf_counter()
    run = pt.run(algorithm(), trivial, stop=pt.generations(rounds), executor=executor, directory=directory)
    return run.history.n / (time.perf_counter() - began)


def raw_commits_per_second(folder: Path, count: int) -> float:
    """Returns how often per second the disk takes two small files, made durable, in a renamed directory."""
    root = folder / "raw"
    root.mkdir()
    began = time.perf_counter()
    for index in range(count):
        path = root / f".tmp-{index}"
        path.mkdir()
        for name, data in (("arrays.safetensors", b"x" * 112), ("MANIFEST.json", b"x" * 300)):
            fd = os.open(path / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            os.write(fd, data)
            os.fsync(fd)
            os.close(fd)
        _sync(path)
        path.rename(root / str(index))
        _sync(root)
    rate = count / (time.perf_counter() - began)
    shutil.rmtree(root)
    return rate


def raw_seconds(folder: Path, data: bytes) -> float:
    """Returns the seconds of one durable write of bytes."""
    path = folder / "raw"
    began = time.perf_counter()
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    os.fsync(fd)
    os.close(fd)
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def large_commit_ratio(folder: Path, megabytes: int, number: int) -> float:
    """Returns the seconds of a commit of one large array, divided by those of a durable write of as many bytes."""
    store, data = DiskStore(folder), np.random.default_rng(number).bytes(megabytes << 20)
    raw = [raw_seconds(folder, data)]
    began = time.perf_counter()
    store.commit(f"large{number}", {"w": np.frombuffer(data, np.float32)}, task=number, member=0, step=0)
    seconds = time.perf_counter() - began
    raw.append(raw_seconds(folder, data))
    shutil.rmtree(folder / "checkpoints")
    return seconds / statistics.mean(raw)


def many_files_seconds(folder: Path, files: int) -> float:
    """Returns the seconds of the commit of a checkpoint of many small files that a user's `save` has written."""
    store = DiskStore(folder)
    place = store.stage("many")
    for index in range(files):
        (place / f"{index}.bin").write_bytes(b"x" * 1000)
    began = time.perf_counter()
    store.commit_staged("many", task=0, member=0, step=0)
    seconds = time.perf_counter() - began
    shutil.rmtree(folder / "checkpoints")
    return seconds


def journal_tasks_per_second(folder: Path, count: int) -> float:
    """Returns how many trials per second Optuna asks for and reports, with its journal on the same disk."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(0), direction="maximize")
    began = time.perf_counter()
    for _ in range(count):
        trial = study.ask()
        lr, momentum = trial.suggest_float("lr", 1e-4, 1e-1, log=True), trial.suggest_float("momentum", 0.1, 0.99)
        study.tell(trial, lr * momentum)
    rate = count / (time.perf_counter() - began)
    (folder / "journal.log").unlink()
    return rate


def disk_figures(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of large checkpoints, of those of many files, and of the journal of Optuna."""
    megabytes, files = (50, 1000) if quick else (200, 10_000)
    with tempfile.TemporaryDirectory(dir="runs") as name:
        folder = Path(name)
        ratios = [large_commit_ratio(folder, megabytes, number) for number in range(3 if quick else 7)]
        seconds = [many_files_seconds(folder, files) for _ in range(1 if quick else 3)]
        against = []
        for number in range(3 if installed("optuna") else 0):
            journal = journal_tasks_per_second(folder, 100 if quick else 300)
            ours = tasks_per_second("inline", 15 if quick else 40, folder / f"ours{number}")
            against.append(ours / statistics.mean((journal, journal_tasks_per_second(folder, 100 if quick else 300))))
    ratio, limit = statistics.median(ratios), 3 * files / 10_000
    found = [
        _median(f"commit of {megabytes} MB / a raw durable write of them", ratios, "", "<= 1.5", ratio <= 1.5),
        figure(f"commit of {files:,} files", min(seconds), "s", f"<= {limit:g}", min(seconds) <= limit, len(seconds)),
    ]
    if against:
        better = statistics.median(against)
        found.append(_median("inline, durable / Optuna's journal, without checkpoints", against, "", ">= 1", better >= 1))
    return found


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def member_steps_per_second(members: int, rounds: int, interval: int) -> float:
    """Returns member steps per second of a vectorised JAX toy, without its start and compilation."""
    import jax

    def init(hp: Any, key: Any) -> Any:
        return {"theta": jax.numpy.float32(0.9)}

    def train(carry: Any, hp: Any, steps: int, key: Any) -> Any:
        theta = jax.lax.fori_loop(0, steps, lambda _, x: x - 2 * hp["lr"] * x, carry["theta"])
        return {"theta": theta}, {"score": 1.2 - theta**2}

    def seconds(generations: int) -> float:
        began = time.perf_counter()
        pbt = pt.pbt(SPACE, population=members, interval=interval)
        pt.run(pbt, pt.jax_trainable(init, train), stop=pt.generations(generations), executor="vectorized")
        return time.perf_counter() - began

    # The difference between a long and a short run excludes start, compilation and end.
    short = max(rounds // 10, 2)
    return members * interval * (rounds - short) / (seconds(rounds) - seconds(short))


def ask_milliseconds(tasks: int) -> float:
    """Returns the median time of one `ask` when the history already holds `tasks` tasks."""
    pbt, history = algorithm(), History(0, None)
    while history.n < tasks:
        history = history.add(pbt.ask(history))
        history = history.add([simulated(history, task, noisy(history, task)) for task in history.pending()])
    times = []
    for _ in range(9):
        began = time.perf_counter()
        asked = pbt.ask(history)
        times.append(1e3 * (time.perf_counter() - began))
        history = history.add(asked)
        history = history.add([simulated(history, task, noisy(history, task)) for task in history.pending()])
    return statistics.median(times)


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures; durable ones in pairs with the raw rate, raw before and after."""
    figures = []
    memory = [tasks_per_second("inline", 100 if quick else 400, None) for _ in range(3)]
    rate = statistics.median(memory)
    figures.append(figure("inline, in memory", rate, "tasks/s", ">= 5000", rate >= 5000, 3, statistics.stdev(memory)))
    ratios: dict[str, list[float]] = {"inline": [], "processes": []}
    rates: dict[str, list[float]] = {"inline": [], "processes": [], "raw": []}
    for _ in range(2 if quick else 5):
        Path("runs").mkdir(exist_ok=True)  # the disk that runs are kept on, not a file system in memory
        with tempfile.TemporaryDirectory(dir="runs") as name:
            folder, rounds = Path(name), 25 if quick else 60
            for executor in ratios:
                before = raw_commits_per_second(folder, 300)
                rates[executor].append(
                    tasks_per_second(executor, rounds if executor == "inline" else 2 * rounds, folder / executor)
                )
                raw = statistics.mean((before, raw_commits_per_second(folder, 300)))
                rates["raw"].append(raw)
                ratios[executor].append(rates[executor][-1] / raw)
    figures.append(_median("raw commits", rates["raw"], "commits/s"))
    for executor, least in (("inline", 0.4), ("processes", 0.3)):
        figures.append(_median(f"{executor}, durable", rates[executor], "tasks/s"))
        ratio = statistics.median(ratios[executor])
        figures.append(_median(f"{executor}, durable / raw commits", ratios[executor], "", f">= {least}", ratio >= least))
    figures += disk_figures(quick)
    least = 300_000
    for interval in (50, INTERVAL):  # at 5 steps a task, tasks are the cost, not steps
        steps = [member_steps_per_second(1024, 40 if quick else 200, interval) for _ in range(3)]
        rate = statistics.median(steps)
        figures.append(
            figure(f"vectorized, 1024 members, interval {interval}", rate, "member steps/s", f">= {least}",
                   rate >= least, 3, statistics.stdev(steps))
        )  # fmt: skip
    ask = ask_milliseconds(20_000 if quick else 100_000)
    figures.append(figure(f"ask, history of {'20,000' if quick else '100,000'} tasks", ask, "ms", "< 50", ask < 50))
    return figures


def _median(name: str, values: list[float], unit: str, target: str = "", holds: bool | None = None) -> dict[str, Any]:
    return figure(name, statistics.median(values), unit, target, holds, len(values), statistics.stdev(values))


if __name__ == "__main__":
    main("overhead", measure, __doc__.splitlines()[0])
