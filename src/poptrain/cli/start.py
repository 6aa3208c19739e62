"""What `run` and `resume` share: the experiment file, the options that override it, and the run itself."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from poptrain.cli.live import Live
from poptrain.cli.show import console, emit, hparams_line, say
from poptrain.core.commands import poptrain, working_in
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.engine import experiment as experiments
from poptrain.engine import started
from poptrain.engine import stop as stops
from poptrain.engine.again import started_with
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.result import Run
from poptrain.log.finding import check_not_inside, exists
from poptrain.log.reader import Record, read
from poptrain.views import clean, short, span, status
from poptrain.views.lock_holder import writer_of

StepsOption = Annotated[int | None, typer.Option("--steps", metavar="N", help="Steps per member, instead of the file's `stop`.")]
ExecutorOption = Annotated[
    str | None, typer.Option("--executor", metavar="NAME", help="inline, processes, vectorized or ray, instead of the file's.")
]
FILE_OPTIONS = ("--experiment", "--source")  # one option: `export`, where --experiment is a name in MLflow, has only the second
ExperimentOption = Annotated[
    Path | None,
    typer.Option(
        *FILE_OPTIONS, metavar="FILE", help="The experiment file, if it moved or changed, or another user started the run."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")]

ArgumentsOption = Annotated[
    str, typer.Option("--args", metavar="TEXT", help='What the file finds in sys.argv: --args "--lr 3". resume repeats it.')
]

_MODULES = """
    poptrain numpy scipy jax typer rich safetensors torch gymnasium envpool optuna ray mlflow tensorboardX stable_baselines3
    sklearn matplotlib plotly fsspec s3fs
"""
MODULE_NAMES = sys.stdlib_module_names | set(_MODULES.split())  # an experiment file of that name would hide the module


def load(
    file: Path, options: Mapping[str, Any], seed: int | None = None, argv: Sequence[str] = (), folder: Path | None = None
) -> Experiment:
    """Returns the experiment of a file; the options of the command line replace those of the file.

    Args:
        argv: the arguments of the file itself.
        folder: the directory in which the file is executed; None: the current one.

    Raises:
        UsageError: the file or an option is wrong.
    """
    if file.is_dir() or (file.is_file() and file.suffix != ".py"):
        raise UsageError(f"{str(file)!r} is not an experiment file: expected a Python file, for example experiment.py.")
    if file.stem in MODULE_NAMES:
        raise UsageError(f"{str(file)!r} has the name of the Python module {file.stem!r}: rename it.")
    with working_in(folder):
        experiment = experiments.load(file, argv)
    if seed is not None:
        experiment = replace(experiment, seed=seed)
    if (steps := options.get("steps")) is not None:
        experiment = replace(experiment, stop=stops.steps(steps))
    if (executor := options.get("executor")) is not None:
        experiment = replace(experiment, executor=executor)
    if (checkpoints := options.get("checkpoints")) is not None:
        experiment = replace(experiment, checkpoints=checkpoints)
    return experiment


def argv_of(text: str) -> list[str]:
    """Returns the words of ``--args``.

    Raises:
        UsageError: a quotation mark in it has no partner.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--args {text!r}: {str(error).lower()}: close every quotation mark.") from error


def outside(file: Path, directory: Path) -> Path:
    """Returns the file, if it is not inside the run directory, in which nothing is ever executed.

    Raises:
        UsageError: it is.
    """
    if file.resolve().is_relative_to(directory.resolve()):
        raise UsageError(
            f"the experiment file {str(file)!r} is inside the run directory {str(directory)!r}, where no file is executed: "
            "move it elsewhere."
        )
    return file


def recorded_about_file(record: Record) -> Mapping[str, object]:
    """Returns what a log records of the experiment file: its relative name, its hash and the options; {} if nothing."""
    return record.file if isinstance(record.file, Mapping) else {}


class Chosen(NamedTuple):
    """An experiment file that may be executed, with the options and the arguments of its run."""

    file: Path
    options: dict[str, Any]
    argv: list[str]
    folder: Path | None = None  # another directory, in which the run was started


def chosen(directory: Path, record: Record, named: Path | None) -> Chosen:
    """Returns the experiment file of a run. One that only the log names is printed, because it will be executed.

    Args:
        named: the file that the user named on the command line; None: the one that the log names.

    Raises:
        UsageError: the log names no file, a file that is gone, or one that this user has not started as it is now.
    """
    recorded = recorded_about_file(record)
    before, words = recorded.get("options"), recorded.get("argv")
    options = {str(name): value for name, value in before.items()} if isinstance(before, Mapping) else {}
    argv = [str(word) for word in words] if isinstance(words, list) else []
    if named is not None:
        return Chosen(outside(named, directory), options, argv)
    if not isinstance(recorded.get("name"), str):
        raise UsageError(_no_file(directory, record))
    file = _started(directory, recorded)
    folder = started.folder_of(directory, recorded)
    elsewhere = folder is not None and folder != Path.cwd() and folder.is_dir()
    where = f" in {shlex.quote(str(folder))}, where the run was started" if elsewhere else ""
    say(f"executing {shlex.join([str(file), *argv])}{where}", to=console(sys.stderr))
    return Chosen(file, options, argv, folder if elsewhere else None)


