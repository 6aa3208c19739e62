"""Draws any `Picture` with Matplotlib."""

from __future__ import annotations

from functools import singledispatch

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
from poptrain.views.panels import Arrows, Axis, Band, Bars, Line, Panel, Picture, Points, Rule, Segments, Series, Shades

DASHES = {"": "-", "dashed": "--", "dotted": ":"}
MARKERS = {"ring": "o", "dot": ".", "cross": "x", "star": "*", "up": "^", "down": "v", "tick": "|"}


def render(picture: Picture) -> Figure:
    """Returns the figure of a picture."""
    figure = style.figure(picture.width, picture.height)
    heights = [panel.height for panel in picture.panels[:: picture.columns]]
    grid = figure.subplots(
        picture.rows, picture.columns, sharex=picture.same_x, sharey=picture.same_y, squeeze=False, height_ratios=heights
    ).ravel()
    for index, (axes, panel) in enumerate(zip(grid, picture.panels, strict=False)):
        legend = _draw(figure, axes, panel)
        below = index + picture.columns >= len(picture.panels)
        style.tidy(axes, grid=panel.y.grid)
        _axes(axes, panel, labelled=below or not picture.same_x)
        if panel.legend:
            axes.legend(handles=legend, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
        if index == 0 and picture.legend:
            where, columns = ("lower center", min(len(legend), 5)) if picture.legend == "below" else ("right center", 1)
            figure.legend(handles=legend, loc=f"outside {where}", ncols=columns or 1, frameon=False, fontsize=9)
    for axes in grid[len(picture.panels) :]:
        axes.set_visible(False)
    _title(figure, grid[0], picture)
    return figure


def _title(figure: Figure, first: Axes, picture: Picture) -> None:
    if picture.columns > 1 and picture.title:
        figure.suptitle(style.label(picture.title), x=0.01, ha="left", fontsize=12, fontweight="bold", color=style.INK)
    elif picture.title:
        style.title(first, style.label(picture.title, 80), style.label(picture.note, 120))


def _draw(figure: Figure, axes: Axes, panel: Panel) -> list[Artist]:
    """Draws the series of a panel, and returns the entries of its legend in their order."""
    entries: list[tuple[int, Artist]] = []
    for order, item in enumerate(panel.series):
        made = _item(item, axes, 2 + order / 100)
        if isinstance(item, Series) and item.legend and made is not None:
            made.set_label(style.label(item.caption or item.name, 80))
            entries.append((item.rank, made))
    if panel.shades is not None:
        _colour_bar(figure, axes, panel.shades)
    return [made for _, made in sorted(entries, key=lambda entry: entry[0])]


# Each draws one kind of series, and returns what stands for it in a legend.


@singledispatch
def _item(item: object, axes: Axes, order: float) -> Artist | None:
    raise TypeError(f"plots cannot draw {type(item).__name__}.")


@_item.register
def _(item: Line, axes: Axes, order: float) -> Artist:
    look = {"color": item.colour, "linewidth": item.width, "linestyle": DASHES[item.dash], "alpha": item.alpha}
    drawn = "steps-post" if item.stepped else "default"
    axes.plot(_numbers(item.x), _numbers(item.y), drawstyle=drawn, label=style.label(item.name), zorder=order, **look)
    return Line2D([], [], marker="*" if item.star else None, markersize=9, **look)


@_item.register
def _(item: Band, axes: Axes, order: float) -> Artist:
    look = {"color": item.colour, "alpha": item.alpha, "linewidth": 0}
    step = "post" if item.stepped else None
    return axes.fill_between(_numbers(item.x), _numbers(item.low), _numbers(item.high), step=step, zorder=order, **look)


@_item.register
def _(item: Points, axes: Axes, order: float) -> Artist:
    if item.spread:
        axes.errorbar(item.x, item.y, xerr=item.spread, fmt="none", ecolor=style.FAINT, elinewidth=1, zorder=order - 0.005)
    if item.shades is not None:
        colours = {"c": item.values, "cmap": _map(item.shades), "norm": Normalize(item.shades.low, item.shades.high)}
        return axes.scatter(_numbers(item.x), _numbers(item.y), s=item.size**2, edgecolor="white", zorder=order, **colours)
    look = _marker(item.marker, item.colour, item.size) | {"alpha": item.alpha, "linestyle": "None"}
    where = {"transform": axes.get_xaxis_transform()} if item.floor else {}
    axes.plot(_numbers(item.x), _numbers(item.y), label=style.label(item.name), zorder=order, **look, **where)
    return Line2D([], [], **look)


@_item.register
def _(item: Segments, axes: Axes, order: float) -> Artist:
    pieces = [[(begin, row), (end, row)] for begin, end, row in zip(item.begin, item.end, item.row, strict=True)]
    look = {"linewidths": item.width, "alpha": item.alpha, "capstyle": "butt", "zorder": order}
    if item.shades is None:
        axes.add_collection(LineCollection(pieces, colors=item.colour, label=style.label(item.name), **look))
    else:
        norm = Normalize(item.shades.low, item.shades.high)
        axes.add_collection(
            LineCollection(pieces, array=np.asarray(item.values, float), cmap=_map(item.shades), norm=norm, **look)
        )
    return Line2D([], [], color=item.colour, linewidth=min(item.width, 3), marker="*" if item.rank < 0 else None)


@_item.register
def _(item: Arrows, axes: Axes, order: float) -> Artist:
    ends = list(zip(item.x, item.begin, item.end, strict=True))
    pieces = [[(x, begin), (x, end)] for x, begin, end in ends]
    axes.add_collection(LineCollection(pieces, colors=item.colour, linewidths=item.width, alpha=item.alpha, zorder=order))
    for marker, down in (("v", True), ("^", False)):
        tips = [(x, end) for x, begin, end in ends if (end > begin) == down]
        if tips and item.size:
            look = {
                "color": item.colour,
                "marker": marker,
                "markersize": item.size,
                "markeredgecolor": "white",
                "markeredgewidth": 0.6,
            }
            axes.plot(*zip(*tips, strict=True), linestyle="None", label=style.label(item.name), zorder=order + 0.005, **look)
    return Line2D([], [], color=item.colour, linewidth=item.width, marker="v", markersize=4)


@_item.register
def _(item: Bars, axes: Axes, order: float) -> Artist:
    rows = range(len(item.widths))
    left = np.sum([[bar.get_width() for bar in bars] for bars in axes.containers], axis=0) if axes.containers else 0.0
    return axes.barh(rows, item.widths, left=left, height=0.78, color=item.colour, zorder=order)[0]


@_item.register
def _(item: Rule, axes: Axes, order: float) -> None:
    axes.axhline(item.y, color="#B4BAC2", linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)


def _marker(marker: str, colour: str, size: float) -> dict[str, object]:
    look: dict[str, object] = {"marker": MARKERS[marker], "markersize": size, "color": colour}
    if marker == "ring":
        return look | {"markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 0.7 if size < 5 else 1.5}
    return look | ({"markeredgecolor": "white"} if marker == "star" else {"markeredgewidth": 1.4})


def _colour_bar(figure: Figure, axes: Axes, shades: Shades) -> None:
    mappable = ScalarMappable(Normalize(shades.low, shades.high), _map(shades))
    bar = figure.colorbar(mappable, ax=axes, pad=0.015, aspect=30, extend=shades.beyond or "neither")
    bar.outline.set_visible(False)
    bar.set_label(style.label(shades.label), color=style.INK)


def _map(shades: Shades) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("shades", shades.palette)


def _numbers(values: object) -> np.ndarray:
    """Returns the values as floats; what is missing or not finite is a gap."""
    numbers = np.array(values, float)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


# -- axes -----------------------------------------------------------------------------------------------------------------


def _axes(axes: Axes, panel: Panel, labelled: bool) -> None:
    axes.margins(x=0.02)
    if labelled:
        axes.set_xlabel(style.label(panel.x.label), color=style.INK)
        axes.xaxis.set_tick_params(labelbottom=True)
    axes.set_ylabel(style.label(panel.y.label), color=style.INK)
    if panel.title:
        axes.set_title(style.label(panel.title, 80), loc="left", fontsize=10, color=style.INK)
    if "step" in panel.x.label:
        axes.xaxis.set_major_formatter(lambda x, _: style.thousands(x))
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
    return -np.log10(np.maximum(1 - np.asarray(y, float), 1e-16))
