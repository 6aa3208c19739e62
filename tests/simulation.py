"""A whole run in a simulated world, repeatable from its seed: driver, workers, store, clock and signals under random faults.

A world has two kinds of faults. What a *member* does (it fails, it diverges) follows from the seed of its task. What the
*environment* does (the driver is killed or the power fails at an operation of the disk, the disk is full, a worker dies or is
slow, a signal comes, a checkpoint is damaged) follows from the seed of the world, and is different in every session. So a
synchronous run must end with the same results as without faults of the environment.

    python tests/simulation.py pbt 17            repeats one world, and prints what happened
    python tests/simulation.py --seconds 3600    tries new worlds for an hour

Five invariants (docs/reliability.md) are checked after every session, and the second reader and the second writer inside of them.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

import poptrain as pt
from poptrain.checkpoints import places
from poptrain.core import Result, clock, results_of
from poptrain.core.errors import RunBusy, RunFailed, Suspended
from poptrain.engine.signals import Interrupted
from poptrain.log.disk import FS
from poptrain.log.finding import exists
from poptrain.log.reader import read
from poptrain.log.writer import Log

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), momentum=pt.Uniform(0.5, 0.99))
__all__ = ["ALGORITHMS", "World", "essence", "read", "results_of", "simulate"]
OPTIONS = {"interval": 2, "population": 4}
ALGORITHMS = {
    "pbt": lambda: pt.pbt(SPACE, **OPTIONS),
    "pbt-async": lambda: pt.pbt(SPACE, sync=False, **OPTIONS),
    "pb2": lambda: pt.pb2(SPACE, window=8, **OPTIONS),
    "pb2-async": lambda: pt.pb2(SPACE, window=8, sync=False, **OPTIONS),
    "fire": lambda: pt.fire_pbt(SPACE, (4, 4), interval=2, evals=2, exploit=pt.truncation(0.4)),
    "random": lambda: pt.random_search(SPACE, **OPTIONS),
}
SYNCHRONOUS = ("pbt", "pb2", "random")  # whose results depend on no order
SESSIONS = 60  # after which the environment leaves the run in peace, so that it must end


class Crash(BaseException):
    """The driver is gone."""


class Unsafe:
    """What a power cut may take back: bytes that were not flushed, and names in directories that were not."""

    def __init__(self):
        self.sizes = {}  # of files that were appended to: the bytes that are safe
        self.names = []  # new names of files and directories
        self.last = ("", Path())  # the operation that is going on

    def settle(self):
        """The last operation is over, because the next one begins."""
        done, place = self.last
        self.last = ("", Path())
        if done == "sync":
            self.sizes.pop(place, None)
        elif done == "fsync_dir":
            self.names = [each for each in self.names if each.parent != place]
        elif done in ("write_new", "make_dir", "open_append", "rename") and "trash" not in place.parts:
            self.names += [place] * (place not in self.names)

    def take(self, name, path):
        """Another operation begins."""
        if name == "append":
            self.sizes.setdefault(path, path.stat().st_size if path.exists() else 0)
        if name in ("make_dir", "open_append") and path.exists():
            name = ""  # it is not new
        self.last = (name, path)

    def lose(self, generator):
        """Takes back what was not flushed, or a part of it."""
        for path in reversed(self.names):
            if generator.random() < 0.5 and path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, size in self.sizes.items():
            if path.exists():
                os.truncate(path, int(generator.integers(size, path.stat().st_size + 1)))


@dataclass
class World:
    """One run, in all its sessions."""

    name: str
    seed: int
    directory: Path
    calm: bool = False  # no faults of the environment
    steps: int = 40
    acknowledged: list = field(default_factory=list)  # lines that the log has confirmed
    events: list = field(default_factory=list)
    damaged: set = field(default_factory=set)  # checkpoints
    sessions: int = 0
    trained: int = 0  # intervals that a worker trained

    def __post_init__(self):
        self.generator = np.random.default_rng((self.seed, sum(map(ord, self.name))))

    def chance(self, probability):
        quiet = self.calm or self.sessions > SESSIONS
        return bool(self.generator.random() < probability) and not quiet

    # -- one session --------------------------------------------------------------------------------------------------

    def experiment(self):
        algorithm = ALGORITHMS[self.name]()
        return pt.Experiment(algorithm, pt.testing.quadratic, stop=pt.steps(self.steps), executor=Workers(self))

    def session(self):
        """Returns True if the run has ended."""
        self.sessions += 1
        self.operations, self.fault, self.unsafe = 0, None, Unsafe()
        if self.chance(0.7):
            kind = self.generator.choice(["kill", "power", "full", "broken"])
            self.fault = (int(self.generator.integers(1, 250)), str(kind))
        try:
            quiet = mock.patch("poptrain.engine.watch.PERIOD", 1e6)  # on this clock, slow workers need no announcement
            ordered = mock.patch.object(FS, "at_a_time", 1)
            with quiet, ordered, mock.patch.object(FS, "_op", self.operation), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = pt.run(self.experiment(), directory=self.directory, progress=False)
        except Crash:
            self.note("killed" if self.fault[1] == "kill" else "the power failed")
            if self.fault[1] == "power":
                self.unsafe.lose(self.generator)
        except (Suspended, pt.UsageError) as error:
            self.note(str(error)[:60])
            assert isinstance(error, Suspended) or "cannot start" in str(error), error
        except RunFailed as error:
            self.note(str(error)[:60])
            return True
        else:
            return run.record.finished
        return False

    def operation(self, name, path):
        """Is called before every change of the disk; only those of the driver's own thread are counted."""
        if threading.current_thread() is not threading.main_thread() or self.fault is None:
            return
        self.operations += 1
        at, kind = self.fault
        self.unsafe.settle()
        if kind in ("kill", "power") and self.operations >= at:
            raise Crash
        self.unsafe.take(name, path)
        if kind in ("full", "broken") and at <= self.operations < at + 3:
            raise OSError(errno.ENOSPC if kind == "full" else errno.EIO, "planned")

    def note(self, text):
        self.events.append((self.sessions, text))

    # -- invariants ---------------------------------------------------------------------------------------------------

    def check(self):
        if not exists(self.directory):
            assert not self.acknowledged, "I1: the log is gone"
            return
        record = read(self.directory)
        kept = repr(record.lines[: len(self.acknowledged)])
        assert kept == repr(self.acknowledged), "I1: what was acknowledged is in the log, as it was"
        self.acknowledged = list(record.lines)
        history, store = record.history(), places.of(record)
        for id in {*ALGORITHMS[self.name]().needed(history), *([] if history.best() is None else [history.best()])}:
            ref = history.result(id).checkpoint
            assert ref in self.damaged or store.damage(ref) is None, f"I2: the checkpoint of task {id} is whole"
        for number in range(record.history().n):
            task = history.task(number)
            result = None if task.parent is None else history.result(task.parent)
            assert result is None or result.healthy, "I3: no member begins from a failed one"

    def look(self):
        """From inside a session: another reader sees what was acknowledged, and another writer is refused."""
        lines = read(self.directory).lines
        assert len(lines) >= len(self.acknowledged), "I5: a reader sees everything that was acknowledged"
        self.acknowledged = list(lines)
        try:
            Log.open(self.directory)
        except RunBusy:
            return
        raise AssertionError("I4: a second writer was let in")

    def damage(self):
        """Damages one checkpoint that is still on the disk."""
        files = sorted(self.directory.glob("checkpoints/*/*.safetensors"))
        if files:
            file = files[int(self.generator.integers(len(files)))]
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.unlink()
            file.write_bytes(bytes(content))
            name = file.parent.name
            record = read(self.directory)
            self.damaged |= {ref for ref in record.checkpoints() if ref.startswith(f"{name}:")}
            self.note(f"damaged {name}")


