"""What an executor is given at the beginning of a session (see `executors.context`), and what lasts around its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from poptrain.algorithms.schedule_replay import ScheduleReplay
from poptrain.core import History
from poptrain.core.protocols import Executor, Store
from poptrain.engine import tracebacks
from poptrain.engine.experiment import Experiment
from poptrain.executors.context import Context
from poptrain.trainable import as_trainable


def context_of(
    experiment: Experiment, store: Store, history: Callable[[], History], epoch: int, directory: str | Path | None
) -> Context:
    """Returns everything but the tasks.

    Args:
        experiment: what is run.
        store: takes the checkpoints.
        history: returns the history as it is now.
        epoch: of the log.
        directory: of the run, or None.
    """
    algorithm = experiment.algorithm
    # A schedule inside a member extends over the budget; in a replay, over that of the run that it repeats.
    replayed = algorithm.horizon if isinstance(algorithm, ScheduleReplay) else None
    return Context(
        trainable=as_trainable(experiment.trainable),
        metric=experiment.metric,
        store=store,
        result=lambda id: history().result(id),
        lanes=algorithm.seats,
        static=tuple(algorithm.space.static_names),
        epoch=epoch,
        keep_error=tracebacks.keeper(directory),
        outputs=None if directory is None else Path(directory) / "output",
        budget=experiment.budget if replayed is None else replayed,
        hparams=lambda id: history().task(id).hparams,
    )


@contextmanager
def around(executor: Executor, *parts: AbstractContextManager[object]) -> Iterator[None]:
    """Enters `parts`, and closes the executor while they still last; also if the machine refuses what one of them needs."""
    with ExitStack() as entered:
        with ExitStack() as refused:
            refused.callback(executor.close)
            for part in parts:
                entered.enter_context(part)
            refused.pop_all()
        try:
            yield
        finally:
            executor.close()
