"""The run log of an experiment: `Tuner.restore` brings the scheduler back from it, and ``poptrain status`` reads it.

It also records which trial has which seat. If the storage is not a local path and no `directory` was given, it is kept in
memory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import ray
from ray.tune.experiment import Trial

from poptrain.core import History, Result, Task, as_line, maximised
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.fingerprint import describe
from poptrain.core.interval import interval_of
from poptrain.core.protocols import Algorithm
from poptrain.engine.stop import steps
from poptrain.integrations.ray_tune.controller import storage_of
from poptrain.log.finding import exists
from poptrain.log.reader import read
from poptrain.log.writer import Log, MemoryLog
from poptrain.sinks import Guarded

logger = logging.getLogger(__name__)

About = Mapping[str, object]  # what a run is, as the first line of its log

_OPEN: dict[Path, Log] = {}  # of this process: a restored experiment takes the log over from the one that it continues


class Journal:
    """The log of one experiment and the history that it holds. Made by `begin` or `go_on`, at the place that `find` returns."""

    def __init__(self, log: Log | MemoryLog, seats: list[str], sinks: Sequence[object]):
        self.log, self.seats = log, seats  # seats: the trial id on each
        self.sign = -1 if log.record.run["mode"] == "min" else 1
        self.history: History = log.record.history()
        self.over = False  # True: it had ended in an earlier session
        self.ended = False
        self.sinks = [Guarded(sink) for sink in sinks]
        for sink in self.sinks:
            sink.open(log.record)

    @classmethod
    def begin(cls, place: Path | None, seats: list[str], about: About, sinks: Sequence[object]) -> Journal:
        """Starts the journal of new trials; in memory where `place` is None."""
        log: Log | MemoryLog
        if place is None:
            log = MemoryLog(_with_versions(about))
        else:
            log = _OPEN[place] = Log.create(place, _with_versions(about))
        log.note("trials", seats=seats)
        return cls(log, seats, sinks)

    @classmethod
    def go_on(cls, place: Path, seats: list[str], about: About, sinks: Sequence[object]) -> Journal:
        """Continues a journal; if this process still has it open, that one is closed."""
        if place in _OPEN:
            _OPEN.pop(place).close()
        over = read(place).finished
        log = _OPEN[place] = Log.open(place)
        log.note("trials", seats=seats)
        if log.record.budget != about["budget"]:
            log.note("budget", budget=about["budget"])
        journal = cls(log, seats, sinks)
        journal.over = over
        return journal

    @property
    def directory(self) -> Path | None:
        """Where the log is; None in memory."""
        return self.log.record.directory

    def append(self, facts: Sequence[Task] | Sequence[Result]) -> None:
        """Writes facts, in the user's sign, and adds them to the history, where scores are maximised."""
        if not facts:
            return
        self.log.append(facts)
        self.history = self.history.add(maximised(as_line(facts), self.sign))
        for sink in self.sinks:
            sink.write(self.log.record, self.history)

    def end(self, reason: str) -> None:
        """Marks the run as finished and frees the directory."""
        self.ended = True
        self.log.note("end", reason=reason)
        for sink in self.sinks:
            sink.close()
        if self.directory is not None:
            _OPEN.pop(self.directory, None)
        self.log.close()


def find(trials: Sequence[Trial], directory: str | Path | None) -> tuple[Path | None, list[str], bool]:
    """Returns the place of the journal of these trials, the trial id on each seat, and whether the journal already exists."""
    ids = [trial.trial_id for trial in trials]
    place = _place(trials[0], directory)
    if place is None:
        return None, ids, False
    number = 1
    while exists(candidate := place if number == 1 else place.with_name(f"{place.name}-{number}")):
        seats = _recorded_seats(candidate)
        if set(seats) & set(ids):
            if len(seats) != len(ids):
                raise UsageError(f"{candidate} holds a run of {counted(len(seats), 'trial')}, and {len(ids)} were restored.")
            new = [id for id in ids if id not in seats]  # restarted by Ray under another name
            return candidate, [seat if seat in ids else new.pop(0) for seat in seats], True
        number += 1
    return candidate, ids, False


def usual_place(trial: Trial) -> Path | None:
    """Returns where the journal of an experiment is without a `directory`; None if its storage is not local."""
    storage = storage_of(trial)
    local = storage.storage_filesystem.type_name == "local"
    return Path(storage.experiment_fs_path).resolve() / "poptrain" if local else None


def _place(trial: Trial, directory: str | Path | None) -> Path | None:
    if directory is not None:
        return Path(directory).expanduser().resolve()
    if (place := usual_place(trial)) is not None:
        return place
    logger.warning(
        "poptrain keeps its run log in memory, because the experiment is stored in %s. Tuner.restore would begin a new run: "
        "pass a local or mounted path as poptrain_scheduler(…, directory=…).",
        storage_of(trial).storage_filesystem.type_name,
    )
    return None


def _recorded_seats(place: Path) -> list[str]:
    noted: list[list[str]] = [fields["seats"] for type, fields, _ in read(place).events if type == "trials"]
    return noted[-1] if noted else []


def _with_versions(about: About) -> dict[str, object]:
    from poptrain.engine.open_log import package_versions

    return {**about, "versions": {**package_versions(), "ray": ray.__version__}}


def first_line(algorithm: Algorithm, trial: Trial, *, metric: str, mode: str, seed: int, budget: int | None) -> About:
    """Returns what the run is, as the first line of its log."""
    return {
        "algorithm": describe(algorithm),
        "trainable": trial.trainable_name,
        "metric": metric,
        "mode": mode,
        "seed": seed,
        "stop": describe(None if budget is None else steps(budget)),
        "seats": algorithm.seats,
        "static": list(algorithm.space.static_names),
        "interval": describe(interval_of(algorithm)),
        "budget": budget,
        "keeper": "Ray",  # of the checkpoints
        "code": None,
        "file": None,
    }
