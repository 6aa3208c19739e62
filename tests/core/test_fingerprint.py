"""The fingerprint of a run: equal values have equal descriptions, every difference is named, old logs may lack new options."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field

import pytest

import poptrain as pt
from poptrain.core.fingerprint import Description, as_begun, describe, differences, qualified_name, source_name


@dataclass(frozen=True)
class Inner:
    size: int = 3
    warmup: int = field(default=10, metadata={"absent": 0})  # it was added later; before, there was none


@dataclass(frozen=True)
class Outer:
    rate: float = 0.5
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = (Inner(1), Inner(2))
    kind: str | None = field(default="new", metadata={"absent": None})


def without(description, *names):
    """Returns a description as an older version wrote it: without some options, and read from JSON."""
    if isinstance(description, list):
        return [without(each, *names) for each in description]
    if isinstance(description, dict):
        return {name: without(value, *names) for name, value in description.items() if name not in names}
    return description


def found(then, now) -> list[str]:
    return list(differences(then, describe(now)))


def test_a_description_is_json_and_holds_every_option():
    described = describe(Outer())
    assert json.loads(json.dumps(described)) == described == pickle.loads(pickle.dumps(described))
    assert described["type"] == "Outer" and described["kind"] == "new" and described["inner"]["warmup"] == 10
    assert found(json.loads(json.dumps(described)), Outer()) == []


def test_every_difference_is_named_with_its_place():
    then = json.loads(json.dumps(describe(Outer())))
    assert found(then, Outer(rate=0.25)) == ["rate was 0.5, is 0.25"]
    assert found(then, Outer(inner=Inner(4))) == ["inner.size was 3, is 4"]
    assert found(then, Outer(parts=(Inner(1), Inner(5)))) == ["parts[1].size was 2, is 5"]
    assert found({**then, "old": 1}, Outer()) == ["old is gone (was 1)"]
    assert found({name: value for name, value in then.items() if name != "rate"}, Outer()) == ["rate is new (0.5)"]
    assert list(differences(1, 1.0, "x")) == ["x was 1, is 1.0"] and list(differences(1, True, "x")) == ["x was 1, is True"]


OLD = Outer(inner=Inner(warmup=0), parts=(Inner(1, 0), Inner(2, 0)), kind=None)


def test_an_option_that_an_old_log_lacks_means_its_old_value():
    then = without(json.loads(json.dumps(describe(OLD))), "warmup", "kind")
    assert "warmup" not in then["inner"]
    assert found(then, OLD) == []


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (Outer(inner=Inner(), parts=OLD.parts, kind=None), "inner.warmup was 0, is 10"),
        (Outer(inner=OLD.inner, parts=(Inner(1, 0), Inner(2)), kind=None), "parts[1].warmup was 0, is 10"),
        (Outer(inner=OLD.inner, parts=OLD.parts), "kind was None, is 'new'"),
    ],
)
def test_any_other_value_of_such_an_option_differs_from_an_old_log(now, difference):
    then = without(json.loads(json.dumps(describe(OLD))), "warmup", "kind")
    assert found(then, now) == [difference]


def test_an_option_that_the_log_has_is_compared_with_that():
    then = json.loads(json.dumps(describe(OLD)))
    assert found(then, OLD) == [] and found(then, Outer(inner=Inner(warmup=7), parts=OLD.parts, kind=None)) == [
        "inner.warmup was 0, is 7"
    ]


def test_the_description_of_an_algorithm_knows_the_meaning_of_absent_options():
    described = describe(pt.pbt(pt.Space(lr=pt.Uniform(0, 1)), population=2, interval=1))
    assert isinstance(described, Description) and isinstance(described["exploit"], Description)


class Callable:
    def __call__(self) -> None: ...


def test_code_is_described_by_name_and_hash():
    name = source_name(found)
    assert name.startswith(f"{__name__}:found#") and len(name.rpartition("#")[2]) == 12
    assert describe(Callable()).startswith(f"{__name__}:Callable#") and qualified_name(Callable()) == f"{__name__}:Callable"
    assert source_name(len) == "builtins:len#unknown"


@dataclass(frozen=True)
class Renewed:
    rate: float = 0.5
    inner: Inner = field(default=Inner(4), metadata={"absent": Inner(1)})
    earlier: dict = field(default_factory=dict, compare=False, metadata={"logged": False})


LEFT_OPEN = Renewed(earlier={"rate": (0.1, 0.2), "inner": (Inner(1), Inner(2))})


def test_what_was_left_open_has_the_defaults_that_a_run_was_begun_with():
    old = json.loads(json.dumps(describe(Renewed(0.2, Inner(1)))))
    assert as_begun(LEFT_OPEN, old) == Renewed(0.2, Inner(1))
    assert as_begun(LEFT_OPEN, without(old, "inner")) == Renewed(0.2, Inner(1))
    assert as_begun(LEFT_OPEN, json.loads(json.dumps(describe(LEFT_OPEN)))) == LEFT_OPEN
    assert "earlier" not in describe(LEFT_OPEN)


def test_what_the_user_named_and_what_was_never_a_default_is_not_changed():
    old = json.loads(json.dumps(describe(Renewed(0.2, Inner(1)))))
    assert as_begun(Renewed(), old) == Renewed()
    assert as_begun(LEFT_OPEN, json.loads(json.dumps(describe(Renewed(0.3, Inner(9)))))) == LEFT_OPEN
    assert as_begun(Inner(), old) == Inner() and as_begun(LEFT_OPEN, None) == LEFT_OPEN
