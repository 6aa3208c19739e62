"""The first rounds of the run itself, with its executor, in a temporary directory: they show how long the rest takes.

The first round holds what happens once: workers start, libraries are imported, programs are compiled. The rounds after it hold
all that a task costs: training side by side, loading and saving, the decision, durable lines in the log.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from poptrain.core import History, Task
from poptrain.core.errors import PoptrainError, Suspended
from poptrain.core.protocols import Algorithm, Ranges
from poptrain.engine import stop as stops
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.log.reader import Record
from poptrain.preflight.estimate import Times, existing
from poptrain.views.index import reported

ROUNDS = 5  # of the algorithm, at most
FEWEST_ROUNDS = 2  # one that starts everything, and one that shows how long the others take


@dataclass(frozen=True)
class Opening:
    """An algorithm that asks for nothing more after this number of tasks."""

    algorithm: Algorithm
    tasks: int

    @property
    def space(self) -> Ranges:
        """The hyperparameters of the algorithm."""
        return self.algorithm.space

    @property
    def seats(self) -> int:
        """The seats of the algorithm."""
        return self.algorithm.seats

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks of the algorithm."""
        return self.algorithm.ask(history) if history.n < self.tasks else ()

    def needed(self, history: History) -> frozenset[int]:
        """Returns what the algorithm needs."""
        return self.algorithm.needed(history)


def pilot(experiment: Experiment, budget: int, rounds: int, limit: float, directory: Path) -> Times | None:
    """Returns how long the first rounds of the run took; None if they cannot be measured.

    Args:
        budget: steps of a member in the whole run.
        limit: seconds after which no more tasks are asked for.
        directory: where the run would be.

    Raises:
        KeyboardInterrupt: a person interrupted it.
    """
    opening = Opening(experiment.algorithm, rounds * experiment.algorithm.seats)
    stop = stops.any_of(stops.steps(budget), stops.seconds(limit))
    tried = replace(experiment, algorithm=opening, stop=stop, sinks=(), checkpoints=None)
    try:
        with tempfile.TemporaryDirectory(prefix=".poptrain-check-", dir=existing(directory)) as folder:
            record = execute(tried, Path(folder) / "run", announce=False).record
    except Suspended as stopped:
        if stopped.asked:
            raise KeyboardInterrupt from None
        return None
    except (PoptrainError, OSError):
        return None
    if record.suspended:  # a notebook returns an interrupted run
        raise KeyboardInterrupt
    return _measured(record, opening.seats)


def _measured(record: Record, seats: int) -> Times | None:
    """Returns what the log of a pilot says."""
    history = record.history()
    told, steps, ids = history.column("told"), history.column("steps"), np.array(reported(history), int)
    trained = ids[steps[ids] > 0]
    if len(trained) <= seats:
        return None
    times = np.asarray(record.times, float)
    order = trained[np.argsort(told[trained], kind="stable")]
    first, last = told[order[seats - 1]], told[order[-1]]
    later = order[told[order] > first]
    if not len(later):
        return None
    per_step = float(times[last] - times[first]) / float(steps[later].sum())
    early = float(steps[order].sum() - steps[later].sum())
    start = record.elapsed - float(times[last] - times[first]) - per_step * early
    return Times(max(start, 0.0), per_step, shared=True)
