"""Everything that ``--json`` prints obeys the schema that ``poptrain schema`` prints."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from poptrain.cli import main
from poptrain.cli.schema import PRINTED, of_verb
from poptrain.log.reader import read
from poptrain.testing import quadratic
from poptrain.views import as_json, lineage, schedule, status

EXPERIMENT = f"""
import poptrain as pt
from {quadratic.__module__} import quadratic

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pb2(space, population=4, interval=5), quadratic, stop=pt.steps(20))
"""
GOLDEN = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").rglob("log-000001.jsonl"))

MARKS = {"format1": pytest.mark.heavy, "format2": []}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("schema")
    (place / "experiment.py").write_text(EXPERIMENT)
    return place


VERBS = {
    "run": "run {0}/experiment.py --dir {0}/run",
    "resume": "resume {0}/run --steps 25",
    "check": "check {0}/experiment.py --seconds 5",
    "status": "status {0}/run",
    "lineage": "lineage {0}/run",
    "schedule": "schedule {0}/run",
    "replay": "replay {0}/run --dir {0}/replay",
    "replay of its worth": "replay {0}/run --worth 6",
    "verify": "verify {0}/run",
    "compare": "compare {0}/run {0}/replay",
    "plot": "plot {0}/run --out {0}/plots",
    "report": "report {0}/run --out {0}/page.html",
    "export": "export {0}/run --best {0}/best --table {0}/table.csv",
}


@pytest.mark.heavy
def test_every_verb_prints_what_its_schema_says(place, capsys):
    assert {line.split()[0] for line in VERBS.values()} == set(PRINTED)
    for line in VERBS.values():
        assert main([*line.format(place).split(), "--json"]) == 0, line
        printed = json.loads(capsys.readouterr().out.splitlines()[-1])
        jsonschema.validate(printed, of_verb(line.split()[0]), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("verb", PRINTED)
def test_a_schema_is_valid_and_explains_every_record(verb):
    schema = of_verb(verb)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert all(record["description"] and not record["additionalProperties"] for record in schema["$defs"].values())


@pytest.mark.parametrize(
    "directory",
    [pytest.param(path, id=f"{path.parent.name}-{path.name}", marks=MARKS[path.parent.name]) for path in GOLDEN],
)
def test_what_is_said_of_golden_runs_obeys_too(directory):
    record = read(directory)
    for verb, view in {"status": status, "lineage": lineage, "schedule": schedule}.items():
        said = view(record)
        printed = json.loads(said.to_json()) if verb == "schedule" else as_json(said)
        jsonschema.validate(printed, of_verb(verb), jsonschema.Draft202012Validator)


def test_a_verb_without_a_schema_is_named_with_those_that_have_one(capsys):
    assert main(["schema", "statu"]) == 2
    assert "did you mean" in capsys.readouterr().err.lower()
