"""Suggestions: what a model (PB2 and its relatives) expected of the hyperparameters it gave, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poptrain.core import Forecast, Hparams, Task
from poptrain.log.reader import Record
from poptrain.views.facts import Facts, suggested

_SCORES = frozenset({"own", "donor"})  # of the exploit that came before


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
    source: str  # "model", "redraw" or "bandit": what chose
    fallback: str | None  # why no model gave the numbers; None: one did
    model: Mapping[str, Any]  # the kernel's parameters; of categories the chances, too
    hparams: Hparams

    @property
    def by_bandit(self) -> bool:
        """True if categories were all that there was to choose, and a bandit drew them."""
        return self.source == "bandit"


def suggestions(record: Record) -> tuple[Suggestion, ...]:
    """Returns every suggestion of a run, oldest first; () for algorithms without a model."""
    facts = Facts.of(record)
    return tuple(_suggestion(facts, task) for task in facts.tasks if suggested(task))


def newest(facts: Facts) -> tuple[Suggestion, ...]:
    """Returns the suggestions of the newest round that had some."""
    return tuple(_suggestion(facts, facts.tasks[id]) for id in facts.suggested)


def _suggestion(facts: Facts, task: Task) -> Suggestion:
    forecast = task.forecast or Forecast()
    return Suggestion(
        task=task.id,
        member=task.member,
        step=facts.begin(task.id),
        gain=forecast.gain,
        gain_sd=forecast.gain_sd,
        observed=_observed(facts, task),
        beta=forecast.beta,
        rows=forecast.rows,
        source=forecast.source,
        fallback=forecast.fallback,
        model={name: value for name, value in task.note.items() if name not in _SCORES},
        hparams=dict(task.hparams),
    )


def _observed(facts: Facts, task: Task) -> float | None:
    if task.parent is None or not facts.ok(task.id) or not facts.ok(task.parent):
        return None
    return facts.sign * (facts.results[task.id].score - facts.results[task.parent].score)
