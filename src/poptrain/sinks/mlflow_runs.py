"""MLflow: a parent run for the population and a nested run for each member, live or from the log afterwards.

Nothing is logged twice. Every value is a pure function of one log line, its timestamp included. The tag ``poptrain.lines`` of an
MLflow run counts the lines in it. The next process that writes finds the runs by the tag ``poptrain.id`` and continues there.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from poptrain.core import History, Task
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_name, check_seconds
from poptrain.core.errors import MissingExtra, UsageError
from poptrain.core.protocols import Sink
from poptrain.log.reader import Record
from poptrain.sinks import EXPERIMENT
from poptrain.sinks.best import write_best
from poptrain.sinks.mlflow_lists import checked_dataset, log_dataset, log_model
from poptrain.sinks.points import PointReader, SeriesPoint, identity, snapshot
from poptrain.views import dumps, lineage, schedule, status
from poptrain.views.lock_holder import writer_of

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # limits of a server
ID, LINES, MEMBER, ARTIFACTS = "poptrain.id", "poptrain.lines", "poptrain.member", "poptrain.artifacts"
DONORS, LONGEST_TAG = "poptrain.donors", 4900  # which members a member has copied, in words
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"  # the tags that nest and name runs
_STATES = {"finished": "FINISHED", "failed": "FAILED", "suspended": "KILLED", "interrupted": "KILLED"}
_ABOUT = ("algorithm", "trainable", "metric", "mode", "seed", "interval")


@answering_class
class MLflow(Sink[Record]):
    """Logs a run to an MLflow server, store or file: ``pt.run(…, sinks=[pt.sinks.MLflow("http://localhost:5000")])``.

    Args:
        uri: of the tracking server; None takes MLflow's own default, ``MLFLOW_TRACKING_URI``.
        experiment: the name of the MLflow experiment, made if there is none; with `run_id`, that run's experiment.
        run_id: an existing run to nest the members under, which is otherwise left unchanged; None makes a parent run.
        name: of the parent run that is made; default: the name of the run directory.
        checkpoint: False leaves out the best checkpoint, an artifact and a logged model, when the run has ended.
        dataset: what the members train on, such as ``mlflow.data.from_numpy(x, targets=y, name="digits")``.
        patience: seconds that the run waits at its end for a slow server; making a fresh database takes 10 s and more.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    every = 2.0  # seconds between two requests, so that a quick run does not flood its server
    retries = True

    def __init__(
        self,
        uri: str | None = None,
        *,
        experiment: str = EXPERIMENT,
        run_id: str | None = None,
        name: str | None = None,
        checkpoint: bool = True,
        dataset: object = None,
        patience: float = 60.0,
    ):
        if find_spec("mlflow") is None:
            raise MissingExtra("pt.sinks.MLflow needs MLflow: pip install 'poptrain[mlflow]'")
        check_name("MLflow: experiment", experiment)
        check_seconds("MLflow", "patience", patience)
        if uri is not None:
            check_name("MLflow: uri", uri)
        self.uri, self.experiment, self.run_id, self.name, self.checkpoint = uri, experiment, run_id, name, checkpoint
        self.patience, self.dataset = patience, checked_dataset(dataset)
        self.parent = ""  # the id of the parent run, once it is open

    @property
    def where(self) -> str:
        """Which MLflow run holds the population."""
        return f"run {self.parent} of experiment {self._experiment}"

    def hint(self, record: Record) -> str | None:
        """Returns the command that logs afterwards what is missing; None if the run was kept in memory only."""
        if record.directory is None:
            return None
        words = ["poptrain", "export", str(record.directory), "--to", "mlflow"]
        words += ["--uri", self.uri] if self.uri else []
        words += ["--run-id", self.run_id] if self.run_id else []
        words += ["--experiment", self.experiment] if self.experiment != EXPERIMENT else []
        return shlex.join(words)

    def open(self, record: Record) -> None:
        """Finds or makes the runs on the server, and how many lines of the log they hold.

        Raises:
            MlflowException: the server refuses, or cannot be reached.
        """
        from mlflow.tracking import MlflowClient

        self._client, self._record, self._points = MlflowClient(self.uri), record, PointReader(record)
        self._id = identity(record)
        self._members: dict[int, str] = {}
        self._lines: dict[int | None, int] = {}
        self._first: set[int | None] = set()  # found, not made: they may hold more lines than their tag records
        parent, self._experiment = self._find()
        self._own = parent is None or parent.data.tags.get(ID) == self._id
        self._first |= {None} if parent is not None else set()
        if parent is None:
            parent = self._create(None, self.name or (record.directory.name if record.directory else "poptrain"))
        self.parent = parent.info.run_id
        self._lines[None] = int(parent.data.tags.get(self._lines_tag(None), 0))
        if self.dataset is not None:
            log_dataset(self._client, self.parent, self.dataset)
        if not record.finished:
            self._revive(parent)

    def write(self, record: Record, history: History | None = None) -> None:
        """Logs what the record has gained."""
        points = self._points.read_on(record)
        read = self._points.lines
        by_member: dict[int | None, list[SeriesPoint]] = defaultdict(list)
        for point in points:
            by_member[point.member].append(point)
        for member, own in by_member.items():
            if member is not None and member not in self._members:
                self._members[member] = self._create(member, f"member {member}").info.run_id
                self._lines[member] = 0
            if fresh := [point for point in own if point.line >= self._lines[member]]:
                self._log(member, fresh, read)

    def close(self) -> None:
        """Logs schedule, lineage, plots and the best checkpoint of a run that has ended, and ends the MLflow runs."""
        record = snapshot(self._record)
        view = status(record)
        stopped = view.state == "suspended" and writer_of(record) is not None  # by a signal, just now: end quickly
        if view.state in _STATES and not stopped and view.best is not None:
            self._log_artifacts(record, view.best.task)
        if view.state not in _STATES:
            return  # another process continues it
        end = int(1000 * max([*record.times[-1:], *(time for _, _, time in record.events[-1:])], default=0.0))
        failed = {member.member for member in view.members if member.state == "failed"}
        with _quiet():
            for member, run in self._members.items():
                self._client.set_terminated(run, "FAILED" if member in failed else _STATES[view.state], end_time=end)
            if self._own:
                self._client.set_terminated(self.parent, _STATES[view.state], end_time=end)

    # -- runs on the server -------------------------------------------------------------------------------------------

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return self._client.create_experiment(self.experiment)
            except MlflowException:
                found = self._client.get_experiment_by_name(self.experiment)  # made by another process meanwhile
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise UsageError(f"the MLflow experiment {self.experiment!r} was deleted: restore it, or choose another one.")
        return found.experiment_id

    def _search(self, experiment: str) -> list[MlflowRun]:
        runs: list[MlflowRun] = []
        token = None
        while True:
            page = self._client.search_runs([experiment], f"tags.`{ID}` = '{self._id}'", max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def _find(self) -> tuple[MlflowRun | None, str]:
        """Returns the parent run, None if there is none yet, and the experiment; notes the members' runs."""
        given = None if self.run_id is None else self._client.get_run(self.run_id)
        experiment = self._experiment_id() if given is None else given.info.experiment_id
        found = self._search(experiment)
        members = [run for run in found if MEMBER in run.data.tags]
        # A parent with members comes first, because the creation of a run may have been tried twice.
        above = [run.data.tags[PARENT] for run in members]
        if given is not None and any(id != self.run_id for id in above):
            raise UsageError(
                f"the members of this run are already nested under {above[0]}: pass run_id={above[0]!r}, or no run_id."
            )
        id = next(iter([*above, *(run.info.run_id for run in found)]), None)
        parent = given if given is not None or id is None else self._client.get_run(id)
        if parent is not None and parent.info.lifecycle_stage != "active":
            raise UsageError(f"the MLflow run {parent.info.run_id} was deleted: restore it, or delete its members too.")
        for run in members:
            self._found(run)
        return parent, experiment

    def _found(self, run: MlflowRun) -> None:
        member, lines = int(run.data.tags[MEMBER]), int(run.data.tags.get(LINES, 0))
        if lines >= self._lines.get(member, 0):
            self._members[member], self._lines[member] = run.info.run_id, lines
            self._first.add(member)
        if not self._record.finished:
            self._revive(run)

    def _revive(self, run: MlflowRun) -> None:
        if run.info.status != "RUNNING" and (run.data.tags.get(ID) == self._id):
            self._client.update_run(run.info.run_id, status="RUNNING")

    def _create(self, member: int | None, name: str) -> MlflowRun:
        began = next(iter(self._record.times), 0.0)
        tags = {ID: self._id, NAME: name, "mlflow.source.name": str(self._record.run.get("trainable", "")), LINES: "0"}
        if member is not None:
            tags |= {PARENT: self.parent, MEMBER: str(member)}
        run = self._client.create_run(self._experiment, start_time=int(1000 * began), tags=tags, run_name=name)
        self._describe(run.info.run_id, member)
        return run

    def _describe(self, run: str, member: int | None) -> None:
        """Logs the parameters, which are the same every time."""
        if member is not None or self._own:
            self._batch(run, params=self._about() if member is None else self._initial(member))

    def _about(self) -> dict[str, object]:
        run = self._record.run
        return dict(_leaves({key: run[key] for key in _ABOUT if run.get(key) is not None}))

    def _initial(self, member: int) -> dict[str, object]:
        tasks = (fact for line in self._record.lines for fact in line if isinstance(fact, Task))
        first = next(task for task in tasks if task.member == member)
        return {"member": member, **first.hparams, **{f"options.{name}": text for name, text in self._points.options.items()}}

    # -- values -------------------------------------------------------------------------------------------------------

    def _lines_tag(self, member: int | None) -> str:
        return LINES if member is not None or self._own else f"{LINES}.{self._id}"  # several runs may share a parent

    def _log(self, member: int | None, points: Sequence[SeriesPoint], read: int) -> None:
        from mlflow.entities import Metric

        run = self.parent if member is None else self._members[member]
        named = [Metric(accepted_name(point.name), point.value, int(1000 * point.time), point.step) for point in points]
        metrics = list({(metric.key, _same(metric)): metric for metric in named}.values())  # two lines in one millisecond
        if member in self._first:
            self._describe(run, member)  # the process that made it may have ended before it did this
            held = {name: self._held(run, name) for name in {metric.key for metric in metrics}}
            metrics = [metric for metric in metrics if _same(metric) not in held[metric.key]]
        mark: dict[str, object] = {self._lines_tag(member): read}
        if donors := self._points.donors.get(member):
            mark[DONORS] = ", ".join(donors)[-LONGEST_TAG:]
        for start in range(0, max(len(metrics), 1), METRICS_AT_ONCE):
            last = start + METRICS_AT_ONCE >= len(metrics)
            self._batch(run, metrics[start : start + METRICS_AT_ONCE], tags=mark if last else {})
        self._first.discard(member)
        self._lines[member] = read

    def _held(self, run: str, name: str) -> set[tuple[int, int, str]]:
        return {_same(metric) for metric in self._client.get_metric_history(run, name)}

    def _batch(
        self,
        run: str,
        metrics: Sequence[Metric] = (),
        *,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        from mlflow.entities import Param, RunTag

        given = [Param(accepted_name(name), str(value)) for name, value in (params or {}).items()]
        named = [RunTag(name, str(value)) for name, value in (tags or {}).items()]
        for start in range(0, max(len(given), 1), PARAMS_AT_ONCE):
            self._client.log_batch(run, metrics, given[start : start + PARAMS_AT_ONCE], named)

    # -- artifacts ----------------------------------------------------------------------------------------------------

    def _log_artifacts(self, record: Record, best: int) -> None:
        """Uploads files under names that only this run uses, so that a second upload replaces them."""
        tag = ARTIFACTS if self._own else f"{ARTIFACTS}.{self._id}"
        mark = f"{len(record.lines)} lines, checkpoint {best if self.checkpoint else 'left out'}"
        if self._client.get_run(self.parent).data.tags.get(tag) == mark:
            return
        with tempfile.TemporaryDirectory(prefix="poptrain-") as folder:
            out = Path(folder)
            (out / "run.json").write_text(dumps(record.run, indent=2), encoding="utf-8")
            (out / "lineage.json").write_text(dumps(lineage(record), indent=2), encoding="utf-8")
            (out / "schedule.json").write_text(schedule(record).to_json() + "\n", encoding="utf-8")
            (out / "schedule.csv").write_text(schedule(record).to_csv(), encoding="utf-8")
            _plots(record, out / "plots")
            if self.checkpoint and record.directory is not None:
                history, folder_of_best = record.history(), out / "best" / f"task-{best:06d}"
                write_best(record, history, best, folder_of_best)
                about = {"task": best, "step": history.step(best), "hparams": history.task(best).hparams}
                log_model(self._client, self._experiment, self.parent, folder_of_best, id=self._id, **about)
            self._client.log_artifacts(self.parent, folder, None if self._own else f"poptrain-{self._id}")
        self._batch(self.parent, tags={tag: mark})


def accepted_name(name: str) -> str:
    """Returns a name that MLflow accepts; a name that had to be changed gets a short hash of the original.

    >>> accepted_name("eval/return"), accepted_name("loss $"), accepted_name("a//b")
    ('eval/return', 'loss _-1727', 'a__b-7a9a')
    """
    made = re.sub(r"[^\w.\- /]", "_", name)
    if posixpath.normpath(made) != made or made.startswith(("/", "..")) or made == ".":
        made = re.sub(r"[/.]", "_", made)
    made = made[:240]
    return made if made == name else f"{made}-{sha256(name.encode()).hexdigest()[:4]}"


def _same(metric: Metric) -> tuple[int, int, str]:
    return metric.step, metric.timestamp, repr(float(metric.value))


def _leaves(value: object, path: str = "") -> list[tuple[str, object]]:
    """Returns the leaves of a description by dotted names; lists stay whole."""
    if isinstance(value, Mapping):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{path}.{name}" if path else str(name))]
    return [(path, json.dumps(value) if isinstance(value, list) else value)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Stops MLflow from printing the address of every run that ends into the user's output."""
    name = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _plots(record: Record, out: Path) -> None:
    """Draws the figures, where matplotlib is installed."""
    if find_spec("matplotlib") is None:
        return
    from poptrain import plots

    plots.save_all(record, out)
