"""What a trial reports: how far it is, its score, and the values that its code really uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real

from poptrain.core import Hparams, Task
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.integrations.adapter import same_value
from poptrain.integrations.ray_tune.configs import Report
from poptrain.integrations.ray_tune.settings import Settings
from poptrain.integrations.ray_tune.trial_seat import TrialSeat
from poptrain.space.parameter import plain, show


@dataclass(frozen=True)
class Reports:
    """Reads the reports of an experiment."""

    settings: Settings
    metric: str

    def add(self, seat: TrialSeat, report: Report) -> bool:
        """Adds a report on the task of a seat; False if it lacks something and ``require_attrs`` is False.

        Raises:
            UsageError: something in the report cannot be, or a value is not in force.
        """
        settings, task = self.settings, seat.working
        what, time_attr = settings.name, settings.time_attr
        if not complete(what, report, (time_attr, self.metric), settings.require_attrs):
            return False
        step = step_of(what, time_attr, report[time_attr], settings.resolution)
        score = score_of(what, self.metric, report[self.metric])
        check_goes_on(what, seat.trial, time_attr, task, seat.start, step)
        check_in_force(what, seat.trial, report, task.hparams, seat.kept)
        seat.report(step, score, report)
        return True

    def returns(self, seat: TrialSeat) -> tuple[float, ...]:
        """Returns the episode returns in the newest report of a seat."""
        key = self.settings.returns
        return returns_of(self.settings.name, key, seat.last.get(key)) if key else ()


def complete(what: str, report: Report, keys: Sequence[str], require: bool) -> bool:
    """Returns whether a report has all keys; with `require`, a missing key is an error."""
    for key in keys:
        if key not in report:
            if not require:
                return False
            near = did_you_mean(key, list(report))
            raise UsageError(f"{what}: a trial's report has no {key!r}; report it, or set require_attrs=False.{near}")
    return True


def score_of(what: str, metric: str, value: object) -> float:
    """Returns a reported score; None is NaN, as a trial that has diverged reports it.

    Raises:
        UsageError: it is not a number.
    """
    if value is None:
        return float("nan")
    number = _number(value)
    if number is None:
        raise UsageError(
            f"{what}: a trial reports {metric}={show(value)}, a {type(value).__name__}; the metric must be a number."
        )
    return number


def step_of(what: str, time_attr: str, value: object, resolution: int) -> int:
    """Returns how far a trial is, in steps, of which one `time_attr` has `resolution`.

    Raises:
        UsageError: it is not a finite number.
    """
    number = _number(value)
    if number is None or not isfinite(number):
        raise UsageError(f"{what}: a trial reports {time_attr}={show(value)}; time_attr must be the key of a number that grows.")
    return int(number * resolution + 1e-9)


def check_goes_on(what: str, trial: object, time_attr: str, task: Task, start: int, step: int) -> None:
    """Raises when a trial that was started from a checkpoint counts from the beginning again, and so would train too long."""
    if task.parent is not None and step < start:
        raise UsageError(
            f"{what}: trial {trial} started from a checkpoint at {time_attr}={start} and reports {time_attr}={step}. Save it in "
            "the checkpoint and count on from there, or use time_attr='training_iteration'."
        )


def check_in_force(what: str, trial: object, report: Report, hparams: Hparams, before: Sequence[Hparams]) -> None:
    """Raises when a report shows another value of a hyperparameter than the trial was given.

    Ray adds the live config to each report. And a trial that reports a hyperparameter under its own name, with exactly the value
    of the trial that it was copied from, or its own earlier one, has taken it from a checkpoint or kept it.

    Args:
        what: the scheduler's name.
        trial: that reports.
        report: under flat names.
        hparams: what the trial was given.
        before: values that it may have kept: of the task that it continues, and those that its actor had.
    """
    for name, value in hparams.items():
        key = name.replace(".", "/")
        held = _scalar(report.get(f"config/{key}"))
        if held is not None and not same_value(held, value):
            raise UsageError(
                f"{what}: trial {trial} was given {name}={value!r}, and its config now has {held!r}. Do not write into the "
                "config, and apply its values after a checkpoint is loaded."
            )
        shown = _scalar(report.get(key))
        kept = (other[name] for other in before if name in other)
        if shown is not None and not same_value(shown, value) and any(same_value(shown, other) for other in kept):
            raise UsageError(
                f"{what}: trial {trial} was given {name}={value!r}, and reports {shown!r}, the value from before: apply the "
                "config after a checkpoint is loaded, and in reset_config."
            )


def returns_of(what: str, key: str, value: object) -> tuple[float, ...]:
    """Returns the episode returns of a report; none if it has none.

    Raises:
        UsageError: they are not a list of numbers.
    """
    found = value.tolist() if hasattr(value, "tolist") else value
    if found is None:
        return ()
    values = [_number(each) for each in found] if isinstance(found, (list, tuple)) else [None]
    if None in values:
        raise UsageError(f"{what}: a trial reports {key}={show(value)}; returns={key!r} must be the key of a list of numbers.")
    return tuple(number for number in values if number is not None)


def _number(value: object) -> float | None:
    """Returns a number as a float, also one in an array without dimensions; None for anything else."""
    value = plain(value)
    return float(value) if isinstance(value, Real) else None


def _scalar(value: object) -> object:
    """Returns a value that may be that of a hyperparameter; None for anything else."""
    value = plain(value)
    return value if isinstance(value, (bool, int, float, str)) else None
