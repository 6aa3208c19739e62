"""What a user must know when an experiment ends: that no decision was made, or that trials stopped before the budget."""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.core import History
from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.interval import Interval

MOST_NAMED = 5  # trials in one sentence
SECONDS = "time_total_s"


def remarks(
    history: History, trials: Sequence[str], *, interval: Interval | None, budget: int | None, unit: str, resolution: int = 1
) -> list[str]:
    """Returns the sentences about an experiment that has ended; none if decisions were made and every trial has its budget.

    Args:
        history: of the experiment.
        trials: the id of the trial on each seat.
        interval, budget: of the algorithm, in its steps.
        unit: the key of a report in which progress is counted.
        resolution: steps in one `unit`.
    """
    if not history.n:
        return []
    reached = _reached(history, len(trials))

    def shown(steps: int) -> str:
        return f"{steps / resolution:.3g} s" if unit == SECONDS else f"{steps / resolution:g} {unit}"

    if text := _nothing_to_copy(history):
        return [text]
    if not _decisions(history) and isinstance(interval, int):
        text = f"no decision was made: the interval is {shown(interval)}, and the trials trained {shown(max(reached))} at most."
        other = f", or pass time_attr='training_iteration' (it is {unit!r})" if unit == SECONDS else ""
        return [f"{text} Pass a shorter interval{other}, or train longer."]
    early = [(trial, step) for trial, step in zip(trials, reached, strict=True) if budget is not None and step < budget]
    if budget is None or not early:
        return []
    named = ", ".join(f"{trial} at {shown(step)}" for trial, step in early[:MOST_NAMED])
    more = f" and {counted(len(early) - MOST_NAMED, 'other')}" if len(early) > MOST_NAMED else ""
    return [
        f"{len(early)} of {counted(len(trials), 'trial')} ended before the budget of {shown(budget)}: "
        f"{named}{more}. {_why(history)}"
    ]


def _reached(history: History, seats: int) -> list[int]:
    """Returns the steps of the newest healthy result of each seat; 0 if there is none."""
    reached = [0] * seats
    for id in range(history.n):
        if history.ok(id):
            reached[history.task(id).member] = history.step(id)
    return reached


def _nothing_to_copy(history: History) -> str:
    """Returns why no result could be continued by any trial; "" if one could, or if there is none."""
    every = [result for id in range(history.n) if (result := history.result(id)) is not None]
    results = [result for result in every if result.kind != "ended"]
    if not every or any(result.healthy for result in results):
        return ""
    if not results:
        return "no trial has reported anything before it ended."
    errors = [result.error for result in results if result.error]
    if errors:
        return f"no trial has a result: {len(errors)} of {len(results)} failed, the first with {errors[0]!r}."
    if any(result.kind == "diverged" for result in results):
        return "no trial has a result that can be compared: all reported scores are NaN or infinite."
    return "no trial was copied, because none reported a checkpoint: call tune.report(metrics, checkpoint=…) in every interval."


def _decisions(history: History) -> int:
    """Returns the number of tasks that were decided from a result, and that were begun."""
    results = [(history.task(id), history.result(id)) for id in range(history.n)]
    return sum(1 for task, result in results if task.parent is not None and (result is None or result.kind != "ended"))


def _why(history: History) -> str:
    """Returns why trials ended early, and what to do."""
    newest = {history.task(id).member: history.result(id) for id in range(history.n)}
    kinds = {result.kind for result in newest.values() if result is not None}
    if kinds & {"failed", "diverged", "damaged"}:
        return f"Trials that failed are among them: `{poptrain('status')}` has their errors."
    return (
        "Either a stop condition ended them, or they had copied younger trials, and the steps that all trials share were used up "
        "(budget × trials); a synchronous population brings every trial to the budget."
    )
