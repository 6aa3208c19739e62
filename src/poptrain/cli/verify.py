"""``poptrain verify``: recompute every decision of a run from its log, and hash its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from poptrain import verify as verification_of
from poptrain.audit.verify import Verification
from poptrain.cli import start
from poptrain.cli.show import Directory, JsonOption, emit, say, verdicts
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.engine.experiment import Experiment
from poptrain.engine.replay import rebuilt
from poptrain.log.finding import exists
from poptrain.log.reader import Record, read


def verify(
    directory: Directory,
    experiment: start.ExperimentOption = None,
    log_only: Annotated[bool, typer.Option("--log-only", help="Run no experiment file: leave the decisions unverified.")] = False,
    json: JsonOption = False,
) -> None:
    """Recompute every decision from the log; check its lines and checkpoints."""
    if log_only and experiment is not None:
        raise UsageError("--log-only and --experiment exclude each other: pass only one of them.")
    loaded, why = _experiment(directory, experiment, log_only)
    found = verification_of(directory, loaded)
    if why:
        checks = tuple(replace(each, text=f"{each.text}: {why}") if each.state == "unclear" else each for each in found.checks)
        found = replace(found, checks=checks)
    emit(found) if json else _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _experiment(directory: Path, file: Path | None, log_only: bool) -> tuple[Experiment | None, str]:
    """Returns the experiment of a run, or None and why there is none."""
    if log_only:
        return None, "--log-only"
    try:
        record = read(directory) if exists(directory) else Record()
    except LogDamaged:
        record = Record()  # `verify` reports the place of the damage; the experiment file must be passed by hand
    if rebuilt(record.run.get("algorithm")) is not None:
        return None, ""  # a replay: its log holds all that is needed
    try:
        chosen = start.chosen(directory, record, file)
    except UsageError as error:
        if file is not None:
            raise
        return None, str(error)
    return start.load(chosen.file, chosen.options, record.run.get("seed"), chosen.argv, chosen.folder), ""


def _show(found: Verification) -> None:
    verdicts(found.checks)
    say(*(f"note: {note}" for note in found.notes))
    done = [check.name for check in found.checks if check.state == "ok"]
    say(f"verified: {', '.join(done) or 'nothing'}" if found.ok else "verification failed")
