"""Vectorized: a whole generation in one JAX program. Exploit is a gather along the leading axis, without any disk.

Tasks that wait together are grouped by what changes the program (steps, evaluations, static hyperparameters), and each group
is one batch. A pure JAX pair is vmapped, and its batch is padded to a few widths, so that an asynchronous algorithm or a
failed member does not cause a compilation for every width. A population trainable receives its batch as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry, Metrics, Result, Task, clock, collector
from poptrain.core.answering import answering_class
from poptrain.core.errors import CheckpointDamaged, MetricError, PoptrainError, UsageError
from poptrain.core.rng import chunk_seed
from poptrain.core.user_objects import is_interrupt
from poptrain.executors import outcome
from poptrain.executors.adapters import boundary, checked_pair, distilling
from poptrain.executors.context import Context
from poptrain.executors.hparam_columns import HparamColumns, hparam_columns
from poptrain.executors.outcome import Trained
from poptrain.executors.users_code import RaisedByUser
from poptrain.executors.vmapped import population_of
from poptrain.trainable import AnyTrainable, JaxTrainable, PopulationTrainable, Trainable, as_trainable


@answering_class
@dataclass(frozen=True)
class Vectorized:
    """Trains all waiting members in one program; `lanes` is the most members of a batch (default: all)."""

    lanes: int | None = None
    overdue: ClassVar[str] = "perhaps JAX compiles a program for new shapes, which takes minutes for large networks"

    def __post_init__(self) -> None:
        if self.lanes is not None and (type(self.lanes) is not int or self.lanes < 1):
            raise UsageError(f"Vectorized: lanes={self.lanes!r}, expected a whole number of at least 1, or None for all members.")

    def check(self, trainable: object) -> None:
        """Raises a `UsageError` if the trainable cannot be vectorised."""
        _vectorizable(as_trainable(trainable))

    def open(self, context: Context) -> VectorizedExecutor:
        """Returns the running executor."""
        return VectorizedExecutor(context, self.lanes or context.lanes)


def _vectorizable(form: AnyTrainable) -> JaxTrainable | PopulationTrainable:
    if isinstance(form, (Trainable, type)):
        raise UsageError(
            "executor='vectorized' trains pure JAX functions or populations: wrap the functions in "
            "pt.jax_trainable(init, train), or use executor='processes'."
        )
    return form


class VectorizedExecutor:
    """Runs, at each `wait`, the tasks that share a program with the oldest one: they are logged before the next is compiled."""

    trains_in_wait = True

    def __init__(self, context: Context, lanes: int):
        self._context, self._lanes = context, lanes
        self._population = population_of(_vectorizable(context.trainable), lanes)
        self._queue: deque[Task] = deque()
        self._alive: dict[int, tuple[Carry, int]] = {}  # task -> the population carry that holds its state, and its lane
        self._newest: dict[int, int] = {}  # seat -> its newest task

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self) -> list[Result]:
        shared = self._group(self._queue[0])
        batch = [task for task in self._queue if self._group(task) == shared][: self._lanes]
        chosen = {task.id for task in batch}
        self._queue = deque(task for task in self._queue if task.id not in chosen)
        results = self._batch(batch)
        self._forget()
        return results

    def _group(self, task: Task) -> Hashable:
        """Returns what changes the program: tasks that share it are trained together."""
        names, taught = self._context.static, self._context.teacher_hparams(task)
        static = tuple(task.hparams[name] for name in names)
        teacher = None if taught is None else tuple(taught[name] for name in names)
        return task.steps, task.evals, static, task.seconds, teacher, task.progress

    def held(self) -> dict[int, int]:
        """Returns the members whose newest states are in memory, each with the task that left it."""
        return {member: task for member, task in self._newest.items() if task in self._alive}

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields nothing: no task is running between two calls of `wait`."""
        return iter(())

    def close(self) -> None:
        self._queue.clear()
        self._alive.clear()

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _batch(self, tasks: list[Task]) -> list[Result]:
        context, began = self._context, clock.monotonic()
        damaged = {task.id: error for task in tasks if (error := self._unreadable(task))}
        results = [outcome.damaged(task, context.begin(task), damaged[task.id]) for task in tasks if task.id in damaged]
        tasks = [task for task in tasks if task.id not in damaged]
        if not tasks:
            return results
        begins = [context.begin(task) for task in tasks]
        try:
            carry, all_trained, refused = self._train(tasks, begins)
            saving = clock.monotonic()
            refs = self._commit(tasks, carry, [trained.step for trained in all_trained])
        except BaseException as error:
            if isinstance(error, UsageError) and not isinstance(error, MetricError):
                vars(error).pop("__notes__", None)  # of JAX, whose calls say nothing about it
                raise error.with_traceback(None) from None
            if is_interrupt(error) or (isinstance(error, PoptrainError) and not isinstance(error, MetricError)):
                raise
            seconds = (clock.monotonic() - began) / len(tasks)
            return results + [self._failed(task, begin, error, seconds) for task, begin in zip(tasks, begins, strict=True)]
        now = clock.monotonic()
        seconds, saving = (now - began) / len(tasks), (now - saving) / len(tasks)
        with collector.paused():
            for lane, task in enumerate(tasks):
                if lane in refused:
                    results.append(self._failed(task, begins[lane], refused[lane], seconds))
                    continue
                self._alive[task.id], self._newest[task.member] = (carry, lane), task.id
                results.append(all_trained[lane].result(task, refs[lane], seconds, saving))
        return results

    def _failed(self, task: Task, begin: int, error: BaseException, seconds: float) -> Result:
        """Returns the result of one member: of what the user's code raised, or of metrics that cannot be stored."""
        keep = self._context.keep_error
        if isinstance(error, MetricError):
            return outcome.refused(task, begin, error, keep, seconds)
        raised = error.error if isinstance(error, RaisedByUser) else error
        return outcome.user_error(task, begin, raised, keep, seconds)

    def _commit(self, tasks: list[Task], carry: Carry, steps: list[int]) -> list[str]:
        ids, members = [task.id for task in tasks], [task.member for task in tasks]
        name = self._context.group(tasks[0])
        return self._context.store.commit_population(name, carry, len(tasks), tasks=ids, members=members, steps=steps)

    def _train(self, tasks: list[Task], begins: list[int]) -> tuple[Carry, list[Trained], dict[int, MetricError]]:
        """Returns the carry, what each member reported, and, by lane, what is wrong with the metrics of a member."""
        context, population = self._context, self._population
        hparams = hparam_columns([task.hparams for task in tasks], context.static)
        seeds = np.array([task.seed for task in tasks], np.uint32)
        carry, teachers = self._start(tasks, hparams, seeds), self._teachers(tasks)
        head = tasks[0]
        with collector.paused():
            all_trained = [Trained(step=begin) for begin in begins]
        refused: dict[int, MetricError] = {}
        limit = head.seconds
        parts: Iterable[tuple[int, int]] = outcome.chunks(head)
        if limit is not None:
            parts = ((step, step + 1) for step in range(head.steps))
        until = clock.monotonic() + (limit or 0.0)
        for index, (first, last) in enumerate(parts):
            if index:  # the first chunk has the tasks' own seeds
                seeds = np.array([chunk_seed(task.seed, index) for task in tasks], np.uint32)
            if teachers is None:
                with boundary(population):
                    returned = population.train(carry, hparams, last - first, seeds)
            else:
                progress = outcome.progress_of(head, first, last)
                with boundary(population):
                    returned = distilling(population).distill(carry, teachers, hparams, last - first, seeds, progress)
            carry, metrics = checked_pair(returned, "train" if teachers is None else "distill")
            with collector.paused():
                _add_metrics(all_trained, tasks, metrics, context.metric, last - first, refused)
            if limit is not None and clock.monotonic() >= until:
                break
        return carry, all_trained, refused

    def _start(self, tasks: list[Task], hparams: HparamColumns, seeds: np.ndarray) -> Carry:
        """Returns the carries that the tasks start from, in their order: fresh ones, and copies of their parents'."""
        fresh = [lane for lane, task in enumerate(tasks) if task.parent is None]
        if len(fresh) == len(tasks):
            with boundary(self._population):
                return self._population.init(hparams, seeds)
        lanes: dict[int, tuple[Carry, int]] = {}
        if fresh:
            rows = {name: column[fresh] if isinstance(column, np.ndarray) else column for name, column in hparams.items()}
            with boundary(self._population):
                started = self._population.init(rows, seeds[fresh])
            lanes = {lane: (started, index) for index, lane in enumerate(fresh)}
        for lane, task in enumerate(tasks):
            if task.parent is not None:
                lanes[lane] = self._lane(task, task.parent, self._context.ref(task))
        with boundary(self._population):
            return self._population.gather([lanes[lane] for lane in range(len(tasks))])

    def _teachers(self, tasks: list[Task]) -> Carry | None:
        """Returns the carry of one teacher for each task, in their order; None if they have none."""
        taught = [(task, task.teacher) for task in tasks if task.teacher is not None]
        if not taught:
            return None
        distilling(self._population)
        with boundary(self._population):
            return self._population.gather([self._lane(task, id, self._context.teacher(task)) for task, id in taught])

    def _lane(self, task: Task, source: int, ref: str | None) -> tuple[Carry, int]:
        """Returns the population carry that holds the state of a parent or teacher, and its lane; read if it is not in memory."""
        if source not in self._alive:
            if ref is None:
                raise CheckpointDamaged(f"task {task.id} continues or learns from a task that has no checkpoint.")
            self._alive[source] = (carries.stacked(self._context.store.read(ref)), 0)
        return self._alive[source]

    def _unreadable(self, task: Task) -> CheckpointDamaged | None:
        """Returns what is wrong with the checkpoint that a task starts from, or None."""
        context = self._context
        try:
            if task.parent is not None:
                self._lane(task, task.parent, context.ref(task))
            if task.teacher is not None:
                self._lane(task, task.teacher, context.teacher(task))
        except CheckpointDamaged as error:
            return error
        return None

    def _forget(self) -> None:
        """Drops the states that are neither a seat's newest nor about to be used; a clone of an older one is read again."""
        wanted = {*self._newest.values(), *(source for task in self._queue for source in (task.parent, task.teacher))}
        self._alive = {task: alive for task, alive in self._alive.items() if task in wanted}


