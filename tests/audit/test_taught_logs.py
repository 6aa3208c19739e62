"""A verification finds what was falsified about the lessons of students: their teachers, and their parts of a distillation."""

from __future__ import annotations

import json
import shutil

import distilling_toys as toys
import pytest

import poptrain as pt
from poptrain.log.codec import encode_line

GENERATIONS = pt.Generations(distill=10, every=5, most=1)
OPTIONS = {"exploit": pt.truncation(0.5), "window": 8, "retune": None}
ALGORITHM = pt.bg_pbt(toys.SPACE, population=4, interval=5, generations=GENERATIONS, **OPTIONS)
EXPERIMENT = pt.Experiment(ALGORITHM, toys.FUNCTIONS, stop=pt.steps(35))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("original") / "run"
    pt.run(EXPERIMENT, directory=directory, progress=False)
    assert pt.verify(directory, EXPERIMENT).ok
    return directory


@pytest.fixture
def directory(original, tmp_path):
    shutil.copytree(original, tmp_path / "run")
    return tmp_path / "run"


def falsified(directory, rung, change):
    """Verifies a log in which the second student of a rung was changed; its checksums fit."""
    log, crc, out = directory / "log-000001.jsonl", 0, b""
    entries = [json.loads(text) for text in log.read_text().splitlines()]
    rungs = [entry["d"] for entry in entries if entry["t"] == "tasks" and entry["d"][0].get("role") == "candidate"]
    student = rungs[rung][1]
    change(student)
    for entry in entries:
        text, crc = encode_line(entry["t"], entry["d"], seq=entry["q"], epoch=entry["e"], wall=entry["w"], crc=crc)
        out += text
    log.write_bytes(out)
    return pt.verify(directory, EXPERIMENT), student["id"]


def another(teacher):
    """Returns the other member that may teach."""
    return 13 - teacher  # of 6 and 7, which may teach


@pytest.mark.parametrize(
    ("rung", "change", "check", "field"),
    [
        (1, lambda task: task.update(teacher=another(task["teacher"])), "decisions", "teacher"),
        (0, lambda task: task.update(teacher=0), "decisions", "teacher"),
        (1, lambda task: task.update(teacher=task["id"]), "facts", "teacher"),
        (0, lambda task: task.update(teacher=9999), "facts", "teacher"),
        (1, lambda task: task.update(progress=[task["progress"][0], 0.9]), "decisions", "progress"),
        (0, lambda task: task.update(progress=[0.1, task["progress"][1]]), "decisions", "progress"),
        (1, lambda task: task.pop("progress"), "decisions", "progress"),
        (0, lambda task: (task.pop("progress"), task.pop("teacher")), "decisions", "teacher"),
        (1, lambda task: task.update(progress=[0.75, 0.25]), "facts", "progress"),
        (0, lambda task: task.update(role=""), "decisions", "role"),
    ],
)  # fmt: skip
def test_a_falsified_lesson_is_found_where_it_stands(directory, rung, change, check, field):
    found, student = falsified(directory, rung, change)
    verdicts = {each.name: each.state for each in found.checks}
    assert not found.ok and verdicts[check] == "failed", found.first
    assert (found.first.task, found.first.field) == (student, field), found.first.text


@pytest.mark.parametrize("progress", [[0.75, 0.25], [-0.1, 0.25], [0.0, 1.5], [3, -1]])
def test_a_part_that_no_distillation_has_is_found_without_the_experiment(directory, progress):
    _, student = falsified(directory, 0, lambda task: task.update(progress=progress))
    found = pt.verify(directory)
    assert not found.ok and (found.first.task, found.first.field) == (student, "progress"), found.first
    assert "two numbers from 0 to 1" in found.first.text
