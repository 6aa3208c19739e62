"""How a run begins again: overwritten, with edited code, with the arguments of its script; and names of other libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from test_run import facts

import poptrain as pt
from poptrain.cli.start import chosen
from poptrain.core.errors import LogDamaged, RunBusy, RunWarning
from poptrain.engine.again import started_with
from poptrain.engine.experiment import file_record, load
from poptrain.log.reader import read
from poptrain.log.writer import Log
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
PBT = pt.pbt(SPACE, population=4, interval=5)


def run(directory, trainable=quadratic, **options):
    return pt.run(PBT, trainable, stop=pt.steps(15), directory=directory, progress=False, **options)


def test_overwrite_begins_again_and_leaves_other_files_alone(tmp_path):
    first = run(tmp_path / "r")
    (tmp_path / "r" / "notes.txt").write_text("mine")
    again = run(tmp_path / "r", overwrite=True, seed=3)
    assert again.record.run["seed"] == 3 and facts(again) != facts(first) and again.record.epoch == 1
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"
    assert pt.verify(tmp_path / "r").ok and again.best.load()["steps"] == again.best.step
    assert run(tmp_path / "new", overwrite=True).record.finished, "there is nothing to overwrite"


def test_overwrite_refuses_a_run_that_is_being_written(tmp_path):
    run(tmp_path / "r")
    with Log.open(tmp_path / "r"), pytest.raises(RunBusy):
        run(tmp_path / "r", overwrite=True)
    assert read(tmp_path / "r").has_results


def test_overwrite_removes_a_damaged_run_too(tmp_path):
    run(tmp_path / "r")
    path = tmp_path / "r" / "log-000001.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogDamaged):
        run(tmp_path / "r")
    assert run(tmp_path / "r", overwrite=True).record.finished


def test_a_run_that_was_half_removed_is_removed_by_the_same_call(tmp_path, monkeypatch):
    from poptrain.engine import overwrite

    run(tmp_path / "r")
    remove = overwrite.disk.remove

    def dying(path):
        if path.name == "log-000001.jsonl":
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(overwrite.disk, "remove", dying)
        run(tmp_path / "r", overwrite=True)
    assert run(tmp_path / "r", overwrite=True).record.epoch == 1


def test_edited_code_is_announced_and_logged(tmp_path):
    def train(carry, hp, steps, seed):
        return quadratic(carry, hp, steps, seed)

    first = train
    pt.run(PBT, first, stop=pt.steps(10), directory=tmp_path / "r", progress=False)

    def train(carry, hp, steps, seed):  # noqa: F811
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {**metrics, "new": 1.0}

    with pytest.warns(RunWarning, match="the code of the trainable has been edited: .* pass overwrite=True"):
        longer = pt.run(PBT, train, stop=pt.steps(20), directory=tmp_path / "r", progress=False)
    assert any("code of the trainable has been edited" in text for text in pt.views.status(longer.record).warnings)


EXPERIMENT = """
import argparse
import poptrain as pt
from poptrain.testing import quadratic

parser = argparse.ArgumentParser()
parser.add_argument("--members", type=int, default=2)
arguments = parser.parse_args()
space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pbt(space, population=arguments.members, interval=5), quadratic, stop=pt.steps(20))
"""


def test_a_file_gets_its_arguments_and_the_log_records_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["poptrain", "run", "--quiet"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "with_arguments.py"
    file.write_text(EXPERIMENT)
    assert load(file, ["--members", "3"]).algorithm.seats == 3 and load(file).algorithm.seats == 2
    assert file_record(file, tmp_path / "r", {}, ["--members", "3"])["argv"] == ["--members", "3"]
    assert "argv" not in file_record(file, tmp_path / "r", {})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pt.run(PBT, quadratic, num_samples=8), "has no argument 'num_samples'. Write population=n"),
        (lambda: pt.run(PBT, quadratic, n_trials=8), "Write population=n for the members, and stop=pt.steps(n)"),
        (lambda: pt.run(PBT, quadratic, direction="minimize"), 'Write mode="max" or mode="min"'),
        (lambda: pt.pbt(SPACE, perturbation_interval=4), "Write interval=n."),
        (lambda: pt.pb2(SPACE, hyperparam_bounds={}), "pt.Space(lr=pt.LogUniform"),
        (lambda: pt.pbt(SPACE, intervall=4), "Did you mean 'interval'?"),
        (lambda: pt.pbt(SPACE), "missing a required argument: 'interval'"),
        (lambda: pt.run(PBT, quadratic, n_trials=8, direction="minimize", zzz=1), "'direction': Write mode"),
        (lambda: pt.run(PBT, quadratic, n_trials=8, direction="minimize", zzz=1), "'n_trials': Write population=n"),
        (
            lambda: pt.run(PBT, quadratic, n_trials=8, direction="minimize", zzz=1),
            "'zzz' is unknown. The arguments are algorithm",
        ),
        (lambda: pt.pbt(SPACE, interval=1, metric="loss", stop=9), "these 2 arguments. 'metric': Write metric="),
        (lambda: pt.random_search(SPACE, zzz=1), "Its arguments are space, population"),
    ],
)
def test_names_of_other_libraries_are_answered_by_ours(call, words):
    with pytest.raises(pt.UsageError) as caught:
        call()
    assert words in str(caught.value)


def test_public_names_of_other_libraries_are_answered_and_nothing_else_is_listed():
    for name, words in (("train", "pt.run(algorithm, train"), ("create_study", "pt.study("), ("loguniform", "pt.LogUniform(")):
        with pytest.raises(AttributeError, match="has no attribute") as caught:
            getattr(pt, name)
        assert words in str(caught.value)
    assert {name for name in dir(pt) if not name.startswith("__")} <= {*pt.__all__, *pt._MODULES}


class Kept(pt.testing.Quadratic):
    """A trainable class that this program has defined."""


def test_a_run_that_is_opened_loads_objects_of_a_class_that_the_program_has_defined(tmp_path):
    best = run(tmp_path / "r", Kept).best
    opened = pt.open_run(tmp_path / "r").best.load()
    assert isinstance(opened, Kept) and opened.theta == best.load().theta


def test_an_object_that_was_trained_is_not_taken_for_its_class(tmp_path):
    run(tmp_path / "r", pt.testing.Faulty("raise", above=99.0))
    assert pt.open_run(tmp_path / "r").best.load() is not None


def test_a_run_that_a_script_began_names_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])))
    script = tmp_path / "my script.py"
    script.write_text(
        "import poptrain as pt\nfrom poptrain.testing import quadratic\n"
        "pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=2, interval=5), quadratic, stop=pt.steps(5), "
        "directory='r', progress=False)\n"
    )
    subprocess.run([sys.executable, "my script.py", "--lr", "3"], cwd=tmp_path, check=True)
    record = read(tmp_path / "r")
    assert started_with(record, tmp_path / "r") == f"cd {tmp_path} && python 'my script.py' --lr 3"
    with pytest.raises(pt.UsageError, match="the same command continues it: cd .* && python 'my script.py' --lr 3"):
        chosen(tmp_path / "r", record, None)
