"""Every field of a fact has a type, and a wrong one is named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from poptrain.core import Forecast, Lost, Result, Task, wellformed
from poptrain.core.wellformed import malformed

TASK = Task(3, 1, {"lr": 0.1}, 0, 5, 7, teacher=1, progress=(0.0, 0.5), seconds=1.5, role="control", donor=2,
            forecast=Forecast("model", 0.1, 0.2, 0.3, 4, None))  # fmt: skip
RESULT = Result(3, 1.0, 5, ((5, 1.0),), (1.0, 2.0), {}, "a:b", None, 0.5, 0.1)
WRONG = {
    Task: {
        "id": -1, "member": 1 << 30, "steps": True, "seed": 2.0, "evals": "1", "parent": -1, "teacher": "a", "donor": 1.5,
        "hparams": [], "tags": None, "note": "why", "seconds": float("nan"), "progress": (1, 2, 3), "role": "boss",
        "forecast": {"gain": 1.0},
    },
    Result: {
        "task": -1, "step": 1.5, "metrics": [], "score": "1", "curve": ((1,),), "returns": ("a",), "checkpoint": 5, "error": 7,
        "kind": "lost", "seconds": "1", "saving": None,
    },
    Forecast: {"source": "oracle", "gain": "1", "gain_sd": True, "beta": (), "rows": -2, "fallback": 3},
}  # fmt: skip


def test_sound_facts_are_well_formed():
    assert malformed(TASK) is malformed(RESULT) is malformed(Lost(0)) is None
    assert malformed(Task(0, 0, {}, None, 0, 0)) is malformed(Result(0, float("nan"), 0, error="boom")) is None


def test_every_field_has_a_type():
    for kind, types in (
        (Task, wellformed.TASK),
        (Result, wellformed.RESULT),
        (Lost, wellformed.LOST),
        (Forecast, wellformed.FORECAST),
    ):
        assert set(types) == {field.name for field in fields(kind)}
    assert all(set(wrong) == {field.name for field in fields(kind)} for kind, wrong in WRONG.items())


@pytest.mark.parametrize(("fact", "name"), [(fact, name) for fact in (TASK, RESULT) for name in WRONG[type(fact)]], ids=str)
def test_a_wrong_field_is_named(fact, name):
    changed = replace(fact)
    object.__setattr__(changed, name, WRONG[type(fact)][name])
    found = malformed(changed)
    assert found.field == name and found.got is WRONG[type(fact)][name] and found.expected


@pytest.mark.parametrize("name", WRONG[Forecast])
def test_a_wrong_field_of_a_forecast_is_named(name):
    found = malformed(replace(TASK, forecast=replace(TASK.forecast, **{name: WRONG[Forecast][name]})))
    assert found.field == f"forecast.{name}" and found.got is WRONG[Forecast][name]
