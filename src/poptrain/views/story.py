"""Story: everything that the log knows about one task: its values, where they come from, why it was decided, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from poptrain.core import History, Hparams, Value
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.core.facts import is_number
from poptrain.log.reader import Record
from poptrain.views.curves import StepScore
from poptrain.views.exploits import exploits_of
from poptrain.views.format import clean, short
from poptrain.views.index import about, chosen, history_of, points_of, result_of, score_of
from poptrain.views.lineage import Ancestor, ancestor_of
from poptrain.views.sources import of_run
from poptrain.views.suggestions import Suggestion, suggestion_of

MOST_RELATIVES = 50  # ancestors, and children, that a story lists


@dataclass(frozen=True)
class Story:
    """One task. Scores have the user's sign, and times are in seconds."""

    task: int
    member: int
    role: str  # "", control or evaluator
    state: str  # pending, ok, failed, diverged, damaged, ended, lost
    came: str  # fresh, continued, cloned, borrowed or distilled; see `Ancestor`
    parent: int | None  # the task whose weights it continues
    donor: int | None  # the member that it copied
    start: int  # lineage steps
    end: int
    metric: str
    score: float | None
    gain: float | None  # score minus the parent's; positive is better
    hparams: Hparams
    before: Hparams | None  # those of the weights that it continues; for a copy of hyperparameters, the donor's
    why: tuple[str, ...]  # sentences: why the task was decided as it was
    suggestion: Suggestion | None  # what a model expected (PB2)
    curve: tuple[StepScore, ...]  # the evaluations inside the task
    returns: tuple[float, ...]
    metrics: Mapping[str, float]
    error: str | None
    checkpoint: str | None
    seconds: float | None  # of training and saving
    decided: float  # since 1970
    reported: float | None
    ancestors: tuple[Ancestor, ...]  # from the oldest that is listed to the task itself
    older: int  # ancestors that are not listed
    children: tuple[int, ...]  # the first tasks that continue from its weights
    offspring: int  # the number of all of them

    __repr__ = in_lines

    @property
    def changes(self) -> dict[str, tuple[Value, Value]]:
        """The value before and after of each hyperparameter that changed."""
        pairs = ((name, (self.before or {}).get(name), value) for name, value in self.hparams.items())
        return {name: (old, new) for name, old, new in pairs if self.before is not None and old != new}


@of_run
def story(record: Record, task: int | None = None) -> Story:
    """Returns the story of a task; default: of the best result.

    Raises:
        UsageError: there is no such task, or no healthy result yet.
    """
    history = history_of(record)
    id = chosen(record, history, task)
    asked, result = history.task(id), None if history.result(id) is None else result_of(history, id)
    own = ancestor_of(history, id)
    chain = _newest_ancestors(history, id)
    children = np.flatnonzero((history.column("parent") == id) | (history.column("teacher") == id)).tolist()
    told = int(history.column("told")[id])
    ok, source = history.ok(id), history.source(id)
    gain = history.score(id) - history.score(source) if ok and source is not None and history.ok(source) else None
    return Story(
        task=id,
        member=asked.member,
        role=asked.role,
        state="lost" if history.lost(id) else "pending" if result is None else result.kind,
        came=own.came,
        parent=asked.parent,
        donor=own.donor,
        start=own.start,
        end=own.end,
        metric=about(record)[0],
        score=score_of(history, id) if ok else None,
        gain=gain,
        hparams=dict(asked.hparams),
        before=_before(record, history, id, own),
        why=tuple(_why(record, history, own)),
        suggestion=suggestion_of(asked, own.start, gain) if asked.forecast else None,
        curve=() if result is None or result.error is not None else tuple(points_of(history, id)),
        returns=() if result is None else tuple(result.returns),
        metrics={} if result is None else dict(result.metrics),
        error=None if result is None else result.error,
        checkpoint=None if result is None else result.checkpoint,
        seconds=None if result is None else result.seconds,
        decided=record.times[history.issued(id)],
        reported=None if result is None else record.times[told],
        ancestors=tuple(ancestor_of(history, each) for each in chain),
        older=_depth(history, chain[0]),
        children=tuple(children[:MOST_RELATIVES]),
        offspring=len(children),
    )


def task_at(record: Record, task: int, step: int, along: str = "ancestry") -> int:
    """Returns the task that trained at a step: on the way to `task`, or with ``along="seat"`` near `task` on the same seat."""
    history = history_of(record)
    id = chosen(record, history, task)
    if along == "seat":
        member, at = history.task(id).member, id
        seat = np.flatnonzero(history.column("member") == member)
        spans = np.array([(history.begin(each), history.end(each)) for each in seat.tolist()[-2000:]] or [(0, 0)])
        inside = np.flatnonzero((spans[:, 0] < step) & (step <= spans[:, 1]))
        near = seat[-2000:][inside]
        return at if not len(near) else int(near[np.abs(near - at).argmin()])
    while (source := history.source(id)) is not None and history.begin(id) >= step:
        id = source
    return id


