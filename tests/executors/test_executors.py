"""Every executor against the laws of the house: one row an executor and a form of trainable."""

from __future__ import annotations

import pytest
from executor_table import Formed, in_a_class, in_a_command, in_functions, in_functions_elsewhere, in_jax

import poptrain as pt


def _processes(slots=2):
    return pt.executors.Processes(slots=slots)


ROWS = {  # the trainable, the executor, the executor one at a time, and whether it equals inline bit for bit
    "inline, function": (in_functions, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "inline, class": (in_a_class, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "inline, JAX": (in_jax, lambda: pt.executors.Inline(), lambda: pt.executors.Inline(), True),
    "processes, function": (in_functions_elsewhere, _processes, lambda: _processes(1), True),
    "processes, class": (in_a_class, _processes, lambda: _processes(1), True),
    "processes, command": (in_a_command, _processes, lambda: _processes(1), True),
    "vectorized, JAX": (in_jax, lambda: pt.executors.Vectorized(), lambda: pt.executors.Vectorized(2), False),
}


SLOW = {"processes, command", "processes, function", "inline, JAX"}  # slow, or a mixture of two rows that are not


@pytest.mark.parametrize("row", [pytest.param(row, marks=[pytest.mark.heavy] * (row in SLOW)) for row in ROWS])
class TestLaws(Formed):
    @pytest.fixture(autouse=True)
    def _row(self, row):
        form, self.config, self.narrow, self.exact = ROWS[row]
        self.form = form()
