"""The score along the ancestry of every final member, the best one bold, its copies marked, dead ends faint."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import Curve, Curves, curves, short
from poptrain.views.curves import extent


def score(source: Record | Curves) -> Figure:
    """Returns the figure of the scores of a run, from its record or its `curves`."""
    view = curves(source) if isinstance(source, Record) else source
    figure = style.figure(8.4, 5.0)
    axes = style.tidy(figure.subplots())
    style.steps_axis(axes)
    axes.set_ylabel(style.label(view.metric), color=style.INK)
    lower = "lower is better" if view.mode == "min" else "higher is better"
    style.title(axes, f"{style.label(view.metric)} along ancestry", f"{lower} · {_tally(view)}")
    _dead_ends(axes, view)
    colours = style.colours([curve.member for curve in view.members])
    for curve in view.members:
        few = len(view.members) <= style.FEW
        axes.plot(*_finite(curve), color=colours[curve.member], linewidth=1.4 if few else 0.9, alpha=0.9 if few else 0.6,
                  label=f"member {curve.member}", zorder=3)  # fmt: skip
    _marks(axes, view)
    if view.best is not None:
        axes.plot(*_finite(view.best), color=style.BEST, linewidth=2.8, solid_capstyle="round", label="best", zorder=5)
        axes.plot(*_end(view.best), "*", markersize=13, color=style.BEST, markeredgecolor="white", zorder=7)
    low, high, log = extent(view)
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(low, high)
    _legend(axes, view)
    return figure


def _dead_ends(axes: Axes, view: Curves) -> None:
    """Draws everything that was trained; what no final member descends from stays visible as faint lines."""
    pieces = [_array(piece) for seat in view.seats for piece in seat.pieces if len(piece) > 1]
    axes.add_collection(LineCollection(pieces, colors=style.FAINT, linewidths=0.8, zorder=1, label="abandoned"), autolim=False)


def _marks(axes: Axes, view: Curves) -> None:
    every = {(mark.task, mark.step, mark.score) for curve in view.members for mark in curve.marks}
    best = {(mark.task, mark.step, mark.score) for mark in view.best.marks} if view.best else set()
    for marks, colour, size, order in ((every - best, "#5B6470", 9, 4), (best, style.BEST, 34, 6)):
        if marks:
            _, steps, scores = zip(*sorted(marks), strict=True)
            axes.scatter(steps, scores, s=size, facecolor="white", edgecolor=colour,
                         linewidth=0.7 if order == 4 else 1.5, zorder=order)  # fmt: skip


def _legend(axes: Axes, view: Curves) -> None:
    mark = Line2D([], [], marker="o", linestyle="", markerfacecolor="white", markeredgecolor="#5B6470", label="copied a member")
    dead = Line2D([], [], color=style.FAINT, label="abandoned")
    best = Line2D([], [], color=style.BEST, linewidth=2.8, marker="*", label=_named("best", view.best))
    colours = style.colours([curve.member for curve in view.members])
    if len(view.members) <= style.FEW:
        ranked = sorted(view.members, key=lambda curve: curve.score, reverse=view.mode != "min")
        lines = [Line2D([], [], color=colours[c.member], label=_named(f"member {c.member}", c)) for c in ranked]
    else:
        lines = [Line2D([], [], color=colours[view.members[0].member], label=f"{len(view.members)} members")]
    handles = [*([best] if view.best else []), *lines, mark, dead]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _tally(view: Curves) -> str:
    copies = len({mark.task for curve in view.members for mark in curve.marks})
    return (
        f"{len(view.members)} member{'s'[: len(view.members) != 1]}, {copies} {'copies' if copies != 1 else 'copy'} along the way"
    )


def _named(name: str, curve: Curve | None) -> str:
    return name if curve is None else f"{name}  {short(curve.score, 5)}"


def _array(points: tuple[tuple[int, float], ...]) -> np.ndarray:
    array = np.asarray(points, float).reshape(-1, 2)
    array[~np.isfinite(array)] = np.nan
    return array


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    array = _array(curve.points)
    return array[:, 0], array[:, 1]


def _end(curve: Curve) -> tuple[list[int], list[float]]:
    step, value = curve.points[-1]
    return [step], [value]
