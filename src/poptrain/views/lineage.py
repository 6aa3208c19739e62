"""Lineage: where weights come from. Each task continues the checkpoint of its parent, and the parents form a forest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poptrain.core import History, Hparams, markup
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views.exploits import Exploit, exploits_of
from poptrain.views.format import short
from poptrain.views.index import chosen, history_of, score_of
from poptrain.views.sources import of_run

MOST_ANCESTORS = 40  # that a notebook shows


@dataclass(frozen=True)
class Ancestor:
    """One task on the way to another."""

    task: int
    member: int
    start: int  # lineage steps
    end: int
    score: float | None  # None: pending, failed or lost
    hparams: Hparams
    came: str  # fresh, continued (its own weights), cloned (another's), borrowed (by an evaluator) or distilled (from a teacher)
    donor: int | None  # the member that it copied weights or hyperparameters from

    __repr__ = in_lines


@dataclass(frozen=True)
class Common:
    """The newest task that all members descend from."""

    task: int
    member: int
    step: int


@dataclass(frozen=True, repr=False)
class Lineage:
    """The ancestry of one task, and the forest that contains it."""

    task: int
    member: int
    ancestors: tuple[Ancestor, ...]  # from the root to the task itself
    exploits: tuple[Exploit, ...]  # of the whole run, oldest first
    finals: Mapping[int, int]  # the task that each member holds now
    founders: tuple[int, ...]  # the members of the first tasks that they descend from
    common: Common | None  # None: they have no common ancestor, or there are no members
    children: Mapping[int, tuple[int, ...]] = field(repr=False)  # of every task that has some

    def __repr__(self) -> str:
        copied = sum(each.donor is not None for each in self.ancestors)
        steps = self.ancestors[-1].end if self.ancestors else 0
        way = f"{counted(len(self.ancestors), 'task')} over {counted(steps, 'step')}, {copied} of them copied from another member"
        return f"Lineage(task {self.task} of member {self.member}: {way}; {counted(len(self.exploits), 'copy')} in the run)"

    def _repr_html_(self) -> str:
        shown, names = self.ancestors[-MOST_ANCESTORS:], list(self.ancestors[-1].hparams) if self.ancestors else []
        rows = [
            (
                each.task,
                each.member,
                f"{each.start:,} to {each.end:,}",
                short(each.score, 6),
                each.came if each.donor is None else f"{each.came} from {each.donor}",
                *(short(each.hparams.get(name)) for name in names),
            )
            for each in shown
        ]
        left = len(self.ancestors) - len(shown)
        lines = [markup.line(f"{left:,} earlier tasks are not shown")] if left else []
        return markup.block(repr(self), *lines, markup.table(("task", "member", "steps", "score", "origin", *names), rows))


@of_run
def lineage(record: Record, task: int | None = None) -> Lineage:
    """Returns the ancestors of a task (default: of the best result) and the forest of the run.

    Raises:
        UsageError: there is no such task, or no healthy result yet.
    """
    history = history_of(record)
    id, finals = chosen(record, history, task), history.finals()
    chains = [history.descent(final) for final in finals.values()]
    return Lineage(
        task=id,
        member=history.task(id).member,
        ancestors=tuple(ancestor_of(history, ancestor) for ancestor in history.descent(id)),
        exploits=exploits_of(history, record.times, history.copies()),
        finals=finals,
        founders=tuple(sorted({history.task(chain[0]).member for chain in chains})),
        common=_common(history, chains),
        children=_children(history),
    )


def ancestor_of(history: History, id: int) -> Ancestor:
    """Returns one task as an ancestor, and where its weights come from."""
    task, source = history.task(id), history.source(id)
    if source is None:
        came = "fresh"
    elif task.parent is None:
        came = "distilled"
    elif history.task(source).member == task.member or history.task(source).role == "candidate":
        came = "continued"  # a student that becomes a member may change its seat
    else:
        came = "borrowed" if task.evaluator else "cloned"
    copied = task.parent is not None and (came in ("cloned", "borrowed") or task.donor is not None)
    return Ancestor(
        task=id,
        member=task.member,
        start=history.begin(id),
        end=history.end(id),
        score=score_of(history, id) if history.ok(id) else None,
        hparams=dict(task.hparams),
        came=came,
        donor=history.donor(id) if copied else None,
    )


def _common(history: History, chains: list[list[int]]) -> Common | None:
    if not chains:
        return None
    shared = set(chains[0]).intersection(*chains[1:])
    if not shared:
        return None
    id = max(shared)
    return Common(id, history.task(id).member, history.end(id))


def _children(history: History) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for id in range(history.n):
        if (source := history.source(id)) is not None:
            found.setdefault(source, []).append(id)
    return {id: tuple(children) for id, children in found.items()}
