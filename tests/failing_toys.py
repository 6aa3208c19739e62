"""Classes with planted faults, for the contract of the executors. Worker processes import them, so this file imports little."""

from __future__ import annotations

from poptrain.testing.trainables import FAULTY_ABOVE, BadMetrics, Faulty, Quadratic


class Failing(Quadratic):
    """`Quadratic` with a planted fault, which its subclasses name."""

    fault = ""

    def train(self, hp, steps):
        _, metrics = Faulty(self.fault, above=FAULTY_ABOVE)(None, hp, steps, self.seed)
        return {**super().train(hp, steps), **({"score": metrics["score"]} if self.fault in ("nan", "inf") else {})}


class Raising(Failing):
    fault = "raise"


class Exiting(Failing):
    fault = "sys.exit"


class Diverging(Failing):
    fault = "nan"


class Exploding(Failing):
    fault = "inf"


class Measuring(Quadratic):
    what = ""

    def train(self, hp, steps):
        super().train(hp, steps)
        return BadMetrics(self.what)(None, hp, steps, self.seed)[1]


class Missing(Measuring):
    what = "missing"


class Wordy(Measuring):
    what = "string"


CLASSES = {"raise": Raising, "sys.exit": Exiting, "nan": Diverging, "inf": Exploding, "missing": Missing, "string": Wordy}
