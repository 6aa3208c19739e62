"""Inline: one task after another in this process. Nothing to set up; a step that hangs cannot be stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from poptrain.core import Result, Task, clock
from poptrain.core.errors import CheckpointDamaged, PoptrainError
from poptrain.executors import outcome
from poptrain.executors.adapters import form_of
from poptrain.executors.context import Context, Start
from poptrain.executors.outcome import Form

KeepError = Callable[[str, str], None]


@dataclass(frozen=True)
class Inline:
    """The default executor."""

    def open(self, context: Context) -> InlineExecutor:
        """Returns the running executor."""
        return InlineExecutor(context)


class InlineExecutor:
    """Runs queued tasks in order, one at each `wait`."""

    def __init__(self, context: Context):
        self._context = context
        self._members = Members(form_of(context.trainable, context.static), context.metric, context.store, context.keep_error)
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self) -> list[Result]:
        task = self._queue.popleft()
        return [self._members.perform(task, self._context.start(task))]

    def close(self) -> None:
        self._queue.clear()


class Members:
    """Performs tasks and keeps each member's last state warm, so that a member that goes on is not loaded again.

    A clone always starts from the stored checkpoint: training it never touches its parent.

    Args:
        form: of the trainable, from `form_of`.
        keep_error: takes the name and the text of a traceback.
        warm: the most states that are kept, those of the members that trained last; None keeps all.
    """

    def __init__(self, form: Form, metric: str, store: Any, keep_error: KeepError, warm: int | None = None):
        self._form, self._metric, self._store, self._keep_error = form, metric, store, keep_error
        self._limit = warm
        self._warm: dict[int, tuple[int, Any]] = {}  # member -> its last task and state, the newest at the end

    def perform(self, task: Task, start: Start) -> Result:
        """Returns the result of a task: its checkpoint committed, or the error of the user's code as a value."""
        began = clock.monotonic()
        try:
            trained = self._train(task, start)
            saving = clock.monotonic()
            ref = self._form.save(self._store, start.name, trained.state, task, trained.step)
        except CheckpointDamaged as error:
            return outcome.damaged(task, start.step, error)
        except PoptrainError:
            raise
        except (Exception, SystemExit) as error:
            return outcome.failure(task, start.step, error, self._keep_error, clock.monotonic() - began)
        self._warm[task.member] = (task.id, trained.state)
        if self._limit is not None and len(self._warm) > self._limit:
            del self._warm[next(iter(self._warm))]
        now = clock.monotonic()
        return trained.result(task, ref, now - began, now - saving)

    def _train(self, task: Task, start: Start) -> outcome.Segment:
        form, metric, step = self._form, self._metric, start.step
        hparams = task.hparams
        owner, state = self._warm.pop(task.member, (None, None))
        if task.parent is None:
            state = form.fresh(hparams, task.seed)
        elif owner != task.parent:
            state = form.load(self._store, start.parent, hparams, task.seed)
        if task.seconds is not None:
            return outcome.train_for(form, state, task, hparams, step, metric, task.seconds)
        teacher = None
        if task.teacher is not None:
            teacher = form.load(self._store, start.teacher, hparams, task.seed)
        return outcome.train(form, state, task, hparams, step, metric, teacher)
