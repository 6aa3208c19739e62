"""Draws any `Picture` with Matplotlib."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from poptrain.plots import style
from poptrain.views.curves import MOST
from poptrain.views.format import thousands
from poptrain.views.panels import Axis, Band, Bars, LineSeries, Panel, Picture, PointSeries, Rule, Segments, Series, Shades
from poptrain.views.panels.model import Coordinates

Look = dict[str, Any]  # keywords of Matplotlib
LINE_STYLES = {"": "-", "dashed": "--", "dotted": ":"}
_MARKERS = {None: None, "ring": "o", "dot": ".", "cross": "x", "star": "*", "up": "^", "down": "v", "tick": "|"}


def render(picture: Picture) -> Figure:
    """Returns the figure of a picture."""
    figure = style.figure(picture.width, picture.height)
    shared: Look = {"sharex": picture.same_x, "sharey": picture.same_y, "height_ratios": picture.heights}
    grid = figure.subplots(picture.rows, picture.columns, squeeze=False, **shared).ravel()
    for index, (axes, panel) in enumerate(zip(grid, picture.panels, strict=False)):
        legend = _draw(figure, axes, panel)
        _axes(axes, panel, labelled=index + picture.columns >= len(picture.panels) or not picture.same_x)
        if panel.legend:
            axes.legend(handles=legend, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
        elif picture.listed(index):
            where, columns = ("lower center", len(legend)) if picture.legend == "below" else ("right center", 1)
            look: Look = {"loc": f"outside {where}", "ncols": min(max(columns, 1), 5), "frameon": False, "fontsize": 9}
            figure.legend(handles=legend, **look)
    for axes in grid[len(picture.panels) :]:
        axes.set_visible(False)
    if picture.columns > 1 and picture.title:
        figure.suptitle(style.label(picture.title), x=0.01, ha="left", fontsize=12, fontweight="bold", color=style.INK)
    elif picture.title:
        style.title(grid[0], style.label(picture.title, 80), style.label(picture.note, 120))
    return figure


def _draw(figure: Figure, axes: Axes, panel: Panel) -> list[Artist]:
    """Draws the series of a panel, and returns the entries of its legend in their order."""
    entries: list[tuple[int, Artist]] = []
    for order, item in enumerate(panel.series):
        if isinstance(item, Rule):
            axes.axhline(item.y, color="#B4BAC2", linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
            continue
        made = _item(item, axes, 2 + order / 100)
        if item.legend:
            made.set_label(style.label(item.caption or item.name, 80))
            entries.append((item.rank, made))
    if panel.shades is not None and panel.shades.label:
        bar = figure.colorbar(_colours(panel.shades), ax=axes, pad=0.015, aspect=30, extend=panel.shades.beyond or "neither")
        bar.outline.set_visible(False)
        bar.set_label(style.label(panel.shades.label), color=style.INK)
    return [made for _, made in sorted(entries, key=lambda entry: entry[0])]


@singledispatch
def _item(item: Series, axes: Axes, order: float) -> Artist:
    """Draws one series, and returns what stands for it in a legend."""
    raise TypeError(f"plots cannot draw {type(item).__name__}.")


@_item.register
def _(item: LineSeries, axes: Axes, order: float) -> Artist:
    look: Look = {"color": item.colour, "linestyle": LINE_STYLES[item.dash], "linewidth": item.width}
    drawn = "steps-post" if item.stepped else "default"
    x, y, name = _numbers(item.x), _numbers(item.y), style.label(item.name)
    axes.plot(x, y, drawstyle=drawn, alpha=item.alpha, label=name, zorder=order, **look)
    return Line2D([], [], marker=_MARKERS.get(item.mark), markersize=9, **look)


@_item.register
def _(item: Band, axes: Axes, order: float) -> Artist:
    look: Look = {"color": item.colour, "alpha": item.alpha, "linewidth": 0, "zorder": order}
    look["step"] = "post" if item.stepped else None
    return axes.fill_between(_numbers(item.x), _numbers(item.low), _numbers(item.high), **look)


@_item.register
def _(item: PointSeries, axes: Axes, order: float) -> Artist:
    x, y, name = _numbers(item.x), _numbers(item.y), style.label(item.name)
    if item.spread:
        axes.errorbar(x, y, xerr=item.spread, fmt="none", ecolor=style.FAINT, elinewidth=1, zorder=order - 0.005)
    if item.shades is not None:
        colours = _colours(item.shades).to_rgba(np.asarray(item.values))
        return axes.scatter(x, y, s=item.size**2, c=colours, edgecolor="white", zorder=order)
    look: Look = {"color": item.colour, "marker": _MARKERS[item.marker], "markersize": item.size, "linestyle": "None"}
    if item.marker == "ring":
        look |= {"markerfacecolor": "white", "markeredgewidth": 0.7 if item.size < 5 else 1.5}
    elif item.marker in ("star", "up", "down"):
        look |= {"markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot(x, y, alpha=item.alpha, label=name, zorder=order, **look)
    return Line2D([], [], **look)


@_item.register
def _(item: Segments, axes: Axes, order: float) -> Artist:
    pieces = np.stack([_numbers(each) for each in (item.x, item.y, item.x_end, item.y_end)], axis=1).reshape(-1, 2, 2)
    colours: Look = {"colors": item.colour} if item.shades is None else {"array": np.asarray(item.values, float)}
    if item.shades is not None:
        colours |= {"cmap": _colours(item.shades).cmap, "norm": _colours(item.shades).norm}
    axes.add_collection(
        LineCollection(list(pieces), linewidths=item.width, alpha=item.alpha, capstyle="butt", zorder=order, **colours)
    )
    size: Look = {"linewidth": item.width, "markersize": 9 if item.mark == "star" else 4}
    return Line2D([], [], color=item.colour, marker=_MARKERS.get(item.mark), **size)


@_item.register
def _(item: Bars, axes: Axes, order: float) -> Artist:
    left = np.sum([[bar.get_width() for bar in bars] for bars in axes.containers], axis=0) if axes.containers else 0.0
    bars = axes.barh(range(len(item.widths)), item.widths, left=left, height=0.78, color=item.colour, zorder=order)
    return bars.patches[0]


def _colours(shades: Shades) -> ScalarMappable:
    colours = LinearSegmentedColormap.from_list("shades", shades.palette)
    return ScalarMappable(Normalize(shades.low, shades.high), colours)


def _numbers(values: Coordinates) -> np.ndarray:
    """Returns the values as floats; what is missing or not finite is a gap."""
    numbers = np.array(values, float)
    numbers[~np.isfinite(numbers)] = np.nan
    return np.clip(numbers, -MOST, MOST)


# -- axes -----------------------------------------------------------------------------------------------------------------


def _axes(axes: Axes, panel: Panel, labelled: bool) -> None:
    style.tidy(axes, grid=panel.y.grid)
    axes.margins(x=0.02)
    if labelled:
        axes.set_xlabel(style.label(panel.x.label), color=style.INK)
        axes.xaxis.set_tick_params(labelbottom=True)
    axes.set_ylabel(style.label(panel.y.label), color=style.INK)
    if panel.title:
        axes.set_title(style.label(panel.title, 80), loc="left", fontsize=10, color=style.INK)
    if panel.x.ticks is not None:
        axes.set_xticks([place for place, _ in panel.x.ticks], [style.label(text) for _, text in panel.x.ticks])
    else:
        axes.xaxis.set_major_formatter(lambda x, _: thousands(x))
    axes.autoscale_view()
    if panel.x.high is not None:
        axes.set_xlim(panel.x.low, panel.x.high)
    elif panel.x.low is not None:
        axes.set_xlim(left=min(panel.x.low, axes.get_xlim()[0]))
    _y_axis(axes, panel.y)


def _y_axis(axes: Axes, axis: Axis) -> None:
    if axis.scale == "nines":
        axes.set_yscale("function", functions=(_nines, lambda u: 1 - 10.0**-u))
        axes.minorticks_off()
    elif axis.scale == "log":
        axes.set_yscale("log")
    if axis.low is not None or axis.high is not None:
        axes.set_ylim(axis.low, axis.high)
    if axis.ticks is not None:
        axes.set_yticks([place for place, _ in axis.ticks], [style.label(text) for _, text in axis.ticks])
    elif axis.scale == "log":
        _log_ticks(axes)
    elif axis.whole:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _log_ticks(axes: Axes) -> None:
    low, high = axes.get_ylim()
    few = low > 0 and np.log10(high / low) <= 2.8
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _nines(y: np.ndarray) -> np.ndarray:
    found: np.ndarray = -np.log10(np.maximum(1 - np.asarray(y, float), 1e-16))
    return found
