"""Suggestions: what a model (PB2 and its relatives) expected of the hyperparameters it proposed, and what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poptrain.core import Forecast, History, Hparams, Task, Value
from poptrain.core.brief import in_lines
from poptrain.log.reader import Record
from poptrain.views.index import history_of
from poptrain.views.sources import of_run

_SCORES = frozenset({"own", "donor"})  # of the exploit that came before


@dataclass(frozen=True)
class Suggestion:
    """The hyperparameters proposed for one clone.

    Gains are in units of the score over one interval, and more is better in both modes. What is not known is None.
    """

    task: int
    member: int
    step: int  # the lineage step at which it begins
    gain: float | None  # predicted
    gain_sd: float | None  # its standard deviation
    observed: float | None  # what the interval gained; None: pending, failed, or the parent has no score
    beta: float | None  # weight of exploration
    rows: int | None  # intervals that the model learned from
    source: str  # what proposed them: "model", "redraw" or "bandit"
    fallback: str | None  # why no model proposed the numbers; None: a model did
    model: Mapping[str, Value]  # the kernel's parameters, and the chances of categories
    hparams: Hparams

    __repr__ = in_lines

    @property
    def by_bandit(self) -> bool:
        """True if only categories had to be chosen, and a bandit drew them."""
        return self.source == "bandit"


@of_run
def suggestions(record: Record) -> tuple[Suggestion, ...]:
    """Returns every suggestion of a run, oldest first; () for algorithms without a model."""
    history = history_of(record)
    tasks = (history.task(id) for id in range(history.n))
    return tuple(suggestion_of(task, history.begin(task.id), _observed(history, task)) for task in tasks if task.forecast)


def suggestion_of(task: Task, step: int, observed: float | None) -> Suggestion:
    """Returns the suggestion that a task was decided with.

    Args:
        step: the lineage step at which the task begins.
        observed: the gain, maximised; None if it is not known.
    """
    forecast = task.forecast or Forecast()
    return Suggestion(
        task=task.id,
        member=task.member,
        step=step,
        gain=forecast.gain,
        gain_sd=forecast.gain_sd,
        observed=observed,
        beta=forecast.beta,
        rows=forecast.rows,
        source=forecast.source,
        fallback=forecast.fallback,
        model={name: value for name, value in task.note.items() if name not in _SCORES},
        hparams=dict(task.hparams),
    )


def _observed(history: History, task: Task) -> float | None:
    if task.parent is None or not history.ok(task.id) or not history.ok(task.parent):
        return None
    return history.score(task.id) - history.score(task.parent)
