"""Turns any `Picture` into a Plotly chart: plain JSON, in which no text of a user is markup or a placeholder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from html import escape
from math import isfinite, log10

import numpy as np

from poptrain.views.curves import MOST
from poptrain.views.palette import FAINT, GRID, INK
from poptrain.views.panels import Axis, Band, Bars, LineSeries, Picture, PointSeries, Rule, Segments, Series, Shades
from poptrain.views.panels.model import Coordinates
from poptrain.views.scale import nines

JsonObject = dict[str, object]
Up = Callable[[float], float]
PIXELS = 92  # an inch of a picture
TOP, BOTTOM, GAP = 26, 46, 50  # pixels: margins, and from one row of panels to the next
BELOW: JsonObject = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}  # a legend under everything
PLOTLY_DASHES = {"": "solid", "dashed": "dash", "dotted": "dot"}
SYMBOLS = {
    "ring": "circle",
    "dot": "circle",
    "cross": "x-thin",
    "star": "star",
    "up": "triangle-up",
    "down": "triangle-down",
    "tick": "line-ns",
}


def render(picture: Picture) -> JsonObject:
    """Returns the data and the layout of a picture."""
    below = picture.legend == "below" or (bool(picture.legend) and picture.columns > 1)
    height, bottom = round(PIXELS * picture.height), BOTTOM + 38 * below
    margin = {"l": 64, "r": 16, "t": TOP, "b": bottom}
    data: list[JsonObject] = []
    shapes: list[JsonObject] = []
    notes: list[JsonObject] = []
    layout = _LAYOUT | {"height": height, "margin": margin, "shapes": shapes, "annotations": notes}
    for index, panel in enumerate(picture.panels):
        n = "" if index == 0 else str(index + 1)
        across, up = _domain(picture, index, height - TOP - bottom)
        last = index + picture.columns >= len(picture.panels)
        shared: JsonObject = {"matches": "x"} if n and picture.same_x else {}
        layout[f"xaxis{n}"] = _axis(panel.x, last) | shared | {"domain": across, "anchor": f"y{n}"}
        layout[f"yaxis{n}"] = _axis(panel.y, True) | {"domain": up, "anchor": f"x{n}"}
        beside = {"x": 1.01, "y": up[1], "yanchor": "top"} if len(picture.panels) > 1 else {}
        layout[f"legend{n}"] = _LEGEND | (BELOW if below else beside)
        place = _PLACE[panel.y.scale]
        shapes += [_rule(place(item.y), n) for item in panel.series if isinstance(item, Rule)]
        where: JsonObject = {"xaxis": f"x{n}", "yaxis": f"y{n}", "legend": f"legend{n}"}
        where |= {} if picture.listed(index) else {"showlegend": False}
        data += [trace | where for item in panel.series if isinstance(item, Series) for trace in _traces(item, place)]
        if panel.title:
            text = {"text": f"<b>{_text(panel.title)}</b>", "showarrow": False, "font": {"size": 13}}
            notes.append(
                text | {"xref": "paper", "yref": "paper", "x": across[0], "y": up[1], "xanchor": "left", "yanchor": "bottom"}
            )
    return {"data": data, "layout": layout}


_LAYOUT: JsonObject = {
    "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12.5, "color": INK},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hoverlabel": {"bgcolor": "white", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
    "hovermode": "closest",
    "barmode": "stack",
    "bargap": 0.22,
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#B8BEC6", "activecolor": INK},
}


_NOTE: JsonObject = {
    "xref": "paper",
    "yref": "paper",
    "xanchor": "left",
    "yanchor": "bottom",
    "showarrow": False,
    "font": {"size": 13},
}
_LEGEND: JsonObject = {"bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant", "traceorder": "normal"}
_PLACE: dict[str, Up] = {"linear": lambda y: y, "log": lambda y: y, "nines": nines}  # where Plotly has a y


def _domain(picture: Picture, index: int, height: float) -> tuple[list[float], list[float]]:
    """Returns where a panel lies, from left to right and from bottom to top, as fractions of `height` pixels."""
    row, column = divmod(index, picture.columns)
    gap = GAP / height
    unit = (1 - gap * (picture.rows - 1)) / sum(picture.heights)
    top = 1 - sum(picture.heights[:row]) * unit - gap * row
    width = (1 - 0.1 * (picture.columns - 1)) / picture.columns
    left = column * (width + 0.1)
    return [left, left + width], [max(top - picture.heights[row] * unit, 0.0), top]


def _rule(y: float, n: str) -> JsonObject:
    line = {"color": "#B4BAC2", "width": 1, "dash": "dot"}
    return {"type": "line", "xref": f"x{n} domain", "yref": f"y{n}", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}


def _axis(axis: Axis, labelled: bool) -> JsonObject:
    """Returns an axis with a quiet grid; its type is never guessed."""
    made = _AXIS | {"showgrid": axis.grid, "showticklabels": labelled}
    place = log10 if axis.scale == "log" else _PLACE[axis.scale]
    if axis.label and labelled:
        made["title"] = {"text": _text(axis.label)}
    if axis.low is not None and axis.high is not None:
        made["range"] = _numbers([place(axis.low), place(axis.high)])
    elif axis.low == 0:
        made["rangemode"] = "tozero"
    if axis.ticks is not None:
        made |= {"tickvals": [place(at) for at, _ in axis.ticks], "ticktext": [_text(text, 24) for _, text in axis.ticks]}
    if axis.scale == "log":
        few = axis.low is not None and axis.high is not None and axis.high / axis.low < 500
        made |= {"type": "log", "dtick": "D2" if few else 1, "exponentformat": "power"}
    return made | ({"nticks": 4, "tickformat": "d"} if axis.whole else {})


_LINES = {"zeroline": False, "linecolor": "#9AA1AA", "tickcolor": "#9AA1AA", "gridcolor": GRID}
_AXIS: JsonObject = {"type": "linear", "automargin": True, "ticks": "outside", "ticklen": 4, **_LINES}


# -- series ---------------------------------------------------------------------------------------------------------------


def _traces(item: Series, up: Up) -> Iterator[JsonObject]:
    """Yields the traces of a series; the last one that may be listed in the legend is."""
    look: JsonObject = {
        "name": _text(item.caption or item.name, 80),
        "legendgroup": _text(item.name),
        "legendrank": 1000 + item.rank,
    }
    for trace in _made(item, up):
        yield {**look, "opacity": item.alpha, "showlegend": item.legend, **trace}


@singledispatch
def _made(item: Series, up: Up) -> Iterable[JsonObject]:
    raise TypeError(f"the report cannot draw {type(item).__name__}.")


@_made.register
def _(item: LineSeries, up: Up) -> Iterable[JsonObject]:
    shape = "hv" if item.stepped else "linear"
    yield _line(item.x, item.y, up, item.colour, item.width, dash=PLOTLY_DASHES[item.dash], shape=shape) | _hover(item)


@_made.register
def _(item: Band, up: Up) -> Iterable[JsonObject]:
    shape = "hv" if item.stepped else "linear"
    red, green, blue = (int(item.colour[at : at + 2], 16) for at in (1, 3, 5))
    plain: JsonObject = {"hoverinfo": "skip", "opacity": 1}
    yield _line(item.x, item.low, up, item.colour, 0, shape=shape) | plain | {"showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},{item.alpha})"}
    yield _line(item.x, item.high, up, item.colour, 0, shape=shape) | plain | fill


@_made.register
def _(item: PointSeries, up: Up) -> Iterable[JsonObject]:
    marker: JsonObject = {"symbol": SYMBOLS[item.marker], "size": 1.35 * item.size, "color": item.colour}
    if item.marker in ("ring", "cross", "tick"):
        fill = "white" if item.marker == "ring" else item.colour
        marker |= {"color": fill, "line": {"color": item.colour, "width": 1.0 if item.size < 5 else 2.0}}
    elif item.marker != "dot" or item.shades:
        marker["line"] = {"color": "white", "width": 1}
    if item.shades:
        marker |= _scale(item.values, item.shades)
    error = {"error_x": {"type": "data", "array": _numbers(item.spread), "color": FAINT, "thickness": 1, "width": 0}}
    yield _marks(item.x, item.y, up, marker) | _hover(item) | (error if item.spread else {})


@_made.register
def _(item: Segments, up: Up) -> Iterable[JsonObject]:
    shades = item.shades or Shades("", 0.0, 1.0, (item.colour,))
    scale = len(shades.palette) / ((shades.high - shades.low) or 1.0)
    values = np.clip(item.values or [0.0] * len(item.x), -MOST, MOST)
    bins = np.clip((values - shades.low) * scale, 0, len(shades.palette) - 1).astype(int)
    for index, colour in enumerate(shades.palette):  # Plotly has no lines of many colours: one trace a colour
        chosen = np.flatnonzero(bins == index).tolist()
        x, y, texts = [], [], []
        for at in chosen:  # with gaps between the pieces
            x += [item.x[at], item.x_end[at], None]
            y += [item.y[at], item.y_end[at], None]
            texts += [*[_lines(item.texts[at])] * 2, ""] if item.texts else []
        if chosen:
            yield _line(x[:-1], y[:-1], up, colour, 1.3 * item.width) | _hover(item) | ({"text": texts[:-1]} if texts else {})
    if item.shades is not None and item.values:  # a trace without points for the colour bar
        yield _marks([None, None], [None, None], up, _scale([shades.low, shades.high], shades)) | {"hoverinfo": "skip"}


@_made.register
def _(item: Bars, up: Up) -> Iterable[JsonObject]:
    rows = list(range(len(item.widths)))
    bar = {"type": "bar", "orientation": "h", "y": rows, "x": _numbers(item.widths), "marker": {"color": item.colour}}
    yield bar | {"textposition": "none"} | _hover(item)


def _line(x: Coordinates, y: Coordinates, up: Up, colour: str, width: float, **look: str) -> JsonObject:
    line = {"color": colour, "width": width, **look}
    return {"type": "scatter", "mode": "lines", "x": _numbers(x), "y": _heights(y, up), "line": line}


def _marks(x: Coordinates, y: Coordinates, up: Up, marker: Mapping[str, object]) -> JsonObject:
    return {"type": "scatter", "mode": "markers", "x": _numbers(x), "y": _heights(y, up), "marker": dict(marker)}


def _scale(values: Sequence[float], shades: Shades) -> JsonObject:
    steps = [[index / (len(shades.palette) - 1), colour] for index, colour in enumerate(shades.palette)]
    bar = {"title": {"text": _text(shades.label, 20)}, "thickness": 12, "outlinewidth": 0, "len": 0.9}
    ends: JsonObject = {
        "cmin": shades.low,
        "cmax": shades.high if shades.high > shades.low else shades.low + max(1.0, abs(shades.low)),
    }
    return {"color": _numbers(values), "colorscale": steps, "showscale": bool(shades.label), "colorbar": bar} | ends


def _hover(item: Series) -> JsonObject:
    if not item.hover:
        return {"hoverinfo": "skip"}
    texts: JsonObject = {"text": [_lines(text) for text in item.texts]} if item.texts else {}
    if item.hover == "text":
        return texts | {"hovertemplate": "%{text}<extra></extra>"}
    name = _text(item.name).replace("%", "&#37;")  # so that a name is never a placeholder
    return texts | {"hovertemplate": f"{name}, step %{{x}}: %{{{'text' if texts else 'y'}}}<extra></extra>"}


def _text(text: str, limit: int = 60) -> str:
    """Returns a text for Plotly, whose labels know some HTML: nothing in it is markup."""
    return escape(text if len(text) <= limit else text[: limit - 1] + "…", quote=False)


def _lines(text: str) -> str:
    return _text(text, 1000).replace("\n", "<br>")


def _heights(y: Coordinates, up: Up) -> list[object]:
    return _numbers(None if place is None else up(place) for place in y)


def _numbers(values: Iterable[object]) -> list[object]:
    """Returns numbers as JSON knows them, to seven digits, which no screen can tell from more; None for a gap."""
    return [float(f"{v:.7g}") if isinstance(v, float) and isfinite(v) else None if isinstance(v, float) else v for v in values]
