"""The hyperparameters of the sub-populations of FIRE PBT over the steps, with the best schedule and the hand-overs."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import Subpopulations
from poptrain.views import subpopulations as view_of
from poptrain.views.facts import space_of


def subpopulations(record: Record) -> Figure:
    """Returns the figure of the sub-populations of a run, one panel for each hyperparameter that is a number.

    Raises:
        UsageError: the algorithm of the run has no sub-populations.
    """
    view, space = view_of(record), space_of(record)
    names = list(view.subpopulations[0].hparams)
    figure = style.figure(8.4, 1.4 + 3.0 * max(len(names), 1))
    panels = figure.subplots(max(len(names), 1), 1, sharex=True, squeeze=False).ravel()
    handed = sum(hand.best for hand in view.hand_overs)
    style.title(panels[0], "Sub-populations", f"{len(view.hand_overs)} hand-overs, {handed} on the way to the best")
    for axes, name in zip(panels, names, strict=False):
        style.tidy(axes).set_ylabel(style.label(name), color=style.INK)
        if (space.get(name) or {}).get("type") in ("LogUniform", "LogInt"):
            axes.set_yscale("log")
        _spread(axes, view, name)
        _best(axes, view, name)
    style.steps_axis(panels[-1])
    panels[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return figure


def _spread(axes: Axes, view: Subpopulations, name: str) -> None:
    for sub in view.subpopulations:
        colour, rows = style.MEMBERS[(sub.index - 1) % style.FEW], sub.hparams.get(name, ())
        steps = [row.step for row in rows]
        look = dict(color=colour, linewidth=0, step="post")
        axes.fill_between(steps, [row.low for row in rows], [row.high for row in rows], alpha=0.12, **look)
        axes.fill_between(steps, [row.lower for row in rows], [row.upper for row in rows], alpha=0.25, **look)
        greedy = " (greedy)" if sub.index == 1 else ""
        axes.plot(steps, [row.middle for row in rows], drawstyle="steps-post", color=colour, linewidth=1.5,
                  label=f"P{sub.index}{greedy}, {len(sub.members)} members")  # fmt: skip


def _best(axes: Axes, view: Subpopulations, name: str) -> None:
    """Draws the best schedule, a circle where its weights were handed over, and a tick for every other hand-over."""
    others = [hand.step for hand in view.hand_overs if not hand.best]
    if others:
        axes.plot(others, [0.02] * len(others), "|", color=style.NOTE, markersize=7, transform=axes.get_xaxis_transform(),
                  label="other hand-overs")  # fmt: skip
    if view.best is None or not view.best.segments:
        return
    segments = view.best.segments
    values = [segment.hparams[name] for segment in segments]
    axes.plot([*(segment.start for segment in segments), segments[-1].end], [*values, values[-1]], drawstyle="steps-post",
              color=style.BEST, linewidth=2.6, label="best schedule", zorder=5)  # fmt: skip
    steps = [hand.step for hand in view.hand_overs if hand.best]
    axes.plot(steps, [view.best.at(step)[name] for step in steps], "o", markerfacecolor="white", markeredgecolor=style.BEST,
              markeredgewidth=1.6, markersize=7, label="handed over", zorder=6)  # fmt: skip
