"""Verification passes what a run can have written, also after crashes, and catches what it cannot."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from experiment_file import FILE
from often import often

import poptrain as pt
from poptrain.cli import main
from poptrain.engine.experiment import file_record, load
from poptrain.engine.loop import execute, resume
from poptrain.log.codec import encode_line
from poptrain.log.disk import FS
from poptrain.testing import Faulty, Quadratic, quadratic

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.preflight_bugs import SPACE as BUGFREE  # noqa: E402
from benchmarks.preflight_bugs import Population  # noqa: E402

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), kind=pt.Choice("a", "b", static=True))
PBT = pt.pbt(SPACE, population=5, interval=5, exploit=pt.truncation(0.4))
EXPERIMENT = pt.Experiment(PBT, quadratic, stop=pt.steps(30), seed=2)


def lines(directory):
    return [json.loads(text) for text in (directory / "log-000001.jsonl").read_text().splitlines()]


def write(directory, entries):
    """Writes the log anew, as somebody would who knows about the checksums."""
    crc, out = 0, b""
    for entry in entries:
        text, crc = encode_line(entry["t"], entry["d"], seq=entry["q"], epoch=entry["e"], wall=entry["w"], crc=crc)
        out += text
    (directory / "log-000001.jsonl").write_bytes(out)


def verdicts(found):
    return {check.name: check.state for check in found.checks}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("original") / "run"
    execute(EXPERIMENT, directory)
    return directory


@pytest.fixture
def directory(original, tmp_path):
    """A run of `EXPERIMENT` that may be damaged."""
    shutil.copytree(original, tmp_path / "run")
    return tmp_path / "run"


# -- what is true passes --------------------------------------------------------------------------------------------------

TRUE = {
    "pbt": EXPERIMENT,
    "asynchronous": pt.Experiment(pt.pbt(SPACE, population=5, interval=5, sync=False), quadratic, stop=pt.steps(30)),
    "minimised": pt.Experiment(PBT, quadratic, mode="min", stop=pt.steps(30)),
    "stopped by its score": pt.Experiment(PBT, quadratic, stop=pt.any_of(pt.score(1.0), pt.steps(50))),
    "asynchronous, stopped by its score": pt.Experiment(
        pt.pbt(SPACE, population=5, interval=5, sync=False), quadratic, stop=pt.any_of(pt.score(1.0), pt.steps(50))
    ),
    "members that fail": pt.Experiment(PBT, Faulty("raise", above=0.03), stop=pt.steps(30)),
    "members that diverge": pt.Experiment(PBT, Faulty("nan", above=0.03, after=10), stop=pt.steps(30)),
    "a class": pt.Experiment(PBT, Quadratic, stop=pt.steps(30)),
    "a vectorized population": pt.Experiment(
        pt.pbt(BUGFREE, population=5, interval=5, sync=False), Population(), stop=pt.steps(30), executor="vectorized"
    ),
    "fire": pt.Experiment(
        pt.fire_pbt(SPACE, (4, 4), interval=5, evals=5, exploit=pt.truncation(0.4)), quadratic, stop=pt.steps(40)
    ),
    "pb2": pt.Experiment(
        pt.pb2(pt.Space(lr=SPACE["lr"]), population=2, interval=10, window=4, exploit=pt.truncation(0.5)),
        quadratic,
        stop=pt.steps(20),
    ),
    "time as interval": pt.Experiment(pt.pbt(SPACE, population=2, interval=pt.seconds(0.01)), quadratic, stop=pt.steps(2000)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_a_run_is_what_its_log_says(tmp_path, name):
    execute(TRUE[name], tmp_path / "run")
    found = pt.verify(tmp_path / "run", TRUE[name])
    assert found.ok and set(verdicts(found).values()) == {"ok"}, found.first
    asked = sum(entry["t"] == "tasks" for entry in lines(tmp_path / "run"))
    assert found.decisions == asked > 0 and found.checkpoints > 0


def test_so_is_every_prefix_that_a_crash_can_leave_and_what_is_resumed_from_it(directory, tmp_path):
    whole = (directory / "log-000001.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(2, len(whole)):
        cut = tmp_path / f"cut-{count}"
        shutil.copytree(directory, cut)
        (cut / "log-000001.jsonl").write_bytes(b"".join(whole[:count]) + whole[count][:20])
        found = pt.verify(cut, EXPERIMENT)
        states = verdicts(found)
        assert states["facts"] == states["decisions"] == states["log"] == "ok", found.first
        assert any("torn" in note for note in found.notes)


def test_so_is_a_run_that_was_extended_twice(tmp_path):
    for steps in (10, 25, 40):
        experiment = pt.Experiment(PBT, quadratic, stop=pt.steps(steps))
        execute(experiment, tmp_path / "run")
    assert pt.verify(tmp_path / "run", experiment).ok


def test_so_is_a_run_that_lost_a_checkpoint_and_went_on(tmp_path):
    short = pt.Experiment(pt.pbt(SPACE, population=3, interval=5, sync=False), quadratic, stop=pt.steps(10))
    run = execute(short, tmp_path / "run")
    name = run.history.result(run.history.best()).checkpoint.partition(":")[0]
    (tmp_path / "run" / "checkpoints" / name / "arrays.safetensors").write_bytes(b"gone")
    assert not pt.verify(tmp_path / "run", short).ok
    longer = pt.Experiment(short.algorithm, quadratic, stop=pt.steps(20))
    resume(longer, tmp_path / "run")
    assert any(entry["t"] == "lost" for entry in lines(tmp_path / "run"))
    assert pt.verify(tmp_path / "run", longer).ok


def test_so_is_a_replay_whose_log_is_all_that_it_needs(directory, tmp_path):
    pt.replay(directory, quadratic, same_seeds=True, directory=tmp_path / "again")
    found = pt.verify(tmp_path / "again")
    assert found.ok and verdicts(found)["decisions"] == "ok"


def test_without_the_experiment_the_decisions_are_said_to_be_unverified(directory):
    found = pt.verify(directory)
    assert found.ok and verdicts(found) == {"log": "ok", "facts": "ok", "decisions": "unclear", "checkpoints": "ok"}


# -- what is false does not -----------------------------------------------------------------------------------------------


def test_every_edited_hyperparameter_is_found_where_it_stands(directory):
    entries = lines(directory)
    for index, entry in enumerate(entries):
        for place, task in enumerate(entry["d"] if entry["t"] == "tasks" else ()):
            edited = json.loads(json.dumps(entries))
            edited[index]["d"][place]["hparams"]["lr"] *= 0.9999 if task["hparams"]["lr"] > 0.01 else 1.0001
            write(directory, edited)
            found = pt.verify(directory, EXPERIMENT)
            first = found.first
            assert not found.ok and (first.line, first.task, first.field) == (index, task["id"], "hparams.lr")
            assert first.expected == task["hparams"]["lr"] and first.place == f"log-000001.jsonl line {index + 1}"


def planted(directory, change):
    entries = lines(directory)
    change(entries)
    write(directory, entries)
    return pt.verify(directory, EXPERIMENT)


def tasks_of(entries, number):
    return [entry for entry in entries if entry["t"] == "tasks"][number]["d"]


@pytest.mark.parametrize(
    ("change", "check", "field"),
    [
        (lambda e: (task := tasks_of(e, 1)[0]).update(parent=int(task["parent"] == 0)), "decisions", "parent"),
        (lambda e: tasks_of(e, 1)[0].update(steps=4), "decisions", "steps"),
        (lambda e: tasks_of(e, 1)[0].update(seed=1), "facts", "seed"),
        (lambda e: tasks_of(e, 1)[0]["hparams"].update(lr=5.0), "facts", "hparams.lr"),
        (lambda e: tasks_of(e, 1)[0]["hparams"].update(kind="c"), "facts", "hparams.kind"),
        (lambda e: tasks_of(e, 1)[0].update(parent=999), "facts", "parent"),
        (lambda e: tasks_of(e, -1)[0].update(steps=500), "facts", "steps"),
        (lambda e: tasks_of(e, 2).pop(), "decisions", "tasks"),
        (lambda e: e[0]["d"].update(seed=7), "experiment", "experiment"),
        (lambda e: e[0]["d"].update(mode="min"), "experiment", "experiment"),
        (lambda e: [r for r in e if r["t"] == "results"][9]["d"][0].update(step=1), "facts", "step"),
        (lambda e: [r for r in e if r["t"] == "results"][3]["d"][0].pop("checkpoint"), "facts", "checkpoint"),
        (lambda e: [r for r in e if r["t"] == "results"][0]["d"][0].update(task=3), "facts", "facts"),
    ],
)  # fmt: skip
def test_an_edited_fact_is_caught_though_the_checksums_fit(directory, change, check, field):
    found = planted(directory, change)
    assert verdicts(found)[check] == "failed"
    assert next(c for c in found.checks if c.name == check).text
    if check != "decisions":  # the first failed check is the first difference
        assert found.first.field == field


def test_a_score_that_changes_who_is_cloned_is_caught(directory):
    def change(entries):
        worst = min((r for e in entries if e["t"] == "results" for r in e["d"] if r["step"] == 5), key=lambda r: r["score"])
        worst["score"] = 9.0

    found = planted(directory, change)
    assert not found.ok and verdicts(found)["decisions"] == "failed"


def test_a_flipped_byte_in_the_log_is_caught_wherever_it_is(directory):
    file = directory / "log-000001.jsonl"
    sound = file.read_bytes()
    for at in range(5, sound.rstrip().rindex(b"\n"), 211):  # a damaged last line is one that was torn
        broken = bytearray(sound)
        broken[at] ^= 1
        file.write_bytes(broken)
        found = pt.verify(directory, EXPERIMENT)
        assert verdicts(found)["log"] == "failed" and "line" in found.first.text


def test_a_flipped_byte_in_any_file_of_a_checkpoint_and_a_missing_one_are_caught(directory):
    files = [path for path in (directory / "checkpoints").rglob("*") if path.is_file()]
    assert files
    for path in files:
        sound = path.read_bytes()
        for damage in (bytes([*sound[:-1], sound[-1] ^ 1]), None):
            path.write_bytes(damage) if damage else path.unlink()
            found = pt.verify(directory, EXPERIMENT)
            assert verdicts(found)["checkpoints"] == "failed" and path.parent.name in found.first.text
            path.write_bytes(sound)
    assert pt.verify(directory, EXPERIMENT).ok
    shutil.rmtree(files[0].parent)
    assert "cannot be read" in pt.verify(directory, EXPERIMENT).first.text
    shutil.rmtree(directory / "checkpoints")
    assert pt.verify(directory, EXPERIMENT).checkpoints == 1, "the first that is missing is enough: a million take minutes"


def test_a_checkpoint_that_a_run_keeps_cannot_have_been_collected(directory):
    best = pt.open_run(directory).best.task.id
    name = pt.open_run(directory).history.result(best).checkpoint.partition(":")[0]
    shutil.rmtree(directory / "checkpoints" / name)
    found = planted(directory, lambda entries: [e for e in entries if e["t"] == "gc"][-1]["d"]["ids"].append(name))
    assert verdicts(found)["checkpoints"] == "failed" and f"task {best} was deleted" in found.first.text


def test_a_swapped_checkpoint_is_not_that_of_the_result(directory):
    def change(entries):
        refs = [r for e in entries if e["t"] == "results" for r in e["d"]][-2:]
        refs[0]["checkpoint"], refs[1]["checkpoint"] = refs[1]["checkpoint"], refs[0]["checkpoint"]

    assert verdicts(planted(directory, change))["checkpoints"] == "failed"


@pytest.mark.parametrize(
    "other",
    [
        pt.Experiment(pt.pbt(SPACE, population=5, interval=5, exploit=pt.truncation(0.2)), quadratic, stop=pt.steps(30), seed=2),
        pt.Experiment(pt.random_search(SPACE, population=5, interval=5), quadratic, stop=pt.steps(30), seed=2),
        pt.Experiment(PBT, quadratic, stop=pt.steps(30), seed=3),
        pt.Experiment(PBT, Quadratic, stop=pt.steps(30), seed=2),
        pt.Experiment(PBT, quadratic, mode="min", stop=pt.steps(30), seed=2),
    ],
    ids=["exploit", "algorithm", "seed", "trainable", "mode"],
)
def test_another_experiment_is_not_the_one_of_the_run(directory, other):
    found = pt.verify(directory, other)
    assert verdicts(found)["experiment"] == "failed" and "was" in found.first.text


def test_changed_code_is_noted(directory):
    found = planted(directory, lambda entries: entries[0]["d"].update(code="poptrain.testing.trainables:quadratic#000000000000"))
    assert found.ok and any("code of the trainable" in note for note in found.notes)


def test_another_version_is_noted_and_a_newer_format_is_refused(directory):
    found = planted(directory, lambda entries: entries[1]["d"]["versions"].update(numpy="0.0.1"))
    assert found.ok and any("numpy 0.0.1" in note for note in found.notes)
    log = directory / "log-000001.jsonl"
    log.write_bytes(log.read_bytes().replace(b'{"v":2,', b'{"v":3,'))
    assert not pt.verify(directory, EXPERIMENT).ok  # its checksums do not fit


def leaves(value, path=()):
    """Yields the way to every value inside another."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))


