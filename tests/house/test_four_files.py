"""A new algorithm touches four files: itself, a line in `algorithms/__init__`, a row in the contract table, a page in docs/."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import poptrain as pt
from poptrain import algorithms

ROOT = Path(__file__).parents[2]
TOY = '''"""Every member copies the best one after every round, and moves a little."""

from dataclasses import dataclass

from poptrain.algorithms.parts import turns
from poptrain.core.rng import rng


def copy_the_best(space, population=8, *, interval):
    """Returns the toy."""
    return CopyTheBest(space, population, interval)


@dataclass(frozen=True)
class CopyTheBest:
    space: object
    population: int
    interval: int
    name: str = "copy_the_best"

    @property
    def seats(self):
        return self.population

    def ask(self, history):
        if history.n == 0:
            return turns.first_round(history, self.space, self.population, self.interval)
        seats, best = turns.turns(history, sync=True), history.best()
        if not seats or best is None:
            return ()
        hparams = history.task(best).hparams
        draws = [self.space.perturb(hparams, rng(history.seed, history.n + k, "explore")) for k in range(len(seats))]
        return turns.segments(history, [turns.Plan(*each) for each in zip(seats, [best] * len(seats), draws)], self.interval)

    def needed(self, history):
        best = history.best()
        return turns.needed(history) | (frozenset() if best is None else {best})
'''
USE = """
import sys, json, poptrain as pt
experiment = pt.Experiment(
    pt.copy_the_best(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20)
)
assert "copy_the_best" in pt.__all__ and "copy_the_best" in dir(pt)
run = pt.run(experiment.algorithm, experiment.trainable, stop=experiment.stop, directory="run")
longer = pt.run(experiment.algorithm, experiment.trainable, stop=pt.steps(30), directory="run")
assert longer.history.n > run.history.n and pt.verify("run").ok
assert pt.views.status(longer.record).algorithm == "copy_the_best"
"""


def test_the_package_needs_the_file_of_an_algorithm_and_one_line(tmp_path):
    """The two other files are its row in the contract table and its page; see below."""
    shutil.copytree(ROOT / "src" / "poptrain", tmp_path / "poptrain", ignore=shutil.ignore_patterns("__pycache__"))
    inside = tmp_path / "poptrain" / "algorithms"
    (inside / "copy_the_best.py").write_text(TOY)
    listing = (inside / "__init__.py").read_text()
    line = "from poptrain.algorithms.copy_the_best import copy_the_best as copy_the_best\n"
    first = listing.index("from poptrain")
    (inside / "__init__.py").write_text(listing[:first] + line + listing[first:])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_algorithm_is_public():
    assert set(algorithms.__all__) <= set(pt.__all__)
    assert all(getattr(pt, name) is getattr(algorithms, name) for name in algorithms.__all__)


def test_every_algorithm_has_a_row_in_the_contract_table():
    path = ROOT / "tests" / "algorithms" / "test_algorithms.py"
    spec = importlib.util.spec_from_file_location("contract_table", path)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    rows = {re.match(r"\w+", row)[0] for row in table.ROWS}
    assert rows == set(algorithms.__all__)


def test_every_algorithm_has_a_page():
    pages = {page: page.read_text() for page in (ROOT / "docs").rglob("*.md")}
    for name in algorithms.__all__:
        own = [page.name for page, text in pages.items() if f"pt.{name}(" in text]
        assert own, f"no page of docs/ shows pt.{name}(…)"
