"""The runs of a study side by side, each in a worker process, and what becomes of them when a person interrupts it.

A run is sent to a worker only when that is idle, so that after a signal none begins. The first signal suspends the runs that are
being trained; a second one ends their processes at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from poptrain.core.counting import counted
from poptrain.core.cpus import cpus
from poptrain.core.errors import Suspended
from poptrain.engine.board import Board
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import GRACE_SECONDS
from poptrain.engine.notices import warn
from poptrain.engine.result import Run, open_run
from poptrain.engine.signals import Interrupted, Signals
from poptrain.engine.study_worker import Message, study_worker
from poptrain.engine.voice import WARNING, say
from poptrain.executors.by_value import ByValue
from poptrain.executors.handle import changed_environment, quiet_start
from poptrain.executors.importable import check_main, why_not_importable
from poptrain.executors.processes import THREAD_VARIABLES

END_GRACE = 5.0  # seconds that an idle worker has to end by itself
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    name: str
    seed: int
    experiment: Experiment
    directory: Path | None

    @property
    def title(self) -> str:
        """Names the run in messages."""
        return f"{self.name}-{self.seed}"

    def report(self, kind: str, text: str) -> None:
        """Shows what the run reports, under its name."""
        (warn if kind == WARNING else say)(f"run {self.title}: {text}")


Ended = tuple[Job, Run | str]  # the run, or why it failed


def side_by_side(jobs: Sequence[Job], workers: int, board: Board, again: str) -> Iterator[Ended]:
    """Yields every run as it ends in one of the worker processes, or why it failed.

    Args:
        again: how the study is continued, for a second signal.

    Raises:
        Suspended: a signal came, or a worker process died; all runs are suspended.
    """
    check_main(f"study: workers={workers}", "workers=1")
    crew = _Crew(jobs, workers, board)
    signals = Signals(lambda: f"stopped at once; nothing that was logged is lost; {again}", finishing=crew.finishing)
    try:
        with signals:
            try:
                crew.start()
                while crew.busy:
                    crew.send()
                    with signals.interruptible():
                        crew.wait()
                    yield from crew.news()
            except Interrupted as interrupt:
                crew.stop(interrupt.number)
                for ended in signals.finishing(crew.rest()):
                    yield from ended
                raise Suspended(f"study interrupted by {interrupt}", exit_code=128 + interrupt.number, asked=True) from None
            except Exception:
                crew.stop(signal.SIGTERM)
                for ended in signals.finishing(crew.rest()):
                    yield from ended
                raise
    finally:
        crew.close()
        signals.disarm()


class _Crew:
    """The worker processes of a study, and the runs that wait for one."""

    def __init__(self, jobs: Sequence[Job], workers: int, board: Board):
        self._jobs, self._many, self._board = deque(jobs), workers, board
        self._workers: list[_Worker] = []
        self._stopped = False
        board.starts(f"starting {counted(workers, 'worker process')}")

    def start(self) -> None:
        """Starts the worker processes."""
        threads = str(max(1, cpus() // self._many))
        variables = {name: os.environ.get(name, threads) for name in THREAD_VARIABLES}
        for _ in range(self._many):
            with changed_environment(variables), quiet_start():
                self._workers.append(_Worker(int(threads)))

    @property
    def busy(self) -> bool:
        """True if a run is being trained or waits."""
        return bool(self._jobs) or any(worker.job is not None for worker in self._workers)

    def send(self) -> None:
        """Sends a run to every idle worker."""
        for worker in self._workers:
            if worker.job is None and self._jobs:
                worker.send(self._jobs.popleft())

    def wait(self) -> None:
        """Waits until a worker has sent something, has ended, or the board is due."""
        connection.wait([worker.connection for worker in self._workers if worker.job is not None], self._board.pause())

    def news(self) -> Iterator[Ended]:
        """Yields the runs that have ended, and takes note of everything else that the workers have sent."""
        for worker in self._workers:
            try:
                while (job := worker.job) is not None and worker.connection.poll():
                    yield from self._take(worker, job, worker.connection.recv())
            except (EOFError, ConnectionError):
                worker.job = None
                if not self._stopped:
                    raise Suspended(
                        f"study: the worker process of the run {job.title if job else ''} died, for example because memory ran "
                        "out. The same call continues it; workers=1 trains one run after another in this process."
                    ) from None
        self._board.look()

    def _take(self, worker: _Worker, job: Job, message: Message) -> Iterator[Ended]:
        match message:
            case ("begun",):
                worker.begun = True
                self._board.begun(job.title)
            case ("share", float() | None as share):
                self._board.reached(job.title, share)
            case (str(kind), str(text)) if kind != "failed":
                if not (self._stopped and kind != WARNING):  # the study itself reports what it waits for
                    job.report(kind, text)
            case ("suspended",):
                worker.job = None
                if not self._stopped:  # the user's code has raised it
                    raise Suspended(f"study interrupted in the run {job.title}", exit_code=130, asked=True)
            case ("error", BaseException() as error):
                worker.job = None
                error.add_note(f"It was raised in the run {job.title} of the study.")
                if not self._stopped:
                    raise error
            case ("finished",) | ("failed", _):
                worker.job, worker.begun = None, False
                assert job.directory is not None  # in memory they run in turn
                ended = str(message[1]) if len(message) > 1 else open_run(job.directory, job.experiment.trainable)
                yield job, ended

    def stop(self, number: int) -> None:
        """Suspends the runs that are being trained; workers that have not begun one end at once."""
        self._stopped = True
        self._jobs.clear()
        for worker in self._workers:
            if worker.job is not None and worker.begun:
                worker.order(number)
            else:
                worker.end(0.0)

    def rest(self) -> Iterator[list[Ended]]:
        """Yields the runs that end while the others are being suspended."""
        while self.busy:
            self.wait()
            yield list(self.news())

    def finishing(self) -> str:
        """Returns what a person reads who interrupted the study."""
        busy = [worker.job.title for worker in self._workers if worker.job is not None]
        which = f"run {busy[0]}" if len(busy) == 1 else counted(len(busy), "run")
        return f"interrupted: suspending {which} (at most {GRACE_SECONDS:g} s); press Ctrl-C again to stop now"

    def close(self) -> None:
        """Ends all workers: idle ones by themselves, the others by force."""
        for worker in self._workers:
            worker.ask_to_end()
        for worker in self._workers:
            worker.end(END_GRACE if worker.job is None else 0.0)


class _Worker:
    """A worker process as the study sees it. `job` is the run that it was sent, `begun` whether it has begun to train it."""

    def __init__(self, threads: int):
        self.job: Job | None = None
        self.begun = False
        self.connection, theirs = _SPAWN.Pipe()
        stops, self._stops = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(target=study_worker, args=(theirs, stops, threads), name="poptrain-study", daemon=False)
        try:
            self._process.start()
        finally:
            theirs.close()
            stops.close()

    def send(self, job: Job) -> None:
        """Sends a run to this worker, which is idle."""
        self.job, self.begun = job, False
        why = why_not_importable(job.experiment)
        sent = job.experiment if why is None else ByValue(job.experiment, why)
        with suppress(ConnectionError):  # it is dead: reading from it says so
            self.connection.send((sent, job.directory))

    def order(self, number: int) -> None:
        """Orders the worker to suspend its run."""
        _send(self._stops, number)

    def ask_to_end(self) -> None:
        """Tells an idle worker that there are no more runs."""
        if self.job is None:
            _send(self.connection, None)

    def end(self, grace: float) -> None:
        """Ends the process, and all that it has started: by itself within `grace` seconds, else by force."""
        self._process.join(grace)
        pid = self._process.pid or 0
        if self._process.exitcode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(pid, signal.SIGKILL)
        self._process.join(END_GRACE)
        self.job = None


def _send(pipe: Connection, message: object) -> None:
    with suppress(OSError, ValueError):  # it is dead
        pipe.send(message)
