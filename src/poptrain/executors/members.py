"""Members: the tasks of single members, performed one after another in one process. Inline uses them, and every worker does."""

from __future__ import annotations

from typing import Generic

from poptrain.core import Result, Task, clock
from poptrain.core.errors import CheckpointDamaged, MetricError, PoptrainError
from poptrain.core.rng import chunk_seed
from poptrain.executors import outcome
from poptrain.executors.adapters import Form, Progress, StateT
from poptrain.executors.context import KeepError, MemberStore, Start
from poptrain.executors.outcome import Trained
from poptrain.executors.users_code import RaisedByUser


class Members(Generic[StateT]):
    """Performs tasks and keeps the last state of each member in memory, so that a member that goes on is not loaded again.

    A clone always starts from the stored checkpoint: training it never touches its parent.

    Args:
        form: of the trainable, from `form_of`.
        keep_error: takes the name and the text of a traceback.
        warm: the most states that are kept, those of the members that trained last; None keeps all.
    """

    def __init__(self, form: Form[StateT], metric: str, store: MemberStore, keep_error: KeepError, warm: int | None = None):
        self._form, self._metric, self._store, self._keep_error = form, metric, store, keep_error
        self._limit = warm
        self._warm: dict[int, tuple[int, StateT]] = {}  # member -> its last task and state, the newest at the end

    def perform(self, task: Task, start: Start) -> Result:
        """Returns the result of a task: its checkpoint is committed, or the error of the user's code is its value."""
        began = clock.monotonic()
        try:
            state, trained = self._train(task, start)
            saving = clock.monotonic()
            ref = self._form.save(self._store, start.name, state, task, trained.step)
        except RaisedByUser as raised:
            return outcome.user_error(task, start.step, raised.error, self._keep_error, clock.monotonic() - began)
        except CheckpointDamaged as error:
            return outcome.damaged(task, start.step, error)
        except MetricError as error:
            return outcome.refused(task, start.step, error, self._keep_error, clock.monotonic() - began)
        except PoptrainError:
            raise
        except Exception as error:  # what training returned cannot be stored
            return outcome.user_error(task, start.step, error, self._keep_error, clock.monotonic() - began)
        self._warm[task.member] = (task.id, state)
        if self._limit is not None and len(self._warm) > self._limit:
            del self._warm[next(iter(self._warm))]
        now = clock.monotonic()
        return trained.result(task, ref, now - began, now - saving)

    def _train(self, task: Task, start: Start) -> tuple[StateT, Trained]:
        kept = self._warm.pop(task.member, None)
        if task.parent is None:
            state = self._form.fresh(task.hparams, task.seed)
        elif kept is not None and kept[0] == task.parent:
            state = kept[1]
        else:
            state = self._load(task, start.parent)
        if task.seconds is not None:
            return self._train_for(state, task, start.step, task.seconds)
        teacher = None if task.teacher is None else self._load(task, start.teacher)
        return self._train_chunks(state, task, start.step, teacher)

    def _load(self, task: Task, ref: str | None) -> StateT:
        if ref is None:
            raise CheckpointDamaged(f"task {task.id} continues or learns from a task that has no checkpoint.")
        return self._form.load(self._store, ref, task.hparams, task.seed)

    def _train_chunks(self, state: StateT, task: Task, begin: int, teacher: StateT | None) -> tuple[StateT, Trained]:
        """Trains the task in `evals` chunks; chunk j is seeded by (seed, j). A task of zero steps is evaluated only."""
        trained = Trained(step=begin)
        for index, (first, last) in enumerate(outcome.chunks(task)):
            steps, seed = last - first, chunk_seed(task.seed, index)
            if teacher is None:
                state, metrics = self._form.train(state, task.hparams, steps, seed)
            else:
                progress = _progress(task, first, last)
                state, metrics = self._form.distill(state, teacher, task.hparams, steps, seed, progress)
            trained.add(metrics, self._metric, steps, f"member {task.member}, step {trained.step + steps}")
        return state, trained

    def _train_for(self, state: StateT, task: Task, begin: int, seconds: float) -> tuple[StateT, Trained]:
        """Trains in single steps until `seconds` have passed: the interval of the algorithm is a time."""
        trained = Trained(step=begin)
        until = clock.monotonic() + seconds
        for index in range(task.steps):
            state, metrics = self._form.train(state, task.hparams, 1, chunk_seed(task.seed, index))
            trained.add(metrics, self._metric, 1, f"member {task.member}, step {trained.step + 1}")
            if clock.monotonic() >= until:
                break
        trained.curve = trained.curve[-1:]
        return state, trained


def _progress(task: Task, first: int, last: int) -> Progress:
    """Returns the part of the distillation that one chunk covers."""
    if task.progress is None or not task.steps:
        return task.progress
    begin, end = task.progress
    width = (end - begin) / task.steps
    return begin + width * first, begin + width * last
