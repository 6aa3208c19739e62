"""The notebooks of the documentation, executed in a real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def executed(name, folder):
    """Returns the outputs of the code cells of a notebook that ran in an empty folder: (text, html, has a picture) of each."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    client(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute(
        env={**os.environ, "PYTHONPATH": paths, "IPYTHONDIR": str(folder)}
    )
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = [output.get("data", {}) for output in cell.outputs]
            text = "".join(output.get("text", "") for output in cell.outputs) + "".join(
                each.get("text/plain", "") for each in data
            )
            found.append((text, "".join(each.get("text/html", "") for each in data), any("image/png" in each for each in data)))
    return found


@pytest.mark.heavy
def test_the_first_run_shows_a_bar_its_result_pictures_and_a_frame(tmp_path):
    cells = executed("first_run", tmp_path)
    space, run, best, schedule, score, hparams, frame = cells[1:]
    assert "LogUniform(0.001, 10.0)" in space[1]
    assert "finished: 160 results in" in run[1], "the bar ends as a line about the whole run"
    assert "Run: pbt with 8 members finished after 160 results" in run[1] and "val_loss" in run[1]
    assert "'accuracy'" in best[0] and "(10,)" in best[0] and "from step" in schedule[1]
    assert score[2] and hparams[2] and "val_loss" in frame[1]


@pytest.mark.heavy
def test_a_study_trains_functions_of_the_notebook_in_processes_and_continues(tmp_path):
    cells = executed("study", tmp_path)
    first, more, picture, run = cells[2:]
    assert "random (4)" in first[0] and "pb2" in first[1] and "it wins with probability" in first[1]
    assert more[0].rstrip().endswith("[5, 5, 5]") and picture[2] and "pbt with 4 members" in run[1]
    assert len(list((tmp_path / "runs" / "study").iterdir())) == 15


@pytest.mark.heavy
def test_an_interrupted_cell_returns_the_run_and_the_same_call_continues_it(tmp_path):
    cells = executed("interrupt", tmp_path)
    partial, whole, loaded = cells[2:]
    assert "make the same call again to continue" in partial[0] and "suspended (SIGINT)" not in whole[1]
    assert "pbt with 4 members suspended" in partial[1] and "pbt with 4 members finished after 32 results" in whole[1]
    assert "<loss " in loaded[0]
