"""The index that views start from: one `History` for each record, continued while the record grows.

Scores inside a history are maximised. Every number that a view shows has the user's sign, so a view reads results and scores
with `result_of` and `score_of`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from poptrain.core import History, Result, collector
from poptrain.core.arguments import plain
from poptrain.core.causes import diverged
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.evidence import extreme
from poptrain.core.facts import is_number
from poptrain.log.reader import Record

_known: WeakKeyDictionary[Record, History] = WeakKeyDictionary()
_reading = Lock()  # two threads that add the lines of one record must take turns


def history_of(record: Record) -> History:
    """Returns the history of a record, read to its end.

    It is kept as long as the record, so that a view of a record that grew costs only the new lines.
    """
    with _reading:
        ready = min(len(record.lines), len(record.times))  # a run on another thread adds a line before its time
        history = _known.get(record)
        if history is None or history.lines > ready:
            history = History(record.run.get("seed", 0), record.budget, -1 if record.run.get("mode") == "min" else 1)
        with collector.paused():  # nothing of what is made becomes garbage
            if not history.lines and record.order is not None:  # each line was checked when it was read
                history = history.filled(*record.told(ready, history.sign))
            else:
                for line in record.lines[history.lines : ready].maximised(history.sign):
                    history = history.add(line)
        _known[record] = history
        return history


def result_of(history: History, id: int) -> Result:
    """Returns the result of a reported task, in the user's sign."""
    result = history.result(id)
    assert result is not None
    return result.flipped() if history.sign < 0 else result


def score_of(history: History, id: int) -> float:
    """Returns the score of a task in the user's sign; NaN while it is pending, and if it is not ok."""
    return history.sign * history.score(id)


def points_of(history: History, id: int) -> list[tuple[int, float]]:
    """Returns the curve of a reported task, (step, score) with the user's sign; its result alone if it has no curve."""
    result = result_of(history, id)
    return [(int(step), float(score)) for step, score in result.curve] or [(int(result.step), float(result.score))]


def reported(history: History) -> list[int]:
    """Returns the tasks with a result, by id."""
    return (history.column("told") < history.lines).nonzero()[0].tolist()


def unhealthy(history: History, ids: Iterable[int]) -> list[int]:
    """Returns the tasks among `ids` that failed, diverged or lost their checkpoint; trials that ended by themselves did not."""
    among = np.fromiter(ids, np.int64)
    bad = among[~history.oks_of(among)].tolist()
    return [id for id in bad if (result := history.result(id)) is None or result.kind != "ended"]


def fault(record: Record, history: History, id: int) -> str:
    """Returns what went wrong with a task of `unhealthy`, in the user's words: its error, or the score that is not finite."""
    result = result_of(history, id)
    why = "the checkpoint was damaged" if history.lost(id) else diverged(about(record)[0], result.score)
    return result.error or why


def best_of(record: Record, history: History) -> tuple[int, str] | None:
    """Returns the best result and what that rests on; None if no result is healthy.

    When a run ends it chooses the best by evidence, and logs it. Until then, and in the log of an older version, the highest
    score is the best.
    """
    if (known := chosen_at_end(record)) is not None and history.ok(known[0]):
        return known
    return None if (best := history.best()) is None else (best, extreme(history.sign))


def best_id(record: Record, history: History) -> int | None:
    """Returns the task of `best_of`."""
    found = best_of(record, history)
    return None if found is None else found[0]


def chosen_at_end(record: Record) -> tuple[int, str] | None:
    """Returns the best result that the run chose when it ended, with its evidence; None if it has not, or goes on."""
    for type, fields, _ in reversed(record.events):
        if type == "end" and "best" in fields:
            return int(fields["best"]), str(fields.get("evidence", ""))
        if type in ("open", "end", "suspend", "failed"):
            return None
    return None


def none_healthy(record: Record, history: History) -> UsageError:
    """Returns the error of whatever needs a healthy result of a run that has none: it says whether all failed, and why."""
    failed = unhealthy(history, reported(history))
    if not failed:
        return UsageError("this run has no healthy result yet: no task has ended.")
    first = fault(record, history, failed[0]).rstrip(".")
    return UsageError(f"this run has no healthy result: {counted(len(failed), 'task')} failed. The first error: {first}.")


def chosen(record: Record, history: History, id: int | None) -> int:
    """Returns the id of a task: the given one, or the one with the best result.

    Raises:
        UsageError: there is no such task, or no healthy result.
    """
    if id is None:
        if (best := best_of(record, history)) is None:
            raise none_healthy(record, history)
        return best[0]
    id = plain(id)  # a table of pandas has the ids of numpy
    if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < history.n:
        has = f"has tasks 0 to {history.n - 1}" if history.n else "has no tasks yet"
        raise UsageError(f"task {id!r}: this run {has}.")
    return id


def about(record: Record) -> tuple[str, str]:
    """Returns the name of the metric and the mode, "max" or "min"."""
    return str(record.run.get("metric", "score")), str(record.run.get("mode", "max"))


def space_of(record: Record) -> dict[str, Mapping[str, object]]:
    """Returns the description of each hyperparameter by name, as the run was created with; {} if the log has none."""
    algorithm = record.run.get("algorithm")
    space = algorithm.get("space") if isinstance(algorithm, Mapping) else None
    parameters = space.get("parameters") if isinstance(space, Mapping) else None
    return {name: _kind(about) for name, about in parameters.items()} if isinstance(parameters, Mapping) else {}


def _kind(about: object) -> dict[str, object]:
    """Returns a description without what no parameter has: a log may come from anybody."""
    known = dict(about) if isinstance(about, Mapping) else {}
    for bound in ("low", "high"):
        if bound in known and not (is_number(known[bound]) and abs(known[bound]) < _LARGEST):
            del known[bound]
    options = known.get("options", ())
    if not isinstance(options, (list, tuple)) or any(isinstance(option, (list, dict)) for option in options):
        del known["options"]
    return known


def algorithm_name(record: Record) -> str:
    """Returns the name of the algorithm as the log has it; of one without a name, its type: ``fire_pbt`` for FirePbt."""
    algorithm = record.run.get("algorithm")
    if not isinstance(algorithm, Mapping):
        return str(algorithm or "")
    name, kind = algorithm.get("name"), str(algorithm.get("type") or "")
    return str(name) if name else _PLAIN.get(kind) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()


_LARGEST = 1e300  # an axis leaves some space beyond its bounds
_PLAIN = {"Independent": "independent members", "ScheduleReplay": "schedule replay"}
