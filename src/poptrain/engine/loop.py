"""``run``: the only place that knows algorithms, executors, the log and the store. The loop is `_Loop._loop`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poptrain import executors
from poptrain.checkpoints import places
from poptrain.core import History, Lost, Result, clock, collector
from poptrain.core.errors import RunFailed, Suspended, UsageError
from poptrain.engine import stop as stops
from poptrain.engine import tracebacks
from poptrain.engine.experiment import Experiment, file_record, script_of
from poptrain.engine.open_log import check_same, open_log
from poptrain.engine.result import Run
from poptrain.engine.signals import Interrupted, Signals
from poptrain.executors.context import Context
from poptrain.log.reader import Record, exists, read
from poptrain.sinks import Guarded
from poptrain.sinks.digest import Digest
from poptrain.trainable import as_trainable

GRACE = 30.0  # seconds that running tasks are given to deliver after a first signal


def run(
    algorithm: Any,
    trainable: Any = None,
    *,
    metric: str = "score",
    mode: str = "max",
    stop: Any = None,
    executor: Any = "inline",
    directory: str | Path | None = None,
    seed: int = 0,
    sinks: Sequence[Any] = (),
    keep: Sequence[int] = (),
    checkpoints: str | None = None,
) -> Run:
    """Returns the finished run of an algorithm over a trainable.

    Args:
        algorithm: such as `pbt(space, population=8, interval=10)`; or an `Experiment`, which says all but `directory` and `keep`.
        trainable: a function, generator function, class, `jax_trainable` or population; see `poptrain.trainable`.
        metric: the key of the score in the metrics that training returns.
        mode: "max" or "min".
        stop: `steps(n)`, `generations(n)`, `score(x)`, `seconds(s)` or `any_of(…)`.
        executor: "inline", "processes", "vectorized", "ray", or an object such as ``executors.Processes(slots=4)``.
        directory: where the log and the checkpoints are kept; None keeps them in memory. A directory that holds this same
            run is continued, and a finished run returns at once.
        seed: of all random decisions.
        sinks: followers of the log; they never stop training.
        keep: task ids whose checkpoints are never collected.
        checkpoints: where they are kept instead of in `directory`: a URL that fsspec understands and every worker reaches, such
            as ``s3://bucket/first``; an empty place. The log remembers it.

    Raises:
        UsageError: a wrong argument, or a directory or URL that holds another run.
        RunBusy: another process writes the directory.
        Suspended: interrupted, out of disk, or storage that fails; the same call continues.
        RunFailed: every member failed.
    """
    given = (trainable, metric, mode, stop, executor, seed, tuple(sinks), checkpoints)
    if not isinstance(algorithm, Experiment):
        return execute(Experiment(algorithm, *given), directory, keep=keep)
    if given != (None, "score", "max", None, "inline", 0, (), None):
        raise UsageError("run: an Experiment says everything but directory and keep; change it with dataclasses.replace(…).")
    script = None if directory is None else script_of(algorithm)
    return execute(algorithm, directory, keep=keep, source=script and file_record(script, directory, {}))


def resume(experiment: Experiment, directory: str | Path) -> Run:
    """Returns the run in `directory`, continued to its end.

    Raises:
        UsageError: the directory holds no run, or another one.
    """
    if not exists(directory):
        raise UsageError(f"{str(directory)!r} holds no run: nothing to resume. Start one with `poptrain run`.")
    return execute(experiment, directory)


def execute(
    experiment: Experiment, directory: str | Path | None, *, keep: Sequence[int] = (), source: dict[str, Any] | None = None
) -> Run:
    """Returns the run of an `Experiment`: new, or continued where `directory` holds it. `source` names its file."""
    executor = executors.resolve(experiment.executor, experiment.trainable)
    if directory is not None and exists(directory):
        record = read(directory)  # looked at without the lock: a refused call and a finished run leave no trace
        check_same(record, experiment, directory)
        if ended := _finished(experiment, directory, record):
            return ended
    log = open_log(experiment, directory, source)
    try:
        loop = _Loop(experiment, executor, log, directory, keep)
        loop.go()
        return Run(log.record, loop.history, loop.store, as_trainable(experiment.trainable))
    finally:
        log.close()


def _finished(experiment: Experiment, directory: str | Path, record: Record) -> Run | None:
    """Returns the run in `directory` if it is over, also under today's budget and stop condition; nothing is opened then."""
    if not record.finished:
        return None
    history = record.history().with_budget(experiment.budget)
    if not stops.reached(experiment.stop, history, record.elapsed) and experiment.algorithm.ask(history):
        return None
    return Run(record, history, places.of(record), as_trainable(experiment.trainable))


