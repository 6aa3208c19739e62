"""Suggestions: what a model (PB2 and its relatives) expected of the hyperparameters it gave, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poptrain.core import Hparams, Task
from poptrain.log.reader import Record
from poptrain.views.facts import Facts, suggested

_NAMED = frozenset({"from", "own", "donor", "gain", "gain_sd", "beta", "rows", "fallback"})


@dataclass(frozen=True)
class Suggestion:
    """The hyperparameters of one clone. Gains are in units of the score over one interval, and up is better, whatever the
    mode; what the note does not say is None."""

    task: int
    member: int
    step: int  # the lineage step at which it begins
    gain: float | None  # predicted
    gain_sd: float | None  # its standard deviation
    observed: float | None  # what the interval gained; None: not told yet, failed, or the parent has no score
    beta: float | None  # weight of exploration
    rows: int | None  # intervals that the model learned from
    fallback: str | None  # why no model gave the numbers; None: one did
    model: Mapping[str, Any]  # the kernel's parameters; of categories the chances, too
    hparams: Hparams

    @property
    def by_bandit(self) -> bool:
        """True if categories were all that there was to choose, and a bandit drew them."""
        return self.fallback == "no numeric hyperparameter" and any(name.startswith("chance ") for name in self.model)


def suggestions(record: Record) -> tuple[Suggestion, ...]:
    """Returns every suggestion of a run, oldest first; () for algorithms without a model."""
    facts = Facts.of(record)
    return tuple(_suggestion(facts, task) for task in facts.tasks if suggested(task))


def newest(facts: Facts) -> tuple[Suggestion, ...]:
    """Returns the suggestions of the newest round that had some."""
    return tuple(_suggestion(facts, facts.tasks[id]) for id in facts.suggested)


def _suggestion(facts: Facts, task: Task) -> Suggestion:
    note = task.note
    return Suggestion(
        task=task.id,
        member=task.member,
        step=facts.begin(task.id),
        gain=_number(note.get("gain")),
        gain_sd=_number(note.get("gain_sd")),
        observed=_observed(facts, task),
        beta=_number(note.get("beta")),
        rows=note.get("rows"),
        fallback=None if note.get("fallback") is None else str(note["fallback"]),
        model={name: value for name, value in note.items() if name not in _NAMED},
        hparams=dict(task.hparams),
    )


def _observed(facts: Facts, task: Task) -> float | None:
    if task.parent is None or not facts.ok(task.id) or not facts.ok(task.parent):
        return None
    return facts.sign * (facts.results[task.id].score - facts.results[task.parent].score)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
