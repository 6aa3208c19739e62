"""The hyperparameters over the steps: one panel each, every final member's schedule, the best one bold."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import Schedule, schedule, schedules, short
from poptrain.views.facts import Facts, space_of
from poptrain.views.scale import Scale, nines, scale_of

COLUMNS = 2


def hparams(record: Record) -> Figure:
    """Returns the figure of the hyperparameter schedules of a run."""
    members = schedules(record)
    best = schedule(record) if Facts.of(record).best is not None else None
    space = space_of(record)
    names = list(space) or list((members[0] if members else best).names if members or best else ())
    across = min(COLUMNS, len(names)) or 1
    down = ceil(len(names) / across) or 1
    figure = style.figure(4.6 * across + 1.2, 2.3 * down + 0.9)
    panels = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
    colours = style.colours([view.member for view in members])
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, name, space.get(name) or {}, members, best, colours)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[max(len(names) - across, 0) : len(names)]:
        style.steps_axis(axes)
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.suptitle("Hyperparameters along ancestry", x=0.01, ha="left", fontsize=12, fontweight="bold", color=style.INK)
    figure.legend(handles=_handles(members, best, colours), loc="outside right center", frameon=False, fontsize=9)
    return figure


def _panel(
    axes: Axes, name: str, kind: dict[str, Any], members: tuple[Schedule, ...], best: Schedule | None, colours: dict[int, str]
) -> None:  # fmt: skip
    style.tidy(axes)
    axes.set_title(style.label(name), loc="left", fontsize=10, color=style.INK)
    drawn = [*members, *([best] if best else [])]
    scale = scale_of(kind, (segment.hparams.get(name) for view in drawn for segment in view.segments))
    _axis(axes, scale)
    few = len(members) <= style.FEW
    for offset, view in enumerate(members):
        # Equal options lie on one line: a small shift keeps the members apart.
        shift = 0.0 if not scale.listed else (offset - (len(members) - 1) / 2) * min(0.08, 0.3 / max(len(members), 1))
        _line(axes, view, name, scale, shift, color=colours[view.member], linewidth=1.3 if few else 0.8,
              alpha=0.85 if few else 0.5, label=f"member {view.member}")  # fmt: skip
    if best is not None:
        _line(axes, best, name, scale, 0.0, color=style.BEST, linewidth=2.6, zorder=5, label="best")


def _line(axes: Axes, view: Schedule, name: str, scale: Scale, shift: float, **look: Any) -> None:
    segments = [segment for segment in view.segments if scale.place(segment.hparams.get(name)) is not None]
    if not segments:
        return
    values = [segment.hparams[name] for segment in segments]
    y = [scale.place(value) + shift if scale.listed else float(value) for value in values]
    x = [segment.start for segment in segments] + [segments[-1].end]
    axes.plot(x, [*y, y[-1]], drawstyle="steps-post", **look)


def _axis(axes: Axes, scale: Scale) -> None:
    """Prepares the y axis for a scale; the bounds of a range are dotted."""
    low, high = scale.low, scale.high
    if scale.listed:
        shown = range(0, len(scale.options), ceil(len(scale.options) / 12) or 1)
        axes.set_yticks(list(shown), [style.label(short(scale.options[index]), 18) for index in shown])
        axes.set_ylim(-0.6, len(scale.options) - 0.4)
        return
    if scale.kind == "log":
        _log_axis(axes, low, high)
    elif scale.kind == "nines":
        axes.set_yscale("function", functions=(_nines, lambda u: 1 - 10.0**-u))
        axes.set_yticks(scale.ticks(), [f"{tick:.6g}" for tick in scale.ticks()])
        axes.minorticks_off()
        pad = 0.06 * (nines(high) - nines(low))
        axes.set_ylim(1 - 10.0 ** (pad - nines(low)), 1 - 10.0 ** -(nines(high) + pad))
    elif scale.bounded:
        pad = 0.06 * (high - low)
        axes.set_ylim(low - pad, high + pad)
    for bound in (low, high) if scale.bounded else ():
        axes.axhline(bound, color="#B4BAC2", linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)


def _log_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_yscale("log")
    decades = float(np.log10(high / low))
    if decades:
        axes.set_ylim(low * 10 ** (-0.06 * decades), high * 10 ** (0.06 * decades))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _nines(y: Any) -> Any:
    return -np.log10(np.maximum(1 - np.asarray(y, float), 1e-16))  # of arrays


def _handles(members: tuple[Schedule, ...], best: Schedule | None, colours: dict[int, str]) -> list[Line2D]:
    handles = [Line2D([], [], color=style.BEST, linewidth=2.6, label="best")] if best else []
    if len(members) <= style.FEW:
        return handles + [Line2D([], [], color=colours[view.member], label=f"member {view.member}") for view in members]
    return [*handles, Line2D([], [], color=colours[members[0].member], label=f"{len(members)} members")]