def test_whatever_is_written_into_a_log_is_a_verdict_or_a_sentence(directory):
    sound = lines(directory)
    places = [(index, path) for index, entry in enumerate(sound) for path in leaves(entry["d"]) if path]
    told = 0
    for number in range(cases := often(150)):
        draw = pt.rng(0, "fuzz", number)
        index, path = places[int(draw.integers(len(places)))]
        entries = json.loads(json.dumps(sound))
        inner = entries[index]["d"]
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = [None, -1, "x", [], {}, 10**30, True][int(draw.integers(7))]
        write(directory, entries)
        try:
            told += not pt.verify(directory, EXPERIMENT).ok
        except pt.PoptrainError:
            told += 1
    assert told > cases / 2  # the rest are notes for people, times, metrics and versions, which nothing depends on


# -- the command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(folder):
    Path("verified_experiment.py").write_text(FILE)
    file = Path("verified_experiment.py")
    execute(load(file), "run", source=file_record(file, Path("run"), {}))
    return folder


def test_the_command_finds_the_experiment_by_itself(here, capsys):
    assert main(["verify", "run"]) == 0
    assert "decisions: 4 lines of tasks: each is what" in capsys.readouterr().out
    assert main(["verify", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 4


def test_the_command_exits_with_1_and_names_the_line_the_task_and_the_value(here, capsys):
    entries = lines(here / "run")
    entries[2]["d"][0]["hparams"]["lr"] = 0.05
    write(here / "run", entries)
    assert main(["verify", "run", "--json"]) == 1
    first = json.loads(capsys.readouterr().out)["first"]
    assert (first["line"], first["task"], first["field"], first["got"]) == (2, 0, "hparams.lr", 0.05)
    assert main(["verify", "run"]) == 1
    assert "task 0 has hparams.lr=0.05" in capsys.readouterr().out
    assert main(["verify", "run", "--log-only"]) == 0  # nothing but the algorithm can know


def test_the_command_says_what_it_cannot_verify_without_the_file(here, capsys):
    Path("verified_experiment.py").rename("moved_experiment.py")
    assert main(["verify", "run"]) == 0
    assert "no longer exists: pass --experiment FILE" in capsys.readouterr().out
    assert main(["verify", "run", "--experiment", "moved_experiment.py"]) == 0
    assert "decisions: 4 lines" in capsys.readouterr().out
    Path("other_experiment.py").write_text(FILE.replace("population=4", "population=3"))
    assert main(["verify", "run", "--experiment", "other_experiment.py"]) == 1
    assert "algorithm.population was 4, is 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "no log in nowhere"),
        (("run", "--experiment", "nothing.py"), "no experiment file 'nothing.py'"),
        (("run", "--log-only", "--experiment", "verified_experiment.py"), "pass only one of them"),
        (("run", "--experiment", "run/x.py"), "inside the run directory"),
    ],
)
def test_bad_arguments_are_answered_in_a_sentence(here, capsys, arguments, says):
    assert main(["verify", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1


def test_a_log_that_the_disk_does_not_give_was_not_suspended(tmp_path, monkeypatch):
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    pt.run(pt.pbt(space, population=2, interval=1), quadratic, stop=pt.steps(2), directory=tmp_path / "r", progress=False)

    def look(self, name, path):
        if path.suffix == ".jsonl":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(FS, "_look", look)
    for read in (pt.verify, pt.open_run):
        with pytest.raises(pt.errors.Unreadable, match=r"log-000001.jsonl: .*error\. Check the disk that holds it\."):
            read(tmp_path / "r")
