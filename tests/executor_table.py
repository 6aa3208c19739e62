"""The forms of a trainable that the laws of the executors are tested on; test files of several rooms share them."""

from __future__ import annotations

import pytest
from command_toy import __file__ as COMMAND_TOY
from failing_toys import CLASSES

import poptrain as pt
from poptrain.testing import ExecutorContract, Faulty, Quadratic, quadratic
from poptrain.testing.trainables import FAULTY_ABOVE, BadMetrics


def in_functions(measured=("missing", "string", "bool", "none", "array")):
    measuring = {what: BadMetrics(what) for what in measured}
    return {"trainable": quadratic, "faulty": lambda fault: Faulty(fault, above=FAULTY_ABOVE), "measuring": measuring.get}


def in_functions_elsewhere():
    return in_functions(("missing", "array"))  # each of them starts processes


def in_a_class():
    return {"trainable": Quadratic, "faulty": CLASSES.get, "measuring": CLASSES.get}


def in_a_command():
    def toy(fault="", above=FAULTY_ABOVE):
        return pt.command(["python", "-S", COMMAND_TOY, "{lr}", "{steps}", "{checkpoint}", fault, str(above)])

    faults = {name: toy(name) for name in ("raise", "nan", "inf")}
    return {"trainable": toy(), "faulty": faults.get, "measuring": {name: toy(name, -1) for name in ("missing", "string")}.get}


def in_jax():
    pytest.importorskip("jax")
    import jax_toys

    return {"trainable": jax_toys.toy, "faulty": jax_toys.FAULTY.get, "measuring": jax_toys.MEASURING.get}


class Formed(ExecutorContract):
    """The laws on one form of a trainable: `form`, as the functions above return it."""

    def trainable(self):
        return self.form["trainable"]

    def faulty(self, fault):
        return self.form["faulty"](fault)

    def measuring(self, what):
        return self.form["measuring"](what)
