"""The hyperparameters over the steps: one panel each, every final member's schedule, the best one bold."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from poptrain.plots import style
from poptrain.record import Record
from poptrain.views import Schedule, schedule, schedules, short
from poptrain.views.facts import Facts, space_of

COLUMNS = 2
_LOG = ("LogUniform", "LogInt")


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
    place = _places(axes, name, kind, members, best)
    few = len(members) <= style.FEW
    for offset, view in enumerate(members):
        # Equal options lie on one line: a small shift keeps the members apart.
        shift = 0.0 if place is None else (offset - (len(members) - 1) / 2) * min(0.08, 0.3 / max(len(members), 1))
        _line(axes, view, name, place, shift, color=colours[view.member], linewidth=1.3 if few else 0.8,
              alpha=0.85 if few else 0.5, label=f"member {view.member}")  # fmt: skip
    if best is not None:
        _line(axes, best, name, place, 0.0, color=style.BEST, linewidth=2.6, zorder=5, label="best")


def _line(axes: Axes, view: Schedule, name: str, place: dict[Any, int] | None, shift: float, **look: Any) -> None:
    segments = [segment for segment in view.segments if name in segment.hparams]
    if not segments:
        return
    values = [segment.hparams[name] for segment in segments]
    y = [(float(value) if place is None else place[_key(value)] + shift) for value in values]
    x = [segment.start for segment in segments] + [segments[-1].end]
    axes.plot(x, [*y, y[-1]], drawstyle="steps-post", **look)


def _places(axes: Axes, name: str, kind: dict[str, Any], members: Any, best: Schedule | None) -> dict[Any, int] | None:
    """Prepares the y axis for a kind of parameter; returns the place of each option, or None for numbers."""
    type, low, high = kind.get("type"), kind.get("low"), kind.get("high")
    views = [*members, *([best] if best else [])]
    seen = [segment.hparams[name] for view in views for segment in view.segments if name in segment.hparams]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in seen)
    options = kind.get("options")
    if options is not None or not numbers:
        options = list(dict.fromkeys([*map(_key, options or ()), *map(_key, seen)]))
        shown = range(0, len(options), ceil(len(options) / 12) or 1)
        axes.set_yticks(list(shown), [style.label(short(options[index][1]), 18) for index in shown])
        axes.set_ylim(-0.6, len(options) - 0.4)
        return {option: index for index, option in enumerate(options)}
    if type in _LOG:
        _log_axis(axes, low, high)
    elif type == "Complement" and seen and max(seen) < 1:
        axes.set_yscale("function", functions=(_nines, lambda u: 1 - 10.0**-u))
        ticks = _complement_ticks(low, high)
        axes.set_yticks(ticks, [f"{tick:.6g}" for tick in ticks])
        axes.minorticks_off()
        pad = 0.06 * (_nines(high) - _nines(low))
        axes.set_ylim(1 - 10.0 ** (pad - _nines(low)), 1 - 10.0 ** -(_nines(high) + pad))
    elif _is_range(low, high):
        pad = 0.06 * (high - low)
        axes.set_ylim(low - pad, high + pad)
    if _is_range(low, high):
        for bound in (low, high):
            axes.axhline(bound, color="#B4BAC2", linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    return None


def _is_range(low: Any, high: Any) -> bool:
    return isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high


def _log_axis(axes: Axes, low: Any, high: Any) -> None:
    axes.set_yscale("log")
    decades = 0.0
    if _is_range(low, high) and low > 0:
        decades = float(np.log10(high / low))
        axes.set_ylim(low * 10 ** (-0.06 * decades), high * 10 ** (0.06 * decades))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _nines(y: Any) -> Any:
    return -np.log10(np.maximum(1 - np.asarray(y, float), 1e-16))


def _complement_ticks(low: float, high: float) -> list[float]:
    """Returns round values between the bounds: 0.9, 0.99, 0.999 …, with 0.5, 0.95, 0.995 … where those are few."""
    ticks = [1 - 10.0**-n for n in range(1, 13) if low <= 1 - 10.0**-n <= high]
    if len(ticks) < 3:
        ticks += [1 - 0.5 * 10.0**-n for n in range(0, 13) if low <= 1 - 0.5 * 10.0**-n <= high]
    return sorted({round(tick, 13) for tick in ticks}) if len(ticks) > 1 else [low, high]


def _key(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value  # True and 1 are two options


def _handles(members: tuple[Schedule, ...], best: Schedule | None, colours: dict[int, str]) -> list[Line2D]:
    handles = [Line2D([], [], color=style.BEST, linewidth=2.6, label="best")] if best else []
    if len(members) <= style.FEW:
        return handles + [Line2D([], [], color=colours[view.member], label=f"member {view.member}") for view in members]
    return [*handles, Line2D([], [], color=colours[members[0].member], label=f"{len(members)} members")]