def _started(directory: Path, recorded: Mapping[str, Any]) -> Path:
    """Returns the experiment file that a log names, if this user has started it before.

    Raises:
        UsageError: the file is gone, or this user has not started it.
    """
    file = started.file_of(directory, recorded)
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"the experiment file {str(file)!r} of the run no longer exists: pass --experiment FILE.")
    outside(file, directory)
    if (why := started.refusal(directory, recorded)) is not None:
        raise UsageError(f"{why}; to execute it, name it: --experiment {shlex.quote(str(file))}.")
    return file


def _no_file(directory: Path, record: Record) -> str:
    """Returns how a run is continued whose log names no experiment file: pt.run was called."""
    line = started_with(record, directory)
    how = "and the same call continues it" if line is None else f"and the same command continues it: {clean(line)}"
    file = "For `poptrain`, pass --experiment FILE, a Python file with experiment = pt.Experiment(…)."
    return f"the run in {str(directory)!r} was started by a call of pt.run, {how}. {file}"


def fresh(file: Path, directory: Path | None, name: str = "") -> Path:
    """Returns the directory of a new run: `directory`, else ``runs/<experiment>-<date>-<time>``.

    Raises:
        UsageError: it holds a run already, or it is a file.
    """
    if directory is None:
        return new_directory(name or file.stem)
    check_not_inside("--dir", directory)
    if exists(directory):
        record = read(directory)
        if (writer := writer_of(record)) is not None:
            raise UsageError(
                f"{str(directory)!r} contains a run that process {writer.pid} on {clean(writer.host)} trains now: look "
                f"at it with `{poptrain('status', directory)}`, or pass another --dir."
            )
        if not record.has_results:
            raise UsageError(
                f"{str(directory)!r} contains a run that has not trained anything yet ({record.summary()}): "
                f"{_continued(directory)}, or delete the directory if it was started by mistake."
            )
        further = record.finished and record.budget is not None
        how = f"train it further with `{poptrain('resume', directory)} --steps N`" if further else _continued(directory)
        raise UsageError(f"{str(directory)!r} already contains a run ({record.summary()}): {how}, or pass another --dir.")
    if directory.is_file():
        raise UsageError(f"--dir {str(directory)!r} is a file: pass a directory.")
    return directory


def _continued(directory: Path) -> str:
    return f"continue it with `{poptrain('resume', directory)}`"


def new_directory(name: str) -> Path:
    """Returns a directory that does not exist: ``runs/<name>-<date>-<time>``."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    base = Path("runs") / f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (base, *(base.with_name(f"{base.name}-{k}") for k in range(2, 1000)))
    return next(path for path in names if not path.exists())


def perform(
    experiment: Experiment, directory: Path, about: dict[str, object], quiet: bool, json: bool, folder: Path | None = None
) -> None:
    """Runs an experiment to its end under the live display, and prints how it went; `folder` is as in `watched`."""
    run = watched(experiment, directory, about, quiet, folder)
    emit(status(run.record)) if json else print_end(run, directory)


def watched(experiment: Experiment, directory: Path, about: dict[str, object], quiet: bool, folder: Path | None = None) -> Run:
    """Returns the finished run of an experiment; the live display follows it unless `quiet`.

    Args:
        folder: the directory in which it trains; None: the current one.
    """
    live = Live()
    if not quiet:
        experiment = replace(experiment, sinks=(*experiment.sinks, live))
    place = directory if folder is None else directory.resolve()
    try:
        with working_in(folder):
            return execute(experiment, place, source=about)
    finally:
        live.close()


def print_end(run: Run, directory: Path) -> None:
    """Prints how a run went, and what can be done next."""
    view = status(run.record)
    say(
        f"{view.state}: {view.reason or ''} ({counted(view.results, 'result')}, {counted(view.steps, 'step')}, "
        f"{span(view.elapsed)})"
    )
    if view.best is not None:
        best = view.best
        where = f"member {best.member}, step {best.step:,}, task {best.task}"
        say(f"best {clean(view.metric)} {short(best.score, 6)} ({where}): {hparams_line(best.hparams)}")
        say(f"why the best: {clean(best.evidence)}")
    if view.no_decision is not None:
        say(view.no_decision)
    for text in view.warnings:
        say(f"warning: {text}")
    say(f"the run is in {shlex.quote(str(directory))}")
    say(f"next: {poptrain('plot', directory)}", f"      {poptrain('schedule', directory)}")
