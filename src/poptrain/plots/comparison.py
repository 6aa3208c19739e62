"""Methods against each other: the best score so far, over steps of one member and over those of all members together."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poptrain.plots import style
from poptrain.views import Comparison, Method, Point


def comparison(view: Comparison) -> Figure:
    """Returns the figure of a comparison: interquartile means, with bands between the quartiles over runs."""
    figure = style.figure(9.6, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name, head in ((left, "by_steps", "at equal steps per member"), (right, "by_total", "at equal total steps")):
        style.tidy(axes)
        style.steps_axis(axes)
        style.title(axes, head)
        for index, method in enumerate(view.methods):
            _curve(
                axes, getattr(method, name), _label(method), style.MEMBERS[index % style.FEW], "--" if index >= style.FEW else "-"
            )
    left.set_xlabel("steps of a member")
    right.set_xlabel("steps of all members together")
    left.set_ylabel(f"best {style.label(view.metric)} so far", color=style.INK)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _label(method: Method) -> str:
    return f"{style.label(method.name, 60)} ({len(method.runs)})"


def _curve(axes: Axes, points: Sequence[Point], label: str, color: str, dashes: str) -> None:
    at = [point.at for point in points]
    axes.plot(at, [point.mean for point in points], dashes, color=color, linewidth=1.8, label=label)
    axes.fill_between(at, [point.low for point in points], [point.high for point in points], color=color, alpha=0.15, linewidth=0)
