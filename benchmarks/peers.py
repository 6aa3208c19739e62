"""A torn log and a stale lock: poptrain's log next to Optuna's journal, on the same disk.

    python -m benchmarks.peers --json

Torn log: a process dies while it writes a line, so that half of it is on the disk; this happens twice, and each time another
process continues. Stale lock: a process that holds the lock is killed by SIGKILL; the next one wants to write.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import figure, installed, main

TRIALS = 8
PATIENCE = 120.0  # seconds


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of both sides; those of Optuna only where it is installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [*torn_poptrain(folder / "a"), *stale("poptrain", POPTRAIN, folder / "run")]
        if installed("optuna"):
            figures += [*torn_optuna(folder / "journal.log"), *stale("Optuna", OPTUNA, folder / "lock.log")]
    return figures


def torn_poptrain(directory: Path) -> list[dict[str, Any]]:
    """Tears the last line of a run's log, continues it twice, and counts the results that are left of those before."""
    import poptrain as pt

    def resume(steps: int) -> Any:
        algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5)
        return pt.run(algorithm, pt.testing.quadratic, stop=pt.steps(steps), directory=directory, progress=False)

    kept = []
    resume(5 * TRIALS // 2)
    before = [pt.open_run(directory).history.result(id).score for id in range(TRIALS)]
    for more in (1, 2):
        log = directory / "log-000001.jsonl"
        log.write_bytes(log.read_bytes() + b'{"v":2,"q":99')  # half of a line
        history = resume(5 * (TRIALS // 2 + more)).history
        kept.append(sum(history.result(id).score == before[id] for id in range(TRIALS)))
    return [figure("results left after two torn lines, poptrain", min(kept), f"of {TRIALS}", f"{TRIALS}", min(kept) == TRIALS, 2)]


def torn_optuna(path: Path) -> list[dict[str, Any]]:
    """Tears the last line of a journal, continues it twice, and counts the trials that are left of those before."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)

    def resume(trials: int) -> list[float]:
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(
            study_name="s", storage=storage, load_if_exists=True, sampler=optuna.samplers.RandomSampler(0)
        )
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
        return [trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None]

    before, kept = resume(TRIALS), []
    for _ in (1, 2):
        path.write_bytes(path.read_bytes() + path.read_bytes().splitlines()[-1][:13])  # half of a line
        try:
            kept.append(sum(value in before for value in resume(1)[:TRIALS]))
        except Exception as error:
            print(f"Optuna: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            kept.append(0)
    return [figure(f"trials left after two torn lines, Optuna {optuna.__version__}", min(kept), f"of {TRIALS}", n=2)]


POPTRAIN = """
import sys, time
from poptrain.log.writer import Log
path, hold = sys.argv[1], sys.argv[2] == "hold"
print("begins", flush=True)
log = Log.create(path, {}) if hold else Log.open(path)
print("there", flush=True)
time.sleep(600 if hold else 0)
"""
OPTUNA = """
import sys, time
from optuna.storages.journal import JournalFileBackend
path, hold = sys.argv[1], sys.argv[2] == "hold"
print("begins", flush=True)
backend = JournalFileBackend(path)
if hold:
    backend._lock.acquire()
else:
    backend.append_logs([{"x": 1}])
print("there", flush=True)
time.sleep(600 if hold else 0)
"""


def stale(side: str, code: str, path: Path) -> list[dict[str, Any]]:
    """Kills a process that holds the lock, and returns how long the next one waits, without the start of its interpreter."""
    seconds = []
    for number in range(3 if side == "poptrain" else 1):
        place = f"{path}{number}"
        words = [sys.executable, "-c", code, place]
        with subprocess.Popen([*words, "hold"], stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            while holder.stdout.readline().strip() != "there":
                pass
            holder.kill()
        with subprocess.Popen([*words, "take"], stdout=subprocess.PIPE, text=True) as taker:
            assert taker.stdout is not None
            taker.stdout.readline()
            began = time.perf_counter()
            taker.stdout.readline()
            seconds.append(time.perf_counter() - began)
        shutil.rmtree(place, ignore_errors=True)
    value = max(seconds)
    target = ("< 1", value < 1) if side == "poptrain" else ("", None)
    return [figure(f"takeover of a lock whose holder was killed, {side}", value, "s", *target, len(seconds))]


if __name__ == "__main__":
    main("peers", measure, __doc__)
