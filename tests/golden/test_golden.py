"""Golden runs: what released versions wrote is still read, says the same, still verifies, and can be continued."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from math import isclose
from pathlib import Path

import pytest

import poptrain as pt
from poptrain.core import Result, Task

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from golden_experiments import EXECUTORS, EXPERIMENTS, LATER, OTHERS  # noqa: E402
from golden_said import bucket, command, machine, said  # noqa: E402

FORMATS = sorted(path for path in HERE.glob("format*") if path.is_dir())
EXPECTED = {folder.name: json.loads((folder / "expected.json").read_text()) for folder in FORMATS}
RUNS = [pytest.param(folder, name, id=f"{folder.name}-{name}") for folder in FORMATS for name in EXPECTED[folder.name]]
NO_SEAT = ("hopeless", "raising", "diverging")  # with a seat that has nothing to be compared


def experiment_of(name):
    """Returns the experiment of a run, None for a run without an entry; skips what this environment cannot build."""
    if name.startswith("optuna"):
        pytest.importorskip("optuna")
    if name.startswith("host"):
        pytest.importorskip("envpool")
    found = EXPERIMENTS | LATER
    return found[name]() if name in found else None


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module", autouse=True)
def untouched():
    """Reading changes nothing: after all tests, every golden file is as it was."""
    before = [snapshot(folder) for folder in FORMATS]
    yield
    assert [snapshot(folder) for folder in FORMATS] == before


def differences(then, now, place="", close=1e-9):
    """Yields where something that was said is not said any more. What is new beside it is fine."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key, value in then.items():
            if key in now:
                yield from differences(value, now[key], f"{place}.{key}", close)
            else:
                yield f"{place}.{key} is gone, it was {value!r}"
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, pair in enumerate(zip(then, now, strict=True)):
            yield from differences(*pair, f"{place}[{index}]", close)
    elif isinstance(then, float) and isinstance(now, (int, float)) and not isinstance(now, bool):
        if not isclose(then, now, rel_tol=close):
            yield f"{place} was {then!r}, is {now!r}"
    elif then != now:
        yield f"{place} was {then!r}, is {now!r}"


def made_here(folder):
    """True if the last digits of what a model computes are those of the machine that wrote the runs."""
    return machine() == json.loads((folder / "machine.json").read_text())


def rounded_elsewhere(folder, first):
    """True for a decision that differs in its last digits, on another processor or with another numpy than it was taken on."""
    numbers = (first or {}).get("got"), (first or {}).get("expected")
    near = all(isinstance(each, float) for each in numbers) and isclose(*numbers, rel_tol=1e-6)
    return near and not made_here(folder)


@pytest.mark.parametrize(("folder", "name"), RUNS)
def test_a_golden_run_says_what_it_said_and_verifies(folder, name):
    found = json.loads(json.dumps(said(name, folder / name, experiment_of(name))))
    if rounded_elsewhere(folder, found["verify"]["first"]):
        pytest.skip("this machine rounds otherwise than the one that the run was made on")
    close = 1e-9 if made_here(folder) else 1e-4
    assert not list(differences(EXPECTED[folder.name][name], found, name, close))
    verified = found["verify"]
    asked = sum(json.loads(line)["t"] == "tasks" for line in lines(folder / name))
    assert verified["ok"] and verified["decisions"] == asked > 0 and set(verified["checks"].values()) == {"ok"}


@pytest.mark.parametrize("name", ["pbt-minimised", "fire_pbt-inline", "pb2_mix-inline", "killed"])
def test_the_command_verifies_with_an_experiment_file(name, monkeypatch):
    monkeypatch.setenv("GOLDEN", name)
    code, out = command("verify", HERE / "format1" / name, "--experiment", HERE / "golden_one.py", "--json")
    found, then = json.loads(out), EXPECTED["format1"][name]["verify"]
    if not rounded_elsewhere(HERE / "format1", found["first"]):
        assert code == 0 and found["decisions"] == then["decisions"]


@pytest.mark.parametrize(("folder", "name"), RUNS)
def test_every_view_looks_at_a_golden_run(folder, name):
    record = pt.open_run(folder / name).record
    looked = 0
    for view, function in ((view, getattr(pt.views, view)) for view in pt.views.__all__):
        parameters = list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
        if parameters[:1] not in (["record"], ["records"]):
            continue
        arguments = [[record, record]] if parameters[0] == "records" else [record]
        arguments += [0, 1] if view == "faster" else []
        try:
            assert pt.views.dumps(function(*arguments))
        except pt.errors.UsageError:
            assert (view == "subpopulations" and "fire" not in name) or (view == "faster" and not all(members(folder, name)[:2]))
        looked += 1
    assert looked >= 11


def members(folder, name):
    found = [task is not None for task in EXPECTED[folder.name][name]["members"]]
    return [*found, False, False]


def lines(directory):
    text = (directory / "log-000001.jsonl").read_text()
    return text[: text.rfind("\n")].splitlines()  # a last line that is torn was never acknowledged


# Not those whose workers and compilers take long, and not the one in which nothing is left to be continued.
ELSEWHERE = ("-processes", "-vectorized", "ppo", "pbt-population", "hopeless")
INLINE = [case for case in RUNS if case.values[1] in EXPERIMENTS and not case.values[1].endswith(ELSEWHERE)]


