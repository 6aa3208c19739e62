"""``study``: several methods with several seeds each, side by side in processes, and what the evidence supports.

Every run has a directory of its own, ``directory/name-seed``, so that a study which was stopped continues: finished runs return
at once, and half-finished ones go on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from poptrain.core import markup
from poptrain.core.arguments import check_flag, check_name, check_place
from poptrain.core.cpus import cpus
from poptrain.core.errors import RunFailed, Suspended, UsageError
from poptrain.core.file_name import safe_name
from poptrain.core.interactive import interactive
from poptrain.core.other_names import named_as_here
from poptrain.core.protocols import Algorithm
from poptrain.core.wellformed import MAX_SEATS
from poptrain.engine import stop as stops
from poptrain.engine.edited import edits, recorded
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.notices import warn
from poptrain.engine.result import Run, open_run
from poptrain.engine.sanity import doubts
from poptrain.engine.screens import PlainLines, Screen, screen
from poptrain.engine.signals import end_without_a_traceback
from poptrain.executors.by_value import ByValue
from poptrain.executors.context import ExecutorConfig
from poptrain.executors.importable import check_main, why_not_importable
from poptrain.executors.processes import THREAD_VARIABLES
from poptrain.log.reader import Record
from poptrain.views.compared import Comparison
from poptrain.views.comparison import compare
from poptrain.views.table import Table

if TYPE_CHECKING:
    import pandas

COLUMNS = ("seed", "score", "steps", "total", "seconds", "finished", "directory")


@dataclass(frozen=True, repr=False)
class Study:
    """The runs of a study, by the name of their method and in the order of the seeds."""

    runs: Mapping[str, tuple[Run, ...]]
    failures: Mapping[str, str]  # why a run failed, by ``name-seed``

    @property
    def comparison(self) -> Comparison:
        """What the evidence supports, as `views.compare` finds it.

        Raises:
            UsageError: fewer than two runs have a result.
        """
        return compare(*self._named())

    def _named(self) -> tuple[list[Record], list[str]]:
        """Returns the records of all runs, and the name of the method of each."""
        pairs = [(run.record, name) for name, runs in self.runs.items() for run in runs]
        return [record for record, _ in pairs], [name for _, name in pairs]

    def table(self) -> Table:
        """Returns one row for each run, as columns: method, seed, score (the best), steps, total steps, seconds …"""
        methods = self.comparison.methods
        rows = [
            {"method": method.name, **{name: getattr(run, name) for name in COLUMNS}} for method in methods for run in method.runs
        ]
        return Table({name: [row[name] for row in rows] for name in ("method", *COLUMNS)})

    def to_pandas(self) -> pandas.DataFrame:
        """Returns `table` as a data frame of pandas.

        Raises:
            MissingExtra: pandas is not installed.
        """
        from poptrain.engine.frames import frame

        return frame(self.table())

    def __repr__(self) -> str:
        found = self._compared()
        return "\n".join([found if isinstance(found, str) else repr(found), *self._failed()])

    def _repr_html_(self) -> str:
        found = self._compared()
        shown = markup.line(found) if isinstance(found, str) else found._repr_html_()
        return markup.block("Study", shown, *map(markup.line, self._failed()))

    def _compared(self) -> Comparison | str:
        """Returns the comparison, or why there is none: a study shows itself also if nothing has a result."""
        try:
            return self.comparison
        except UsageError as error:
            return f"A study of {len(self.runs)} methods. {error}"

    def _failed(self) -> Iterator[str]:
        return (f"{name} failed: {why}" for name, why in self.failures.items())


@dataclass(frozen=True)
class _Job:
    name: str
    seed: int
    experiment: Experiment
    directory: Path | None

    @property
    def title(self) -> str:
        return f"{self.name}-{self.seed}"


@named_as_here
def study(
    algorithms: Mapping[str, Algorithm],
    trainable: object,
    *,
    seeds: int | Sequence[int] = 5,
    metric: str = "score",
    mode: str = "max",
    stop: stops.Stop | None = None,
    executor: str | ExecutorConfig = "inline",
    directory: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Study:
    """Returns the finished runs of several methods with several seeds each, and their comparison.

    Args:
        algorithms: the methods by name, such as ``{"pbt": pt.pbt(…), "random": pt.random_search(…)}``.
        trainable: as in `run`, the same for all.
        seeds: how many runs of each method, or their seeds. With equal seeds, members of all methods begin alike.
        metric: as in `run`.
        mode: as in `run`.
        stop: as in `run`.
        executor: as in `run`, of every single run.
        directory: each run is kept in ``directory/name-seed``, and the same call continues the study. None keeps all in memory.
        workers: runs at the same time, each in a process of its own; default: one for each CPU, or one after another without a
            directory and with an executor that uses several CPUs itself.
        progress: show how many runs are finished.

    Raises:
        UsageError: an argument is wrong, or a directory holds another run.
        Suspended: the study was interrupted; the same call continues it.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> methods = {"pbt": pt.pbt(space, population=4, interval=5), "random": pt.random_search(space, population=4, interval=5)}
    >>> found = pt.study(methods, pt.testing.quadratic, seeds=3, stop=pt.steps(20), progress=False)
    >>> [method.name for method in found.comparison.methods]
    ['random', 'pbt']
    """
    _check(algorithms, seeds, workers, progress)
    if directory is not None:
        check_place("study: directory", directory)
    numbers = range(seeds) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    if not isinstance(algorithms, Mapping) or not algorithms or not isinstance(numbers, Sequence) or not numbers:
        raise UsageError("study: expected methods by name and at least one seed: pt.study({'pbt': pt.pbt(…)}, train, seeds=5).")
    jobs = [
        _Job(
            name,
            seed,
            Experiment(algorithm, trainable, metric, mode, stop, executor, seed),
            None if directory is None else Path(directory) / safe_name(f"{name}-{seed}"),
        )
        for seed in numbers
        for name, algorithm in algorithms.items()
    ]
    for doubt in dict.fromkeys(doubt for job in jobs[: len(algorithms)] for doubt in doubts(job.experiment)):
        warn(doubt)
    many = min(cpus() if workers is None else workers, len(jobs))
    if directory is None or (workers is None and executor != "inline"):
        many = 1
    shown = screen() if progress else None
    found: dict[str, Run | str] = {}  # by title: the run, or why it failed
    try:
        for job, run in _in_turn(jobs) if many < 2 else _side_by_side(jobs, many, shown):
            found[job.title] = run
            _show(shown, len(found), len(jobs), job.title)
    except (KeyboardInterrupt, Suspended) as error:
        if isinstance(error, Suspended) and not error.asked:
            raise
        if not interactive():
            end_without_a_traceback()
            again = "the same call continues it" if directory is not None else "nothing was kept, because no directory was given"
            raise Suspended(
                f"study interrupted; {len(found)} of {len(jobs)} runs are finished; {again}", exit_code=130, asked=True
            ) from None
    finally:
        if shown is not None:
            shown.end(f"study: {len(found)} of {len(jobs)} runs are finished")
    failures = {title: text for title, text in found.items() if isinstance(text, str)}
    for title, text in failures.items():
        warn(f"the run {title} of the study failed: {text}")
    _warn_of_old_code({title: run for title, run in found.items() if isinstance(run, Run)}, trainable)
    runs = {
        name: tuple(each for job in jobs if job.name == name and isinstance(each := found.get(job.title), Run))
        for name in algorithms
    }
    return Study(runs, failures)


def _warn_of_old_code(runs: Mapping[str, Run], trainable: object) -> None:
    """Warns if finished runs were taken from their directories that began with other code than the trainable has now."""
    now = recorded(trainable)
    old = [title for title, run in runs.items() if edits(run.record.run, now)]
    if old:
        some = ", ".join(old[:3]) + (" …" if len(old) > 3 else "")
        warn(
            f"{len(old)} of {len(runs)} runs of the study began with other code than the trainable has now ({some}): remove "
            "their directories to train them again."
        )


def _check(algorithms: object, seeds: object, workers: object, progress: object) -> None:
    """Raises a `UsageError` for an argument that `Experiment` does not check."""
    for name in algorithms if isinstance(algorithms, Mapping) else ():
        check_name("study: method", name)
        if "/" in name:
            raise UsageError(f"study: method={name!r}, expected a name without '/': a directory is called after it.")
    if isinstance(seeds, int) and seeds > MAX_SEATS:
        raise UsageError(f"study: seeds={seeds!r:.60}, expected at most {MAX_SEATS:,} runs of each method.")
    if isinstance(seeds, Sequence) and len(set(seeds)) < len(seeds):
        raise UsageError(f"study: seeds={seeds!r:.80} contains one seed twice, and both runs would be the same.")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise UsageError(f"study: workers={workers!r}, expected a whole number from 1, or None.")
    check_flag("study", "progress", progress)


def _in_turn(jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Run | str]]:
    """Yields every run as it ends, or why it failed."""
    for job in jobs:
        try:
            yield job, execute(job.experiment, job.directory, announce=False)
        except RunFailed as error:
            yield job, str(error)


def _side_by_side(jobs: Sequence[_Job], workers: int, shown: Screen | None) -> Iterator[tuple[_Job, Run | str]]:
    """Yields every run as it ends in one of the worker processes, or why it failed."""
    check_main(f"study: workers={workers}", "workers=1")
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (max(1, cpus() // workers),))
    waiting: dict[Future[str | None], _Job] = {}
    try:
        for job in jobs:
            why = why_not_importable(job.experiment)
            sent = job.experiment if why is None else ByValue(job.experiment, why)
            waiting[pool.submit(_perform, sent, Path(job.directory or "."))] = job
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                job, failed = waiting.pop(future), future.result()
                assert job.directory is not None  # in memory they run in turn
                yield job, open_run(job.directory, job.experiment.trainable) if failed is None else failed
    except BrokenProcessPool:
        left = len(waiting) + 1
        raise Suspended(
            f"study: a worker process died, for example because memory ran out; {len(jobs) - left} of {len(jobs)} runs are "
            "finished. The same call continues it; workers=1 trains one run after another in this process."
        ) from None
    except BaseException:
        for process in list(pool._processes.values()):
            with suppress(ProcessLookupError, TypeError):
                os.kill(process.pid or 0, signal.SIGINT)  # each suspends its run
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """Prepares a worker: the numeric libraries that it will import use their share of the CPUs."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def _perform(experiment: object, directory: Path) -> str | None:
    """Trains one run in a worker, and returns why it failed, or None."""
    assert isinstance(experiment, Experiment)
    try:
        execute(experiment, directory, announce=False)
    except RunFailed as error:
        return str(error)
    return None


def _show(shown: Screen | None, done: int, of: int, newest: str) -> None:
    if shown is not None and not isinstance(shown, PlainLines):
        shown.show(lambda columns: f"study: {done} of {of} runs are finished, the last is {newest}"[:columns], done / of)
