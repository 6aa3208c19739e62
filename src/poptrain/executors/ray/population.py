"""A population inside one actor: the vectorized executor, with the actor's share of the members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from poptrain.core import Hparams, Result, Task
from poptrain.executors.context import Context, KeepError, PopulationStore, Start
from poptrain.executors.ray.messages import ActorSetup
from poptrain.executors.vectorized import VectorizedExecutor


@dataclass(frozen=True)
class _StartsContext(Context):
    """A context without the results of other tasks: where each task starts has come along with the task."""

    starts: dict[int, Start] = field(default_factory=dict)

    def begin(self, task: Task) -> int:
        return self.starts[task.id].step

    def ref(self, task: Task) -> str | None:
        return self.starts[task.id].parent

    def teacher(self, task: Task) -> str | None:
        return self.starts[task.id].teacher

    def teacher_hparams(self, task: Task) -> Hparams | None:
        return self.starts[task.id].teacher_hparams

    def group(self, task: Task, attempt: int = 1) -> str:
        return self.starts[task.id].name


class ActorPopulation:
    """Trains the tasks of one call in one program, or in one for each group of equal static hyperparameters and steps."""

    def __init__(self, setup: ActorSetup, store: PopulationStore, keep_error: KeepError):
        self._context = _StartsContext(
            setup.trainable, setup.metric, store, lambda id: None, setup.lanes, setup.static, keep_error=keep_error
        )
        self._executor = VectorizedExecutor(self._context, setup.lanes)

    def held(self) -> dict[int, int]:
        return self._executor.held()

    def perform(self, orders: Sequence[tuple[Task, Start]]) -> Iterator[Result]:
        starts = self._context.starts
        starts.clear()
        starts.update((task.id, start) for task, start in orders)
        self._executor.submit([task for task, _ in orders])
        done = 0
        while done < len(orders):
            results = self._executor.wait()
            done += len(results)
            yield from results
