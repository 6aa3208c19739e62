"""The preflight: it finds in a minute the mistakes that would otherwise cost a day. See `check`.

=================  ====================================================================================================
`flight`           one preflight: what is trained, for how long, and in which order the checks come
`lab`              tasks of the preflight's own, trained by real executors with real checkpoints
`metric`           is the metric a number, does it move, and does it move in the right direction?
`episodes`         do episodes end inside an interval?
`roundtrip`        does save → load → continue equal continue?
`lessons`          can a new member learn from a teacher?
`effects`          does every hyperparameter change the result?
`sight`            what can results show, and what does a live object say?
`threads`          do the threads of the members stand in each other's way?
`pace`             how long does one interval of one member take?
`pilot`            how long do the first rounds of the run itself take?
`estimate`         how much time and disk will the run take?
=================  ====================================================================================================
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from poptrain import executors
from poptrain.audit.verdict import Verdict
from poptrain.core import Hparams
from poptrain.core.answering import answering
from poptrain.core.arguments import check_place, check_seconds
from poptrain.core.errors import UsageError
from poptrain.engine.experiment import Experiment
from poptrain.preflight.estimate import Estimate
from poptrain.preflight.flight import CONFIGURATIONS, Flight, Preflight
from poptrain.preflight.lab import Job, Lab
from poptrain.preflight.roundtrip import RoundTrip

__all__ = ["Estimate", "Preflight", "check"]


@answering
def check(experiment: Experiment, *, seconds: float = 60.0, directory: str | Path = "runs") -> Preflight:
    """Returns what is wrong with an experiment, before it is run.

    A few members are trained for a few segments, saved, loaded, cloned and trained again, with other hyperparameters one by
    one. Nothing is kept.

    Args:
        experiment: as for ``poptrain run``; its algorithm draws the first configurations.
        seconds: the time limit; what could not be checked within it is unclear.
        directory: where the run would be, for the space on its disk.

    Raises:
        UsageError: the trainable does not fit the executor, or returns no score.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> found = pt.check(experiment)
    >>> found.ok, sorted({verdict.state for verdict in found.checks})
    (True, ['ok'])
    """
    if not isinstance(experiment, Experiment):
        raise UsageError(f"check: got {experiment!r:.80}, expected a pt.Experiment(algorithm, trainable, stop=…).")
    check_seconds("check", "seconds", seconds)
    check_place("check: directory", directory)
    executors.resolve(experiment.executor, experiment.trainable)
    space = experiment.algorithm.space
    with tempfile.TemporaryDirectory(prefix="poptrain-check-") as folder:
        lab = Lab(
            experiment.trainable,
            experiment.metric,
            Path(folder),
            static=space.static_names,
            executor=experiment.executor,
            lanes=max(CONFIGURATIONS, 1 + len(space)),
            budget=experiment.budget,
            seats=experiment.algorithm.seats,
        )
        try:
            return Flight(experiment, lab, float(seconds), Path(directory)).fly()
        finally:
            lab.close()


def verdict_of(trainable: object, hparams: Hparams, steps: int, metric_name: str, seed: int) -> Verdict:
    """Returns whether a trainable's checkpoint holds all of its state: the round trip alone, for one configuration."""
    with tempfile.TemporaryDirectory(prefix="poptrain-check-") as folder:
        lab = Lab(trainable, metric_name, Path(folder))
        try:
            first = lab.train([Job(hparams, steps, seed)])
            if not first[0].ok:
                return Verdict("save and load", "failed", f"training raised an error: {first[0].result.error}")
            straight = lab.train([Job(hparams, steps, seed + 1, first[0], first[0].task.member)])
            return RoundTrip(lab, first, straight).saved()
        finally:
            lab.close()