def _add_metrics(
    all_trained: list[Trained],
    tasks: list[Task],
    metrics: Metrics,
    metric: str,
    steps: int,
    refused: dict[int, MetricError],
) -> None:
    """Adds one chunk's metrics to every lane; columns of plain numbers are converted all at once.

    A lane with metrics that cannot be stored enters `refused`, and the other lanes go on.
    """
    if not isinstance(metrics, Mapping):
        raise MetricError(
            f"train returned {type(metrics).__name__} as metrics, expected a mapping such as {{{metric!r}: scores}}."
        )
    plain = {key: np.asarray(value) for key, value in metrics.items() if key not in outcome.FIELDS_OF_RESULT}
    usual = metric in plain and plain[metric].dtype.kind in "iuf" and len(plain) == len(metrics)
    usual = usual and all(column.dtype.kind in "iufb" for column in plain.values())
    if not usual or any(column.shape != (len(tasks),) for column in plain.values()):
        for lane, (trained, task) in enumerate(zip(all_trained, tasks, strict=True)):
            try:
                trained.add(_row(metrics, lane), metric, steps, f"member {task.member}, step {trained.step + steps}")
            except MetricError as error:
                refused.setdefault(lane, error)
        return
    scores = plain.pop(metric).astype(float).tolist()
    others = {str(key): column.astype(float).tolist() for key, column in plain.items()}
    for lane, trained in enumerate(all_trained):
        trained.step += steps
        trained.score = scores[lane]
        trained.curve += ((trained.step, scores[lane]),)
        for key, column in others.items():
            trained.metrics[key] = column[lane]


def _row(metrics: Metrics, lane: int) -> Metrics:
    """Returns the metrics of one lane."""
    try:
        return {key: value[lane] for key, value in metrics.items()}
    except (TypeError, LookupError) as error:
        raise MetricError(f"train returned metrics that are not one entry for each member ({error}).") from error
