"""A bench for executors: tasks go in, results come out, without a run around it. And how two results are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poptrain.checkpoints import carry as carries
from poptrain.core import Result, Task
from poptrain.core.protocols import Store
from poptrain.core.rng import task_seed
from poptrain.engine.result import Run
from poptrain.executors.context import Context, ExecutorConfig
from poptrain.trainable import as_trainable


class Bench:
    """An executor and a store. Used as a context manager, it closes the executor."""

    def __init__(
        self,
        config: ExecutorConfig,
        trainable: object,
        store: Store,
        epoch: int = 1,
        lanes: int = 4,
        outputs: Path | None = None,
    ):
        self.results: dict[int, Result] = {}
        self.pending: set[int] = set()
        self.errors: dict[str, str] = {}
        context = Context(
            as_trainable(trainable),
            "score",
            store,
            self.results.get,
            lanes,
            epoch=epoch,
            keep_error=self.errors.__setitem__,
            outputs=outputs,
        )
        self.executor = config.open(context)

    def submit(self, tasks: Sequence[Task]) -> None:
        self.pending |= {task.id for task in tasks}
        self.executor.submit(tasks)

    def wait(self) -> list[Result]:
        results = self.executor.wait()
        assert results, "wait returns at least one result"
        for result in results:
            self.pending.remove(result.task)  # each task is answered once
            self.results[result.task] = result
        return results

    def perform(self, tasks: Sequence[Task]) -> list[Result]:
        """Returns the results of tasks, in their order."""
        self.submit(tasks)
        while self.pending:
            self.wait()
        return [self.results[task.id] for task in tasks]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.close()


def task(id: int, member: int, *, parent: int | None = None, lr: float = 0.02, steps: int = 5, evals: int = 1) -> Task:
    """Returns a task of run seed 0."""
    return Task(id, member, {"lr": lr}, parent, steps, task_seed(0, id), evals)


def tasks_of(run: Run) -> list[Task]:
    """Returns all tasks of a run."""
    return [run.history.task(id) for id in range(run.history.n)]


def results_of(run: Run) -> list[Result]:
    """Returns the results of all tasks of a finished run."""
    results = [run.history.result(id) for id in range(run.history.n)]
    return [result for result in results if result is not None]


def comparable(result: Result) -> str:
    """Returns what must be equal wherever and whenever a task is done: all but the time and the checkpoint's name."""
    r = result
    return repr((r.task, r.score, r.step, r.curve, r.returns, dict(r.metrics), r.error, r.kind))


def contents(store: Store, ref: str | None) -> object:
    """Returns every byte of a checkpoint, without its name and time; None for no checkpoint."""
    if ref is None:
        return None
    if store.is_directory(ref):
        root = store.path(ref)
        return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
    structure, arrays = carries.flatten(store.read(ref))
    return repr(structure), {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
