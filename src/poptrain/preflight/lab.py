"""The laboratory of the preflight: tasks of one's own, given to real executors, with real checkpoints in a temporary directory.

Two executors share one store. What the *warm* one trained goes on in memory; the *cold* one has trained none of it and must load
a checkpoint first, as a clone in another process or a resumed run must.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poptrain import executors
from poptrain.checkpoints.store import Store
from poptrain.core import History, Hparams, Result, Task, clock
from poptrain.executors.context import Context
from poptrain.trainable import as_trainable


@dataclass(frozen=True)
class Job:
    """What one probe trains."""

    hparams: Hparams
    steps: int
    seed: int
    parent: Probe | None = None  # None: fresh
    member: int | None = None  # the parent's: goes on in memory, if the parent was trained by the same executor; None: a new one


@dataclass(frozen=True)
class Probe:
    """What a job left behind."""

    task: Task
    result: Result
    seconds: float  # wall time, its share of the batch

    @property
    def ok(self) -> bool:
        """True if it trained: the score may still be infinite or NaN."""
        return self.result.error is None

    def told(self, without: Collection[str] = ()) -> str:
        """Returns all that the result says, but for some metrics, for comparison; NaN equals itself."""
        r = self.result
        metrics = sorted((name, value) for name, value in r.metrics.items() if name not in without)
        return repr((r.score, r.step, tuple(r.curve), tuple(r.returns), metrics))


class Lab:
    """Trains jobs. `static` names the static hyperparameters; `lanes` is the most jobs of one batch."""

    def __init__(
        self, trainable: Any, metric: str, directory: Any, *, static: Sequence[str] = (), executor: Any = "inline", lanes: int = 8
    ):  # fmt: skip
        self.trainable, self.store = as_trainable(trainable), Store(directory, durable=False)
        self.vectorized = executor == "vectorized" or type(executor).__name__ == "Vectorized"
        self._history = History()
        self._context = Context(self.trainable, metric, self.store, self._told, lanes, tuple(static))
        config = executors.resolve("vectorized" if self.vectorized else "inline", self.trainable)
        self._executors = {False: config.open(self._context), True: config.open(self._context)}
        self._members = 0
        self.pace = float("inf")  # seconds of one job and step, at best: no batch that compiles

    def _told(self, id: int) -> Result | None:
        return self._history.result(id)

    def close(self) -> None:
        """Ends both executors."""
        for executor in self._executors.values():
            executor.close()

    def train(self, jobs: Sequence[Job], cold: bool = False) -> list[Probe]:
        """Returns the probes of jobs, trained side by side; a job whose parent failed is not trained again, it is its parent.

        Raises:
            MetricError: the metrics have no score.
        """
        tasks, at = [], {}
        for index, job in enumerate(jobs):
            if job.parent is not None and not job.parent.ok:
                continue
            member = job.member
            if member is None:
                member, self._members = self._members, self._members + 1
            parent = None if job.parent is None else job.parent.task.id
            at[len(self._history) + len(tasks)] = index
            tasks.append(Task(len(self._history) + len(tasks), member, job.hparams, parent, job.steps, job.seed))
        found: dict[int, Probe] = {}
        if tasks:
            self._history = self._history.add(tasks)
            executor, began, told = self._executors[cold], clock.monotonic(), []
            executor.submit(tasks)
            while len(told) < len(tasks):
                told += executor.wait()
            seconds = (clock.monotonic() - began) / len(tasks)
            self.pace = min(self.pace, seconds / max(tasks[0].steps, 1))
            self._history = self._history.add(told)
            found = {at[result.task]: Probe(self._history.task(result.task), result, seconds) for result in told}
        return [found.get(index, job.parent) for index, job in enumerate(jobs)]

    def state(self, probe: Probe) -> Any:
        """Returns what a probe's checkpoint holds, for comparison: a carry, or the hashes of the files."""
        ref = probe.result.checkpoint
        return self.store.hashes(ref) if self.store.is_directory(ref) else self.store.read(ref)

    def bytes(self, probe: Probe) -> int:
        """Returns the size of a probe's checkpoint; a batch of a population shares one."""
        name = probe.result.checkpoint.partition(":")[0].partition("/")[0]
        whole = sum(self.store.fs.walk(self.store.root / name).values())
        lanes = sum(1 for id in range(len(self._history)) if (self._told(id).checkpoint or "").startswith(f"{name}/"))
        return whole // max(lanes, 1)


def equal(a: Any, b: Any) -> bool:
    """True if two carries are equal, bit for bit; NaN equals itself."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, (str, bool, type(None))) or isinstance(b, (str, bool, type(None))):
        return type(a) is type(b) and a == b
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
