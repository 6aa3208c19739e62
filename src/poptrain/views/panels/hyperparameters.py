"""Pictures of hyperparameters over the steps: along ancestry, of sub-populations, and of schedules by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, log10
from typing import Literal

import numpy as np

from poptrain.core import Value
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record
from poptrain.views.format import clean, short
from poptrain.views.generations import begins_of
from poptrain.views.index import history_of, space_of
from poptrain.views.palette import BEST, INK, MEMBERS, NOTE, colour, colours
from poptrain.views.panels.generations import new_generations
from poptrain.views.panels.model import Axis, Band, Item, LineSeries, Panel, Picture, PointSeries, Rule, Texts
from poptrain.views.scale import Scale, nines, scale_of
from poptrain.views.schedule import Schedule, schedule
from poptrain.views.schedule import schedules as schedules_of
from poptrain.views.subpopulations import Subpopulations, sizes_of
from poptrain.views.subpopulations import subpopulations as view_of

FUNCTION_POINTS = 400  # of a schedule that is a function
MOST_OPTIONS = 12  # labels on an axis of options
PAD = 0.06  # of the range, above and below it


def hparams(record: Record) -> Picture:
    """Returns every final member's schedule, the best one bold: one panel for each hyperparameter."""
    members, space = schedules_of(record), space_of(record)
    best = schedule(record) if history_of(record).best() is not None else None
    drawn = [*members, *([best] if best else [])]
    names = list(space) or list(drawn[0].names if drawn else ())
    begins = begins_of(history_of(record))
    panels = tuple(_hparam(name, space.get(name, {}), members, best, begins) for name in names) or (Panel(()),)
    if len(names) == 1:  # the title of the picture stands in the place of the panel's
        panels = (replace(panels[0], title="", y=replace(panels[0].y, label=panels[0].title)),)
    columns = min(2, len(panels))
    rows = ceil(len(panels) / columns)
    title, width = "Hyperparameters along ancestry", 4.6 * columns + 1.2
    return Picture("hparams", title, panels, 2.3 * rows + 0.9, width=width, columns=columns, legend="right")


def _hparam(
    name: str, kind: Mapping[str, object], members: Sequence[Schedule], best: Schedule | None, begins: Sequence[int]
) -> Panel:
    drawn = [*members, *([best] if best else [])]
    scale = scale_of(kind, (segment.hparams.get(name) for view in drawn for segment in view.segments))
    colour, few = colours([view.member for view in members]), len(members) <= len(MEMBERS)
    series: list[Item] = [Rule(bound) for bound in (scale.low, scale.high) if scale.bounded and not scale.listed]
    for index, view in enumerate(members):
        # Equal options lie on one line: a small shift keeps the members apart.
        shift = (index - (len(members) - 1) / 2) * min(0.08, 0.3 / max(len(members), 1)) if scale.listed else 0.0
        x, y, texts = _steps(view, name, scale, shift)
        line = LineSeries(
            name=f"member {view.member}",
            caption="" if few else counted(len(members), "member"),
            legend=few or index == 0,
            colour=colour[view.member],
            width=1.3 if few else 0.8,
            alpha=0.85 if few else 0.5,
            x=x,
            y=y,
            stepped=True,
            hover="value",
            texts=texts,
            tasks=[view.task],
        )
        series.append(line)
    if best is not None:
        x, y, texts = _steps(best, name, scale, 0.0)
        line = LineSeries(
            name="best",
            rank=-1,
            colour=BEST,
            width=2.6,
            x=x,
            y=y,
            stepped=True,
            hover="value",
            texts=texts,
            tasks=[best.task],
        )
        series.append(line)
    values = [value for each in series if isinstance(each, LineSeries) for value in each.y if value is not None]
    if begins and values:
        low = min(values) if scale.listed or not scale.bounded else scale.low
        series.append(new_generations(begins, -0.45 if scale.listed else low))
    return Panel(tuple(series), y=axis_of(scale, kind), title=clean(name, 40))


def _steps(view: Schedule, name: str, scale: Scale, shift: float) -> tuple[list[int], list[float], Sequence[str]]:
    """Returns the steps at which a hyperparameter changes, and the end; its values from there; and these as texts."""
    values = [each.hparams.get(name) for each in view.segments]
    places = scale.places(values)
    known = np.flatnonzero(~np.isnan(places)).tolist()
    if not known:
        return [], [], []
    y = (places[known] + shift).tolist() if scale.listed else [float(values[at]) for at in known]  # type: ignore[arg-type]  # a number: it has a place
    starts, last = [view.segments[at].start for at in known], known[-1]
    return [*starts, view.segments[last].end], [*y, y[-1]], Texts(lambda at: short(values[at], 5), [*known, last])


