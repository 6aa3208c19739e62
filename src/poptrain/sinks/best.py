"""The best checkpoint of a run as a directory that stands by itself: what `poptrain export --best` and trackers take along."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from poptrain.checkpoints import places
from poptrain.checkpoints.store import Store
from poptrain.core import History
from poptrain.log.reader import Record
from poptrain.views import dumps, schedule
from poptrain.views.format import cell

NAME = "best"


def write_best(record: Record, history: History, task: int, out: Path, **about: Any) -> list[Path]:
    """Writes the checkpoint of a task, what it is, its schedule and the table of the run; returns the paths.

    Raises:
        CheckpointDamaged: the checkpoint is missing or differs from what the log recorded.
    """
    chosen, result = history.task(task), history.result(task)
    out.mkdir(parents=True, exist_ok=True)
    reference = _copy(places.of(record), Store(out), result.checkpoint, task=task, member=chosen.member, step=result.step)
    text = schedule(record, task)
    described = {
        "score": history.sign * result.score, "step": result.step, "task": task, "member": chosen.member,
        "hparams": dict(chosen.hparams), "metric": record.run.get("metric"), "mode": record.run.get("mode"),
        "seed": record.run.get("seed"), **about, "run": record.directory.name, "checkpoint": reference,
        "files": f"checkpoints/{NAME}",
    }  # fmt: skip
    written = {"best.json": dumps(described, indent=2) + "\n", "schedule.json": text.to_json() + "\n",
               "schedule.csv": text.to_csv(), "table.csv": table(history)}  # fmt: skip
    for name, content in written.items():
        (out / name).write_text(content)
    return [*(out / name for name in written), out / "checkpoints" / NAME]


def table(history: History) -> str:
    """Returns all tasks and results as CSV; floats are exact, texts that look like a formula are quoted."""
    columns = history.table()
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([cell(name) for name in columns])
    rows.writerows([cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _copy(store: Any, target: Store, checkpoint: str, **about: int) -> str:
    """Copies a checkpoint, verified, and returns its reference in the new store."""
    if not store.is_directory(checkpoint):
        return target.commit(NAME, store.read(checkpoint), **about)
    origin, staged = store.path(checkpoint), target.stage(NAME)
    for name, size in target.fs.walk(origin).items():
        if size >= 0:  # no links, no pipes
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, staged / name, follow_symlinks=False)
    return target.commit_staged(NAME, **about)