def longer(experiment):
    """Returns the experiment with more steps for every member."""
    if isinstance(experiment.stop, type(pt.any_of(pt.score(1.0)))):
        return replace(experiment, stop=pt.steps(450 if experiment.budget == 400 else 12))
    return replace(experiment, stop=pt.steps(experiment.budget + 4))


@pytest.mark.parametrize(("folder", "name"), INLINE)
def test_an_inline_run_is_continued_under_a_larger_budget_and_verifies(folder, name, tmp_path):
    experiment = experiment_of(name)
    assert experiment.executor == "inline"
    if name == "memory-url":
        bucket(folder / "memory-url.store")
    shutil.copytree(folder / name, tmp_path / "run")
    before, old = len(lines(tmp_path / "run")), pt.open_run(folder / name).history
    run = pt.resume(longer(experiment), tmp_path / "run")
    assert lines(tmp_path / "run")[:before] == lines(folder / name)
    whole = name.startswith("optuna")  # trains every configuration to the end at once: nothing is left to be continued
    assert (run.history.n == old.n) if whole else (run.history.n > old.n)
    found = pt.verify(tmp_path / "run", longer(experiment))
    if not found.ok and rounded_elsewhere(folder, {"got": found.first.got, "expected": found.first.expected}):
        pytest.skip("this machine rounds otherwise than the one that the run was made on")
    assert found.ok, found.first


@pytest.mark.parametrize("name", LATER)
def test_a_run_next_to_a_simulator_is_continued_and_verifies(name, tmp_path):
    """Its scores may differ on another machine, and its decisions follow from them anywhere."""
    experiment = experiment_of(name)
    folder = next(folder for folder in FORMATS if name in EXPECTED[folder.name])
    shutil.copytree(folder / name, tmp_path / "run")
    old, more = pt.open_run(folder / name).history, replace(experiment, stop=pt.steps(experiment.budget + 100))
    run = pt.resume(more, tmp_path / "run")
    assert lines(tmp_path / "run")[: len(lines(folder / name))] == lines(folder / name)
    assert run.history.n == old.n + 3 and pt.verify(tmp_path / "run", more).ok


def test_a_run_of_the_command_line_is_continued_by_it(tmp_path):
    shutil.copytree(HERE / "format1" / "cli", tmp_path / "cli")
    file = HERE / "golden_file.py"
    assert command("resume", tmp_path / "cli", "--experiment", file, "--steps", 20, "--quiet")[0] == 0
    code, out = command("verify", tmp_path / "cli", "--experiment", file, "--json")
    assert code == 0 and json.loads(out)["decisions"] == EXPECTED["format1"]["cli"]["verify"]["decisions"] + 1


@pytest.mark.parametrize("name", ["pbt-kinds", "fire_pbt-inline", "raising"])
def test_plots_and_a_report_are_made_of_a_golden_run(name, tmp_path):
    pytest.importorskip("matplotlib")
    record = pt.open_run(HERE / "format1" / name).record
    if name == "fire_pbt-inline":
        assert all(path.stat().st_size > 1000 for path in pt.plots.save_all(record, tmp_path))
    else:  # drawn, but not written: that takes long
        assert all(draw(record).axes for draw in (pt.plots.score, pt.plots.hparams, pt.plots.lineage))
    pytest.importorskip("plotly")
    assert pt.report.page(record).startswith("<!doctype html>")


def versions(directory):
    """Returns the versions of the format that the lines of a log have."""
    return {json.loads(line)["v"] for line in lines(directory)}


def types(folder):
    """Returns the types of all lines in all logs of a folder."""
    return {json.loads(line)["t"] for name in EXPECTED[folder.name] for line in lines(folder / name)}


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_every_run_is_named_and_was_written_in_its_format(folder):
    names = set(EXPECTED[folder.name])
    assert names == {path.parent.name for path in folder.glob("*/log-000001.jsonl")} and names <= {*EXPERIMENTS, *LATER, *OTHERS}
    newest = int(folder.name.removeprefix("format"))
    assert {max(versions(folder / name)) for name in names} == {newest}
    assert types(folder) >= {"run", "open", "tasks", "results", "lost", "gc", "suspend", "recovered", "end"}


def test_every_algorithm_executor_and_kind_of_line_is_there():
    folder, names = HERE / "format1", set(EXPECTED["format1"])
    assert names == {*EXPERIMENTS, *OTHERS}
    algorithms = [name for name in pt.__all__ if name in {each.partition("-")[0] for each in names}]
    assert {f"{name}-{executor}" for name in algorithms for executor in EXECUTORS} <= names and len(algorithms) >= 9
    assert types(folder) >= {"budget", "file", "failed"}


def test_format_2_has_all_that_it_changed_and_a_log_that_began_in_format_1():
    folder, names = HERE / "format2", EXPECTED["format2"]
    assert {name for name in names if versions(folder / name) == {1, 2}} == {"killed-resumed"}
    records = [pt.open_run(folder / name).record for name in names]
    facts = [fact for record in records for line in record.lines for fact in line]
    tasks = [fact for fact in facts if isinstance(fact, Task)]
    assert {task.role for task in tasks} == {"", "control", "evaluator"}
    assert any(task.seconds for task in tasks) and any(task.donor is not None for task in tasks)
    assert any(task.forecast for task in tasks)
    assert {fact.kind for fact in facts if isinstance(fact, Result)} == {"ok", "failed", "diverged", "damaged"}
