"""The time and disk that the whole run will take, estimated from the probes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from poptrain.audit.verdict import Verdict
from poptrain.checkpoints import places
from poptrain.core.brief import brief
from poptrain.core.cpus import cpus
from poptrain.core.errors import PoptrainError
from poptrain.core.interval import Seconds, interval_of
from poptrain.core.protocols import Algorithm
from poptrain.engine.experiment import Experiment
from poptrain.engine.stop import AnyOf, Stop
from poptrain.executors import kind_of

SLACK, SLACK_BYTES = 16, 64 << 20  # checkpoints, or bytes of them, that the store lets accumulate before it deletes some
LINE_BYTES = 450  # of the log, for one task and its result


@dataclass(frozen=True)
class Times:
    """What was measured."""

    start: float  # seconds that happen once
    per_step: float  # seconds of a step: of one member alone; `shared`: until one more step of any member is trained
    shared: bool = False  # measured on members that train side by side: those of a batch, or of the first rounds of the run
    rough: bool = False  # there was no time for a whole interval

    def of_all(self, members: int, slots: int) -> float:
        """Returns the seconds in which each member trains one step more."""
        return self.per_step * (members if self.shared else -(-members // slots))


@dataclass(frozen=True)
class Estimate:
    """What a run will take. What is not known, because the run does not end after a number of steps, is None."""

    start: float  # seconds that happen once: workers start, libraries are imported, programs are compiled
    seconds_per_task: (
        float | None
    )  # of one member, with its share of what tasks cost besides training; None: no interval in steps
    seconds_per_step: float  # of one member: that of a task, divided by its steps
    slots: int  # members that train at once
    seconds: float | None  # the whole run
    checkpoint: int  # bytes of one
    disk: int  # bytes at most, at one time
    written: int | None  # bytes over the whole run
    free: int  # bytes on the disk
    rough: bool = False  # the time is extrapolated from less than an interval

    __repr__ = brief


def estimated(experiment: Experiment, times: Times, checkpoint: int, directory: Path) -> Estimate:
    """Returns the estimate for a run in `directory`.

    Args:
        checkpoint: bytes of one.
    """
    algorithm: Algorithm = experiment.algorithm
    budget, members = experiment.budget, algorithm.seats  # an upper bound: evaluators are counted as members
    interval = steps_between(algorithm)
    slots = slots_of(experiment.executor, algorithm.seats)
    tasks = None
    if budget is not None:
        tasks = members * (1 if interval is None else -(-budget // interval))
    log = LINE_BYTES * (tasks or 0)
    kept = 2 * algorithm.seats + 1  # of every member's newest result and its parent's, and of the best
    turns = -(-members // slots)  # that the members take, one after another
    per_step = times.of_all(members, slots) / turns
    seconds = None if budget is None else times.start + times.of_all(members, slots) * budget
    return Estimate(
        start=times.start,
        seconds_per_task=None if interval is None else per_step * min(interval, budget or interval),
        seconds_per_step=per_step,
        slots=slots,
        seconds=_shortened(seconds, experiment.stop),
        checkpoint=checkpoint,
        disk=kept * checkpoint + min(SLACK * checkpoint, SLACK_BYTES + checkpoint) + log,
        written=None if tasks is None else tasks * checkpoint + log,
        free=shutil.disk_usage(existing(directory)).free,
        rough=times.rough,
    )


def _shortened(seconds: float | None, stop: Stop | None) -> float | None:
    """Returns the time of a run that also ends after the seconds of its stop condition, if it has one."""
    conditions = stop.conditions if isinstance(stop, AnyOf) else (stop,)
    limits = [condition.seconds for condition in conditions if isinstance(condition, Seconds)]
    return min([*limits, *([] if seconds is None else [seconds])], default=None)


def storage(estimate: Estimate, url: str | None) -> Verdict:
    """Returns whether the checkpoints can be stored: there is enough space on the disk, or the URL can be used."""
    text = f"{bytes_text(estimate.disk)} at most ({bytes_text(estimate.checkpoint)} a checkpoint)"
    if estimate.written is not None:
        text += f", {bytes_text(estimate.written)} written in all"
    if url is not None:
        try:
            places.check_usable(url)
        except PoptrainError as error:
            return Verdict("storage", "failed", f"{text}. {error}")
        return Verdict("storage", "ok", f"{text}; {url} is empty, and can be written")
    if estimate.disk > estimate.free:
        free = bytes_text(estimate.free)
        return Verdict("disk", "failed", f"{text}, and only {free} are free: save less, or choose another directory")
    return Verdict("disk", "ok", f"{text}; {bytes_text(estimate.free)} are free")


def steps_between(algorithm: Algorithm) -> int | None:
    """Returns the steps between two decisions of an algorithm; None if it has no interval, or one of time."""
    interval = interval_of(algorithm)
    return interval if isinstance(interval, int) and not isinstance(interval, bool) else None


def slots_of(executor: object, seats: int) -> int:
    """Returns the number of members that train at once: a whole batch, or at most one for each CPU of this machine."""
    if kind_of(executor) == "inline":
        return 1
    if kind_of(executor) == "vectorized":
        return seats
    return max(1, min(getattr(executor, "slots", None) or cpus(), seats, cpus()))


def existing(directory: Path) -> Path:
    """Returns the directory, or the nearest one above it that exists."""
    place = directory.resolve()
    return next(path for path in (place, *place.parents) if path.exists())


def bytes_text(count: float) -> str:
    """Returns a number of bytes in the unit that fits.

    >>> bytes_text(812), bytes_text(1234567), bytes_text(5e10)
    ('812 B', '1.23 MB', '50 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"
