"""The laboratory of the preflight: tasks of its own, trained by real executors, with real checkpoints in a temporary directory.

Two executors share one store. The *warm* one continues in memory what it trained before. The *cold* one has trained none of it
and must load a checkpoint first, as a clone in another process or a resumed run must.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poptrain import executors
from poptrain.checkpoints.store import DiskStore
from poptrain.core import Carry, History, Hparams, Result, Task, clock
from poptrain.core.protocols import Executor
from poptrain.executors import kind_of
from poptrain.executors.context import Context
from poptrain.executors.outcome import metric_error
from poptrain.preflight import pickles
from poptrain.preflight.compiling import compilation, covered
from poptrain.trainable import as_trainable


@dataclass(frozen=True)
class Job:
    """What one probe trains."""

    hparams: Hparams
    steps: int
    seed: int
    parent: Probe | None = None  # None: fresh
    member: int | None = None  # the parent's, to continue in memory if the same executor trained it; None: a new member
    teacher: Probe | None = None  # that it is distilled from
    progress: tuple[float, float] | None = None  # of the distillation


@dataclass(frozen=True)
class Probe:
    """What a job left."""

    task: Task
    result: Result
    seconds: float  # wall time, its share of the batch, without what JAX compiled
    compiling: float = 0.0  # seconds in which JAX compiled for the batch

    @property
    def ok(self) -> bool:
        """True if it trained: the score may still be infinite or NaN."""
        return self.result.error is None

    @property
    def checkpoint(self) -> str:
        """The reference of its checkpoint; only asked for if it trained."""
        assert self.result.checkpoint is not None
        return self.result.checkpoint

    def reported(self, without: Collection[str] = ()) -> str:
        """Returns everything that the result reports, except for some metrics, for comparison; NaN equals itself."""
        result = self.result
        metrics = sorted((name, value) for name, value in result.metrics.items() if name not in without)
        return repr((result.score, result.step, tuple(result.curve), tuple(result.returns), metrics))


class Lab:
    """Trains jobs. `static` names the static hyperparameters; `lanes` is the largest number of jobs of one batch, apart from
    a vectorized one of all `seats` of the run."""

    def __init__(
        self,
        trainable: object,
        metric: str,
        directory: Path,
        *,
        static: Sequence[str] = (),
        executor: object = "inline",
        lanes: int = 8,
        budget: int | None = None,
        seats: int = 1,
    ):
        self.trainable, self.store = as_trainable(trainable), DiskStore(directory, durable=False)
        self.vectorized = kind_of(executor) == "vectorized"
        self._history = History()
        if self.vectorized:
            lanes = max(lanes, seats)  # a batch of the run's width is one program, and not several of half of it
        about = self.trainable, metric, self.store, self._result, lanes, tuple(static)
        context = Context(*about, budget=budget, resident=lanes, hparams=self._hparams)
        config = executors.resolve("vectorized" if self.vectorized else "inline", self.trainable)
        self._warm: Executor = config.open(context)
        self._cold: Executor = config.open(context)
        self._members = 0
        self.pace = float("inf")  # seconds of one job and step, at best, without compiling

    def _result(self, id: int) -> Result | None:
        return self._history.result(id)

    def _hparams(self, id: int) -> Hparams:
        return self._history.task(id).hparams

    def close(self) -> None:
        """Ends both executors."""
        self._warm.close()
        self._cold.close()

    def train(self, jobs: Sequence[Job], cold: bool = False) -> list[Probe]:
        """Returns the probes of jobs, trained side by side. A job whose parent failed is not trained: its probe is the parent.

        Raises:
            MetricError: the metrics have no score.
        """
        begun: dict[int, Task] = {}  # by the index of the job
        for index, job in enumerate(jobs):
            if job.parent is None or job.parent.ok:
                begun[index] = self._task(job, len(begun))
        probes = self._trained(list(begun.values()), self._cold if cold else self._warm) if begun else {}
        return [probes[begun[index].id] if index in begun else _failed_parent(job) for index, job in enumerate(jobs)]

    def _task(self, job: Job, number: int) -> Task:
        """Returns the task of a job; `number` counts the jobs of its batch."""
        member = job.member
        if member is None:
            member, self._members = self._members, self._members + 1
        parent = None if job.parent is None else job.parent.task.id
        teacher = None if job.teacher is None else job.teacher.task.id
        id = len(self._history) + number
        return Task(id, member, job.hparams, parent, job.steps, job.seed, teacher=teacher, progress=job.progress)

    def _trained(self, tasks: Sequence[Task], executor: Executor) -> dict[int, Probe]:
        """Returns the probes of tasks by id, after training them."""
        self._history = self._history.add(tasks)
        began = clock.monotonic()
        results: list[Result] = []
        with compilation() as spans:
            executor.submit(tasks)
            while len(results) < len(tasks):
                results += executor.wait()
                if error := next(filter(None, map(metric_error, results)), None):
                    raise error
        compiling = covered(spans)
        seconds = max(clock.monotonic() - began - compiling, 0.0) / len(tasks)
        self.pace = min(self.pace, seconds / max(tasks[0].steps, 1))
        self._history = self._history.add(results)
        return {result.task: Probe(self._history.task(result.task), result, seconds, compiling) for result in results}

    def state(self, probe: Probe) -> Carry:
        """Returns what a probe's checkpoint holds, for comparison: a carry, or the hashes of the files."""
        ref = probe.checkpoint
        return self.store.hashes(ref) if self.store.is_directory(ref) else self.store.read(ref)

    def alike(self, a: Probe, b: Probe) -> bool | None:
        """Returns whether the checkpoints of two probes hold the same; None if that cannot be read from their files."""
        one, other = self.state(a), self.state(b)
        if equal(one, other) or not self.store.is_directory(a.checkpoint) or one.keys() != other.keys():
            return equal(one, other)
        folders = [self.store.path(probe.checkpoint).parent for probe in (a, b)]
        files = [[(folder / name).read_bytes() for folder in folders] for name in one if one[name] != other[name]]
        found = [pickles.same(*pair) for pair in files]
        return False if False in found else None if None in found else True

    def bytes(self, probe: Probe) -> int:
        """Returns the size of a probe's checkpoint; a batch of a population shares one."""
        name = probe.checkpoint.partition(":")[0].partition("/")[0]
        whole = sum(self.store.fs.walk(self.store.root / name).values())
        results = [self._history.result(id) for id in range(len(self._history))]
        refs = [result.checkpoint or "" for result in results if result is not None]
        return whole // max(sum(ref.startswith(f"{name}/") for ref in refs), 1)


def _failed_parent(job: Job) -> Probe:
    assert job.parent is not None  # every other job was trained
    return job.parent


def equal(a: Carry, b: Carry) -> bool:
    """True if two carries are equal, bit for bit; NaN equals itself."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, (str, bool, type(None))) or isinstance(b, (str, bool, type(None))):
        return type(a) is type(b) and a == b
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
