"""Every executor against the laws of the house: one row an executor and a form of trainable."""

from __future__ import annotations

import pytest

import poptrain as pt
from poptrain.testing import ExecutorContract, Faulty, Quadratic, quadratic
from poptrain.testing.executors import LIMIT, BadMetrics


class Failing(Quadratic):
    """`Quadratic` with a planted fault, which its subclasses name."""

    fault = ""

    def train(self, hp, steps):
        _, metrics = Faulty(self.fault, above=LIMIT)(None, hp, steps, self.seed)
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


def _in_functions(measured=("missing", "string", "bool", "none", "array")):
    measuring = {what: BadMetrics(what) for what in measured}
    return {"trainable": quadratic, "faulty": lambda fault: Faulty(fault, above=LIMIT), "measuring": measuring.get}


def _in_functions_elsewhere():
    return _in_functions(("missing", "array"))  # each starts processes


def _in_a_class():
    return {"trainable": Quadratic, "faulty": CLASSES.get, "measuring": CLASSES.get}


def _in_jax():
    pytest.importorskip("jax")
    import jax_toys

    return {"trainable": jax_toys.toy, "faulty": jax_toys.FAULTY.get, "measuring": jax_toys.MEASURING.get}


def _processes(slots=2):
    return pt.executors.Processes(slots=slots)


ROWS = {  # the trainable, the executor, the executor one at a time, and whether it equals inline bit for bit
    "inline, function": (_in_functions, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "inline, class": (_in_a_class, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "inline, JAX": (_in_jax, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "processes, function": (_in_functions_elsewhere, _processes, lambda: _processes(1), True),
    "processes, class": (_in_a_class, _processes, lambda: _processes(1), True),
    "vectorized, JAX": (_in_jax, lambda: pt.executors.Vectorized(), lambda: pt.executors.Vectorized(2), False),
}


class Formed(ExecutorContract):
    """The laws on one form of a trainable: `form`, as the functions above return it."""

    def trainable(self):
        return self.form["trainable"]

    def faulty(self, fault):
        return self.form["faulty"](fault)

    def measuring(self, what):
        return self.form["measuring"](what)


@pytest.mark.parametrize("row", ROWS)
class TestLaws(Formed):
    @pytest.fixture(autouse=True)
    def _row(self, row):
        form, self.config, self.narrow, self.exact = ROWS[row]
        self.form = form()
