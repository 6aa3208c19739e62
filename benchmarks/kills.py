"""One run on worker processes whose driver and workers are killed again and again: figure S2 of the scoreboard, and the soak.

    python -m benchmarks.kills --json                200 kills by SIGKILL; the run must end as one that was never killed
    python -m benchmarks.kills --soak 1 --json       an hour of kills; memory, open files and the disk must stay flat

The history of a run is in memory, so the driver grows with the results: the soak measures how much, for each line of the log.

Half of the kills hit the driver, half a worker, each at a random line of the log. After each, all lines that had been read before
must still be there, and the workers of a killed driver must be gone within ten seconds.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import command_line, figure, report, show

POPULATION, INTERVAL, SLOTS = 8, 2, 2
LINES_A_KILL = 40  # lines of the log between two kills, on average
PATIENCE = 300.0  # seconds without a new line after which the run counts as stuck


def experiment(steps: int, inline: bool = False) -> Any:
    """Returns a synchronous, deterministic run: its result does not depend on any kill."""
    import poptrain as pt

    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    workers = pt.executors.Processes(slots=SLOTS, retries=1000)  # a task that is hit again and again has not failed by itself
    return pt.Experiment(
        pt.pbt(space, population=POPULATION, interval=INTERVAL),
        pt.testing.quadratic,
        stop=pt.steps(steps),
        executor="inline" if inline else workers,
    )


class Victim:
    """The run, in as many processes one after another as its kills make necessary."""

    def __init__(self, directory: Path, steps: int, seed: int):
        self.directory, self.steps, self.dice = directory, steps, random.Random(seed)
        self.kills = {"driver": 0, "worker": 0}
        self.lost = self.orphans = 0
        self.samples: list[tuple[float, float, float, float]] = []  # lines, MB of the driver, its open files, MB on the disk
        self._seen: list[Any] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.said = directory.with_suffix(".txt")  # what the driver printed

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Starts the driver, which begins or continues the run."""
        words = [sys.executable, "-m", "benchmarks.kills", "--drive", str(self.directory), "--steps", str(self.steps)]
        with self.said.open("wb") as said:  # a file, because a pipe that is not read fills up
            self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)

    def lines(self) -> list[Any]:
        """Returns the lines of the log as another process reads them, after a look at what was read before."""
        from poptrain.log.finding import exists
        from poptrain.log.reader import read

        found = read(self.directory).lines if exists(self.directory) else []
        if found[: len(self._seen)] != self._seen:
            self.lost += 1
        self._seen = found
        return found

    def size(self) -> int:
        """Returns the bytes of the log: a cheap measure of how far the run has come."""
        return sum(path.stat().st_size for path in self.directory.glob("log-*.jsonl"))

    def kill(self, whom: str) -> None:
        """Kills the driver, or one of its workers."""
        assert self.process is not None
        workers = _children(self.process.pid)
        self.sample()
        if whom == "worker" and workers:
            _end(self.dice.choice(workers))
        else:
            whom = "driver"
            self.process.kill()
            self.process.wait()
            until = time.monotonic() + 10
            while (left := [pid for pid in workers if _alive(pid)]) and time.monotonic() < until:
                time.sleep(0.05)
            self.orphans += len(left)
        self.kills[whom] += 1

    def sample(self) -> None:
        """Notes what the driver and the run directory take."""
        assert self.process is not None
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            open_files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError:
            return
        memory = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
        places = os.walk(self.directory / "checkpoints")  # it passes over what is collected in the meantime
        disk = sum(_size(Path(place) / file) for place, _, files in places for file in files)
        self.samples.append((len(self._seen), memory, open_files, disk / 2**20))

    def ended(self) -> bool:
        """True if the driver has ended by itself; it is an error unless the run is finished."""
        if self.process is None or self.process.poll() is None:
            return False
        if self.process.returncode:
            raise SystemExit(f"the driver ended with code {self.process.returncode}: {self.said.read_text()[-1000:]}")
        return True

    def where(self) -> str:
        """Returns what the threads of the driver are doing, and the states of its workers: for a run that is stuck."""
        if self.process is None:
            return "there is no driver"
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        states = [Path(f"/proc/{pid}/status").read_text().split("\n")[2] for pid in _children(self.process.pid)]
        return f"{self.said.read_text()[-6000:]}\nworkers: {states}, load {os.getloadavg()}"


