"""``poptrain export``: the best checkpoint with its schedule, tables, a video, and everything for MLflow or TensorBoard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from poptrain import sinks
from poptrain.checkpoints import places
from poptrain.cli.show import Directory, Files, JsonOption, emit, say
from poptrain.cli.video import write_video
from poptrain.core.errors import PoptrainError, UsageError, did_you_mean
from poptrain.engine.result import Run
from poptrain.log.private import as_private_as
from poptrain.log.reader import Record, read
from poptrain.sinks import EXPERIMENT
from poptrain.sinks.best import table_as_csv, write_best

if TYPE_CHECKING:
    from poptrain.sinks import MLflow, TensorBoard


def export(
    directory: Directory,
    best: Annotated[
        Path | None,
        typer.Option(
            "--best", metavar="OUT", help="A new directory for the best checkpoint, best.json, its schedule and the table."
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="With --best or --video: the best of the members as they ended, not of the whole run.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="FILE.csv", help="A new file for all tasks and results.")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video", metavar="FILE.gif", help="A new file: one episode of the best policy. Executes the experiment file."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="FILE",
            help="--video: the experiment file, if it moved or changed, or another user started the run.",
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TRACKER", help="mlflow or tensorboard; safe to repeat.")] = None,
    uri: Annotated[str | None, typer.Option("--uri", help="MLflow: the tracking server. [default: MLFLOW_TRACKING_URI]")] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="MLflow: an existing run to nest the members under.")] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="MLflow: the experiment. [default: poptrain] With --video alone: --source.")
    ] = None,
    checkpoint: Annotated[bool, typer.Option("--checkpoint/--no-checkpoint", help="MLflow: upload the best checkpoint.")] = True,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="TensorBoard: where its files go. [default: DIR-tensorboard]")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copy the best checkpoint, its schedule and tables out of a run, or log all of it to a tracker."""
    if video is not None and to is None and source is None and experiment is not None:  # its name in the other verbs
        source, experiment = Path(experiment), None
    mlflow = _MlflowOptions(uri, run_id, experiment, checkpoint)
    _check_options(to, mlflow, out)
    if best is None and table is None and video is None and to is None:
        raise UsageError("nothing to export: pass --best OUT, --table FILE.csv, --video FILE.gif, or --to mlflow or tensorboard.")
    if final and best is None and video is None:
        raise UsageError("--final chooses the result that --best and --video export: pass one of them too.")
    if source is not None and video is None:
        raise UsageError("--source names the experiment file for --video: pass --video FILE.gif too.")
    tracker = _tracker(to, directory, mlflow, out)
    record = read(directory)
    for path in (best, table, video):
        if path is not None and not _is_free(path, folder=path == best):
            raise UsageError(f"{str(path)!r} exists already and is not overwritten: choose another name.")
    run = Run(record, record.history(), places.of(record))
    files = []
    try:
        with as_private_as(directory):
            if best is not None:
                chosen = run.final_best if final else run.best
                files += write_best(record, run.history, chosen.task.id, best, final=final)
            if table is not None:
                table.write_text(table_as_csv(record, run.history), encoding="utf-8")
                files.append(table)
            if video is not None:
                write_video(record, run, directory, source, video, final)
                files.append(video)
    except OSError as error:
        raise UsageError(f"cannot export: {error.strerror or error}: {error.filename}.") from error
    names = [str(path) for path in files]
    if tracker is None:
        emit(Files(files=names)) if json else say(*names)
    else:
        with as_private_as(directory):
            where = _log(tracker, record)
        emit(Files(files=names, to=where)) if json else say(*names, f"{to}: {where}")


class _MlflowOptions(NamedTuple):
    """The options that belong to ``--to mlflow``."""

    uri: str | None
    run_id: str | None
    experiment: str | None
    checkpoint: bool

    def given(self) -> list[str]:
        """Returns the names of those that were passed."""
        values = {"--uri": self.uri, "--run-id": self.run_id, "--experiment": self.experiment}
        return [name for name, value in values.items() if value is not None] + ["--no-checkpoint"] * (not self.checkpoint)


def _check_options(to: str | None, mlflow: _MlflowOptions, out: Path | None) -> None:
    """Refuses options of a tracker that was not chosen."""
    for tracker, given in (("mlflow", mlflow.given()), ("tensorboard", ["--out"] * (out is not None))):
        if to != tracker and given:
            raise UsageError(f"{given[0]} needs --to {tracker}: pass both.")


def _is_free(path: Path, folder: bool) -> bool:
    """True if nothing would be overwritten: the path does not exist, or is an empty directory to be filled (`folder`)."""
    if path.is_file() or path.is_symlink():
        return False
    return not path.is_dir() or (folder and not any(path.iterdir()))


def _tracker(to: str | None, directory: Path, mlflow: _MlflowOptions, out: Path | None) -> MLflow | TensorBoard | None:
    if to is None:
        return None
    if to == "mlflow":
        # The user is waiting: by default, MLflow makes seven attempts of two minutes each.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        experiment = mlflow.experiment or EXPERIMENT
        return sinks.MLflow(mlflow.uri, run_id=mlflow.run_id, experiment=experiment, checkpoint=mlflow.checkpoint)
    if to == "tensorboard":
        here = directory.resolve()
        return sinks.TensorBoard(here.with_name(f"{here.name}-tensorboard") if out is None else out)
    raise UsageError(f"--to {to!r}: expected mlflow or tensorboard.{did_you_mean(to, ('mlflow', 'tensorboard'))}")


def _log(tracker: MLflow | TensorBoard, record: Record) -> str:
    """Logs a whole record to a tracker and returns where it is now."""
    try:
        tracker.open(record)
        tracker.write(record)
        tracker.close()
    except (PoptrainError, ImportError, KeyboardInterrupt):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise UsageError(f"cannot export to {type(tracker).__name__}: {type(error).__name__}: {text[:300]}") from error
    return tracker.where
