"""The scoreboard of docs/reliability.md: how many faults were tried, and how many broke a promise.

Figures S1 to S23 count cases with their denominators, and are printed as they become known. Some are counted here; for those that
the tests count, their tests are run and counted (``n`` is the number of tests). The whole takes some 15 minutes. S2 (kills of
one run on processes), S21 (Ray) and S22 (a soak of hours) take long: run ``make test-all``, ``benchmarks.ray_faults`` and
``python tests/simulation.py --seconds 3600``.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.common import figure, main

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "faults")]

Figures = list[dict[str, Any]]

COUNTED_BY_TESTS = {  # figure -> what it says, and the tests that count it
    "S3 a driver killed at every boundary, real files": ["tests/executors/test_executors.py", "-k", "killed or cut"],
    "S6 an error at every operation of the disk": [
        "tests/log/test_log.py",
        "tests/checkpoints/test_checkpoints.py",
        "-k",
        "fault or full",
    ],
    "S8 damaged checkpoints are found": ["tests/checkpoints/test_checkpoints.py", "-k", "damage"],
    "S10 wrong metrics": ["tests/faults/test_boundary.py", "-k", "member"],
    "S11 no order of arrival stops an algorithm": ["tests/algorithms/test_algorithms.py", "-k", "survive or order or budget"],
    "S12 a dead member does not stop a round": ["tests/engine/test_run.py", "-k", "bad_members or all_members"],
    "S13 decisions after any prefix are those of the log": ["tests/audit/test_verify.py", "-k", "prefix or extended or log_says"],
    "S16 removed rules are noticed": ["tests/faults/test_simulation.py", "-k", "removed"],
    "S17 no verb executes what a log names": ["tests/faults/test_strangers.py", "-k", "f1"],
    "S18 names and texts stay data": ["tests/log/test_fs.py", "tests/report/test_report.py", "-k", "name or wrote or links"],
    "S19 golden runs print what they printed, and verify": ["tests/golden/test_golden.py", "-k", "says_what_it_said"],
}
QUICK = ("S10", "S16")  # of them, with --quick


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Yields all figures, each when it is known."""
    yield from worlds(1 if quick else 50)
    for counted in (partial(flipped_logs, quick), wrong_inputs, takeover, coverage, partial(large, quick)):
        yield from counted()
    for name, words in COUNTED_BY_TESTS.items():
        if not quick or name.split()[0] in QUICK:
            passed, all = tests(words)
            yield figure(name, passed, "tests", f"{all} of {all}", passed == all > 0, all)


def worlds(seeds: int) -> Figures:
    """Runs simulated worlds, and counts sessions and broken promises."""
    import simulation

    sessions = lines = broken = again = crashes = 0
    for seed in range(seeds):
        for name in simulation.ALGORITHMS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    world = simulation.simulate(name, 1000 + seed, folder)
                except AssertionError as error:
                    print(error, file=sys.stderr)
                    broken += 1
                    continue
                sessions, lines = sessions + world.sessions, lines + len(world.acknowledged)
                crashes += world.sessions - 1
                again += world.trained - sum(bool(simulation.results_of(line)) for line in world.acknowledged)
    n = seeds * len(simulation.ALGORITHMS)
    return [
        figure("S1 simulated worlds in which a promise was broken", broken, "worlds", "0", broken == 0, n),
        figure("S4 worlds that lost acknowledged lines, or broke another promise", broken, "worlds", "0", broken == 0, lines),
        figure("S5 intervals that were trained again, for each crash", again / max(crashes, 1), "intervals", "≤ 3 slots × 1.0",
               again / max(crashes, 1) <= 3, crashes),
        figure("S22 sessions of all simulated worlds", sessions, "sessions", n=n),
    ]  # fmt: skip


