"""``run``: the only file that knows algorithms, executors, the log and the store. The loop itself is `_Session._loop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from poptrain import executors
from poptrain.checkpoints import places
from poptrain.core import History, Json, Lost, Result, Task, as_line, clock, collector, maximised
from poptrain.core.answering import answering
from poptrain.core.counting import counted
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.evidence import best_by_evidence
from poptrain.core.interactive import interactive
from poptrain.core.order import Order
from poptrain.core.protocols import Algorithm, Executor, Sink, Store, TrainsInWait
from poptrain.dashboard.beside import beside
from poptrain.engine import kept
from poptrain.engine import stop as stops
from poptrain.engine.again import again
from poptrain.engine.arguments import check_run
from poptrain.engine.edited import warn_of_edited_code
from poptrain.engine.experiment import Experiment, file_record, overriding, script_of
from poptrain.engine.failures import UnreadMetrics, check_not_all_failed, within_limits
from poptrain.engine.intake import admitted, asked, opened
from poptrain.engine.needs import needed_checkpoints
from poptrain.engine.notices import warn
from poptrain.engine.observed import Observed
from poptrain.engine.open_log import check_same_run, continuing, open_log
from poptrain.engine.overwrite import removed
from poptrain.engine.progress import shown
from poptrain.engine.result import Run
from poptrain.engine.rollback import Rollback
from poptrain.engine.sanity import doubts, senseless
from poptrain.engine.screens import Screen
from poptrain.engine.signals import Interrupted, Signals, end_without_a_traceback
from poptrain.engine.supply import Supply
from poptrain.engine.surroundings import around, context_of
from poptrain.engine.voice import say, say_from_a_thread
from poptrain.engine.watch import ADVICE, Watch
from poptrain.executors.context import ExecutorConfig
from poptrain.log.finding import exists
from poptrain.log.memory import MemoryLog
from poptrain.log.notes import COMPLETE
from poptrain.log.reader import Record, read
from poptrain.log.writer import LogWriter
from poptrain.sinks import Guarded
from poptrain.sinks.adapted import checked_sinks
from poptrain.sinks.digest import Digest
from poptrain.trainable import as_trainable

GRACE_SECONDS = 30.0  # for running tasks to finish after a first signal


@answering
@overriding
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
    progress: bool = True,
    overwrite: bool = False,
    dashboard: bool = False,
) -> Run:
    """Returns the finished run of an algorithm over a trainable.

    In a notebook and at a Python prompt, a run that you interrupt is returned as it is, and the same call continues it.

    Args:
        algorithm: such as `pbt(space, population=8, interval=10)`; or an `Experiment`, of which arguments that are given here as
            well, such as `seed=3`, are replaced in this run.
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
        progress: show on standard error how far the run is: a live line on a terminal, a bar in a notebook, and a line now and
            then in a file. False shows nothing but warnings.
        overwrite: remove the run that `directory` holds, and begin again.
        dashboard: show the run live in the browser (extra `dashboard`). The address is printed on standard error; the page lives
            as long as this Python process.

    Raises:
        UsageError: an argument is wrong, or the directory or URL holds another run.
        RunBusy: another process writes to the directory.
        Suspended: the run was interrupted, the disk is full, or the storage failed; the same call continues it.
        RunFailed: every member failed.
    """
    check_run(directory, keep, progress=progress, overwrite=overwrite, dashboard=dashboard)
    if overwrite and directory is not None:
        removed(directory)
    if dashboard and (address := beside(directory)) is not None:
        say(f"dashboard: {address}")
    if not isinstance(algorithm, Experiment):
        settings = (trainable, metric, mode, stop, executor, seed, checked_sinks(sinks), checkpoints)
        return execute(Experiment(algorithm, *settings), directory, keep=keep, progress=progress)
    source = None
    if directory is not None and (script := script_of(algorithm)) is not None:
        source = file_record(script, directory, {}, sys.argv[1:])
    return execute(algorithm, directory, keep=keep, source=source, progress=progress)


@answering
def resume(experiment: Experiment, directory: str | Path, *, progress: bool = True) -> Run:
    """Returns the run in `directory`, continued to its end. `progress` is as in `run`.

    Raises:
        UsageError: the directory holds no run, or another run.
    """
    if not exists(directory):
        raise UsageError(f"{str(directory)!r} does not hold a run, so nothing can be resumed. Start one with pt.run.")
    return execute(experiment, directory, progress=progress)


def execute(
    experiment: Experiment,
    directory: str | Path | None,
    *,
    keep: Sequence[int] = (),
    source: dict[str, Json] | None = None,
    progress: bool | Screen = False,
    announce: bool = True,
) -> Run:
    """Returns the run of an `Experiment`: a new one, or the one that `directory` holds, continued.

    Args:
        source: the entry about the experiment's file for the log, from `file_record`; None if there is no file.
        progress: show how far the run is; a `Screen`: there.
        announce: warn of doubtful settings and of edited code; False in a study, which warns once for all of its runs.
    """
    executor = executors.resolve(experiment.executor, experiment.trainable)
    record: Record | None = None
    with within_limits(directory):
        if directory is not None and exists(directory):
            record = read(directory)  # without the lock: a refused call and a finished run leave no trace
            experiment = continuing(experiment, record.run)
            check_same_run(record, experiment, directory)
            if ended := _finished(experiment, directory, record):
                edited = announce and warn_of_edited_code(experiment.trainable, record, directory)
                if progress is True and not edited:
                    whole = f"finished before: {directory} has the whole run, and nothing was trained now"
                    say(f"{whole} (overwrite=True begins anew)")
                return ended
        before = kept.taken(experiment) if directory is None and interactive() else None
        log, store = before or (open_log(experiment, directory, source, announce, record), None)
    try:
        try:
            with within_limits(directory, log.record):
                session = _Session(experiment, executor, log, directory, keep, store)
                session.go(progress, announce)
        except Suspended as stopped:
            if not stopped.asked or not interactive():
                end_without_a_traceback()
                raise
            say(str(stopped))
            if isinstance(log, MemoryLog):
                kept.keep(experiment, log, session.store)
        return Run(log.record, session.history, session.store, as_trainable(experiment.trainable))
    finally:
        log.close()


def _finished(experiment: Experiment, directory: str | Path, record: Record) -> Run | None:
    """Returns the run in `directory` if it has ended, also under the current budget and stop condition; else None."""
    if not record.finished:
        return None
    history = record.history().with_budget(experiment.budget)
    if not stops.reached(experiment.stop, history, record.elapsed) and experiment.algorithm.ask(history):
        return None
    return Run(record, history, places.of(record), as_trainable(experiment.trainable))


class _Session:
    """One session of a run: from its start or its continuation until it ends or is suspended."""

    def __init__(
        self,
        experiment: Experiment,
        executor: ExecutorConfig,
        log: LogWriter,
        directory: str | Path | None,
        keep: Sequence[int],
        store: Store | None = None,
    ):
        self.experiment, self.log, self.algorithm = experiment, log, experiment.algorithm
        self.history: History = log.record.history().with_budget(experiment.budget)
        self.keep = frozenset(keep)
        self._order = log.record.order or Order()
        self._unkept = 0  # results since checkpoints were deleted
        self._unread = UnreadMetrics(experiment.algorithm.seats)
        self.began = clock.monotonic() - log.record.elapsed
        self.store: Store = store or places.of(log.record)
        if directory is not None or store is not None:
            self.store.adopt(log.record.checkpoints())
        self.rollback = Rollback(self.log, self.store)
        self.executor_config, self.directory = executor, directory
        self.observed = Observed(log, self.history, experiment, directory)
        self.sinks = [Guarded(sink) for sink in (*(() if directory is None else (Digest(),)), *experiment.sinks)]

    def go(self, progress: bool | Screen = False, announce: bool = True) -> None:
        """Runs until the algorithm asks for nothing and no task is pending, or a stop condition holds."""
        for doubt in doubts(self.experiment) if announce else ():
            warn(doubt)
        if progress is True and self.directory is not None and (before := self.history.n - self.history.waiting):
            say(f"continuing {self.directory}, which holds {counted(before, 'result')}")
        try:
            with shown(self.experiment, self.log.record.elapsed, lambda: (self.history, self.observed.failures.count), progress):
                self._go()
        finally:
            self.observed.summary(self.history)
        if (why := senseless(self.history, self.experiment)) is not None:
            warn(why)

    def _go(self) -> None:
        context = context_of(self.experiment, self.store, lambda: self.history, self.log.epoch, self.directory)
        executor = opened(self.executor_config, context)
        self.watch = Watch(say_from_a_thread(), getattr(self.executor_config, "overdue", ADVICE))
        self.supply = Supply(executor, self.algorithm.seats, self.watch, self.experiment.metric)
        signals = Signals(self._farewell, GRACE_SECONDS if isinstance(executor, TrainsInWait) else 0.0, self._finishing)
        try:
            with around(executor, collector.settled(), self.watch, signals):
                for sink in self.sinks:
                    sink.open(self.log.record)
                try:
                    self._loop(executor, signals)
                except Interrupted as signal:
                    self._suspend(executor, signal, signals)
            self.store.keep(self._needed(ended=True), self._collected, flush=True)
            found = best_by_evidence(self.history)
            about = {} if found is None else {"best": found.task, "evidence": found.text}
            self.log.note("end", reason=self._reason(), **about)
        finally:
            for sink in self.sinks:
                sink.close()
            signals.disarm()

    def _loop(self, executor: Executor, signals: Signals) -> None:
        # After a crash between log and submit. A checkpoint that was lost then is replaced by an older one.
        pending = self.history.pending()
        self.supply.submit([self.rollback.startable(self.history, task) for task in pending])
        while True:
            with collector.paused():
                if not self._reached() and (tasks := asked(self.algorithm, self.history, self._order)):  # decide
                    self._append(tasks, checked=True)
                    self.supply.submit(tasks)
            if not self.history.waiting:
                break  # nothing is asked and nothing runs: finished
            with signals.interruptible():
                results = executor.wait()  # act: the checkpoint is durable, then the result is logged
            with collector.paused():
                self._tell(executor, results)
                self._keep(len(results))
        check_not_all_failed(self.log, self.history, self.directory, self.observed.failures.hint())

    def _append(self, facts: Sequence[Task] | Sequence[Result] | Lost, *, checked: bool = False) -> None:
        """Logs facts in the user's sign, then adds them to the history, where scores are maximised."""
        with self.watch.writing:
            self.log.append(facts, checked=checked)
        self.history = self.history.add(maximised(as_line(facts), self.experiment.sign))
        for sink in self.sinks:
            sink.write(self.log.record, self.history)

    def _tell(self, executor: Executor, returned: object, draining: bool = False) -> None:
        """Logs results. A task that found its parent's checkpoint damaged begins at an older one, if that is left."""
        results = admitted(self.history, returned, executor)
        self.observed.returned(returned)
        self.supply.returned(results)
        again: list[Task] = []
        for result in [result for result in results if result.kind == "damaged"]:
            task = self.history.task(result.task)
            self._note_lost(task)
            if (instead := self.rollback.instead_of(self.history, task)) is not None:
                results.remove(result)
                if not draining:  # else it is pending, and begins there when the run is continued
                    again.append(self.rollback.begun(self.history, task, instead))
        if results:
            tasks = [self.history.task(result.task) for result in results]
            self._append(results, checked=True)
            self.observed.see(self.history, results)
            self.store.add(result.checkpoint for result in results)
            self.supply.told(tasks, results)
            self._unread.check(self.log, self.history, results)
        self.supply.submit(again)

    def _note_lost(self, task: Task) -> None:
        """Logs that the checkpoint that a task started from is lost, if it is damaged."""
        parent = self.rollback.source(task)
        if parent is not None and self.history.ok(parent):
            result = self.history.result(parent)
            if result is not None and result.checkpoint and not self.store.verify(result.checkpoint):
                self._append(Lost(parent))

    def _keep(self, results: int) -> None:
        """Deletes checkpoints that are no longer needed: not after every result, because it looks at all seats."""
        self._unkept += results
        if self._unkept >= self.algorithm.seats // 16:
            self._unkept = 0
            self.store.keep(self._needed(), self._collected)

    def _needed(self, ended: bool = False) -> set[str]:
        """Returns the checkpoints that must stay."""
        older = self.store.durable and not ended  # a member whose newest one is damaged goes back there
        return needed_checkpoints(self.algorithm, self.history, self.keep, self.rollback.sources(), older)

    def _collected(self, names: list[str]) -> None:
        self.log.note("gc", ids=names)

    def _reached(self) -> str | None:
        return self.supply.exhausted() or stops.reached(self.experiment.stop, self.history, clock.monotonic() - self.began)

    def _reason(self) -> str:
        return self._reached() or COMPLETE

    def _suspend(self, executor: Executor, signal: Interrupted, signals: Signals) -> None:
        """Logs the results that arrive within the grace period, marks the log as suspended, and raises `Suspended`."""
        for results in signals.finishing(executor.drain(GRACE_SECONDS)):
            self._tell(executor, results, draining=True)
        self.log.note("suspend", reason=str(signal))
        hint = again(self.log.record, self.directory)
        raise Suspended(f"interrupted by {signal}; {hint}", exit_code=128 + signal.number, asked=True) from None

    def _finishing(self) -> str:
        longest = self.watch.longest()
        waited = f"{longest}; " if longest else ""
        return f"interrupted: finishing running tasks ({waited}at most {GRACE_SECONDS:g} s); press Ctrl-C again to stop now"

    def _farewell(self) -> str:
        return f"stopped at once; nothing that was logged is lost; {again(self.log.record, self.directory)}"
