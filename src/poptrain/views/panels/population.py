"""Pictures of the whole population: its spread and its origin over time, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from poptrain.core.counting import counted
from poptrain.views.format import clean, span
from poptrain.views.overhead import MemberTime, Overhead
from poptrain.views.palette import BEST, FAILED, INK, MEMBERS, NOTE, TIMES
from poptrain.views.panels.model import Axis, Band, Bars, Coordinate, Dash, Item, LineSeries, Panel, Picture, Rule
from poptrain.views.spread import Spread, spread_extent
from poptrain.views.tally import Diversity


def spread(view: Spread, descent: Sequence[Diversity] = ()) -> Picture:
    """Returns the spread by generation: scores from worst to best, hyperparameters, and lines of descent.

    Args:
        descent: the diversity after each decision, as `gauges` has it.
    """
    low, high, log = spread_extent(view)
    scores = Axis(clean(view.metric, 40), "log" if log else "linear", low, high)
    families = max([1.0, *(each.founders for each in view.generations), *(each.effective for each in descent)])
    panels = (
        Panel(tuple(_scores(view)), y=scores, height=3, legend=True),
        Panel(
            (Rule(1.0), *_hparams(view)),
            y=Axis("spread", low=0),
            title="hyperparameters: 0 all equal, 1 like uniform draws",
            height=3,
            legend=bool(view.names),
        ),
        Panel(
            tuple(_descent(view, descent)),
            y=Axis("families", low=0, high=families * 1.12, whole=True),
            title="origin of the members' weights",
            height=1.3,
            legend=True,
        ),
    )
    note = "by generation: the members after equally many intervals"
    return Picture("spread", "Spread of the population", panels, 7.2, note=note)


def _scores(view: Spread) -> Iterable[Item]:
    if not view.generations:
        return
    x = [generation.step for generation in view.generations]
    low, lower, middle, upper, high = np.array([generation.scores for generation in view.generations]).T.tolist()
    blue = MEMBERS[0]
    yield Band(name="worst to best", colour=blue, alpha=0.13, x=x, low=low, high=high)
    yield Band(name="middle half", colour=blue, alpha=0.28, x=x, low=lower, high=upper)
    yield LineSeries(name="median", colour=blue, width=1.6, x=x, y=middle, hover="value")
    best = low if view.mode == "min" else high
    yield LineSeries(name="best of the generation", colour=BEST, width=1.6, x=x, y=best, hover="value")


def _hparams(view: Spread) -> Iterable[LineSeries]:
    palette = (*MEMBERS, FAILED, NOTE)
    x = [generation.step for generation in view.generations]
    for index, name in enumerate(view.names):
        y: list[Coordinate] = [generation.hparams[name] for generation in view.generations]
        dash: Dash = "dashed" if index >= len(palette) else ""
        yield LineSeries(
            name=clean(name, 24), colour=palette[index % len(palette)], width=1.3, dash=dash, x=x, y=y, hover="value"
        )


def _descent(view: Spread, descent: Sequence[Diversity]) -> Iterable[LineSeries]:
    x = [generation.step for generation in view.generations]
    founders = [generation.founders for generation in view.generations]
    yield LineSeries(name="first members", colour=INK, x=x, y=founders, stepped=True, hover="value")
    if descent and x:
        steps = [*(each.step for each in descent), max(x[-1], descent[-1].step)]
        worth = [*(each.effective for each in descent), descent[-1].effective]
        yield LineSeries(name="equal lineages", colour=MEMBERS[1], x=steps, y=worth, stepped=True, hover="value")


def time(view: Overhead, most: int | None = None) -> Picture:
    """Returns where the time went: one bar for each member and one for all.

    Args:
        most: of so few members, the first ones, bars are drawn; default: of all.
    """
    members = view.by_member[:most]
    rows = [_parts([each]) for each in members] + [_parts(view.by_member)]
    series = []
    for part, colour in TIMES.items():
        seconds = [row[part] for row in rows]
        shares = [100 * spent / (sum(row.values()) or 1.0) for spent, row in zip(seconds, rows, strict=True)]
        texts = [f"{part}: {span(spent)} ({share:.1f} %)" for spent, share in zip(seconds, shares, strict=True)]
        series.append(Bars(name=part, colour=colour, widths=shares, hover="text", texts=texts))
    names = [str(each.member) if each.role == "member" else f"{each.role} {each.member}" for each in members] + ["all"]
    ticks = tuple((float(row), name) for row, name in enumerate(names))
    y = Axis("member", low=len(rows) - 0.4, high=-0.6, ticks=ticks, grid=False)
    panel = Panel(tuple(series), Axis("% of each one's time", low=0, high=100), y)
    return Picture("time", "Time spent", (panel,), 1.9 + 0.24 * len(rows), note=_note(view, len(members)), legend="below")


def _parts(members: Sequence[MemberTime]) -> dict[str, float]:
    return {part: float(sum(getattr(each, part) for each in members)) for part in TIMES}


def _note(view: Overhead, shown: int) -> str:
    parts = [f"wall time {span(view.wall)}", f"{view.slots} at the same time"]
    if view.share is not None:
        parts.append(f"slots busy {100 * min(view.share, 1):.0f} %")
    parts.append(f"deciding {span(view.deciding)}")
    if len(view.by_member) > shown:
        parts.append(f"the first {shown} of {counted(len(view.by_member), 'member')}")
    return " · ".join(parts)
