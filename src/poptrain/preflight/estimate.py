"""What the whole run will take: time and disk, from what the probes took."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poptrain.audit.verdict import Verdict
from poptrain.checkpoints import places
from poptrain.core.errors import PoptrainError
from poptrain.engine.experiment import Experiment

SLACK, SLACK_BYTES = 16, 64 << 20  # checkpoints, or bytes of them, that the store lets come together before it collects
LINE = 450  # bytes of the log for one task and its result


@dataclass(frozen=True)
class Estimate:
    """What a run will take. What is not known, because no number of steps ends the run, is None."""

    seconds_per_step: float  # of one member
    slots: int  # members that train at once
    seconds: float | None  # the whole run
    checkpoint: int  # bytes of one
    disk: int  # bytes at most, at one time
    written: int | None  # bytes over the whole run
    free: int  # bytes on the disk


def estimated(experiment: Experiment, per_step: float, checkpoint: int, directory: Path) -> Estimate:
    """Returns the estimate for a run in `directory`, from seconds a step (of one member) and the bytes of a checkpoint."""
    algorithm, budget = experiment.algorithm, experiment.budget
    members = algorithm.seats  # evaluators too: at most as much as this
    interval = getattr(algorithm, "interval", None)
    slots = _slots(experiment.executor, algorithm.seats)
    tasks = None
    if budget is not None:
        tasks = members * (-(-budget // interval) if isinstance(interval, int) else 1)
    log = LINE * (tasks or 0)
    kept = 2 * algorithm.seats + 1  # of every member's newest and its parent's, and of the best
    return Estimate(
        seconds_per_step=per_step,
        slots=slots,
        seconds=None if budget is None else per_step * budget * members / slots,
        checkpoint=checkpoint,
        disk=kept * checkpoint + min(SLACK * checkpoint, SLACK_BYTES + checkpoint) + log,
        written=None if tasks is None else tasks * checkpoint + log,
        free=shutil.disk_usage(_there(directory)).free,
    )


def place(estimate: Estimate, url: str | None) -> Verdict:
    """Returns whether the checkpoints have a place: enough of the disk, or a URL that can be used."""
    text = f"{size(estimate.disk)} at most ({size(estimate.checkpoint)} a checkpoint)"
    if estimate.written is not None:
        text += f", {size(estimate.written)} written in all"
    if url is not None:
        try:
            places.check_usable(url)
        except PoptrainError as error:
            return Verdict("storage", "failed", f"{text}. {error}")
        return Verdict("storage", "ok", f"{text}; {url} is empty, and can be written")
    if estimate.disk > estimate.free:
        return Verdict("disk", "failed", f"{text}, and {size(estimate.free)} are free: save less, or elsewhere")
    return Verdict("disk", "ok", f"{text}; {size(estimate.free)} are free")


def _slots(executor: Any, seats: int) -> int:
    """Returns how many members train at once, as far as this machine's cores allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = executor if isinstance(executor, str) else type(executor).__name__.lower()
    if name in ("inline", "vectorized"):
        return 1  # a batch was measured as a batch
    return max(1, min(getattr(executor, "slots", None) or cores, seats, cores))


def _there(directory: Path) -> Path:
    place = directory.resolve()
    return next(path for path in (place, *place.parents) if path.exists())


def size(count: float) -> str:
    """Returns a number of bytes as a person wants to read it.

    >>> size(812), size(1234567), size(5e10)
    ('812 B', '1.23 MB', '50 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"