@dataclass(frozen=True)
class Workers:
    """Simulated workers: each task takes a while on a clock that does not tick by itself."""

    world: World

    def open(self, context):
        return _Workers(self.world, context)


class _Workers:
    def __init__(self, world, context):
        self.world, self.context = world, context
        self.running, self.queue = [], []  # (time at which it ends, task, attempt)
        self.slots = int(world.generator.integers(1, 4))

    def submit(self, tasks):
        self.queue += [(task, 1) for task in tasks]

    def wait(self):
        world = self.world
        if world.chance(0.02):
            world.note("signal")
            raise Interrupted(signal.SIGTERM)
        if world.chance(0.05):
            world.look()
        while self.queue and len(self.running) < self.slots:
            task, attempt = self.queue.pop(0)
            slow = 100.0 if world.chance(0.05) else 1.0
            self.running.append((clock.monotonic() + slow * (0.5 + world.generator.random()), task, attempt))
        self.running.sort(key=lambda each: each[0])
        ends, task, attempt = self.running.pop(0)
        clock.sleep(max(0.0, ends - clock.monotonic()))
        if world.chance(0.1) and attempt < 3:
            self.queue.insert(0, (task, attempt + 1))  # its worker died
            return self.wait()
        return [self.trained(task, attempt)]

    def trained(self, task, attempt):
        context = self.context
        self.world.trained += 1
        start = context.start(task, attempt)
        luck = pt.rng(task.seed, "luck").random()
        if luck < 0.08:
            return Result(task.id, float("nan"), start.step, error="ValueError: a planted failure")
        try:
            theta = 1.0 if start.parent is None else float(context.store.read(start.parent)["theta"])
        except pt.errors.CheckpointDamaged as error:
            return Result(task.id, float("nan"), start.step, error=str(error)[:200], kind="damaged")
        for step in range(task.steps):
            theta -= task.hparams["lr"] * theta * (0.5 + pt.rng(task.seed, step).random())
        score = float("nan") if luck > 0.95 else -theta
        step = start.step + task.steps
        carry = {"theta": np.float64(theta), "noise": np.zeros(8)}
        ref = context.store.commit(start.name, carry, task=task.id, member=task.member, step=step)
        points = [(start.step + k + 1, score) for k in range(max(task.steps, 1))][-max(task.evals, 1) :]
        return Result(task.id, score, step, (*points[:-1], (step, score)), (score,), {}, ref, None, 1.0)

    def drain(self, seconds):
        for _, task, attempt in sorted(self.running, key=lambda each: each[0])[: 1 + self.world.sessions % 2]:
            yield [self.trained(task, attempt)]

    def close(self):
        self.running, self.queue = [], []