def kill_and_compare(kills: int, seed: int = 0) -> list[dict[str, Any]]:
    """Kills a run `kills` times, and compares its end with that of a run that was never killed."""
    import poptrain as pt
    from poptrain.testing.bench import comparable, contents, results_of, tasks_of

    rounds = kills * LINES_A_KILL // (POPULATION + 1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        calm = pt.run(experiment(rounds * INTERVAL, inline=True), directory=f"{folder}/calm", progress=False)
        whole = sum(path.stat().st_size for path in Path(f"{folder}/calm").glob("log-*.jsonl"))
        victim = stack.enter_context(Victim(Path(folder) / "run", rounds * INTERVAL, seed))
        places = sorted(victim.dice.uniform(0, 0.95 * whole) for _ in range(kills))
        victims = ["driver", "worker"] * ((kills + 1) // 2)
        victim.dice.shuffle(victims)
        began = time.monotonic()
        for place, whom in zip(places, victims, strict=False):
            if victim.process is None or victim.process.poll() is not None:
                if victim.ended():
                    break
                victim.start()
            _wait_until(victim, lambda place=place: victim.size() >= place)
            time.sleep(victim.dice.uniform(0, 0.05))
            victim.kill(whom)
            victim.lines()
            if victim.process is not None and victim.process.returncode == -signal.SIGKILL:
                victim.process = None
        if victim.process is None:
            victim.start()
        _wait_until(victim, victim.ended)
        run = pt.run(
            experiment(rounds * INTERVAL), directory=victim.directory, progress=False
        )  # it has ended: nothing is trained
        same = tasks_of(run) == tasks_of(calm) and list(map(comparable, results_of(run))) == list(
            map(comparable, results_of(calm))
        )
        best = calm.history.best()
        same &= contents(run.store, run.history.result(best).checkpoint) == contents(
            calm.store, calm.history.result(best).checkpoint
        )
        done, seconds = sum(victim.kills.values()), time.monotonic() - began
    return [
        figure("S2 kills of one run that changed its result", 0 if same else done, "kills", "0", same and done >= kills, done),
        figure("S2 acknowledged lines lost, or changed", victim.lost, "looks", "0", victim.lost == 0, done),
        figure("S2 workers that outlived a driver", victim.orphans, "processes", "0", victim.orphans == 0, done),
        figure("S2 seconds", seconds, "s"),
    ]  # fmt: skip


def soak(hours: float, seed: int = 0) -> list[dict[str, Any]]:
    """Kills a run at random moments for hours, and returns how what it takes has changed."""
    import poptrain as pt
    from poptrain.core import results_of

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        victim = stack.enter_context(Victim(Path(folder) / "run", 10**9, seed))
        until = time.monotonic() + 3600 * hours
        victim.start()
        while time.monotonic() < until:
            size = victim.size()
            _wait_until(victim, lambda size=size: victim.size() > size + 20_000)
            time.sleep(victim.dice.uniform(0, 8))
            victim.kill(victim.dice.choice(["driver", "worker", "worker"]))
            victim.lines()
            assert victim.process is not None
            if victim.process.returncode is not None:
                victim.start()
        assert victim.process is not None
        victim.process.terminate()
        code = victim.process.wait()
        found = pt.verify(victim.directory, experiment(10**9))
        wrong = [check.text for check in found.checks if check.state == "failed"]
        n, results = sum(victim.kills.values()), sum(len(results_of(line)) for line in victim.lines())
    print(f"the driver ended with code {code}; {victim.kills}", file=sys.stderr)
    for text in wrong:
        print(text, file=sys.stderr)
    files, disk = (_growth(victim.samples, column) for column in (2, 3))
    memory = 1024 * float(np.polyfit([each[0] for each in victim.samples], [each[1] for each in victim.samples], 1)[0])
    return [
        figure("S22 kills of drivers and workers", n, "kills", n=n),
        figure("S22 acknowledged lines lost, or changed", victim.lost, "looks", "0", victim.lost == 0, n),
        figure("S22 checks of verify that failed at the end", len(wrong), "checks", "0", not wrong, len(found.checks)),
        figure("S22 workers that outlived a driver", victim.orphans, "processes", "0", victim.orphans == 0, n),
        figure("S22 memory of the driver, for each line of the log", memory, "kB", "≤ 3", memory <= 3, len(victim.samples)),
        figure("S22 results at the end", results, "results"),
        figure("S22 open files, last / first quarter", files, "x", "≤ 1.1", files <= 1.1, len(victim.samples)),
        figure("S22 bytes of checkpoints, last / first quarter", disk, "x", "≤ 1.25", disk <= 1.25, len(victim.samples)),
    ]  # fmt: skip


def _growth(samples: list[tuple[float, float, float, float]], column: int) -> float:
    """Returns the median of the last quarter of the samples divided by that of the first."""
    values = [sample[column] for sample in samples]
    quarter = max(len(values) // 4, 1)
    return float(np.median(values[-quarter:]) / max(np.median(values[:quarter]), 1e-9))


def _wait_until(victim: Victim, done: Any) -> None:
    size, since = victim.size(), time.monotonic()
    while not done():
        if victim.process is not None and victim.process.poll() is not None and victim.ended():
            return
        if (now := victim.size()) != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise SystemExit(f"no new line for {PATIENCE:g} s: the run is stuck. {victim.where()}")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    """Returns the worker processes of a driver: its children that run Python's spawned main."""
    found = []
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in child.read_text().split()]
        except OSError:
            continue
    return [pid for pid in found if b"spawn_main" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _alive(pid: int) -> bool:
    return b"spawn_main" in _command(pid)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it was collected in the meantime
        return 0


def main() -> None:
    parser = command_line("kills", __doc__, "20 kills instead of 200")
    parser.add_argument("--soak", type=float, metavar="HOURS", help="kill for hours instead")
    parser.add_argument("--drive", metavar="DIRECTORY", help="be the driver (internal)")
    parser.add_argument("--steps", type=int, default=0, help="of the driver (internal)")
    options = parser.parse_args()
    if options.drive:
        import poptrain as pt

        faulthandler.register(signal.SIGUSR1)
        pt.run(experiment(options.steps), directory=options.drive, progress=False)
        return
    began = time.perf_counter()
    figures = soak(options.soak) if options.soak else kill_and_compare(20 if options.quick else 200)
    show(figures)
    if options.json:
        print(json.dumps(report("kills", figures, time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    main()
