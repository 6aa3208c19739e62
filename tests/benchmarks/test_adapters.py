"""The adapters' benchmark counts what it says it counts."""

from __future__ import annotations

import pytest

import poptrain as pt
from benchmarks.adapters import MOST, SNIPPETS, code_lines, mutated
from poptrain.testing import quadratic


def test_lines_are_those_that_hold_code():
    text = '"""Two\nlines."""\n\nimport os  # one\n\n\n# a comment\n'
    text += 'def f():\n    """Said."""\n    return os.path.join(\n        "a",\n    )\n'
    assert code_lines(text) == 5


@pytest.mark.parametrize("snippet", ["torch_member", "sb3_agent"])
def test_adapters_need_few_lines(snippet):
    assert code_lines((SNIPPETS / f"{snippet}.py").read_text()) <= MOST


@pytest.mark.parametrize("late", [False, True])
def test_a_mutation_that_acts_late_is_not_counted(late):
    """Two looks at each task; the planted fault: the first one still sees the parent's hyperparameters."""
    run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5), quadratic, stop=pt.steps(50))
    tasks = [run.history.task(id) for id in range(run.history.n)]
    seen = []
    for task in tasks:
        before = task if task.parent is None or not late else tasks[task.parent]
        seen += [dict(before.hparams), dict(task.hparams)]
    mutations, effective = mutated(run, seen)
    assert mutations > 0 and effective == (0 if late else mutations)
