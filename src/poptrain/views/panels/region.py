"""The picture of a trust region's life: how wide it was at each decision, where it began again, and where generations ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from poptrain.core.counting import counted
from poptrain.views.format import short
from poptrain.views.palette import BEST, MEMBERS
from poptrain.views.panels.generations import new_generations
from poptrain.views.panels.model import STEPS, Axis, Item, LineSeries, Panel, Picture, PointSeries
from poptrain.views.phases import RegionMoment
from poptrain.views.region import RegionLife


def region(life: RegionLife) -> Picture | None:
    """Returns the width of the box and the share of the categories over the steps; None for a run without a region."""
    if not life.moments:
        return None
    length = Axis("width of the box", low=0)
    panels = [Panel(tuple(_drawn(life, lambda each: each.length)), STEPS, length, legend=True)]
    if len({each.share for each in life.moments}) > 1:
        share = Axis("share of categories", low=0, high=1.05)
        panels.append(Panel(tuple(_drawn(life, lambda each: each.share)), STEPS, share, height=0.7))
    last = life.moments[-1]
    note = f"{len(life.restarts)} restart{'s' * (len(life.restarts) != 1)}, at last {short(last.length)} of each range"
    return Picture("region", "The trust region", tuple(panels), 2.6 if len(panels) == 1 else 3.8, note=note)


def _drawn(life: RegionLife, value: Callable[[RegionMoment], float]) -> Iterator[Item]:
    """Yields a line for the region of each generation, a mark for each restart, and one for each new generation."""
    first = life.moments[0].generation
    for number in sorted({each.generation for each in life.moments}):
        own = [each for each in life.moments if each.generation == number]
        yield LineSeries(
            name="width" if number == first else f"generation {number}",
            legend=number == first,
            colour=MEMBERS[0],
            width=1.8,
            x=[each.step for each in own],
            y=[value(each) for each in own],
            stepped=True,
            hover="text",
            texts=[_about(each) for each in own],
        )
    if life.restarts:
        yield PointSeries(
            name="begins again",
            colour=BEST,
            marker="star",
            size=8,
            x=[each.step for each in life.restarts],
            y=[value(each) for each in life.restarts],
            hover="text",
            texts=[_about(each) for each in life.restarts],
            tasks=[each.task for each in life.restarts],
        )
    if life.generations:
        top = max(value(each) for each in life.moments)
        yield new_generations(life.generations, 0.04 * top)


def _about(each: RegionMoment) -> str:
    counts = f"{counted(each.successes, 'success')} and {counted(each.failures, 'failure')} in a row"
    return f"step {each.step:,}: width {short(each.length)}, {counts}, {counted(each.restarts, 'restart')}"
