"""The table of a run has every logged number under the user's own names, in Python, as CSV and as a data frame."""

from __future__ import annotations

import csv
import io

import pytest

import poptrain as pt
from poptrain.sinks.best import table_as_csv

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), step=pt.Int(1, 8), gap=pt.Uniform(0.0, 1.0))


def train(carry, hp, steps, seed):
    x = (1.0 if carry is None else carry) * (1 - hp["lr"]) ** steps
    if seed % 5 == 0:
        raise ValueError("a planted fault")
    metrics = {"val_loss": x * x, "gap": 1.0, "seconds": 2.0}
    return x, metrics if seed % 3 else {**metrics, "rare": 7}


@pytest.fixture(scope="module")
def run():
    with pytest.warns(pt.errors.RunWarning):
        return pt.run(
            pt.pbt(SPACE, population=4, interval=5), train, metric="val_loss", mode="min", stop=pt.steps(40), progress=False
        )


def test_every_number_has_the_name_that_the_user_gave_it(run):
    table = run.table()
    assert list(table) == [
        *("task", "member", "parent", "steps", "step", "val_loss", "gap", "metrics.seconds", "rare", "lr", "hparams.step"),
        *("hparams.gap", "seconds", "kind", "error"),
    ]
    assert {len(column) for column in table.values()} == {run.history.n}
    best = run.best
    assert table["val_loss"][best.task.id] == best.score and table["lr"][best.task.id] == best.hparams["lr"]
    assert table["metrics.seconds"][best.task.id] == 2.0 and set(table["rare"]) == {None, 7.0}
    failed = [row for row, kind in enumerate(table["kind"]) if kind == "failed"]
    assert failed and all("a planted fault" in table["error"][row] for row in failed)


def test_the_best_result_has_every_metric(run):
    assert run.best.metrics["val_loss"] == run.best.score and run.best.metrics["gap"] == 1.0


def test_the_csv_has_the_same_columns(run):
    rows = list(csv.DictReader(io.StringIO(table_as_csv(run.record, run.history))))
    assert list(rows[0]) == list(run.table()) and float(rows[0]["lr"]) == run.table()["lr"][0]


@pytest.mark.heavy
def test_a_data_frame_has_the_same_columns_and_whole_numbers_stay_whole(run):
    frame = run.to_pandas()
    assert list(frame) == list(run.table()) and len(frame) == run.history.n
    assert str(frame["parent"].dtype) == "Int64" and str(frame["val_loss"].dtype) == "float64"
    assert frame.groupby("member")["val_loss"].min().min() == min(s for s in run.table()["val_loss"] if s is not None)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_libraries_read_a_run_as_a_data_frame(run):
    import pandas.api.interchange

    frame = pandas.api.interchange.from_dataframe(run.__dataframe__())
    assert list(frame) == list(run.table())
