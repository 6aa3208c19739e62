"""Inline: one task after another in this process. Nothing to set up; a step that hangs cannot be stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poptrain import clock
from poptrain.core import Result, Task
from poptrain.errors import CheckpointDamaged, PoptrainError
from poptrain.executors import segment
from poptrain.executors.context import Context
from poptrain.executors.forms import FunctionForm, form_of
from poptrain.space import nested


@dataclass(frozen=True)
class Inline:
    """The default executor."""

    def open(self, context: Context) -> InlineExecutor:
        """Returns the running executor."""
        return InlineExecutor(context)


class InlineExecutor:
    """Runs queued tasks in order, one at each `wait`."""

    def __init__(self, context: Context):
        self._member = Members(context)
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self) -> list[Result]:
        return [self._member.perform(self._queue.popleft())]

    def close(self) -> None:
        self._queue.clear()


class Members:
    """Performs tasks and keeps each seat's last state warm, so that a member that goes on is not loaded again.

    A clone always starts from the stored checkpoint: training it never touches its parent.
    """

    def __init__(self, context: Context):
        self.context = context
        self._form = form_of(context.trainable)
        self._warm: dict[int, tuple[int, Any]] = {}
        # A store in memory holds the carry itself: training on it would change the checkpoint.
        self._keeps_warm = context.store.durable or not isinstance(self._form, FunctionForm)

    def perform(self, task: Task, attempt: int = 1) -> Result:
        """Returns the result of a task: its checkpoint committed, or the error of the user's code as a value."""
        context = self.context
        began = clock.monotonic()
        step = context.begin(task)
        try:
            trained = self._train(task, step)
            ref = self._form.save(context.store, context.name(task, attempt), trained.state, task, trained.step)
        except CheckpointDamaged as error:
            return Result(task.id, float("nan"), step, error=f"CheckpointDamaged: {error}")
        except PoptrainError:
            raise
        except (Exception, SystemExit) as error:
            return segment.failure(task, step, error, context.keep_error, clock.monotonic() - began)
        if self._keeps_warm:
            self._warm[task.member] = (task.id, trained.state)
        return trained.result(task, ref, clock.monotonic() - began)

    def _train(self, task: Task, step: int) -> segment.Segment:
        context, form = self.context, self._form
        hparams: Mapping[str, Any] = nested(task.hparams)
        owner, state = self._warm.pop(task.member, (None, None))
        if task.parent is None:
            state = form.fresh(hparams, task.seed)
        elif owner != task.parent:
            state = form.load(context.store, context.ref(task), hparams, task.seed)
        if "seconds" in task.tags:
            return segment.train_for(form, state, task, hparams, step, context.metric, float(task.tags["seconds"]))
        teacher = None
        if task.teacher is not None:
            teacher = form.load(context.store, context.result(task.teacher).checkpoint, hparams, task.seed)
        return segment.train(form, state, task, hparams, step, context.metric, teacher)
