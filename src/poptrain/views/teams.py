"""Teams: the scores of the actors inside each member, which a team reports as the metrics ``team/0``, ``team/1`` …

Scores of actors have the user's sign, as the training reported them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import isfinite
from statistics import median

from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views.format import clean, short
from poptrain.views.index import about, best_id, history_of, reported, result_of
from poptrain.views.sources import of_run

Actors = tuple[float | None, ...]  # the score of each actor; None: it has none yet


@dataclass(frozen=True)
class TeamResult:
    """One result of one team."""

    task: int
    member: int
    step: int
    score: float  # of the team
    actors: Actors

    @property
    def known(self) -> tuple[float, ...]:
        """The scores of the actors that have one, lowest first."""
        return known_scores(self.actors)


@dataclass(frozen=True)
class Teams:
    """All results of teams in a run. A run without teams has none."""

    metric: str
    mode: str
    results: tuple[TeamResult, ...]  # healthy ones, by task
    best: tuple[TeamResult, ...]  # of them, the ancestry of the best result, by step

    __repr__ = in_lines

    @property
    def actors(self) -> int:
        """The number of actors of a team; 0 in a run without teams."""
        return max((len(each.actors) for each in self.results), default=0)


@of_run
def teams(record: Record) -> Teams:
    """Returns the scores of the actors of every team over time."""
    history = history_of(record)
    found = {}
    for id in reported(history):
        if history.ok(id) and (actors := actors_of(result_of(history, id).metrics)):
            result = result_of(history, id)
            found[id] = TeamResult(id, history.task(id).member, result.step, result.score, actors)
    best = best_id(record, history)
    path = [] if best is None else history.descent(best)
    return Teams(*about(record), tuple(found.values()), tuple(found[id] for id in path if id in found))


def actors_of(metrics: Mapping[str, float]) -> Actors:
    """Returns the scores of the actors in the metrics of a result; () if it is not one of a team."""
    if "team/0" not in metrics:
        return ()
    found: list[float | None] = []
    for i in count():
        if (score := metrics.get(f"team/{i}")) is None:
            return tuple(found)
        found.append(score if isfinite(score) else None)
    return ()


def known_scores(actors: Sequence[float | None]) -> tuple[float, ...]:
    """Returns the scores that are known, lowest first."""
    return tuple(sorted(score for score in actors if score is not None))


def team_sentence(metric: str, actors: Sequence[float | None]) -> str | None:
    """Returns one sentence about the actors of the best team; None if it is not a team."""
    if not actors:
        return None
    scores, many = known_scores(actors), counted(len(actors), "actor")
    if not scores:
        return f"The best member is a team of {many}; none of them has a {clean(metric, 40)} yet."
    spread = f"from {short(scores[0])} to {short(scores[-1])}, with a median of {short(median(scores))}"
    without = len(actors) - len(scores)
    missing = f" ({without} {'has' if without == 1 else 'have'} none yet)" if without else ""
    return f"The best member is a team of {many}: their {clean(metric, 40)} ranges {spread}{missing}."
