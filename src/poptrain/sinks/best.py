"""The best checkpoint of a run as a self-contained directory, which `poptrain export --best` and the trackers write."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from poptrain.checkpoints import places
from poptrain.checkpoints.store import DiskStore
from poptrain.core import History, protocols
from poptrain.log.reader import Record
from poptrain.views import dumps, schedule
from poptrain.views.format import cell
from poptrain.views.table import table_of

BEST_NAME = "best"


def write_best(record: Record, history: History, task: int, out: Path, **about: object) -> list[Path]:
    """Returns the paths of the files that it writes: a task's checkpoint, its description, its schedule and the run's table.

    Raises:
        CheckpointDamaged: the checkpoint is missing or differs from what the log recorded.
    """
    chosen, result = history.task(task), history.result(task)
    assert result is not None and result.checkpoint is not None  # the best result is healthy
    out.mkdir(parents=True, exist_ok=True)
    copied = _copy(places.of(record), DiskStore(out), result.checkpoint, task=task, member=chosen.member, step=result.step)
    path = schedule(record, task)
    described = {
        "score": history.sign * result.score,
        "step": result.step,
        "task": task,
        "member": chosen.member,
        "hparams": dict(chosen.hparams),
        "metric": record.run.get("metric"),
        "mode": record.run.get("mode"),
        "seed": record.run.get("seed"),
        **about,
        "run": None if record.directory is None else record.directory.name,
        "checkpoint": copied,
        "files": f"checkpoints/{BEST_NAME}",
    }
    written = {
        "best.json": dumps(described, indent=2) + "\n",
        "schedule.json": path.to_json() + "\n",
        "schedule.csv": path.to_csv(),
        "table.csv": table_as_csv(record, history),
    }
    for name, content in written.items():
        (out / name).write_text(content, encoding="utf-8")
    return [*(out / name for name in written), out / "checkpoints" / BEST_NAME]


def table_as_csv(record: Record, history: History) -> str:
    """Returns all tasks and results as CSV; floats are exact, and texts that look like a formula are quoted.

    The columns are those of `views.table`.
    """
    columns = table_of(record, history)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([cell(name) for name in columns])
    rows.writerows([cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _copy(store: protocols.Store, target: DiskStore, checkpoint: str, *, task: int, member: int, step: int) -> str:
    """Copies a checkpoint, verified, and returns its reference in the new store."""
    if not store.is_directory(checkpoint):
        return target.commit(BEST_NAME, store.read(checkpoint), task=task, member=member, step=step)
    origin, staged = store.path(checkpoint), target.stage(BEST_NAME)
    for name, size in target.fs.walk(origin).items():
        if size >= 0:  # no links, no pipes
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, staged / name, follow_symlinks=False)
    return target.commit_staged(BEST_NAME, task=task, member=member, step=step)
