"""Learned schedules of one hyperparameter beside each other, and beside one made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from poptrain.core.errors import UsageError
from poptrain.plots import style

POINTS = 400  # of a schedule that is a function


def schedules(named: Mapping[str, Any], hparam: str, end: int, *, log: bool = True, title: str = "Learned schedules") -> Figure:
    """Returns the figure of schedules by name.

    Args:
        named: each a `views.Schedule`, a list of such (of several seeds), or a function of the step: one made by hand.
        hparam: which hyperparameter is drawn.
        end: the last step.

    Raises:
        UsageError: a schedule does not have the hyperparameter.
    """
    figure = style.figure(8.4, 4.4)
    axes = style.tidy(figure.subplots())
    style.steps_axis(axes)
    style.title(axes, style.label(title, 80))
    axes.set_ylabel(style.label(hparam), color=style.INK)
    if log:
        axes.set_yscale("log")
    colours = iter(style.MEMBERS * (1 + len(named) // style.FEW))
    for name, given in named.items():
        if callable(given):
            _function(axes, given, name, end)
            continue
        colour, several = next(colours), list(given) if isinstance(given, Sequence) else [given]
        for index, each in enumerate(several):
            x, y = _steps(each, hparam, name)
            axes.plot(x, y, drawstyle="steps-post", color=colour, alpha=0.9 if len(several) == 1 else 0.6,
                      linewidth=2.0 if len(several) == 1 else 1.2, label=style.label(name) if not index else None)  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return figure


def _function(axes: Any, function: Callable[[float], float], name: str, end: int) -> None:
    x = np.linspace(0, end, POINTS, endpoint=False)
    axes.plot(x, [float(function(at)) for at in x], color=style.INK, linewidth=2.0, linestyle="--", label=style.label(name))


def _steps(schedule: Any, hparam: str, name: str) -> tuple[list[int], list[float]]:
    segments = schedule.segments
    if not segments or any(hparam not in segment.hparams for segment in segments):
        raise UsageError(f"schedules: {name!r} has no hyperparameter {hparam!r}.")
    values = [float(segment.hparams[hparam]) for segment in segments]
    return [*(segment.start for segment in segments), segments[-1].end], [*values, values[-1]]
