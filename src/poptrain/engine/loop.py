"""``run``: the only file that knows algorithms, executors, the log and the store. The loop itself is `_Session._loop`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from poptrain import executors
from poptrain.algorithms.schedule_replay import ScheduleReplay
from poptrain.checkpoints import places
from poptrain.core import History, Json, Lost, Result, Task, as_line, clock, collector, results_of
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.evidence import best_by_evidence
from poptrain.core.order import Order
from poptrain.core.protocols import Algorithm, Executor, Sink, Store
from poptrain.engine import stop as stops
from poptrain.engine import tracebacks
from poptrain.engine.experiment import Experiment, file_record, script_of
from poptrain.engine.failures import UnreadMetrics, check_not_all_failed
from poptrain.engine.intake import admitted, asked, needed
from poptrain.engine.open_log import check_same_run, continuing, open_log
from poptrain.engine.result import Run
from poptrain.engine.signals import Interrupted, Signals
from poptrain.engine.supply import Supply, fallback
from poptrain.executors.context import Context, ExecutorConfig
from poptrain.log.reader import Record, exists, read
from poptrain.log.writer import LogWriter
from poptrain.sinks import Guarded
from poptrain.sinks.digest import Digest
from poptrain.trainable import as_trainable

GRACE_SECONDS = 30.0  # for running tasks to finish after a first signal


def run(
    algorithm: Algorithm | Experiment,
    trainable: object = None,
    *,
    metric: str = "score",
    mode: str = "max",
    stop: stops.Stop | None = None,
    executor: str | ExecutorConfig = "inline",
    directory: str | Path | None = None,
    seed: int = 0,
    sinks: Sequence[Sink[Record]] = (),
    keep: Sequence[int] = (),
    checkpoints: str | None = None,
) -> Run:
    """Returns the finished run of an algorithm over a trainable.

    Args:
        algorithm: such as `pbt(space, population=8, interval=10)`; or an `Experiment`, with `directory` and `keep` at most.
        trainable: a function, generator function, class, `jax_trainable` or population; see `poptrain.trainable`.
        metric: the key of the score in the metrics that training returns.
        mode: "max" or "min".
        stop: `steps(n)`, `generations(n)`, `score(x)`, `seconds(s)` or `any_of(…)`.
        executor: "inline", "processes", "vectorized", "ray", or an object such as ``executors.Processes(slots=4)``.
        directory: for the log and the checkpoints; None keeps them in memory. If the directory holds the same run, it is
            continued; a finished run returns at once.
        seed: of all random decisions.
        sinks: objects that follow the log, such as ``sinks.MLflow()``; their errors never stop training.
        keep: ids of tasks whose checkpoints are never deleted.
        checkpoints: a place for the checkpoints other than `directory`: a URL that fsspec understands and every worker reaches,
            such as ``s3://bucket/first``. It must be empty at first. The log records it.

    Raises:
        UsageError: an argument is wrong, or the directory or URL holds another run.
        RunBusy: another process writes to the directory.
        Suspended: the run was interrupted, the disk is full, or the storage failed; the same call continues it.
        RunFailed: every member failed.
    """
    given = (trainable, metric, mode, stop, executor, seed, tuple(sinks), checkpoints)
    if not isinstance(algorithm, Experiment):
        return execute(Experiment(algorithm, *given), directory, keep=keep)
    if given != (None, "score", "max", None, "inline", 0, (), None):
        raise UsageError(
            "run: an Experiment already has every argument except directory and keep; change it with dataclasses.replace(…)."
        )
    source = None
    if directory is not None and (script := script_of(algorithm)) is not None:
        source = file_record(script, directory, {})
    return execute(algorithm, directory, keep=keep, source=source)


def resume(experiment: Experiment, directory: str | Path) -> Run:
    """Returns the run in `directory`, continued to its end.

    Raises:
        UsageError: the directory holds no run, or another run.
    """
    if not exists(directory):
        raise UsageError(f"{str(directory)!r} does not hold a run, so nothing can be resumed. Start one with `poptrain run`.")
    return execute(experiment, directory)


def execute(
    experiment: Experiment, directory: str | Path | None, *, keep: Sequence[int] = (), source: dict[str, Json] | None = None
) -> Run:
    """Returns the run of an `Experiment`: a new one, or the one that `directory` holds, continued.

    Args:
        source: the entry about the experiment's file for the log, from `file_record`; None if there is no file.
    """
    executor = executors.resolve(experiment.executor, experiment.trainable)
    if directory is not None and exists(directory):
        record = read(directory)  # without the lock: a refused call and a finished run leave no trace
        experiment = continuing(experiment, record.run)
        check_same_run(record, experiment, directory)
        if ended := _finished(experiment, directory, record):
            return ended
    log = open_log(experiment, directory, source)
    try:
        session = _Session(experiment, executor, log, directory, keep)
        session.go()
        return Run(log.record, session.history, session.store, as_trainable(experiment.trainable))
    finally:
        log.close()


def _finished(experiment: Experiment, directory: str | Path, record: Record) -> Run | None:
    """Returns the run in `directory` if it has ended, also under the current budget and stop condition; else None."""
    if not record.finished:
        return None
    history = record.history().with_budget(experiment.budget)
    if not _reached(experiment, history, record.elapsed) and experiment.algorithm.ask(history):
        return None
    return Run(record, history, places.of(record), as_trainable(experiment.trainable))


def _reached(experiment: Experiment, history: History, elapsed: float) -> str | None:
    """Returns why the run ends now, or None."""
    return None if experiment.stop is None else stops.reached(experiment.stop, history, elapsed)


class _Session:
    """One session of a run: from its start or its continuation until it ends or is suspended."""

    def __init__(
        self,
        experiment: Experiment,
        executor: ExecutorConfig,
        log: LogWriter,
        directory: str | Path | None,
        keep: Sequence[int],
    ):
        self.experiment, self.log, self.algorithm = experiment, log, experiment.algorithm
        self.history: History = log.record.history().with_budget(experiment.budget)
        self.keep = frozenset(keep)
        self._order = log.record.order or Order()
        self._instead: dict[int, int] = {}  # pending task -> the older checkpoint that it started from
        self._unkept = 0  # results since checkpoints were deleted
        self._unread = UnreadMetrics(experiment.algorithm.seats)
        self.began = clock.monotonic() - log.record.elapsed
        self.store: Store = places.of(log.record)
        if directory is not None:
            self.store.adopt(log.record.checkpoints())
        self.executor_config, self.directory = executor, directory
        own = () if directory is None else (Digest(),)
        self.sinks = [Guarded(sink) for sink in (*own, *experiment.sinks)]

    def go(self) -> None:
        """Runs until the algorithm asks for nothing and no task is pending, or a stop condition holds."""
        executor = _opened(self.executor_config, self._context())
        self.supply = Supply(executor, self.algorithm.seats)
        for sink in self.sinks:
            sink.open(self.log.record)
        try:
            with collector.settled(), Signals() as signals:
                try:
                    self._loop(executor, signals)
                except Interrupted as signal:
                    self._suspend(executor, signal)
                finally:
                    executor.close()
            self.store.keep(self._needed(ended=True), self._collected, flush=True)
            found = best_by_evidence(self.history)
            about = {} if found is None else {"best": found.task, "evidence": found.text}
            self.log.note("end", reason=self._reason(), **about)
        finally:
            for sink in self.sinks:
                sink.close()

    def _loop(self, executor: Executor, signals: Signals) -> None:
        # After a crash between log and submit. A checkpoint that was lost then is replaced by an older one.
        pending = self.history.pending()
        self.supply.submit([self._startable(task) for task in pending])
        while True:
            with collector.paused():
                if not self._reached() and (tasks := asked(self.algorithm, self.history, self._order)):  # decide
                    self._append(tasks)
                    self.supply.submit(tasks)
            if not self.history.waiting:
                break  # nothing is asked and nothing runs: finished
            with signals.interruptible():
                results = executor.wait()  # act: the checkpoint is durable, then the result is logged
            with collector.paused():
                self._tell(executor, results)
                self._keep(len(results))
        check_not_all_failed(self.log, self.history, self.directory)

    def _append(self, facts: Sequence[Task] | Sequence[Result] | Lost) -> None:
        """Logs facts in the user's sign, then adds them to the history, where scores are maximised."""
        self.log.append(facts)
        line = as_line(facts)
        if self.experiment.sign < 0 and (results := results_of(line)):
            line = tuple(result.flipped() for result in results)
        self.history = self.history.add(line)
        for sink in self.sinks:
            sink.write(self.log.record, self.history)

    def _tell(self, executor: Executor, returned: object, draining: bool = False) -> None:
        """Logs results. A task that found its parent's checkpoint damaged begins at an older one, if that is left."""
        results = admitted(self.history, returned, executor)
        self.supply.returned(len(results))
        again: list[Task] = []
        for result in [result for result in results if result.kind == "damaged"]:
            task = self.history.task(result.task)
            self._note_lost(task)
            instead = fallback(self.history, task, self.store)
            if instead is not None and self._instead.get(task.id) != instead.parent:
                results.remove(result)
                if not draining:  # else it is pending, and begins there when the run is continued
                    again.append(self._rolled_back(task, instead))
        if results:
            tasks = [self.history.task(result.task) for result in results]
            self._append(results)
            self.store.add(result.checkpoint for result in results)
            self.supply.told(tasks, results)
            self._unread.check(self.log, self.history, results)
        self.supply.submit(again)

    def _note_lost(self, task: Task) -> None:
        """Logs that the checkpoint that a task started from is lost, if it is damaged."""
        parent = self._instead.get(task.id, task.parent)
        if parent is not None and self.history.ok(parent):
            ref = self._checkpoint(parent)
            if ref is not None and not self.store.verify(ref):
                self._append(Lost(parent))

    def _startable(self, task: Task) -> Task:
        """Returns a pending task as it can be started: from an older checkpoint, if that of its parent was lost."""
        if task.parent is None or not self.history.lost(task.parent):
            return task
        instead = fallback(self.history, task, self.store)
        return task if instead is None else self._rolled_back(task, instead)

    def _rolled_back(self, task: Task, instead: Task) -> Task:
        source = instead.parent
        if source is not None:
            self._instead[task.id] = source
            self.log.note(
                "rollback",
                task=task.id,
                member=task.member,
                lost=task.parent,
                to=source,
                step=self.history.step(source),
                again=instead.steps - task.steps,
            )
        return instead

    def _keep(self, results: int) -> None:
        """Deletes checkpoints that are no longer needed: not after every result, because it looks at all seats."""
        self._unkept += results
        if self._unkept >= self.algorithm.seats // 16:
            self._unkept = 0
            self.store.keep(self._needed(), self._collected)

    def _needed(self, ended: bool = False) -> set[str]:
        """Returns the checkpoints that must stay: of possible parents, sources of pending tasks, the best, and the user's.

        While the run goes on, those before them in the lineages stay too: a member whose newest one is damaged goes back there.
        """
        history = self.history
        ids: set[int | None] = {*needed(self.algorithm, history), *self.keep, *history.heads().tolist(), history.best()}
        for task in history.pending():
            ids.add(task.parent)
            ids.add(task.teacher)
            ids.add(self._instead.get(task.id))
        ids.discard(None)
        if self.store.durable and not ended:
            parents = history.column("parent")
            ids |= {int(parents[id]) for id in cast("set[int]", ids) if 0 <= id < history.n}
        return history.checkpoints(cast("set[int]", ids))  # one call for all

    def _checkpoint(self, id: int) -> str | None:
        """Returns the checkpoint of a task; None while it is pending, and if it failed."""
        result = self.history.result(id)
        return None if result is None else result.checkpoint

    def _collected(self, names: list[str]) -> None:
        self.log.note("gc", ids=names)

    def _reached(self) -> str | None:
        return self.supply.exhausted() or _reached(self.experiment, self.history, clock.monotonic() - self.began)

    def _reason(self) -> str:
        return self._reached() or "every member reached its last step"

    def _suspend(self, executor: Executor, signal: Interrupted) -> None:
        """Logs the results that arrive within the grace period, marks the log as suspended, and raises `Suspended`."""
        with contextlib.suppress(Interrupted):
            for results in executor.drain(GRACE_SECONDS):
                self._tell(executor, results, draining=True)
        self.log.note("suspend", reason=str(signal))
        hint = (
            f"continue with: poptrain resume {self.directory}"
            if self.directory
            else "nothing was kept, because no directory was given"
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
            budget=self._budget_of_members(),
        )

    def _budget_of_members(self) -> int | None:
        """Returns the steps over which a schedule inside a member extends: in a replay those of the run that it repeats."""
        replayed = self.algorithm.horizon if isinstance(self.algorithm, ScheduleReplay) else None
        return self.history.budget if replayed is None else replayed


def _opened(config: ExecutorConfig, context: Context) -> Executor:
    """Returns the running executor.

    Raises:
        UsageError: the configuration opened something else.
    """
    executor = config.open(context)
    if not isinstance(executor, Executor):
        raise UsageError(
            f"executor={config!r} opens a {type(executor).__name__}, expected an object with submit, wait, drain and close, "
            "as in the protocol poptrain.core.protocols.Executor."
        )
    return executor
