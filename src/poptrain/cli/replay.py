"""``poptrain replay``: train one member with the schedule of a run, or of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from poptrain.cli import start
from poptrain.cli.show import JsonOption, TaskOption, emit, say
from poptrain.core.commands import working_in
from poptrain.core.errors import UsageError
from poptrain.engine import stop as stops
from poptrain.engine.experiment import file_record
from poptrain.engine.replay import Source, planned, source_of
from poptrain.engine.result import Run
from poptrain.engine.worth import schedule_worth
from poptrain.log.reader import Record, read
from poptrain.views import Status, short, status


class Replayed(TypedDict):
    """How a replay ended, and how the run did that its schedule comes from."""

    metric: str
    mode: str
    task: int | None  # of the original, as the member, the length and the score are
    member: int | None
    length: int | None
    step: int
    original: float | None  # None if it is not known, or of another metric
    replayed: float
    difference: float | None
    better: bool | None  # whether the replay ended better than the original; None if that is not known, or if both are equal
    best: float  # of the whole replay
    directory: str
    replay: Status


def replay(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The directory of a run.", show_default=False)] = None,
    schedule: Annotated[
        Path | None, typer.Option("--schedule", metavar="FILE", help="An exported schedule, instead of the run's best.")
    ] = None,
    task: TaskOption = None,
    final: Annotated[bool, typer.Option("--final", help="The schedule's last values from step 0 on.")] = False,
    same_seeds: Annotated[bool, typer.Option("--same-seeds", help="The seeds of the run's tasks: repeats its scores.")] = False,
    experiment: Annotated[
        Path | None,
        typer.Option(*start.FILE_OPTIONS, metavar="FILE", help="What is trained, if not the run's own experiment file."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed, instead of that of the file.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Another length; needs --fit.")] = None,
    fit: Annotated[
        str | None, typer.Option("--fit", metavar="RULE", help="stretch or hold: what another length does to the schedule.")
    ] = None,
    worth: Annotated[
        int | None,
        typer.Option("--worth", metavar="N", help="Compare the schedule with constant values on N fresh seeds; keeps nothing."),
    ] = None,
    interval: Annotated[int | None, typer.Option("--interval", metavar="N", help="Steps between two results.")] = None,
    dir: Annotated[
        Path | None,
        typer.Option("--dir", metavar="OUT", help="Where the replay is kept. [default: runs/replay-of-<run>-<date>-<time>]"),
    ] = None,
    executor: start.ExecutorOption = None,
    quiet: start.QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train the best schedule of a run alone, as a new run."""
    if directory is None and schedule is None:
        raise UsageError("nothing to replay: pass the directory of a run, or --schedule FILE.")
    record = None if directory is None else read(directory)
    source = _source(record, schedule, task, same_seeds)
    file, _, argv, folder = _experiment_file(directory, record, experiment)
    if worth is not None:
        _alone("--worth", final=final, same_seeds=same_seeds, seed=seed, steps=steps, fit=fit, interval=interval, dir=dir)
        about, place = start.load(file, {"executor": executor}, seed, argv, folder), (schedule or directory or Path()).resolve()
        with working_in(folder):
            compared = schedule_worth(
                place,
                about.trainable,
                seeds=worth,
                task=task,
                metric=about.metric,
                mode=about.mode,
                executor=about.executor,
                progress=not quiet,
            )
        return emit(compared) if json else say(compared.final.verdict, compared.constant.verdict)
    name = (directory if schedule is None else schedule) or Path()
    out = start.fresh(file, dir, f"replay-of-{name.resolve().name}")
    for place in (out, directory):
        if place is not None:
            start.outside(file, place)
    loaded = start.load(file, {"executor": executor}, seed, argv, folder)
    algorithm, stop = planned(
        source,
        stop=None if steps is None else stops.steps(steps),
        fit=fit,
        final=final,
        same_seeds=same_seeds,
        interval=interval,
        space=loaded.algorithm.space,
    )
    loaded = replace(loaded, algorithm=algorithm, stop=stop, checkpoints=None)  # the file's place holds those of the run
    run = start.watched(loaded, out, file_record(file, out, {"executor": executor}, argv, folder), quiet, folder)
    found = _compared(source, run, out)
    if json:
        return emit(found)
    start.print_end(run, out)
    if found["original"] is not None:
        say(_sentence(found, f"task {source.task} of {directory}" if schedule is None else str(schedule)))
    return None


def _alone(option: str, **others: object) -> None:
    """Raises a `UsageError` if an option was passed that has no effect next to `option`."""
    for name, value in others.items():
        if value is not None and value is not False:
            what = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} has its own seeds and trains the whole schedule, so {what} has no effect: leave one out.")


def _sentence(found: Replayed, original: str) -> str:
    """Returns which was better, and by how much."""
    metric, at = found["metric"], "" if found["length"] in (None, found["step"]) else f" at step {found['length']:,}"
    if found["better"] is None:
        than = "equal to"
    else:
        than = f"{short(abs(found['difference'] or 0.0), 3)} {'better' if found['better'] else 'worse'} than"
    lower = " (lower is better)" if found["mode"] == "min" else ""
    before = f"{short(found['original'], 6)} of {original}{at}"
    return f"{metric} {short(found['replayed'], 6)} at step {found['step']:,}: {than} the {before}{lower}"


def _source(record: Record | None, schedule: Path | None, task: int | None, same_seeds: bool) -> Source:
    """Returns the schedule to replay: that of the file, else that of the run.

    Raises:
        UsageError: there is no such file, or an option does not go with a file.
    """
    if schedule is None:
        return source_of(record, task)
    if not schedule.is_file():
        raise UsageError(f"the schedule file {str(schedule)!r} does not exist.")
    if task is not None or same_seeds:
        raise UsageError("--task and --same-seeds refer to the tasks of a run, and --schedule FILE has none: leave one out.")
    return source_of(schedule)


def _experiment_file(directory: Path | None, record: Record | None, given: Path | None) -> start.Chosen:
    """Returns the file that defines the trainable: the one that was passed, else the run's own."""
    if given is not None:
        return start.Chosen(given, {}, [])
    if directory is None or record is None:
        raise UsageError("a schedule alone does not define what is trained: pass --experiment FILE too.")
    return start.chosen(directory, record, None)


def _compared(source: Source, run: Run, out: Path) -> Replayed:
    """Returns the last result of the replay next to that of the run; `difference` is None if the metrics are not the same."""
    ended, about = run.member(0), run.record.run
    known = source.score if (source.metric, source.mode) == (about["metric"], about["mode"]) else None
    difference = None if known is None else ended.score - known
    return {
        "metric": about["metric"],
        "mode": about["mode"],
        "task": source.task,
        "member": source.member,
        "length": source.length,
        "step": ended.step,
        "original": known,
        "replayed": ended.score,
        "difference": difference,
        "better": (difference < 0) == (about["mode"] == "min") if difference else None,
        "best": run.best.score,
        "directory": str(out),
        "replay": status(run.record),
    }