def essence(record):
    """Returns what must not depend on the environment: every task and its score, without checkpoint names and times."""
    history = record.history()
    rows = []
    for id in range(history.n):
        task, result = history.task(id), history.result(id)
        score = None if result is None else (repr(result.score), result.step, result.kind)
        rows.append((task.member, task.parent, sorted(task.hparams.items()), task.steps, task.seed, score))
    return rows


@contextmanager
def explained(world):
    try:
        yield
    except BaseException as error:
        happened = "\n".join(f"  session {session}: {text}" for session, text in world.events[-20:])
        command = f"python tests/simulation.py {world.name} {world.seed}"
        raise AssertionError(f"{error}\n{happened}\nrepeat it with: {command}") from error


def simulate(name, seed, directory):
    """Runs one world to its end, and returns it.

    Raises:
        AssertionError: an invariant is broken; the text contains the command that repeats it.
    """
    world = World(name, seed, Path(directory) / "stormy")
    with clock.use(clock.FakeClock()), explained(world):
        while not world.session():
            world.check()
            if world.chance(0.15) and exists(world.directory):
                world.damage()
            assert world.sessions < SESSIONS + 20, "the run does not end"
        world.check()
        found = pt.verify(world.directory, world.experiment())
        wrong = [
            check for check in found.checks if check.state == "failed" and not (check.name == "checkpoints" and world.damaged)
        ]
        assert not wrong, f"I2: {wrong[0].text}"
        if name in SYNCHRONOUS and not world.damaged:
            calm = World(name, seed, Path(directory) / "calm", calm=True)
            assert calm.session()
            stormy, still = essence(read(world.directory)), essence(read(calm.directory))
            if name == "random":  # its ids follow the order of arrival; its members do not
                stormy, still = [sorted((row[0], row[3:]) for row in rows) for rows in (stormy, still)]
            assert stormy == still, "I2: the result is that of a run without faults"
    return world


def main(arguments):
    if arguments[:1] == ["--seconds"]:
        until, seed, sessions = time.monotonic() + float(arguments[1]), 10_000, 0
        while time.monotonic() < until:
            for name in ALGORITHMS:
                with tempfile.TemporaryDirectory() as folder:
                    sessions += simulate(name, seed, folder).sessions
            seed += 1
        print(f"{(seed - 10_000) * len(ALGORITHMS)} worlds, {sessions} sessions: every invariant holds")
        return
    with tempfile.TemporaryDirectory() as folder:
        world = simulate(arguments[0], int(arguments[1]), folder)
    for session, text in world.events:
        print(f"session {session}: {text}")
    print(f"{world.sessions} sessions: every invariant holds")


if __name__ == "__main__":
    main(sys.argv[1:])
