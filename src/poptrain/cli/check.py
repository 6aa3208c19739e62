"""``poptrain check``: find out in a minute what is wrong with an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli import start
from poptrain.cli.show import JsonOption, emit, say, steps_per_second, verdicts
from poptrain.core.counting import counted
from poptrain.preflight import Preflight
from poptrain.preflight import check as preflight
from poptrain.preflight.estimate import bytes_text
from poptrain.views import span


def check(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.py", help="A file with experiment = pt.Experiment(…).", show_default=False)
    ],
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="The time it may take, about.")] = 60.0,
    dir: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the run would be, for the space on its disk.")] = Path(
        "runs"
    ),
    args: start.ArgumentsOption = "",
    executor: start.ExecutorOption = None,
    steps: start.StepsOption = None,
    json: JsonOption = False,
) -> None:
    """Try an experiment before it is run: checkpoints, hyperparameters, metric, time and disk."""
    found = preflight(
        start.load(experiment, {"steps": steps, "executor": executor}, argv=start.argv_of(args)), seconds=seconds, directory=dir
    )
    emit(found) if json else _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: Preflight) -> None:
    verdicts(found.checks)
    if (estimate := found.estimate) is not None:
        speed = "steps take no time"
        if estimate.seconds_per_step:
            speed = f"{steps_per_second(1 / estimate.seconds_per_step)} steps/s"
        about = "very roughly" if estimate.rough else "about"
        whole = "its duration is not known" if estimate.seconds is None else f"{about} {span(estimate.seconds)} in all"
        parts = ""
        if estimate.seconds is not None and estimate.seconds_per_task is not None:
            parts = f"{span(estimate.start)} to start, then {span(estimate.seconds_per_task)} a task; "
        say(f"the run: {whole} ({parts}{speed} of a member, {estimate.slots} at a time), {bytes_text(estimate.disk)} of disk")
        if estimate.rough and estimate.seconds is not None:
            say("there was no time for a whole interval: with a larger --seconds the time of the run is known better")
    failed, unclear = (sum(verdict.state == state for verdict in found.checks) for state in ("failed", "unclear"))
    short = found.interval is not None and found.steps < found.interval
    say(
        f"checked in {span(found.seconds)}, {counted(found.steps, 'step')} at a time"
        + (f" of {found.interval:,}" if short else "")
    )
    if failed:
        say(f"{failed} of {counted(len(found.checks), 'check')} failed" + (f", {unclear} unclear" if unclear else ""))
    else:
        say(f"nothing is wrong; {unclear} of {counted(len(found.checks), 'check')} unclear" if unclear else "nothing is wrong")
