"""Names that are not ASCII, exported on a machine without a UTF-8 locale."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import poptrain

SOURCES = str(Path(poptrain.__file__).parents[1])
EXPERIMENT = """
import poptrain as pt
def train(carry, hp, steps, seed):
    x = (carry or 0.0) + hp["lr"] * steps
    return x, {"précision": x}
space = pt.Space(lr=pt.LogUniform(0.01, 1), Größe=pt.Choice("petit é", "大"))
experiment = pt.Experiment(pt.pbt(space, population=3, interval=1), train, metric="précision", stop=pt.steps(2))
"""


@pytest.mark.heavy
def test_exports_are_utf8_in_every_locale(tmp_path):
    (tmp_path / "exp.py").write_text(EXPERIMENT, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    environment = kept | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": SOURCES}
    for words in (["run", "exp.py", "--dir", "r"], ["export", "r", "--table", "t.csv", "--best", "b"]):
        command = [sys.executable, "-m", "poptrain", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["précision"]) for row in rows) and {row["Größe"] for row in rows} <= {"petit é", "大"}
    assert json.loads((tmp_path / "b" / "best.json").read_text(encoding="utf-8"))["metric"] == "précision"
