"""What a task costs besides training: a decision, lines in the log, a durable checkpoint. A run that trains nothing shows it.

A step of a small model takes a millisecond, and a durable line in the log takes several, so that training alone says little about
how long such a run takes.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from poptrain.core import Carry, Hparams, Metrics, clock
from poptrain.core.errors import PoptrainError
from poptrain.engine import stop as stops
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.preflight.estimate import existing, kind_of, steps_between
from poptrain.trainable import Trainable

ROUNDS = 4  # of the algorithm
SECONDS = 5.0  # at most


def seconds_a_task(experiment: Experiment, directory: Path) -> float:
    """Returns the seconds that a task takes in a run in `directory`, apart from its training; 0 if that cannot be measured.

    A vectorized generation is one commit and two lines for all of its members: it is not measured, and counts as nothing.
    """
    interval, budget = steps_between(experiment.algorithm), experiment.budget
    if interval is None or budget is None or kind_of(experiment.executor) == "vectorized":
        return 0.0
    metric = experiment.metric

    def train(carry: Carry, hparams: Hparams, steps: int, seed: int) -> tuple[Carry, Metrics]:
        return {"seed": seed}, {metric: float(seed % 1009)}

    def distill(carry: Carry, teacher: Carry, hparams: Hparams, steps: int, seed: int, progress: object) -> tuple[Carry, Metrics]:
        return train(carry, hparams, steps, seed)

    stop = stops.any_of(stops.steps(min(budget, ROUNDS * interval)), stops.seconds(SECONDS))
    idle = Trainable(lambda hparams, seed: None, train, distill)
    try:
        with tempfile.TemporaryDirectory(prefix=".poptrain-check-", dir=existing(directory)) as folder:
            tried = replace(experiment, trainable=idle, stop=stop, executor="inline", sinks=(), checkpoints=None)
            began = clock.monotonic()
            run = execute(tried, Path(folder) / "run", announce=False)
            return (clock.monotonic() - began) / max(run.history.n, 1)
    except (PoptrainError, OSError):
        return 0.0
