"""Version 1 of the log: what it had in tags, notes and error texts is read as fields, and such a log can be continued."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import pytest

import poptrain as pt
from poptrain.algorithms.parts import turns
from poptrain.core import Forecast, Result, Task
from poptrain.core.errors import LogDamaged
from poptrain.core.interval import Interval
from poptrain.log.codec import decode_facts, decode_line
from poptrain.log.finding import segment_name
from poptrain.log.reader import read
from poptrain.log.writer import Log
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
TASK = {"id": 3, "member": 1, "hparams": {"lr": 0.1}, "parent": 0, "steps": 5, "seed": 9}
OWN = {"type": "Pbt", "interval": 5}
MODEL = {"gain": 0.5, "gain_sd": {"$f": "nan"}, "beta": 2.0, "rows": 7}


def read_1(type: str, data: dict, algorithm: object = OWN) -> Task | Result:
    """Returns the fact of a line that version 1 wrote."""
    return decode_facts(type, decoded(1, type, [data]), 1, algorithm)[0]


def decoded(version: int, type: str, data: object) -> object:
    return decode_line(line_of(version, 0, type, data, 0)[0][:-1], 0).data


def line_of(version: int, seq: int, type: str, data: object, crc: int, epoch: int = 1) -> tuple[bytes, int]:
    """Returns a line of any version, and its CRC."""
    entry = {"v": version, "q": seq, "e": epoch, "w": "2026-11-21T09:30:57.123Z", "t": type, "d": data}
    body = json.dumps(entry, separators=(",", ":")).encode()
    crc = crc32(body, crc)
    return b'%s,"c":"%08x"}\n' % (body[:-1], crc), crc


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {}),
        ({"tags": {"seconds": "2.5", "generation": 4}}, {"seconds": 2.5, "tags": {"generation": 4}}),
        ({"tags": {"role": "evaluator", "target": 2}}, {"role": "evaluator", "tags": {"target": 2}}),
        ({"tags": {"control": 1}}, {"role": "control"}),
        ({"note": {"from": 2, "own": 0.5}}, {"donor": 2, "note": {"own": 0.5}}),
        ({"note": {"from": "above"}}, {"note": {"from": "above"}}),
        ({"note": {**MODEL, "from": 2, "length": 1.0}}, {"donor": 2, "forecast": Forecast("model", 0.5, float("nan"), 2.0, 7),
                                                         "note": {"length": 1.0}}),
        ({"note": {"rows": 0, "fallback": "too few rows"}}, {"forecast": Forecast("redraw", rows=0, fallback="too few rows")}),
        ({"note": {"rows": 4, "fallback": "no numeric hyperparameter", "chance kind": 0.5}},
         {"forecast": Forecast("bandit", rows=4, fallback="no numeric hyperparameter"), "note": {"chance kind": 0.5}}),
        ({"note": {"rows": 4, "fallback": "no numeric hyperparameter"}},
         {"forecast": Forecast("redraw", rows=4, fallback="no numeric hyperparameter")}),
        ({"note": {"gain": "mine"}}, {"note": {"gain": "mine"}}),  # a note of the user's own
        # not as version 1 wrote it: it stays where it is
        *[({"tags": {"seconds": other}}, {"tags": {"seconds": other}}) for other in ("soon", "", "nan", "-1", "inf", 3, None)],
        *[({"tags": {"control": other}}, {"tags": {"control": other}}) for other in (2, 0, "1", True)],
        *[({"tags": {"role": other}}, {"tags": {"role": other}}) for other in ("student", 7)],
        ({"note": {"from": True}}, {"note": {"from": True}}),
        ({"tags": {"seconds": {}}, "note": {"from": 2}}, {"tags": {"seconds": {}}, "donor": 2}),
    ],
)  # fmt: skip
def test_a_task_has_the_fields_of_version_2(old, new):
    assert repr(read_1("tasks", {**TASK, **old})) == repr(Task(**{**TASK, **new}))


FOREIGN = {"tags": {"role": "evaluator", "control": 1, "seconds": "2.5"}, "note": {"from": 2, **MODEL}}


@pytest.mark.parametrize("algorithm", [{"type": "Mine", "interval": 5}, "mine:algorithm", None])
def test_tags_and_notes_of_a_foreign_algorithm_stay_as_they_are(algorithm):
    assert repr(read_1("tasks", {**TASK, **FOREIGN}, algorithm)) == repr(
        decode_facts("tasks", decoded(2, "tasks", [{**TASK, **FOREIGN}]))[0]
    )


@pytest.mark.parametrize(
    ("steps", "interval", "timed"),
    [(2**31 - 1, 5, True), (5, {"type": "Seconds", "seconds": 2.5}, True), (5, {"type": "Seconds", "seconds": 2.0}, False)],
)
def test_the_time_limit_of_a_foreign_algorithm_is_found(steps, interval, timed):
    task = read_1("tasks", {**TASK, **FOREIGN, "steps": steps}, {"type": "Mine", "inner": [{"interval": interval}]})
    assert task.seconds == (2.5 if timed else None) and ("seconds" in task.tags) is not timed
    assert (task.role, task.donor, task.tags["role"], task.note["from"]) == ("", None, "evaluator", 2)


@pytest.mark.parametrize(
    ("error", "score", "kind"),
    [
        ("CheckpointDamaged: checkpoint m000 is missing", {"$f": "nan"}, "damaged"),
        ("ValueError: no", {"$f": "nan"}, "failed"),
        (None, {"$f": "inf"}, "diverged"),
        (None, 0.5, "ok"),
    ],
)
def test_the_kind_of_a_result_is_found(error, score, kind):
    result = read_1("results", {"task": 3, "score": score, "step": 5, "error": error})
    assert (result.kind, result.error) == (kind, error)


def test_version_2_does_not_read_fields_out_of_tags_and_notes():
    data = {**TASK, "tags": {"seconds": "2.5", "control": 1}, "note": {"from": 2, **MODEL}}
    task = decode_facts("tasks", decoded(2, "tasks", [data]))[0]
    assert (task.seconds, task.role, task.donor, task.forecast) == (None, "", None, None)
    assert task.tags == data["tags"] and task.note["from"] == 2


# -- a log that is continued -----------------------------------------------------------------------------------------


def older(kind: str, data: object) -> object:
    """Returns data as version 1 wrote it."""
    if kind == "tasks":
        return [older_task(**each) for each in data]
    return [{name: value for name, value in each.items() if name != "kind"} for each in data] if kind == "results" else data


def older_task(tags=None, note=None, seconds=None, role="", donor=None, forecast=None, **data) -> dict:
    tags, note = dict(tags or {}), dict(note or {})
    tags |= {} if seconds is None else {"seconds": str(seconds)}
    tags |= {"control": 1} if role == "control" else {"role": role} if role else {}
    note |= {} if donor is None else {"from": donor}
    note |= {name: value for name, value in (forecast or {}).items() if name != "source"}
    return {**data, **({"tags": tags} if tags else {}), **({"note": note} if note else {})}


def make_older(directory: Path) -> None:
    """Rewrites the log of a run as version 1 would have written it."""
    path, crc, lines = directory / segment_name(1), 0, []
    for number, text in enumerate(path.read_bytes().splitlines()):
        entry = json.loads(text)
        line, crc = line_of(1, number, entry["t"], older(entry["t"], entry["d"]), crc, entry["e"])
        lines.append(line)
    path.write_bytes(b"".join(lines))


def run(directory, steps: int):
    algorithm = pt.pb2(SPACE, population=4, interval=3)
    return pt.run(algorithm, quadratic, stop=pt.steps(steps), directory=directory, seed=3)


def test_a_continued_log_has_lines_of_both_versions_and_is_read_and_verified(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        run(directory, 9)
    before = read(old).lines
    make_older(old)
    assert repr(read(old).lines) == repr(before)
    extended = [run(directory, 18) for directory in (old, new)]
    versions = Counter(json.loads(line)["v"] for line in (old / segment_name(1)).read_bytes().splitlines())
    assert versions.keys() == {1, 2} and min(versions.values()) > 5
    assert any(task.forecast for line in before for task in line if isinstance(task, Task))
    assert extended[0].best.score == extended[1].best.score
    algorithm = pt.pb2(SPACE, population=4, interval=3)
    found = pt.verify(old, pt.Experiment(algorithm, quadratic, stop=pt.steps(18), seed=3))
    assert found.ok and found.decisions > 0


def test_an_epoch_of_this_version_can_begin_right_after_a_line_of_the_old_one(tmp_path):
    run_line, crc = line_of(1, 0, "run", {"seed": 7, "mode": "max", "budget": 20, "algorithm": OWN, "durable": False}, 0, epoch=0)
    open_line, crc = line_of(1, 1, "open", {}, crc)
    tasks, crc = line_of(1, 2, "tasks", [{**TASK, "id": 0, "parent": None, "tags": {"control": 1}}], crc)
    (tmp_path / segment_name(1)).write_bytes(run_line + open_line + tasks)
    with Log.open(tmp_path) as log:
        assert log.epoch == 2
        log.append([Result(0, float("nan"), 0, error="gone", kind="damaged")])
    ((task,), (result,)) = read(tmp_path).lines
    assert task.role == "control" and result.kind == "damaged"


@dataclass(frozen=True)
class Tagged:
    """An algorithm of a user's own, with tags and notes that poptrain's algorithms had as well."""

    space: pt.Space
    interval: Interval

    seats = 2

    def ask(self, history):
        if history.n == 0:
            tasks = turns.first_round(history, self.space, 2, self.interval)
        else:
            plans = []
            for seat in turns.turns(history, sync=True):
                own = history.task(history.head(seat))
                assert own.tags["role"] == "explorer" and own.tags["control"] == 1 + seat
                plans.append(turns.Plan(seat, own.id, own.hparams, {"from": seat, "gain": 0.5, "rows": 3}))
            tasks = turns.segments(history, plans, self.interval)
        return tuple(replace(task, tags={"role": "explorer", "control": 1 + task.member}) for task in tasks)

    def needed(self, history):
        return turns.needed(history)


@pytest.mark.parametrize("interval", [3, pt.seconds(0.001)], ids=["steps", "seconds"])
def test_an_old_log_of_a_foreign_algorithm_is_continued_and_verified(tmp_path, interval):
    experiment = pt.Experiment(Tagged(SPACE, interval), quadratic, stop=pt.steps(40), seed=3)
    pt.run(experiment, directory=tmp_path)
    before = read(tmp_path).lines
    make_older(tmp_path)
    assert b'"v":2' not in (tmp_path / segment_name(1)).read_bytes()
    assert repr(read(tmp_path).lines) == repr(before)
    longer = replace(experiment, stop=pt.steps(60))
    assert pt.resume(longer, tmp_path).history.n > sum(len(line) for line in before if isinstance(line[0], Task))
    found = pt.verify(tmp_path, longer)
    assert found.ok and found.decisions > 0, found


def test_a_valid_line_that_cannot_be_read_is_damage_and_is_never_cut_off(tmp_path):
    run_line, crc = line_of(1, 0, "run", {"seed": 7, "mode": "max", "algorithm": OWN, "durable": False}, 0, epoch=0)
    open_line, crc = line_of(1, 1, "open", {}, crc)
    strange, crc = line_of(1, 2, "tasks", [{"id": 0, "tags": ["seconds"]}], crc)
    path = tmp_path / segment_name(1)
    path.write_bytes(run_line + open_line + strange)
    for reader in (read, Log.open):
        with pytest.raises(LogDamaged, match=r"line 3 .*its tasks cannot be read .*2 lines before it can be trusted"):
            reader(tmp_path)
    assert path.read_bytes() == run_line + open_line + strange


def test_a_line_with_strange_tags_is_read(tmp_path):
    run_line, crc = line_of(1, 0, "run", {"seed": 7, "mode": "max", "algorithm": OWN, "durable": False}, 0, epoch=0)
    open_line, crc = line_of(1, 1, "open", {}, crc)
    tasks, crc = line_of(1, 2, "tasks", [{**TASK, "id": 0, "parent": None, "tags": {"seconds": "soon"}}], crc)
    (tmp_path / segment_name(1)).write_bytes(run_line + open_line + tasks)
    with Log.open(tmp_path) as log:
        assert not log.record.torn and log.record.lines[0][0].tags == {"seconds": "soon"}
    assert len(read(tmp_path).lines) == 1