def _newest_ancestors(history: History, id: int) -> list[int]:
    chain = [id]
    while len(chain) < MOST_RELATIVES and (source := history.source(chain[-1])) is not None:
        chain.append(source)
    return chain[::-1]


def _depth(history: History, id: int) -> int:
    """Returns the number of ancestors of a task."""
    count = 0
    while (source := history.source(id)) is not None:
        id, count = source, count + 1
    return count


def _before(record: Record, history: History, id: int, own: Ancestor) -> Hparams | None:
    if own.donor is not None and own.came != "borrowed":
        return dict(exploits_of(history, record.times, [id])[0].copied)
    source = history.source(id)
    return None if source is None else dict(history.task(source).hparams)


# -- why --------------------------------------------------------------------------------------------------------------


def _why(record: Record, history: History, own: Ancestor) -> Iterator[str]:
    task = history.task(own.task)
    standing = _Standing(history, own.task)
    previous = history.previous(own.task)
    who = f"Evaluator {task.member}" if task.evaluator else f"Member {task.member}"
    if own.came == "fresh":
        yield f"{who} begins with new weights and values from the search space."
    elif own.came == "distilled":
        yield f"{who} begins with new weights, which learn from task {task.teacher}."
    elif own.came == "borrowed":
        yield f"{who} copied the weights of member {own.donor} to measure how they improve."
    elif own.donor is None:
        yield f"{who} continued from its own weights: {standing.of(previous)}."
    else:
        what = "" if own.came == "cloned" else " It copied only the hyperparameters."
        yield f"{who} was replaced: {_fault(history, previous) or standing.of(previous)}."
        yield f"It copied member {own.donor}: {standing.of(standing.head(own.donor))}.{what}"
        if exploits_of(history, record.times, [own.task])[0].tied:
            yield "Both scores were equal: chance decided, and the copy shows nothing about the donor."
        yield from _rule(record)
    if (forecast := task.forecast) is not None:
        model = f"a model of {counted(forecast.rows, 'interval')}" if forecast.rows else "a model"
        chose = (
            f"no model chose the values: {clean(forecast.fallback, 200)}" if forecast.fallback else f"{model} chose the values"
        )
        gain = "" if forecast.gain is None else f"; it expected a gain of {short(forecast.gain)} ± {short(forecast.gain_sd)}"
        yield f"{chose[0].upper()}{chose[1:]}{gain}."
    elif task.note.get("anew"):
        yield "All its values were drawn from the whole ranges, because every member was worse than all were at first."
    elif task.note.get("redrawn"):
        yield "All its values were drawn from the whole ranges, because no member had learned anything yet."
    elif own.donor is not None and own.came != "borrowed":
        yield from _changed(record, history, own)


class _Standing:
    """The scores of the members when a task was decided."""

    def __init__(self, history: History, id: int):
        self.history, self.at = history, history.at(history.issued(id))
        held = [int(each) for each in self.at.standing() if each >= 0]
        self.ids = [each for each in held if not history.task(each).evaluator]
        self.scores = sorted((self.at.score(each) for each in self.ids if self.at.ok(each)), reverse=True)

    def head(self, seat: int) -> int:
        standing = self.at.standing()
        return int(standing[seat]) if seat < len(standing) else -1

    def of(self, id: int) -> str:
        """Returns a phrase: the score of a task, and its rank at that time."""
        if id < 0 or not self.at.ok(id):
            return "it had no score"
        score = self.at.score(id)
        rank = sum(other > score for other in self.scores) + 1
        return f"its score was {short(self.history.sign * score, 6)}, rank {rank} of {len(self.ids)}"


def _fault(history: History, id: int) -> str:
    """Returns what had gone wrong with the task before; an empty string for a healthy one."""
    if id < 0 or history.ok(id) or (result := history.result(id)) is None:
        return ""
    if history.lost(id):
        return "its checkpoint was damaged"
    return f"its task {id} failed ({clean(result.error, 120)})" if result.error else f"its task {id} diverged"


def _rule(record: Record) -> Iterator[str]:
    algorithm = record.run.get("algorithm")
    exploit = algorithm.get("exploit") if isinstance(algorithm, Mapping) else None
    if isinstance(exploit, Mapping) and exploit.get("type") == "Truncation" and is_number(fraction := exploit.get("fraction")):
        share = f"{100 * fraction:.3g} %"
        yield f"The rule is truncation: members among the worst {share} copy one of the best {share}."
    elif isinstance(exploit, Mapping) and exploit.get("type"):
        settings = ", ".join(f"{clean(k, 30)}={short(v)}" for k, v in exploit.items() if k != "type")
        yield f"The rule is {clean(str(exploit['type']).lower(), 40)}({settings})."


def _changed(record: Record, history: History, own: Ancestor) -> Iterator[str]:
    (exploit,) = exploits_of(history, record.times, [own.task])
    pairs = [f"{clean(name, 40)} from {short(old)} to {short(new)}" for name, (old, new) in exploit.changes.items()]
    yield f"Exploring changed {', '.join(pairs)}." if pairs else "Its hyperparameters are those of the donor."
