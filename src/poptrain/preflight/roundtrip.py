"""Does save → load → continue equal continue? If not: is the checkpoint incomplete, or does training never repeat?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from math import isfinite

import numpy as np

from poptrain.audit.verdict import Verdict
from poptrain.engine.reads import checkpoint_faults
from poptrain.preflight.lab import Job, Lab, Probe, equal
from poptrain.trainable import in_directories, name_of

ROUNDING = 1e-5  # relative: the order of a sum may change this much
SIGNIFICANT = 6.0  # standard deviations; a larger difference is not explained by repetition
NOT_FINITE = "no score is finite, so there is nothing to compare"
LOADS = 8  # from one checkpoint, if training does not repeat itself


class RoundTrip:
    """The verdicts on repetition and on the checkpoint.

    Args:
        first: fresh members, trained for some steps by the warm executor.
        straight: the same members, one segment further, without a load.
    """

    def __init__(self, lab: Lab, first: Sequence[Probe], straight: Sequence[Probe]):
        self.lab = lab
        self.first, self.straight = first, straight
        fresh = [Job(p.task.hparams, p.task.steps, p.task.seed) for p in first]
        self.again = lab.train(fresh, cold=True)
        on = [replace(_job(s), parent=a, member=a.task.member) for s, a in zip(straight, self.again, strict=True)]
        self.repeated = lab.train(on, cold=True)
        self.loaded = lab.train(self._loads(0), cold=True)

    def _loads(self, shift: int) -> list[Job]:
        """Returns the continuation of every member from its checkpoint; `shift` changes the seed."""
        pairs = zip(self.straight, self.first, strict=True)
        return [replace(_job(s), parent=f, seed=(s.task.seed + shift) % 2**32) for s, f in pairs]

    @property
    def _twice(self) -> list[tuple[Probe, Probe]]:
        """The pairs of probes that were trained twice from a fresh start, with the same seeds."""
        return [*zip(self.first, self.again, strict=True), *zip(self.straight, self.repeated, strict=True)]

    @cached_property
    def clocks(self) -> frozenset[str]:
        """Metrics that differ every time, such as times and speeds: they do not count if the score repeats itself."""
        pairs = [(a.result.metrics, b.result.metrics) for a, b in self._twice]
        return frozenset(name for a, b in pairs for name in a if name in b and _relative(a[name], b[name]))

    @property
    def repeats(self) -> bool:
        """True if the same seeds gave the same scores twice."""
        return all(self._same(a, b) for a, b in self._twice)

    def _same(self, a: Probe, b: Probe) -> bool:
        return a.reported(self.clocks) == b.reported(self.clocks)

    def deterministic(self) -> Verdict:
        """Returns whether training repeats itself."""
        if not _any_finite(a for a, _ in self._twice):
            return Verdict("deterministic", "unclear", NOT_FINITE)
        if self.repeats:
            return Verdict("deterministic", "ok", "the same seeds gave the same scores twice, bit for bit")
        far = max(self._distance(a, b) for a, b in self._twice)
        if far <= ROUNDING:
            return Verdict("deterministic", "ok", f"the same seeds gave the same scores twice, to a relative {far:.1g}")
        text = (
            f"the same seeds gave scores that differ by a relative {far:.2g}, so runs cannot be repeated exactly: derive all "
            "random numbers from the seed that the trainable gets"
        )
        return Verdict("deterministic", "unclear", text)

    def saved(self) -> Verdict:
        """Returns whether a member that was loaded continues exactly like one that was not."""
        pairs = list(zip(self.straight, self.loaded, strict=True))
        if errors := [b.result.error for a, b in pairs if a.ok and not b.ok]:
            return self._verdict("failed", f"a member that was loaded cannot continue: {errors[0]}")
        if not _any_finite(a for a, _ in pairs):
            return self._verdict("unclear", NOT_FINITE)
        if all(self._same(a, b) for a, b in pairs):
            if self.repeats and self._without_effect():
                text = "a member that continues from a checkpoint does the same as a fresh one: is the checkpoint ever read?"
                return self._verdict("unclear", text)
            return self._states(pairs)
        far = max(self._distance(a, b) for a, b in pairs)
        if far <= ROUNDING:
            return self._verdict("ok", f"save → load → continue equals continue to a relative {far:.1g}, not to the bit")
        if self.repeats:
            return self._verdict("failed", f"{self._lost(far)}.{self._hint()}")
        return self._among_noise(far)

    def _states(self, pairs: Sequence[tuple[Probe, Probe]]) -> Verdict:
        """Returns the verdict if scores are equal: the next checkpoints should be equal too."""
        for (a, b), c in zip(pairs, self.repeated, strict=True):
            if not (a.ok and c.ok and self._same(a, c)):
                continue
            if not self.lab.alike(a, c):
                continue
            alike = self.lab.alike(a, b)
            if alike is None:
                text = "the same scores after a load; the next checkpoint differs in a pickle, which equal objects may do"
                return self._verdict("unclear", text)
            if not alike:
                text = (
                    "save → load → continue gives the same scores so far, but the next checkpoint differs: the checkpoint "
                    "does not hold all of the state, or load does not restore all of it"
                )
                return self._verdict("failed", text)
        return self._verdict("ok", "save → load → continue equals continue, bit for bit")

    def _among_noise(self, far: float) -> Verdict:
        """Returns the verdict if training does not repeat itself: do loaded members differ from each other as much?"""
        loads = [self.loaded, *(self.lab.train(self._loads(0), cold=True) for _ in range(LOADS - 1))]
        beyond = []
        for index, probe in enumerate(self.straight):
            scores = np.array([found[index].result.score for found in loads])
            if isfinite(probe.result.score) and np.isfinite(scores).all():
                spread = max(float(scores.std(ddof=1)), 1e-12 * abs(probe.result.score), 1e-300)
                beyond.append(abs(probe.result.score - float(scores.mean())) / spread)
        times = float(np.median(beyond)) if beyond else 0.0
        if times > SIGNIFICANT:
            return self._verdict("failed", f"{self._lost(far)}. The difference is {times:.0f} times that of repetitions.")
        text = f"after a load, scores differ by a relative {far:.2g}, as they do between repetitions: training is not exact"
        return self._verdict("unclear", text)

    def _without_effect(self) -> bool:
        """True if members that continue from their checkpoints do exactly what fresh ones do, in results and in checkpoints."""
        fresh = self.lab.train([_job(probe) for probe in self.straight], cold=True)
        pairs = list(zip(self.loaded, fresh, strict=True))
        return all(a.ok and b.ok and _trained(a) == _trained(b) for a, b in pairs) and all(
            equal(self.lab.state(a), self.lab.state(b)) for a, b in pairs
        )

    def _verdict(self, state: str, text: str) -> Verdict:
        return Verdict("save and load", state, text)

    def _lost(self, far: float) -> str:
        worst = max(zip(self.straight, self.loaded, strict=True), key=lambda pair: self._distance(*pair))
        a, b = (probe.result.score for probe in worst)
        what = f"gave {b!r}, continuing gave {a!r}" if a != b else f"changed the metrics by a relative {far:.2g}"
        return f"save → load → continue {what}: the checkpoint does not hold all of the state"

    def _hint(self) -> str:
        """Returns what is probably missing from the checkpoint; what the source proves is reported in the words of the run."""
        trainable = self.lab.trainable
        if proven := next(checkpoint_faults(trainable, name_of(trainable).partition(":")[2]), ""):
            return f" {proven}"
        if not in_directories(self.lab.trainable):
            return (
                " Something outside the carry changes the training, such as a global variable or an attribute of the trainable."
            )
        others = self.lab.train(self._loads(1), cold=True)  # a generator that is not saved starts again from the object's seed
        if not all(self._same(a, b) for a, b in zip(self.loaded, others, strict=True)):
            return " The result depends on the seed that the object was made with: save and load its random generator."
        return " It is not the random generator: check the optimiser's moments, step counters, normalisers and iterators."

    def _distance(self, a: Probe, b: Probe) -> float:
        """Returns how far apart the results of two probes are, relative to their size; 0 if they are equal."""
        if self._same(a, b):
            return 0.0
        x, y = a.result, b.result
        names = (x.metrics.keys() & y.metrics.keys()) - self.clocks
        pairs = [(x.score, y.score), *((x.metrics[name], y.metrics[name]) for name in names)]
        far = [_relative(*pair) for pair in pairs]
        return max(far) or float("inf")  # another curve, or other metrics


def _any_finite(probes: Iterable[Probe]) -> bool:
    return any(isfinite(probe.result.score) for probe in probes)


def _trained(probe: Probe) -> str:
    """Returns what a training reported, without its place on the lineage."""
    result = probe.result
    return repr((result.score, [score for _, score in result.curve], tuple(result.returns), sorted(result.metrics.items())))


def _job(probe: Probe) -> Job:
    return Job(probe.task.hparams, probe.task.steps, probe.task.seed)


def _relative(x: float, y: float) -> float:
    if x == y or (x != x and y != y):
        return 0.0
    if not (isfinite(x) and isfinite(y)):
        return float("inf")
    return abs(x - y) / max(abs(x), abs(y))
