"""``study``: several methods with several seeds each, side by side in processes, and what the evidence supports.

Every run has a directory of its own, ``directory/name-seed``, so that a study which was stopped continues: finished runs return
at once, and half-finished ones go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poptrain.core import Value, markup
from poptrain.core.answering import answering, answering_class
from poptrain.core.arguments import check_flag, check_name, check_place, plain
from poptrain.core.counting import counted
from poptrain.core.cpus import cpus
from poptrain.core.errors import RunFailed, Suspended, UsageError
from poptrain.core.file_name import safe_name
from poptrain.core.interactive import interactive
from poptrain.core.protocols import Algorithm
from poptrain.core.wellformed import MAX_SEATS
from poptrain.engine import stop as stops
from poptrain.engine.again import continued
from poptrain.engine.board import Board, OnBoard
from poptrain.engine.edited import edits, recorded
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.notices import warn
from poptrain.engine.result import Run
from poptrain.engine.sanity import doubts
from poptrain.engine.screens import screen
from poptrain.engine.side_by_side import Ended, Job, side_by_side
from poptrain.engine.signals import end_without_a_traceback
from poptrain.engine.voice import listened
from poptrain.executors.context import ExecutorConfig
from poptrain.log.reader import Record
from poptrain.views.compared import Comparison
from poptrain.views.comparison import compare
from poptrain.views.table import Table

if TYPE_CHECKING:
    import pandas

COLUMNS = ("seed", "score", "steps", "total", "seconds", "finished", "directory")
_TAKEN = {"method", *COLUMNS} - {"score"}  # names of columns that a metric cannot have


@answering_class
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
        """Returns one row for each run, as columns: method, seed, the best score under the name of the metric, steps, total …"""
        comparison = self.comparison
        found, metric = [(method.name, run) for method in comparison.methods for run in method.runs], comparison.metric
        names = {name: name for name in COLUMNS} | {"score": f"metrics.{metric}" if metric in _TAKEN else metric}
        columns: dict[str, list[Value]] = {"method": [name for name, _ in found]}
        return Table(columns | {names[name]: [getattr(run, name) for _, run in found] for name in COLUMNS})

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
            return f"A study of {counted(len(self.runs), 'method')}. {error}"

    def _failed(self) -> Iterator[str]:
        return (f"{name} failed: {why}" for name, why in self.failures.items())


@answering
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
        progress: show how many runs are finished, which are running, and how far each is.

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
    seeds = [plain(seed) for seed in seeds] if isinstance(seeds, (list, np.ndarray)) else seeds  # type: ignore[misc]
    _check(algorithms, seeds, workers, progress)
    if directory is not None:
        check_place("study: directory", directory)
    numbers = range(seeds) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    if not isinstance(algorithms, Mapping) or not algorithms or not isinstance(numbers, Sequence) or not numbers:
        raise UsageError("study: expected methods by name and at least one seed: pt.study({'pbt': pt.pbt(…)}, train, seeds=5).")
    jobs = [
        Job(
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
    board = Board(len(jobs), screen() if progress else None)
    found: dict[str, Run | str] = {}  # by title: the run, or why it failed
    last = None
    try:
        for job, ended in _in_turn(jobs, board) if many < 2 else side_by_side(jobs, many, board, _again(directory)):
            found[job.title] = ended
            board.ended(job.title)
        last = f"study: {len(found)} of {counted(len(jobs), 'run')} are finished"
    except (KeyboardInterrupt, Suspended) as error:
        if isinstance(error, Suspended) and not error.asked:
            raise
        text = f"study interrupted; {len(found)} of {counted(len(jobs), 'run')} are finished; {_again(directory)}"
        if not interactive():
            end_without_a_traceback()
            code = error.exit_code if isinstance(error, Suspended) else 130
            raise Suspended(text, exit_code=code, asked=True) from None
        last = text
    finally:
        board.end(last)
    failures = {title: text for title, text in found.items() if isinstance(text, str)}
    for title, text in failures.items():
        warn(f"the run {title} of the study failed: {text}")
    _warn_of_old_code({title: run for title, run in found.items() if isinstance(run, Run)}, trainable)
    runs = {
        name: tuple(each for job in jobs if job.name == name and isinstance(each := found.get(job.title), Run))
        for name in algorithms
    }
    return Study(runs, failures)


def _again(directory: str | Path | None) -> str:
    """Returns how an interrupted study is continued."""
    if directory is None and not interactive():
        return "nothing was kept, because no directory was given"
    return continued()


def _warn_of_old_code(runs: Mapping[str, Run], trainable: object) -> None:
    """Warns if finished runs were taken from their directories that began with other code than the trainable has now."""
    now = recorded(trainable)
    old = [title for title, run in runs.items() if edits(run.record.run, now)]
    if old:
        some = ", ".join(old[:3]) + (" …" if len(old) > 3 else "")
        warn(
            f"{len(old)} of {counted(len(runs), 'run')} of the study began with other code than the trainable has "
            f"now ({some}): remove "
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


def _in_turn(jobs: Sequence[Job], board: Board) -> Iterator[Ended]:
    """Yields every run as it ends, or why it failed.

    Raises:
        Suspended: a person interrupted a run. No other one begins, also in a notebook.
    """
    for job in jobs:
        board.begun(job.title)
        ended: Run | str
        try:
            with listened(job.report):
                ended = execute(job.experiment, job.directory, progress=OnBoard(board, job.title), announce=False)
        except RunFailed as error:
            ended = str(error)
        else:
            if not ended.record.finished:
                raise Suspended("study interrupted", exit_code=130, asked=True)
        yield job, ended
