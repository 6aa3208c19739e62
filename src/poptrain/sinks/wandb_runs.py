"""Weights & Biases: a run for the population and one for each member, in one group, live or offline.

A row is all that belongs to one step of one W&B run; it is logged when it is complete. W&B steps only grow, so a member's axis is
the steps trained on its seat, as in the other trackers.

Nothing is logged twice. Offline, each session writes its runs from the first line of the log, and removes those that an earlier
session of this run has left in the same directory. Online, the server knows how far each run is, and earlier rows are left out.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from poptrain.core import History, Task
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_name, check_seconds
from poptrain.core.errors import MissingExtra, UsageError
from poptrain.core.protocols import Sink
from poptrain.log.reader import Record
from poptrain.sinks import EXPERIMENT
from poptrain.sinks.points import PointReader, identity, snapshot
from poptrain.views import status

MODES = ("online", "offline", "disabled", "shared")  # of wandb.init
ABOUT = ("algorithm", "trainable", "metric", "mode", "seed", "interval")


class Row(NamedTuple):
    """What belongs to one step of a W&B run; a metric may be called ``step``."""

    step: int
    values: dict[str, float | str]


@answering_class
class WandB(Sink[Record]):
    """Logs a run to Weights & Biases: ``pt.run(…, sinks=[pt.sinks.WandB("my-project")])``.

    Args:
        project: the name of the W&B project.
        entity: the user or team; None: W&B's default.
        mode: "online", "offline" or "disabled"; None: W&B's default, ``WANDB_MODE``.
        directory: where W&B keeps its files; None: the current directory.
        patience: seconds that the run waits at its end for a slow server.

    Raises:
        MissingExtra: wandb is not installed.
    """

    every = 2.0  # seconds between two calls
    retries = False  # W&B itself tries again

    def __init__(
        self,
        project: str = EXPERIMENT,
        *,
        entity: str | None = None,
        mode: str | None = None,
        directory: str | Path | None = None,
        patience: float = 60.0,
    ):
        if find_spec("wandb") is None:
            raise MissingExtra("pt.sinks.WandB needs wandb: pip install 'poptrain[wandb]'")
        check_name("WandB: project", project)
        check_seconds("WandB", "patience", patience)
        if mode not in (None, *MODES):
            raise UsageError(f"WandB: mode={mode!r}, expected one of {', '.join(map(repr, MODES))}, or None.")
        self.project, self.entity, self.mode, self.directory = project, entity, mode, directory
        self.patience = patience

    def open(self, record: Record) -> None:
        """Prepares for the first row. The runs are made when they have one."""
        self._record, self._points, self._group = record, PointReader(record), identity(record)
        self._runs: dict[int | None, Any] = {}
        self._rows: dict[int | None, Row] = {}  # of each run, the row that is not complete yet

    def write(self, record: Record, history: History | None = None) -> None:
        """Logs the rows that are complete."""
        for point in self._points.read_on(record):
            row = self._rows.get(point.member)
            if row is not None and point.step > row.step:
                self._log(point.member, row)
                row = None
            if row is None:
                row = self._rows[point.member] = Row(point.step, {})
            row.values[point.name] = point.value
            if point.name == "lineage/donor":
                row.values["lineage/donor_name"] = f"member {int(point.value)}"

    def close(self) -> None:
        """Logs the last rows, and ends the W&B runs."""
        record = snapshot(self._record)
        self.write(record)
        for member, row in self._rows.items():
            self._log(member, row)
        self._rows = {}
        view = status(record)
        failed = {each.member for each in view.members if each.state == "failed"}
        for member, run in self._runs.items():
            run.finish(exit_code=1 if member in failed or (member is None and view.state == "failed") else 0)
        self._runs = {}

    def _log(self, member: int | None, row: Row) -> None:
        if member not in self._runs:
            self._runs[member] = self._made(member)
        run = self._runs[member]
        if row.step >= run.step or run.settings._offline:
            run.log(row.values, step=row.step)

    def _made(self, member: int | None) -> Any:
        """Returns a new W&B run, or on a server the one that an earlier session made."""
        import wandb

        name = "population" if member is None else f"member {member}"
        id = f"{self._group}-{'population' if member is None else f'm{member:03d}'}"
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True)
        where = None if self.directory is None else str(self.directory)
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=where,
            group=self._group,
            job_type="population" if member is None else "member",
            id=id,
            name=name,
            config=self._config(member),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        if run.settings._offline:
            _forget_earlier(Path(run.dir).parent, id)
        return run

    def _config(self, member: int | None) -> dict[str, Any]:
        run = self._record.run
        about: dict[str, Any] = {key: run[key] for key in ABOUT if run.get(key) is not None}
        if member is None:
            return about
        tasks = (fact for line in list(self._record.lines) for fact in line if isinstance(fact, Task))
        first = next(task for task in tasks if task.member == member)
        return {"member": member, "hparams": dict(first.hparams), **about}


def _forget_earlier(current: Path, id: str) -> None:
    """Removes what earlier sessions have written offline for one W&B run: `current` has it all again."""
    for other in current.parent.glob(f"offline-run-*-{id}"):
        if other.resolve() != current.resolve():
            shutil.rmtree(other, ignore_errors=True)
