"""Can a new member learn from a teacher, and go on after its state was stored?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from poptrain.audit.verdict import Verdict
from poptrain.core import Hparams
from poptrain.core.errors import MetricError
from poptrain.preflight.lab import Job, Lab, Probe

NAME = "distillation"
PARTS = ((0.0, 0.25), (0.25, 1.0))  # of the distillation, one task each


def taught(lab: Lab, teachers: Sequence[Probe], static: Sequence[str], steps: int, seeds: Iterator[int]) -> Verdict:
    """Returns whether a student of another architecture than its teacher's, if there are two, can be distilled from it.

    Args:
        teachers: healthy members; the student begins with the hyperparameters of one of them.
        static: the names of the static hyperparameters.
        steps: of each part of the distillation.
    """
    teacher, pupil = next(
        (pair for pair in permutations(teachers, 2) if _architecture(pair[0], static) != _architecture(pair[1], static)),
        (teachers[0], teachers[-1]),
    )
    student: Probe | None = None
    for number, part in enumerate(PARTS, 1):
        try:
            (student,) = lab.train([Job(pupil.task.hparams, steps, next(seeds), student, None, teacher, part)], cold=True)
            error = student.result.error
        except MetricError as raised:
            error = str(raised)
        if error is not None:
            when = "learn from a teacher" if number == 1 else "go on learning from a teacher after its state was loaded"
            return Verdict(NAME, "failed", f"a student could not {when}: {error}")
    other = "another architecture" if _architecture(teacher, static) != _architecture(pupil, static) else "the same architecture"
    return Verdict(NAME, "ok", f"a student learned from a teacher of {other}, in two parts")


def _architecture(probe: Probe, static: Sequence[str]) -> Hparams:
    return {name: probe.task.hparams[name] for name in static}