class _Loop:
    """One sitting of a run."""

    def __init__(self, experiment: Experiment, executor: Any, log: Any, directory: Any, keep: Sequence[int]):
        self.experiment, self.log, self.algorithm = experiment, log, experiment.algorithm
        self.stop, self.sign = experiment.stop, experiment.sign
        self.history: History = log.record.history().with_budget(experiment.budget)
        self.keep = frozenset(keep)
        self.began = clock.monotonic() - log.record.elapsed
        self.store: Any = places.of(log.record)
        if directory is not None:
            self.store.adopt(log.record.checkpoints())
        self.executor_config, self.directory = executor, directory
        own = () if directory is None else (Digest(),)
        self.sinks = [Guarded(sink) for sink in (*own, *experiment.sinks)]

    def go(self) -> None:
        """Runs until nothing is asked and nothing is pending, or a stop condition holds."""
        executor = self.executor_config.open(self._context())
        for sink in self.sinks:
            sink.open(self.log.record)
        try:
            with collector.settled(), Signals() as signals:
                try:
                    self._loop(executor, signals)
                except Interrupted as signal:
                    self._suspend(executor, signals, signal)
                finally:
                    executor.close()
            self.store.keep(self._needed(), self._collected, flush=True)
            self.log.note("end", reason=self._reason())
        finally:
            for sink in self.sinks:
                sink.close()

    def _loop(self, executor: Any, signals: Signals) -> None:
        executor.submit(self.history.pending())  # after a crash between log and submit
        while True:
            with collector.paused():
                if not self._reached() and (tasks := self.algorithm.ask(self.history)):  # decide
                    self._append(tasks)
                    executor.submit(tasks)
            if not len(self.history.open()):
                break  # nothing asked, nothing running: finished
            with signals.interruptible():
                results = executor.wait()  # act: the checkpoint is durable, then the result is logged
            with collector.paused():
                self._tell(results)
                self.store.keep(self._needed(), self._collected)
        self._check_not_all_failed()

    def _append(self, line: Any) -> None:
        """Logs facts in the user's sign, then adds them to the history, where scores are maximised."""
        self.log.append(line)
        first = line[0]
        if self.sign < 0 and isinstance(first, Result):
            line = tuple(result.flipped() for result in line)
        self.history = self.history.add(line)
        for sink in self.sinks:
            sink.write(self.log.record, self.history)

    def _tell(self, results: list[Result]) -> None:
        """Logs results; one that could not read its parent's checkpoint makes the parent lost, if it really is damaged."""
        for result in results:
            if result.kind != "damaged":
                continue
            if self.history.ok(parent := self.history.task(result.task).parent):
                ref = self.history.result(parent).checkpoint
                if not self.store.verify(ref):
                    self._append((Lost(parent),))
        self._append(tuple(results))
        self.store.add(result.checkpoint for result in results)

    def _needed(self) -> set[str]:
        """Returns the checkpoints that must stay: of possible parents, pending tasks' sources, the best, and the user's."""
        history = self.history
        ids = set(self.algorithm.needed(history)) | self.keep
        for task in history.pending():
            ids |= {task.parent, task.teacher}
        ids |= {history.best(), *history.heads().tolist()}  # heads: what each member ended with
        results = (history.result(id) for id in ids if id is not None and 0 <= id < history.n)
        return {result.checkpoint for result in results if result is not None and result.checkpoint}

    def _collected(self, names: list[str]) -> None:
        self.log.note("gc", ids=names)

    def _reached(self) -> str | None:
        return stops.reached(self.stop, self.history, clock.monotonic() - self.began)

    def _reason(self) -> str:
        return self._reached() or "every member reached its last step"

    def _check_not_all_failed(self) -> None:
        history = self.history
        heads = [int(id) for id in history.heads() if id >= 0]
        if not heads or any(history.ok(id) for id in heads):
            return
        first = history.result(heads[0])
        why = first.error or f"the score is {first.score}"
        best = history.best()
        last = "no result was ever finite" if best is None else (
            f"the last finite result is member {history.task(best).member}'s at step {history.step(best)}"
        )  # fmt: skip
        self.log.note("failed", reason=why)
        where = f" Tracebacks are in {Path(self.directory) / 'errors'}." if self.directory is not None and first.error else ""
        raise RunFailed(f"all {len(heads)} members failed; {last}. First: {why}.{where}")

    def _suspend(self, executor: Any, signals: Signals, signal: Interrupted) -> None:
        """Takes in what running tasks deliver within the grace period, marks the log, and raises `Suspended`."""
        if hasattr(executor, "drain"):
            with contextlib.suppress(Interrupted):
                for results in executor.drain(GRACE):
                    self._tell(results)
        self.log.note("suspend", reason=str(signal))
        hint = (
            f"continue with: poptrain resume {self.directory}" if self.directory else "nothing was kept: no directory was given"
        )
        raise Suspended(f"interrupted by {signal}; {hint}", exit_code=128 + signal.number) from None

    def _context(self) -> Context:
        return Context(
            trainable=as_trainable(self.experiment.trainable),
            metric=self.experiment.metric,
            store=self.store,
            result=lambda id: self.history.result(id),
            lanes=self.algorithm.seats,
            static=tuple(self.algorithm.space.static_names),
            epoch=self.log.epoch,
            keep_error=tracebacks.keeper(self.directory),
            outputs=None if self.directory is None else Path(self.directory) / "output",
        )
