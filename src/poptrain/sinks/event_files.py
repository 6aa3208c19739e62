"""TensorBoard: event files for each member, for each ancestry, and the HParams table, live or from the log afterwards.

```
LOGDIR/population                  best score, copies and failures over the steps of all members together
LOGDIR/member-00 …                 what happened on a seat, over the steps trained on it: live
LOGDIR/ancestry/member-00 … best   the ancestral curve of each member's last weights, over lineage steps: at the end
LOGDIR/hparams/member-00 … best    their rows of the HParams table, with the last score: at the end
```

TensorBoard makes one table of all runs below its directory. If any file lists columns, it shows those of the first list that it
finds, and none that only other runs have. Without a list, it shows what any row has, and every series next to a row as a
metric. So rows are in a directory of their own, with the score as their only series. The files of `ancestry` describe the row
too, with its list, for programs that read one file alone; they name another plugin, so that TensorBoard passes over it.

The files are always written from the first line of the log on. Those of an earlier session are emptied first; a suffix that
identifies the run marks them, and a session mark makes a TensorBoard that has read them forget them. So no point appears twice.
They are not removed: TensorBoard without its data server waits for ever for a file that is gone, and does not read the next one.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from poptrain.core import History, Result, clock
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_place
from poptrain.core.errors import MissingExtra, UsageError
from poptrain.core.protocols import Sink
from poptrain.log.reader import Record
from poptrain.sinks.points import PointReader, identity, snapshot
from poptrain.views.index import best_id

SUFFIX = ".poptrain-"
ANCESTRY, ROWS = "ancestry", "hparams"
PLUGIN, ONE_FILE = "hparams", "poptrain_hparams"  # of TensorBoard; of a description that TensorBoard passes over


@answering_class
class TensorBoard(Sink[Record]):
    """Writes a run as event files: ``pt.run(…, sinks=[pt.sinks.TensorBoard("runs/first-tensorboard")])``.

    Args:
        logdir: a directory for this run alone; it is made. Pass its parent to ``tensorboard --logdir`` to compare runs.

    Raises:
        MissingExtra: tensorboardX is not installed.
    """

    every = 1.0  # seconds between two flushes
    retries = True

    def __init__(self, logdir: str | Path):
        if find_spec("tensorboardX") is None:
            raise MissingExtra("pt.sinks.TensorBoard needs tensorboardX: pip install 'poptrain[tensorboard]'")
        check_place("TensorBoard: logdir", logdir)
        self.logdir = Path(logdir)
        self._files: dict[str, EventFile] = {}

    @property
    def where(self) -> str:
        """The directory of the event files."""
        return str(self.logdir)

    def hint(self, record: Record) -> str | None:
        """Returns the command that writes afterwards what is missing; None if the run was kept in memory only."""
        if record.directory is None:
            return None
        return shlex.join(["poptrain", "export", str(record.directory), "--to", "tensorboard", "--out", str(self.logdir)])

    def open(self, record: Record) -> None:
        """Empties the files of an earlier session.

        Raises:
            UsageError: the directory holds the files of another run.
        """
        self._record, self._points, self._suffix = record, PointReader(record), SUFFIX + identity(record)
        self._end()
        for path in list(self.logdir.glob("**/events.out.tfevents.*")):
            if path.name.endswith(self._suffix):
                path.unlink(missing_ok=True)  # not truncated in place: a live run may have it open
                path.touch()
            elif SUFFIX in path.name:
                raise UsageError(f"{str(self.logdir)!r} holds the curves of another run: give each run a directory of its own.")

    def write(self, record: Record, history: History | None = None) -> None:
        """Writes what the record has gained."""
        for point in self._points.read_on(record):
            folder = "population" if point.member is None else f"member-{point.member:02d}"
            self._file(folder).scalar(point.name, point.value, point.step, point.time)
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Writes the ancestral curves and the rows of the HParams table, and closes the files."""
        record = snapshot(self._record)
        if not all(file.there for file in self._files.values()):  # an export by another process began again
            self.open(self._record)
        self.write(record)
        history = record.history()
        results = {
            fact.task: (fact, number) for number, line in enumerate(record.lines) for fact in line if isinstance(fact, Result)
        }
        chosen = {f"member-{seat:02d}": id for seat, id in _finals(history).items()}
        if (best := best_id(record, history)) is not None:
            chosen["best"] = best
        for name, id in chosen.items():
            file = self._file(f"{ANCESTRY}/{name}")
            for tag, value, step, line in self._ancestral(history, results, id):
                file.scalar(tag, value, step, record.times[line])
            cells, (result, line) = self._points.cells(history.task(id).hparams), results[id]
            file.hparams(cells, [self._points.metric], record.times[line])
            row = self._file(f"{ROWS}/{name}")
            row.hparams(cells, None, record.times[line])
            row.scalar(self._points.metric, result.score, result.step, record.times[line])
        self._end()

    def _ancestral(
        self, history: History, results: dict[int, tuple[Result, int]], id: int
    ) -> Iterator[tuple[str, float, int, int]]:
        """Yields tag, value, lineage step and log line along one ancestry; `results` have the user's sign, and their lines."""
        points = self._points
        for ancestor in _descent(history, id):
            task, (result, line) = history.task(ancestor), results[ancestor]
            begin = history.step(_source(history, ancestor))
            for name, value in task.hparams.items():
                if (number := points.option(name, value)) is not None:
                    yield f"hparams/{name}", number, begin, line
            yield "lineage/member", float(task.member), begin, line
            for step, score in result.curve or ((result.step, result.score),):
                yield points.metric, float(score), int(step), line

    def _file(self, folder: str) -> EventFile:
        if folder not in self._files:
            self._files[folder] = EventFile(self.logdir / folder, self._suffix)
        return self._files[folder]

    def _end(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


def _source(history: History, id: int) -> int | None:
    """Returns the task whose steps this one continues: its parent, else its teacher."""
    task = history.task(id)
    return task.parent if task.parent is not None else task.teacher


def _descent(history: History, id: int) -> list[int]:
    """Returns the tasks from the root to `id`, along parents and teachers."""
    chain, source = [id], _source(history, id)
    while source is not None:
        chain.append(source)
        source = _source(history, source)
    return chain[::-1]


def _finals(history: History) -> dict[int, int]:
    """Returns the healthy task whose weights a member holds, by seat: its pending task's source, else its newest ok result."""
    found = {}
    pending = {task.member for task in history.pending()}
    previous = history.column("prev")
    for seat, head in enumerate(history.heads().tolist()):
        if head < 0 or history.task(head).evaluator:
            continue
        id: int | None = head
        if seat in pending:
            id = _source(history, head)
        else:
            while head >= 0 and not history.ok(head):
                head = int(previous[head])
            id = head
        if id is not None and history.ok(id):
            found[seat] = id
    return found


class EventFile:
    """One event file, written on the calling thread."""

    def __init__(self, folder: Path, suffix: str):
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        before = [int(path.name.split(".")[3]) for path in folder.glob(f"events.out.tfevents.*{suffix}")]
        second = max([int(clock.now()), *(each + 1 for each in before)])  # TensorBoard reads files in the order of their names
        self.path = folder / f"events.out.tfevents.{second}.{socket.gethostname()}{suffix}"
        self._writer, self._event = RecordWriter(str(self.path)), Event
        self._put(file_version="brain.Event:2")
        self._put(step=0, session_log=SessionLog(status=SessionLog.START))  # forget what an earlier file contained

    def scalar(self, tag: str, value: float, step: int, time: float) -> None:
        """Writes one value of one series."""
        from tensorboardX.proto.summary_pb2 import Summary

        self._put(time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))

    def hparams(self, cells: Mapping[str, float | str | bool], metrics: Sequence[str] | None, time: float) -> None:
        """Writes one row of hyperparameters: for TensorBoard's table, or with a list of its columns and metrics, for others."""
        from tensorboardX.summary import hparams as summaries

        columns, begin, end = summaries(dict(cells), dict.fromkeys(metrics or (), 0.0))
        for summary in (begin, end) if metrics is None else (columns, begin, end):
            summary.value[0].metadata.plugin_data.plugin_name = PLUGIN if metrics is None else ONE_FILE
            self._put(time, summary=summary)

    @property
    def there(self) -> bool:
        """Whether the file still holds what was flushed: another process may have emptied it."""
        return self.path.exists() and self.path.stat().st_size > 0

    def flush(self) -> None:
        """Passes everything to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and ends the file."""
        self._writer.close()

    def _put(self, time: float | None = None, **fields: Any) -> None:
        event = self._event(wall_time=clock.now() if time is None else time, **fields)
        self._writer.write(event.SerializeToString())
