"""Lineage: where weights come from. A task's parent is whose checkpoint it went on from; the parents make a forest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poptrain.core import Hparams
from poptrain.log.reader import Record
from poptrain.views.exploits import Exploit, exploits_of
from poptrain.views.facts import Facts


@dataclass(frozen=True)
class Ancestor:
    """One task on the way to another."""

    task: int
    member: int
    start: int  # lineage steps
    end: int
    score: float | None  # None: not told yet, failed or lost
    hparams: Hparams
    came: str  # fresh, continued (its own weights), cloned (another's), borrowed (by an evaluator) or distilled (from a teacher)
    donor: int | None  # the member that it copied weights or hyperparameters from


@dataclass(frozen=True)
class Common:
    """The newest task that all members descend from."""

    task: int
    member: int
    step: int


@dataclass(frozen=True)
class Lineage:
    """The ancestry of one task, and the forest that it stands in."""

    task: int
    member: int
    ancestors: tuple[Ancestor, ...]  # from the root to the task itself
    exploits: tuple[Exploit, ...]  # of the whole run, oldest first
    finals: Mapping[int, int]  # the task that each member holds now
    founders: tuple[int, ...]  # the members of the first tasks that they descend from
    common: Common | None  # None: they have no common ancestor, or there are no members
    children: Mapping[int, tuple[int, ...]] = field(repr=False)  # of every task that has some


def lineage(record: Record, task: int | None = None) -> Lineage:
    """Returns the ancestors of a task (default: of the best result) and the forest of the run.

    Raises:
        UsageError: there is no such task, or no healthy result yet.
    """
    facts = Facts.of(record)
    id, finals = facts.chosen(task), facts.finals()
    chains = [facts.ancestry(final) for final in finals.values()]
    return Lineage(
        task=id,
        member=facts.tasks[id].member,
        ancestors=tuple(_ancestor(facts, ancestor) for ancestor in facts.ancestry(id)),
        exploits=exploits_of(facts, record.times, facts.exploits),
        finals=finals,
        founders=tuple(sorted({facts.tasks[chain[0]].member for chain in chains})),
        common=_common(facts, chains),
        children=_children(facts),
    )


def _ancestor(facts: Facts, id: int) -> Ancestor:
    task, source = facts.tasks[id], facts.source(id)
    if source is None:
        came = "fresh"
    elif task.parent is None:
        came = "distilled"
    else:
        came = "continued" if facts.tasks[source].member == task.member else "borrowed" if task.evaluator else "cloned"
    copied = task.parent is not None and (came in ("cloned", "borrowed") or task.donor is not None)
    return Ancestor(
        task=id,
        member=task.member,
        start=facts.begin(id),
        end=facts.end(id),
        score=facts.results[id].score if facts.ok(id) else None,
        hparams=dict(task.hparams),
        came=came,
        donor=facts.donor(id) if copied else None,
    )


def _common(facts: Facts, chains: list[list[int]]) -> Common | None:
    if not chains:
        return None
    shared = set(chains[0]).intersection(*chains[1:])
    if not shared:
        return None
    id = next(id for id in reversed(chains[0]) if id in shared)
    return Common(id, facts.tasks[id].member, facts.end(id))


def _children(facts: Facts) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for task in facts.tasks:
        if (source := facts.source(task.id)) is not None:
            found.setdefault(source, []).append(task.id)
    return {id: tuple(children) for id, children in found.items()}
