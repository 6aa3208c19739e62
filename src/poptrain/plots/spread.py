"""The spread of the population over the steps: scores from worst to best, hyperparameters, and lines of descent."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import Spread
from poptrain.views import spread as view_of
from poptrain.views.spread import extent


def spread(source: Record | Spread) -> Figure:
    """Returns the figure of how far apart the members are, from a record or its `views.spread`."""
    view = view_of(source) if isinstance(source, Record) else source
    figure = style.figure(8.4, 7.2)
    scores, hparams, founders = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.3))
    steps = [generation.step for generation in view.generations]
    style.title(scores, "Spread of the population", "by generation: the members after equally many intervals")
    _scores(scores, view, steps)
    _hparams(hparams, view, steps)
    _founders(founders, view, steps)
    style.steps_axis(founders)
    return figure


def _scores(axes: Axes, view: Spread, steps: list[int]) -> None:
    style.tidy(axes).set_ylabel(style.label(view.metric), color=style.INK)
    if not steps:
        return
    low, lower, middle, upper, high = np.array([generation.scores for generation in view.generations]).T
    axes.fill_between(steps, low, high, color=style.MEMBERS[0], alpha=0.13, linewidth=0, label="worst to best")
    axes.fill_between(steps, lower, upper, color=style.MEMBERS[0], alpha=0.28, linewidth=0, label="middle half")
    axes.plot(steps, middle, color=style.MEMBERS[0], linewidth=1.6, label="median")
    axes.plot(steps, low if view.mode == "min" else high, color=style.BEST, linewidth=1.6, label="best of the generation")
    begin, end, log = extent(view)
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(begin, end)
    _legend(axes)


def _hparams(axes: Axes, view: Spread, steps: list[int]) -> None:
    style.tidy(axes).set_ylabel("spread", color=style.INK)
    colours = [*style.MEMBERS, style.FAILED, style.NOTE]
    for index, name in enumerate(view.names):
        values = [generation.hparams[name] for generation in view.generations]
        y = np.array([np.nan if value is None else value for value in values], float)
        axes.plot(steps, y, color=colours[index % len(colours)], linewidth=1.3, label=style.label(name, 24),
                  linestyle="-" if index < len(colours) else "--")  # fmt: skip
    axes.axhline(1, color="#B4BAC2", linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    axes.set_ylim(bottom=0)
    axes.set_title("hyperparameters: 0 all equal, 1 like uniform draws", loc="left", fontsize=9, color=style.NOTE)
    if view.names:
        _legend(axes)


def _founders(axes: Axes, view: Spread, steps: list[int]) -> None:
    style.tidy(axes).set_ylabel("families", color=style.INK)
    founders = [generation.founders for generation in view.generations]
    axes.plot(steps, founders, drawstyle="steps-post", color=style.INK, linewidth=1.5)
    axes.set_ylim(0, max([1, *founders]) * 1.12)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title("first members that somebody still descends from", loc="left", fontsize=9, color=style.NOTE)


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