def axis_of(scale: Scale, kind: Mapping[str, object]) -> Axis:
    """Returns the vertical axis of a hyperparameter; `kind` is its description."""
    low, high = scale.low, scale.high
    if scale.listed:
        shown = range(0, len(scale.options), ceil(len(scale.options) / MOST_OPTIONS) or 1)
        ticks = tuple((float(place), clean(short(scale.options[place]), 18)) for place in shown)
        return Axis(low=-0.6, high=len(scale.options) - 0.4, ticks=ticks)
    if scale.kind == "log":
        pad = PAD * log10(high / low) or 0.1
        return Axis(scale="log", low=low * 10**-pad, high=high * 10**pad)
    if scale.kind == "nines":
        pad = PAD * (nines(high) - nines(low))
        ticks = tuple((tick, f"{tick:.6g}") for tick in scale.ticks())
        return Axis("", "nines", 1 - 10.0 ** (pad - nines(low)), 1 - 10.0 ** -(nines(high) + pad), ticks)
    pad = PAD * (high - low)
    whole = kind.get("type") == "Int"
    return Axis(low=low - pad, high=high + pad, whole=whole) if scale.bounded else Axis(whole=whole)


Named = Mapping[str, Schedule | Sequence[Schedule] | Callable[[float], float]]


def schedules(named: Named, hparam: str, end: int, *, log: bool = True, title: str = "Learned schedules") -> Picture:
    """Returns schedules of one hyperparameter by name; see `plots.schedules`."""
    series: list[Item] = []
    learned = 0
    for name, given in named.items():
        caption = clean(name, 40)
        if callable(given):
            x = np.linspace(0, end, FUNCTION_POINTS, endpoint=False).tolist()
            series.append(LineSeries(name=caption, colour=INK, width=2.0, dash="dashed", x=x, y=[float(given(at)) for at in x]))
            continue
        several = [given] if isinstance(given, Schedule) else list(given)
        for index, each in enumerate(several):
            steps, values = _values(each, hparam, name)
            one = len(several) == 1
            line = LineSeries(
                name=caption,
                legend=index == 0,
                colour=colour(learned),
                width=2.0 if one else 1.2,
                alpha=0.9 if one else 0.6,
                stepped=True,
                x=steps,
                y=values,
                hover="value",
            )
            series.append(line)
        learned += 1
    panel = Panel(tuple(series), y=Axis(clean(hparam, 40), "log" if log else "linear"), legend=True)
    return Picture("schedules", clean(title, 80), (panel,), 4.4)


def _values(view: Schedule, hparam: str, name: str) -> tuple[list[int], list[float]]:
    if not view.segments or any(hparam not in segment.hparams for segment in view.segments):
        raise UsageError(f"schedules: {name!r} does not have a hyperparameter {hparam!r}.")
    values = [float(segment.hparams[hparam]) for segment in view.segments]  # type: ignore[arg-type]  # the caller asks for numbers
    return [*(segment.start for segment in view.segments), view.segments[-1].end], [*values, values[-1]]


def subpopulations(record: Record) -> Picture:
    """Returns the spread of each sub-population of FIRE PBT, with the best schedule and the hand-overs: one panel a number.

    Raises:
        UsageError: the algorithm of the run has no sub-populations.
    """
    view, space = view_of(record), space_of(record)
    names = list(view.subpopulations[0].hparams)
    handed = sum(hand.best for hand in view.hand_overs)
    note = f"{len(view.hand_overs)} hand-overs, {handed} on the way to the best"
    panels = []
    for index, name in enumerate(names):
        kind: Literal["log", "linear"] = "log" if scale_of(space.get(name, {}), ()).kind == "log" else "linear"
        series = (*_quartiles(view, name), *_best(view, name))
        panels.append(Panel(series, y=Axis(clean(name, 40), kind), legend=index == 0))
    height = 1.4 + 3.0 * max(len(names), 1)
    return Picture("subpopulations", "Sub-populations", tuple(panels) or (Panel(()),), height, note=note)


def _quartiles(view: Subpopulations, name: str) -> Iterable[Item]:
    for sub in view.subpopulations:
        rows = sub.hparams.get(name, ())
        label = f"P{sub.index}{' (greedy)' * (sub.index == 1)}, {counted(len(sub.members), 'member')}"
        x, shade = [row.step for row in rows], colour(sub.index - 1)
        outer, inner = [(row.low, row.high) for row in rows], [(row.lower, row.upper) for row in rows]
        for ends, alpha in ((outer, 0.12), (inner, 0.25)):
            low, high = [low for low, _ in ends], [high for _, high in ends]
            yield Band(name=label, legend=False, colour=shade, alpha=alpha, x=x, low=low, high=high, stepped=True)
        yield LineSeries(name=label, colour=shade, x=x, y=[row.middle for row in rows], stepped=True, hover="value")


def _best(view: Subpopulations, name: str) -> Iterable[Item]:
    """Yields the best schedule, rings where its weights were handed over, and a tick for every other hand-over."""
    others = [hand.step for hand in view.hand_overs if not hand.best]
    if others:
        bottom = min(row.low for sub in view.subpopulations for row in sub.hparams[name])
        yield PointSeries(name="other hand-overs", colour=NOTE, marker="tick", size=7, x=others, y=[bottom] * len(others))
    if view.best is None or not view.best.segments:
        return
    x, y = _values(view.best, name, "best")
    yield LineSeries(name="best schedule", colour=BEST, width=2.6, x=x, y=y, stepped=True, hover="value")
    if not (steps := [hand.step for hand in view.hand_overs if hand.best]):
        return
    values: list[Value] = [view.best.at(step)[name] for step in steps]
    yield PointSeries(name="handed over", colour=BEST, marker="ring", size=7, x=steps, y=[float(value or 0) for value in values])


__all__ = ["hparams", "schedules", "sizes_of", "subpopulations"]
