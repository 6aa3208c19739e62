"""``poptrain replay``: train the schedule of a run, or of a file, alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from poptrain.cli import start
from poptrain.cli.show import Json, TaskId, emit, record_of, say
from poptrain.core.errors import UsageError
from poptrain.engine import stop as stops
from poptrain.engine.experiment import file_record
from poptrain.engine.replay import Source, planned, source_of
from poptrain.engine.result import Run
from poptrain.views import short, status


def replay(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The directory of a run.", show_default=False)] = None,
    schedule: Annotated[
        Path | None, typer.Option("--schedule", metavar="FILE", help="An exported schedule, instead of the run's best.")
    ] = None,
    task: TaskId = None,
    final: Annotated[bool, typer.Option("--final", help="The schedule's last values from step 0 on.")] = False,
    same_seeds: Annotated[bool, typer.Option("--same-seeds", help="The seeds of the run's tasks: repeats its scores.")] = False,
    experiment: Annotated[
        Path | None, typer.Option("--experiment", metavar="FILE", help="What is trained, if not the run's own experiment file.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed, instead of the file's.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Another length; needs --fit.")] = None,
    fit: Annotated[
        str | None, typer.Option("--fit", metavar="RULE", help="stretch or hold: what another length does to the schedule.")
    ] = None,
    interval: Annotated[int | None, typer.Option("--interval", metavar="N", help="Steps between two results.")] = None,
    dir: Annotated[
        Path | None,
        typer.Option("--dir", metavar="OUT", help="Where the replay is kept. [default: runs/replay-of-<run>-<date>-<time>]"),
    ] = None,
    executor: start.Executor = None,
    quiet: start.Quiet = False,
    json: Json = False,
) -> None:
    """Train the best schedule of a run alone; it is a run of its own."""
    if directory is None and schedule is None:
        raise UsageError("nothing to replay: give the directory of a run, or --schedule FILE.")
    record = None if directory is None else record_of(directory)
    if schedule is not None and not schedule.is_file():
        raise UsageError(f"no schedule file {str(schedule)!r}.")
    if schedule is not None and (task is not None or same_seeds):
        raise UsageError("--task and --same-seeds speak of a run's tasks, which --schedule FILE does not know: leave one out.")
    source = source_of(record, task) if schedule is None else source_of(schedule)
    if experiment is None:
        if record is None:
            raise UsageError("a schedule alone says nothing about what is trained: give --experiment FILE too.")
        experiment = start.recorded_file(directory, record.file if isinstance(record.file, Mapping) else {})
    where = directory if schedule is None else schedule
    out = start.fresh(experiment, dir, f"replay-of-{where.resolve().name}")
    start.outside(experiment, out)
    if directory is not None:
        start.outside(experiment, directory)
    loaded = start.load(experiment, {"executor": executor}, seed)
    stop = None if steps is None else stops.steps(steps)
    algorithm, stop = planned(
        source, stop=stop, fit=fit, final=final, same_seeds=same_seeds, interval=interval, space=loaded.algorithm.space
    )
    loaded = replace(loaded, algorithm=algorithm, stop=stop, checkpoints=None)  # the file's are those of the run
    run = start.watched(loaded, out, file_record(experiment, out, {"executor": executor}), quiet)
    found = _compared(source, run, out)
    if json:
        return emit(found)
    start.report(run, out)
    if found["original"] is not None:
        of = f"task {source.task} of {directory}" if schedule is None else str(schedule)
        say(f"{found['metric']} {short(found['replayed'], 6)} at step {found['step']:,}; {of}: {short(found['original'], 6)}")
    return None


def _compared(source: Source, run: Run, out: Path) -> dict[str, Any]:
    """Returns what the replay ended with beside what it was in the run; `difference` is None if the metrics are not the same."""
    ended, about = run.member(0), run.record.run
    known = source.score if (source.metric, source.mode) == (about["metric"], about["mode"]) else None
    return {
        "metric": about["metric"], "mode": about["mode"], "task": source.task, "member": source.member, "length": source.length,
        "step": ended.step, "original": known, "replayed": ended.score,
        "difference": None if known is None else ended.score - known, "best": run.best.score, "directory": str(out),
        "replay": status(run.record),
    }  # fmt: skip