def flipped_logs(quick: bool) -> Figures:
    """Flips bytes of a log, and counts those that are taken for the truth."""
    import poptrain as pt
    from poptrain.core.errors import PoptrainError
    from poptrain.log.reader import read

    accepted = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
        pt.run(
            pt.pbt(space, population=4, interval=5),
            pt.testing.quadratic,
            stop=pt.steps(30),
            directory=f"{folder}/r",
            progress=False,
        )
        path, lines = Path(folder) / "r" / "log-000001.jsonl", read(f"{folder}/r").lines
        whole = path.read_bytes()
        for at in range(0, len(whole), 23 if quick else 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            tried += 1
            with contextlib.suppress(PoptrainError):
                accepted += repr(read(path.parent).lines) not in {repr(lines[:k]) for k in range(len(lines) + 1)}
    return [figure("S7 flipped bytes of a log that were accepted", accepted, "bytes", "0", accepted == 0, tried)]


def wrong_inputs() -> Figures:
    """Calls functions with wrong arguments, and counts answers that are not one or two sentences."""
    from wrong_arguments import CASES

    from poptrain.core.errors import PoptrainError

    bad, before = 0, os.getcwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        for call in CASES.values():
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    call()
            except PoptrainError as error:
                bad += "\n" in str(error)
            except ImportError as error:
                bad += "pip install" not in str(error)
            except Exception:
                bad += 1
            else:
                bad += 1
        bad += len(os.listdir(folder))
        os.chdir(before)
    return [figure("S9 wrong arguments without a clear answer", bad, "calls", "0 of at least 300", bad == 0, len(CASES))]


def takeover() -> Figures:
    """Kills a writer, and measures how long the next one waits."""
    from poptrain.log.writer import Log

    code = "import sys, time; from poptrain.log.writer import Log; Log.create(sys.argv[1], {}); print(flush=True); time.sleep(60)"
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-c", code, f"{folder}/r"]
            with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                process.kill()
                began = time.perf_counter()
                process.wait()
                Log.open(f"{folder}/r").close()
                seconds.append(time.perf_counter() - began)
    return [figure("S14 takeover after SIGKILL", max(seconds), "s", "< 1", max(seconds) < 1, len(seconds))]


def coverage() -> Figures:
    """Counts the scenarios that have a test."""
    import scenarios

    known, rows = scenarios.tests(), [row for row in scenarios.scenarios() if len(row[0]) > 1]
    tested = sum(bool(names[0]) or any(name.startswith(f"test_{id.lower()}_") for name in known) for id, _, names in _split(rows))
    return [figure("S23 scenarios with a test", tested, "scenarios", "60 of A to D and F", tested >= 60, 60)]


def _split(rows: list[list[str]]) -> list[tuple[str, str, list[str]]]:
    return [(row[0], row[1], row[2:] or [""]) for row in rows]


def large(quick: bool) -> Figures:
    """Writes a long log, and measures how long it takes to open it again."""
    from poptrain.core import Result, Task
    from poptrain.log.reader import read
    from poptrain.log.writer import Log

    members, n = 100, 10_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        with Log.create(f"{folder}/r", {"seed": 0, "mode": "max", "budget": n}, durable=False) as log:
            for first in range(0, n, members):
                parents = range(first - members, first)
                tasks = [
                    Task(first + k, k, {"lr": 0.01, "momentum": 0.9}, parent if parent >= 0 else None, 5, k)
                    for k, parent in enumerate(parents)
                ]
                log.append(tasks)
                for task in tasks:
                    step = 5 * (first // members + 1)
                    ref = f"m{task.member:03d}-t{task.id:06d}-1.1:0123456789abcdef"
                    log.append([Result(task.id, 0.5, step, ((step, 0.5),), (), {}, ref, None, 0.01, 0.001)])
        size = sum(path.stat().st_size for path in Path(folder).glob("r/log-*"))
        began = time.perf_counter()
        history = read(f"{folder}/r").history()
        seconds = time.perf_counter() - began
        assert history.n == n
    name = f"S20 opening a run of {n:,} results again"
    limit = n / 1e5
    return [
        figure(name, seconds, "s", f"≤ {limit:g}", seconds <= limit),
        figure("S20 bytes of the log for each result", size / n, "bytes", "≤ 400", size / n <= 400),
    ]


def tests(words: list[str]) -> tuple[int, int]:
    """Runs some tests, and returns how many passed, and how many there are."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *words]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    count: Callable[[str], int] = lambda name: int(suite.get(name, 0))  # noqa: E731
    return count("tests") - count("failures") - count("errors") - count("skipped"), count("tests") - count("skipped")


if __name__ == "__main__":
    main("reliability", measure, __doc__)
