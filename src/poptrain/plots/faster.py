"""Two curves, smoothed, and the section in which they overlap: which of the two improves faster."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import Faster, Piece, short
from poptrain.views.improvement import faster as view_of

COLOURS = (style.BEST, style.MEMBERS[0])


def faster(source: Record | Faster, first: int = 0, second: int = 1, step: int | None = None) -> Figure:
    """Returns the figure of the comparison of two seats, from a record or a `views.faster`; offsets from each one's start."""
    view = view_of(source, first, second, step) if isinstance(source, Record) else source
    figure = style.figure(8.4, 4.4)
    axes = style.tidy(figure.subplots())
    style.steps_axis(axes)
    axes.set_xlabel("steps since the weights were copied", color=style.INK)
    axes.set_ylabel(style.label(view.metric), color=style.INK)
    style.title(axes, f"{_name(view.first)} against {_name(view.second).lower()}", said(view))
    for piece, colour in zip((view.first, view.second), COLOURS, strict=True):
        _piece(axes, piece, colour)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return figure


def said(view: Faster) -> str:
    """Returns the outcome in one line."""
    if not view.difference:
        who = "neither improves faster" if view.p is not None else "no overlap, nothing can be said"
    else:
        better = view.first if view.difference > 0 else view.second
        who = f"{_name(better).lower()} improves faster, by {short(abs(view.difference), 3)}"
        who += "" if view.p is not None else "; no overlap: under the penalty that suits it best"
    return who if view.p is None else f"{who}; the first better by chance: p = {short(view.p, 3)}"


def _piece(axes: Axes, piece: Piece, colour: str) -> None:
    offsets = [step - piece.steps[0] for step in piece.steps]
    axes.plot(offsets, piece.scores, ".", color=colour, alpha=0.45, markersize=4)
    axes.plot(offsets, piece.smoothed, color=colour, linewidth=1.1, label=_name(piece))
    if piece.overlap is not None:
        a, b = piece.overlap
        axes.plot(offsets[a : b + 1], piece.smoothed[a : b + 1], color=colour, linewidth=3.2, solid_capstyle="butt",
                  label=f"overlap, {b - a} points")  # fmt: skip
        axes.plot(offsets[a], piece.smoothed[a], "o", color=colour, markeredgecolor="white", markersize=8, zorder=5)


def _name(piece: Piece) -> str:
    return f"{'Evaluator' if piece.evaluator else 'Member'} {piece.seat}"
