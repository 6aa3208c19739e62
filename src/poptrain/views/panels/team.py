"""The picture of teams: the actors of the best one along its ancestry, and how far apart the actors of every team are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from statistics import median

from poptrain.core.counting import counted
from poptrain.views.format import clean, short
from poptrain.views.palette import BEST, MEMBERS, NOTE, colours
from poptrain.views.panels.model import Axis, Band, Coordinate, Item, LineSeries, Panel, Picture, PointSeries
from poptrain.views.teams import TeamResult, Teams


def team(view: Teams) -> Picture | None:
    """Returns the scores of the actors; None for a run without teams."""
    if not view.actors:
        return None
    metric = clean(view.metric, 40)
    panels = [Panel(tuple(_best(view)), y=Axis(metric), title="actors of the best team", height=2, legend=True)]
    several = len({each.member for each in view.results}) > 1
    if several:
        spread = Axis("highest − lowest", low=0)
        panels.append(Panel(tuple(_spread(view)), y=spread, title="how far apart the actors of a team are", legend=True))
    note = f"{counted(view.actors, 'actor')} in each team, along the ancestry of the best result"
    return Picture("team", "Actors of teams", tuple(panels), 6.2 if several else 4.4, note=note)


def _best(view: Teams) -> Iterator[Item]:
    told = [each for each in view.best if each.known]
    x = [each.step for each in told]
    low, high = [each.known[0] for each in told], [each.known[-1] for each in told]
    yield Band(name="lowest to highest", colour=MEMBERS[0], alpha=0.13, x=x, low=low, high=high)
    yield LineSeries(name="median", colour=MEMBERS[0], width=1.6, x=x, y=[median(each.known) for each in told], hover="value")
    points = [(each, i, score) for each in told for i, score in enumerate(each.actors) if score is not None]
    yield PointSeries(
        name="actors",
        colour=NOTE,
        alpha=0.7,
        marker="dot",
        size=3.5,
        x=[each.step for each, _, _ in points],
        y=[score for _, _, score in points],
        hover="text",
        texts=[f"actor {i}, step {each.step:,}: {short(score, 5)}" for each, i, score in points],
        tasks=[each.task for each, _, _ in points],
    )
    own, steps = [each.score for each in view.best], [each.step for each in view.best]
    yield LineSeries(name="score of the team", rank=-1, colour=BEST, width=1.8, x=steps, y=own, hover="value")


def _spread(view: Teams) -> Iterator[LineSeries]:
    colour = colours(sorted({each.member for each in view.results}))
    few = len(colour) <= len(MEMBERS)
    ordered = sorted(view.results, key=lambda each: (each.member, each.task))
    for index, (member, results) in enumerate(groupby(ordered, key=lambda each: each.member)):
        told: list[TeamResult] = [each for each in results if each.known]
        y: list[Coordinate] = [each.known[-1] - each.known[0] for each in told]
        name, caption = f"member {member}", "" if few else counted(len(colour), "member")
        x = [each.step for each in told]
        yield LineSeries(
            name=name, caption=caption, legend=few or not index, colour=colour[member], width=1.2, x=x, y=y, hover="value"
        )
