"""``poptrain export``: the best checkpoint with its schedule, and tables, for use outside."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from poptrain.checkpoints import Store
from poptrain.cli.show import Directory, Json, emit, record_of, say
from poptrain.errors import UsageError
from poptrain.outcome import Run, Standing
from poptrain.record import Record
from poptrain.views import dumps, schedule
from poptrain.views.text import cell

NAME = "best"


def export(
    directory: Directory,
    best: Annotated[
        Path | None,
        typer.Option(
            "--best", metavar="OUT", help="A new directory for the best checkpoint, best.json, its schedule and the table."
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="With --best: the best of the members as they ended, not of the whole run.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="FILE.csv", help="A new file for all tasks and results.")
    ] = None,
    json: Json = False,
) -> None:
    """Copy the best checkpoint, its schedule and tables out of a run."""
    if best is None and table is None:
        raise UsageError("nothing to export: give --best OUT, --table FILE.csv, or both.")
    if final and best is None:
        raise UsageError("--final says which result --best exports: give --best OUT too.")
    record = record_of(directory)
    for path in (best, table):
        if path is not None and (
            path.is_file() or path.is_symlink() or (path.is_dir() and (path == table or any(path.iterdir())))
        ):
            raise UsageError(f"{str(path)!r} exists already: nothing is overwritten, give another name.")
    run = Run(record, record.history(), Store(directory))
    try:
        files = _best(run, best, final) if best is not None else []
        if table is not None:
            table.write_text(_table(record, run))
            files.append(table)
    except OSError as error:
        raise UsageError(f"cannot export: {error.strerror or error}: {error.filename}.") from error
    emit({"files": [str(path) for path in files]}) if json else say(*map(str, files))


def _best(run: Run, out: Path, final: bool) -> list[Path]:
    standing = run.final_best if final else run.best
    checkpoint = run.history.result(standing.task.id).checkpoint
    out.mkdir(parents=True, exist_ok=True)
    reference = _copy(run.store, checkpoint, out, standing)
    text = schedule(run.record, standing.task.id)
    about = {
        "score": standing.score, "step": standing.step, "task": standing.task.id, "member": standing.task.member,
        "hparams": standing.hparams, "metric": run.record.run.get("metric"), "mode": run.record.run.get("mode"),
        "seed": run.record.run.get("seed"), "final": final, "run": run.record.directory.name, "checkpoint": reference,
        "files": f"checkpoints/{NAME}",
    }  # fmt: skip
    written = {"best.json": dumps(about, indent=2) + "\n", "schedule.json": text.to_json() + "\n",
               "schedule.csv": text.to_csv(), "table.csv": _table(run.record, run)}  # fmt: skip
    for name, content in written.items():
        (out / name).write_text(content)
    return [*(out / name for name in written), out / "checkpoints" / NAME]


def _copy(store: Store, checkpoint: str, out: Path, standing: Standing) -> str:
    """Copies a checkpoint, verified, and returns its reference in the store that `out` now is."""
    target = Store(out)
    about: dict[str, Any] = {"task": standing.task.id, "member": standing.task.member, "step": standing.step}
    if not store.is_directory(checkpoint):
        return target.commit(NAME, store.read(checkpoint), **about)
    origin, staged = store.path(checkpoint), target.stage(NAME)
    for name, size in store.fs.walk(origin).items():
        if size >= 0:  # no links, no pipes
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, staged / name, follow_symlinks=False)
    return target.commit_staged(NAME, **about)


def _table(record: Record, run: Run) -> str:
    """Returns all tasks and results as CSV; floats are exact, texts that look like a formula are quoted."""
    columns = run.history.table()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([cell(name) for name in columns])
    table.writerows([cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()
