"""Opens the log of a run: a new one, or the existing one if the directory holds the run of the same experiment."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from poptrain.checkpoints import places
from poptrain.core import Json
from poptrain.core.errors import UsageError
from poptrain.core.fingerprint import as_begun, as_logged, describe, differences
from poptrain.core.interval import interval_of
from poptrain.engine import started
from poptrain.engine.again import started_by
from poptrain.engine.edited import edits, recorded
from poptrain.engine.experiment import Experiment
from poptrain.engine.new_place import check_new_place
from poptrain.engine.notices import warn
from poptrain.log.finding import exists
from poptrain.log.reader import Record
from poptrain.log.writer import Log, LogWriter, MemoryLog
from poptrain.trainable import as_trainable, name_of


def open_log(
    experiment: Experiment,
    directory: str | Path | None,
    source: dict[str, Json] | None,
    announce: bool = True,
    before: Record | None = None,
) -> LogWriter:
    """Returns the log: in memory, a new one, or the one in `directory`, which `check_same_run` has accepted.

    Args:
        source: the entry about the experiment's file, from `file_record`; None if there is no file.
        announce: warn of edited code.
        before: what was read of the directory before.
    """
    meta = _header(experiment, source)
    if directory is not None and source is None and (command := started_by(directory)) is not None:
        meta["command"] = command
    if directory is None:
        if experiment.checkpoints is not None:
            raise UsageError(
                f"checkpoints={experiment.checkpoints!r}: pass directory=… as well, because the log is written there."
            )
        return MemoryLog(meta)
    new = not exists(directory)
    if new:
        check_new_place(directory)
    if source is not None:
        started.remember(directory, source)
    if new:
        with places.claimed(experiment.checkpoints) as place:
            return Log.create(directory, {**meta, **place})
    log = Log.open(directory, before=before)
    then = log.record.run
    if found := edits(then, meta):
        text = f"the code of the trainable has been edited: {found}"
        log.note("warning", text=text)
        if announce:
            warn(f"{text}. The run in {str(directory)!r} continues with the new code; pass overwrite=True to start again.")
    if log.record.budget != meta["budget"]:
        log.note("budget", budget=meta["budget"])
    if source is not None and source != log.record.file:
        log.note("file", **source)
    return log


def continuing(experiment: Experiment, then: Mapping[str, Json]) -> Experiment:
    """Returns the experiment as it continues or verifies a run: what was left open has the defaults that it began with.

    Args:
        then: the description that the log of the run begins with.
    """
    logged = then.get("algorithm")
    algorithm = as_logged(as_begun(experiment.algorithm, logged), logged)
    return experiment if algorithm is experiment.algorithm else replace(experiment, algorithm=algorithm)


def check_same_run(record: Record, experiment: Experiment, directory: str | Path) -> None:
    """Raises a `UsageError` with the differences if a directory holds the run of another experiment."""
    then, now = record.run, fingerprint(experiment)
    changes = [line for key in now for line in differences(then.get(key), now[key], key)]
    if changes:
        hint = "Use another directory, restore these arguments to continue it, or pass overwrite=True to begin again without it."
        if not record.has_results:
            hint = (
                "Nothing was trained in it: delete it or pass overwrite=True, use another directory, or restore these arguments."
            )
        listed = f"{'; '.join(changes[:3])}{' …' if len(changes) > 3 else ''}"
        raise UsageError(f"{str(directory)!r} holds another run: {listed}. {hint}")
    places.check_same(then, experiment.checkpoints, directory)


def _header(experiment: Experiment, source: dict[str, Json] | None) -> dict[str, Json]:
    """Returns the description of a run that its log begins with."""
    return {
        **fingerprint(experiment),
        "stop": describe(experiment.stop),
        "seats": experiment.algorithm.seats,
        "static": list(experiment.algorithm.space.static_names),
        "interval": describe(interval_of(experiment.algorithm)),
        "budget": experiment.budget,
        **recorded(experiment.trainable),
        "file": source,
        "versions": package_versions(),
    }


def fingerprint(experiment: Experiment) -> dict[str, Json]:
    """Returns what must not change between two sessions of a run."""
    return {
        "algorithm": describe(experiment.algorithm),
        "trainable": name_of(as_trainable(experiment.trainable)),
        "metric": experiment.metric,
        "mode": experiment.mode,
        "seed": experiment.seed,
    }


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result may depend on."""
    return dict(_package_versions())


@cache
def _package_versions() -> dict[str, str]:
    """The metadata of installed packages are files: reading them once a process is enough."""
    versions = {"python": platform.python_version()}
    for package in ("poptrain", "numpy", "jax", "torch", "envpool", "gymnasium"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
