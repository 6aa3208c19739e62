"""Trainables with faults of a process, and a script that runs them; worker processes import them from here."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import poptrain as pt
from poptrain.checkpoints.store import DiskStore
from poptrain.testing import Quadratic, quadratic
from poptrain.testing.trainables import FAULTY_ABOVE

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))


def algorithm(population=4, initial=()):
    return pt.pbt(SPACE, population=population, interval=3, exploit=pt.truncation(0.4), initial=initial)


def once(path):
    """Returns True for the first caller only, whatever process it is in."""
    try:
        Path(path).open("x").close()
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class Killed:
    """`quadratic`, step by step; the process is killed in the middle of a task, once for each member's lr."""

    folder: str
    after: dict  # lr -> steps of the task after which the process is killed

    def __call__(self, carry, hp, steps, seed):
        for step in range(steps):
            if step == self.after.get(hp["lr"]) and once(f"{self.folder}/{hp['lr']}"):
                os.kill(os.getpid(), signal.SIGKILL)
        return quadratic(carry, hp, steps, seed)


class KilledInSave(Quadratic):
    def save(self, directory):
        (directory / "half").write_text("half of it")
        if once(os.environ["POPTRAIN_TEST_ONCE"]):
            os.kill(os.getpid(), signal.SIGKILL)
        (directory / "half").unlink()
        super().save(directory)


class KillingStore(DiskStore):
    """A store whose process is killed once, right after a commit: the result is never sent."""

    def commit(self, name, carry, **about):
        ref = super().commit(name, carry, **about)
        if once(self.root / ".once"):
            os.kill(os.getpid(), signal.SIGKILL)
        return ref


def stubborn(carry, hp, steps, seed):
    """Hangs, and does not listen to SIGTERM, for an lr above the limit."""
    if hp["lr"] > FAULTY_ABOVE:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    return quadratic(carry, hp, steps, seed)


def talkative(carry, hp, steps, seed):
    print(f"lr is {hp['lr']}")
    print("to stderr", file=sys.stderr)
    os.system("echo from a program")
    if hp["lr"] > FAULTY_ABOVE:
        for _ in range(100):
            print("x" * 1000)
    return quadratic(carry, hp, steps, seed)


def meet(folder):
    """Leaves this process's id in a folder and waits for that of another one."""
    (Path(folder) / str(os.getpid())).touch()
    while len(os.listdir(folder)) < 2:
        time.sleep(0.005)


@dataclass(frozen=True)
class Watching:
    """Reports the environment that numpy and JAX see, from two processes."""

    folder: str

    def __call__(self, carry, hp, steps, seed):
        meet(self.folder)
        visible = os.environ["CUDA_VISIBLE_DEVICES"]
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {**metrics, "threads": int(os.environ["OMP_NUM_THREADS"]), "gpu": int(visible)}


@dataclass(frozen=True)
class Slow:
    """`quadratic` that begins when two processes are there, and takes a while: by default lr·10 seconds."""

    folder: str
    seconds: float | None = None

    def __call__(self, carry, hp, steps, seed):
        meet(self.folder)
        time.sleep(10 * hp["lr"] if self.seconds is None else self.seconds)
        return quadratic(carry, hp, steps, seed)


def nested_run(carry, hp, steps, seed):
    raise pt.errors.Suspended("another run, inside train, was suspended")


class FullDisk(Quadratic):
    def save(self, directory):
        raise OSError(errno.ENOSPC, "No space left on device")


def slow_run(directory, folder):
    executor = pt.executors.Processes(slots=2)
    return pt.run(algorithm(), Slow(str(folder), 0.03), stop=pt.steps(30), executor=executor, directory=directory)


if __name__ == "__main__":
    try:
        if sys.argv[1] == "slow":
            slow_run(sys.argv[2], sys.argv[3])
        else:
            pt.run(
                algorithm(initial=[{"lr": 0.3}]), Slow(sys.argv[2]), stop=pt.steps(300), executor=pt.executors.Processes(slots=2)
            )
    except pt.PoptrainError as error:
        sys.exit(error.exit_code)
