"""Members: the tasks of single members, performed one after another in one process. Inline uses them, and every worker does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic

from poptrain.core import Hparams, Result, Task, clock
from poptrain.core.errors import CheckpointDamaged, MetricError, PoptrainError
from poptrain.core.rng import chunk_seed
from poptrain.core.user_objects import is_interrupt
from poptrain.executors import outcome
from poptrain.executors.adapters import Form, StateT
from poptrain.executors.context import KeepError, MemberStore, Start
from poptrain.executors.outcome import Trained
from poptrain.executors.users_code import RaisedByUser


class Members(Generic[StateT]):
    """Performs tasks and keeps the last state of each member in memory, so that a member that goes on is not loaded again.

    A clone always starts from the stored checkpoint: training it never touches its parent. If `warm` states are kept, the
    oldest is closed before another one is made: a member that waits holds neither memory nor a simulator.

    Args:
        form: of the trainable, from `form_of`.
        keep_error: takes the name and the text of a traceback.
        warm: the most states in memory, those of the members that trained last.
    """

    def __init__(self, form: Form[StateT], metric: str, store: MemberStore, keep_error: KeepError, warm: int):
        self._form, self._metric, self._store, self._keep_error = form, metric, store, keep_error
        self._limit = warm
        self._warm: dict[int, tuple[int, StateT]] = {}  # member -> its last task and state, the newest at the end

    def perform(self, task: Task, start: Start) -> Result:
        """Returns the result of a task: its checkpoint is committed, or the error of the user's code is its value."""
        began = clock.monotonic()
        try:
            state = self._ready(task, start)
            try:
                state, trained = self._train(state, task, start)
                saving = clock.monotonic()
                ref = self._form.save(self._store, start.name, state, task, trained.step)
            except BaseException:
                self._form.close(state)
                raise
        except RaisedByUser as raised:
            return outcome.user_error(task, start.step, raised.error, self._keep_error, clock.monotonic() - began)
        except CheckpointDamaged as error:
            return outcome.damaged(task, start.step, error)
        except MetricError as error:
            return outcome.refused(task, start.step, error, self._keep_error, clock.monotonic() - began)
        except PoptrainError:
            raise
        except BaseException as error:  # what training returned cannot be read or stored: its methods are the user's code
            if is_interrupt(error):
                raise
            return outcome.user_error(task, start.step, error, self._keep_error, clock.monotonic() - began)
        self._warm[task.member] = (task.id, state)
        now = clock.monotonic()
        return trained.result(task, ref, now - began, now - saving)

    def held(self) -> dict[int, int]:
        """Returns the members whose states are in memory, each with the task that left it."""
        return {member: task for member, (task, _) in self._warm.items()}

    def close(self) -> None:
        """Closes the states in memory."""
        self._leave(0)

    # -- which states are in memory ------------------------------------------------------------------------------------

    def _ready(self, task: Task, start: Start) -> StateT:
        """Returns the state from which a task trains: fresh, in memory, or loaded."""
        if task.member in self._warm and (task.parent is None or self._warm[task.member][0] != task.parent):
            self._close(task.member)
        kept = self._warm.pop(task.member, None)
        self._leave(self._limit - 1)  # before another state is made
        if kept is not None:
            state = kept[1]
        elif task.parent is None:
            state = self._form.fresh(task.hparams, task.seed)
        else:
            state = self._load(task, start.parent, task.hparams)
        self._form.expect(state, start)
        return state

    def _leave(self, most: int) -> None:
        """Closes the states of those that trained longest ago, until `most` are left."""
        while len(self._warm) > max(most, 0):
            self._close(next(iter(self._warm)))

    def _close(self, member: int) -> None:
        """Closes a state and frees its memory now, also where objects of the user refer to each other in a circle."""
        _, state = self._warm.pop(member)
        self._form.close(state)
        watched = list(_references(state))
        del state
        if any(reference() is not None for reference in watched):
            gc.collect()

    def _load(self, task: Task, ref: str | None, hparams: Hparams) -> StateT:
        if ref is None:
            raise CheckpointDamaged(f"task {task.id} continues or learns from a task that has no checkpoint.")
        return self._form.load(self._store, ref, hparams, task.seed)

    # -- training ------------------------------------------------------------------------------------------------------

    def _train(self, state: StateT, task: Task, start: Start) -> tuple[StateT, Trained]:
        if task.seconds is not None:
            return self._train_for(state, task, start.step, task.seconds)
        if task.teacher is None:
            return self._train_chunks(state, task, start.step, None)
        teacher = self._load(task, start.teacher, start.teacher_hparams or task.hparams)
        try:
            return self._train_chunks(state, task, start.step, teacher)
        finally:
            self._form.close(teacher)

    def _train_chunks(self, state: StateT, task: Task, begin: int, teacher: StateT | None) -> tuple[StateT, Trained]:
        """Trains the task in `evals` chunks; chunk j is seeded by (seed, j). A task of zero steps is evaluated only."""
        trained = Trained(step=begin)
        for index, (first, last) in enumerate(outcome.chunks(task)):
            steps, seed = last - first, chunk_seed(task.seed, index)
            if teacher is None:
                state, metrics = self._form.train(state, task.hparams, steps, seed)
            else:
                progress = outcome.progress_of(task, first, last)
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


def _references(state: object) -> Iterator[weakref.ref[object]]:
    """Yields weak references to a user's object and to its attributes."""
    if not isinstance(state, (dict, list, tuple)):
        for part in (state, *getattr(state, "__dict__", {}).values()):
            with suppress(TypeError):  # numbers, texts and lists cannot be referred to weakly
                yield weakref.ref(part)
