"""Turns any `Picture` into a Plotly chart: plain JSON, in which no text of a user is markup or a placeholder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from html import escape
from math import isfinite, log10

from poptrain.views.palette import FAINT, GRID, INK
from poptrain.views.panels import Arrows, Axis, Band, Bars, Line, Panel, Picture, Points, Rule, Segments, Series, Shades
from poptrain.views.scale import nines

Json = dict[str, object]
PIXELS = 92  # an inch of a picture
TOP, BOTTOM, GAP = 26, 46, 50  # pixels: margins, and from one row of panels to the next
BELOW: Json = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}  # a legend under everything
DASHES = {"": "solid", "dashed": "dash", "dotted": "dot"}
SYMBOLS = {"ring": "circle", "dot": "circle", "cross": "x-thin", "star": "star", "up": "triangle-up", "down": "triangle-down"}


def render(picture: Picture) -> Json:
    """Returns the data and the layout of a picture."""
    data: list[Json] = []
    layout: Json = {}
    shapes: list[Json] = []
    notes: list[Json] = []
    height = round(PIXELS * picture.height)
    below = picture.legend == "below" or (bool(picture.legend) and picture.columns > 1)
    for index, panel in enumerate(picture.panels):
        n = "" if index == 0 else str(index + 1)
        across, top, bottom = _domain(picture, index, height - TOP - BOTTOM - 38 * below)
        last = index + picture.columns >= len(picture.panels)
        shared: Json = {"matches": "x"} if n and picture.same_x else {}
        layout[f"xaxis{n}"] = _axis(panel.x, last) | shared | {"domain": across, "anchor": f"y{n}"}
        layout[f"yaxis{n}"] = _axis(panel.y, True) | {"domain": [bottom, top], "anchor": f"x{n}"}
        layout[f"legend{n}"] = _legend(panel, picture, below, top)
        up = nines if panel.y.scale == "nines" else float
        listed = panel.legend or (index == 0 and bool(picture.legend))
        for item in panel.series:
            if isinstance(item, Rule):
                ends = {
                    "x0": 0,
                    "x1": 1,
                    "y0": up(item.y),
                    "y1": up(item.y),
                    "line": {"color": "#B4BAC2", "width": 1, "dash": "dot"},
                }
                shapes.append({"type": "line", "xref": f"x{n} domain", "yref": f"y{n}", **ends})
                continue
            if isinstance(item, Points) and item.floor:
                shapes += [_tick(item, x, n) for x in item.x]
            axes: Json = {"xaxis": f"x{n}", "yaxis": f"y{n}", "legend": f"legend{n}"}
            data += [trace | axes | ({} if listed else {"showlegend": False}) for trace in _traces(item, up)]
        if panel.title:
            words = {"text": f"<b>{_text(panel.title)}</b>", "showarrow": False, "font": {"size": 13}}
            place = {"xref": "paper", "yref": "paper", "x": across[0], "y": top, "xanchor": "left", "yanchor": "bottom"}
            notes.append({**words, **place})
    margin = {"l": 64, "r": 16, "t": TOP, "b": BOTTOM + 38 * below}
    more: Json = {"barmode": "stack", "bargap": 0.22, "shapes": shapes, "annotations": notes}
    return {"data": data, "layout": {**_LAYOUT, **layout, **more, "height": height, "margin": margin}}


_LAYOUT: Json = {
    "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12.5, "color": INK},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hoverlabel": {"bgcolor": "white", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
    "hovermode": "closest",
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#B8BEC6", "activecolor": INK},
}


def _domain(picture: Picture, index: int, height: float) -> tuple[list[float], float, float]:
    """Returns where a panel lies: from left to right, top, and bottom, as fractions of `height` pixels."""
    row, column = divmod(index, picture.columns)
    heights = [panel.height for panel in picture.panels[:: picture.columns]]
    gap = GAP / height
    unit = (1 - gap * (picture.rows - 1)) / sum(heights)
    top = 1 - sum(heights[:row]) * unit - gap * row
    width = (1 - 0.1 * (picture.columns - 1)) / picture.columns
    left = column * (width + 0.1)
    return [left, left + width], max(min(top, 1.0), 0.0), max(top - heights[row] * unit, 0.0)


def _legend(panel: Panel, picture: Picture, below: bool, top: float) -> Json:
    look: Json = {"bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant", "traceorder": "normal"}
    if below:
        return look | BELOW
    return look | ({"x": 1.01, "y": top, "yanchor": "top"} if len(picture.panels) > 1 else {})


def _axis(axis: Axis, labelled: bool) -> Json:
    """Returns an axis with a quiet grid; its type is never guessed."""
    quiet = {"zeroline": False, "linecolor": "#9AA1AA", "tickcolor": "#9AA1AA", "ticks": "outside", "ticklen": 4}
    made: Json = {
        "type": "linear",
        "automargin": True,
        "gridcolor": GRID,
        "showgrid": axis.grid,
        "showticklabels": labelled,
    } | quiet
    if axis.label and labelled:
        made["title"] = {"text": _text(axis.label)}
    up: Callable[[float], float] = {"nines": nines, "log": log10, "linear": float}[axis.scale]
    if axis.low is not None and axis.high is not None:
        made["range"] = _numbers([up(axis.low), up(axis.high)])
    elif axis.low == 0:
        made["rangemode"] = "tozero"
    if axis.ticks is not None:
        made |= {"tickvals": [up(place) for place, _ in axis.ticks], "ticktext": [_text(text, 24) for _, text in axis.ticks]}
    if axis.scale == "log":
        few = bool(axis.low and axis.high) and axis.high / axis.low < 500
        made |= {"type": "log", "dtick": "D2" if few else 1, "exponentformat": "power"}
    return made | ({"nticks": 4, "tickformat": "d"} if axis.whole else {})


# -- series ---------------------------------------------------------------------------------------------------------------

Up = Callable[[float], float]


def _traces(item: Series, up: Up) -> Iterator[Json]:
    """Yields the traces of a series; the last one that may be listed in the legend is."""
    look: Json = {"name": _text(item.caption or item.name, 80), "legendgroup": _text(item.name), "legendrank": 1000 + item.rank}
    for trace in _made(item, up):
        yield {**look, "opacity": item.alpha, "showlegend": item.legend, **trace}


@singledispatch
def _made(item: Series, up: Up) -> Iterable[Json]:
    raise TypeError(f"the report cannot draw {type(item).__name__}.")


@_made.register
def _(item: Line, up: Up) -> Iterable[Json]:
    shape = "hv" if item.stepped else "linear"
    yield _line(item.x, item.y, up, item.colour, item.width, dash=DASHES[item.dash], shape=shape) | _hover(item)


@_made.register
def _(item: Band, up: Up) -> Iterable[Json]:
    shape = "hv" if item.stepped else "linear"
    red, green, blue = (int(item.colour[at : at + 2], 16) for at in (1, 3, 5))
    plain: Json = {"hoverinfo": "skip", "opacity": 1}
    yield _line(item.x, item.low, up, item.colour, 0, shape=shape) | plain | {"showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},{item.alpha})"}
    yield _line(item.x, item.high, up, item.colour, 0, shape=shape) | plain | fill


@_made.register
def _(item: Points, up: Up) -> Iterable[Json]:
    if item.floor:
        yield _marks([None], [None], up, {"symbol": "line-ns-open", "size": item.size, "color": item.colour})
        return
    marker: Json = {"symbol": SYMBOLS.get(item.marker, "circle"), "size": 1.35 * item.size, "color": item.colour}
    if item.marker in ("ring", "cross"):
        fill = "white" if item.marker == "ring" else item.colour
        marker |= {"color": fill, "line": {"color": item.colour, "width": 1.0 if item.size < 5 else 2.0}}
    elif item.marker == "star" or item.shades:
        marker["line"] = {"color": "white", "width": 1}
    if item.shades:
        marker |= _scale(item.values, item.shades)
    error = {"error_x": {"type": "data", "array": _numbers(item.spread), "color": FAINT, "thickness": 1, "width": 0}}
    yield _marks(item.x, item.y, up, marker) | _hover(item) | (error if item.spread else {})


@_made.register
def _(item: Segments, up: Up) -> Iterable[Json]:
    pieces = list(zip(item.begin, item.end, item.row, strict=True))
    if item.shades is None:
        yield _chain(pieces, up, item.colour, 1.3 * item.width) | {"hoverinfo": "skip"}
        return
    palette, low, high = item.shades.palette, item.shades.low, item.shades.high
    bins = [min(max(int((value - low) / (high - low) * len(palette)), 0), len(palette) - 1) for value in item.values]
    for index, colour in enumerate(palette):  # one trace a colour
        chosen = [at for at, where in enumerate(bins) if where == index]
        if chosen:
            texts = [text for at in chosen for text in (_lines(item.texts[at]), _lines(item.texts[at]), "")]
            hover = {"text": texts[:-1], "hovertemplate": "%{text}<extra></extra>"}
            yield _chain([pieces[at] for at in chosen], up, colour, 1.3 * item.width) | hover
    if pieces:
        yield _marks([None, None], [None, None], up, _scale([low, high], item.shades)) | {"hoverinfo": "skip"}


@_made.register
def _(item: Arrows, up: Up) -> Iterable[Json]:
    if not item.x:
        return
    x = [place for at in item.x for place in (at, at, None)][:-1]
    y = [place for ends in zip(item.begin, item.end, strict=True) for place in (*ends, None)][:-1]
    yield _line(x, y, up, item.colour, item.width) | {"hoverinfo": "skip", "showlegend": False}
    down = [(end or 0) > (begin or 0) for begin, end in zip(item.begin, item.end, strict=True)]
    symbols = ["triangle-down" if each else "triangle-up" for each in down]
    marker: Json = {"symbol": symbols, "size": 1.5 * item.size, "color": item.colour, "line": {"color": "white", "width": 1}}
    yield _marks(item.x, item.end, up, marker) | _hover(item)


@_made.register
def _(item: Bars, up: Up) -> Iterable[Json]:
    rows = list(range(len(item.widths)))
    bar = {"type": "bar", "orientation": "h", "y": rows, "x": _numbers(item.widths), "marker": {"color": item.colour}}
    yield bar | {"textposition": "none"} | _hover(item)


def _line(x: Sequence[object], y: Sequence[float | None], up: Up, colour: str, width: float, **look: str) -> Json:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers(x),
        "y": _places(y, up),
        "line": {"color": colour, "width": width, **look},
    }


def _marks(x: Sequence[object], y: Sequence[float | None], up: Up, marker: Mapping[str, object]) -> Json:
    return {"type": "scatter", "mode": "markers", "x": _numbers(x), "y": _places(y, up), "marker": dict(marker)}


def _chain(pieces: Sequence[tuple[object, object, float | None]], up: Up, colour: str, width: float) -> Json:
    """Returns many horizontal pieces as one line with gaps."""
    x = [place for begin, end, _ in pieces for place in (begin, end, None)][:-1]
    y = [place for _, _, row in pieces for place in (row, row, None)][:-1]
    return _line(x, y, up, colour, width)


def _scale(values: Sequence[float], shades: Shades) -> Json:
    steps = [[index / (len(shades.palette) - 1), colour] for index, colour in enumerate(shades.palette)]
    bar = {"title": {"text": _text(shades.label, 20)}, "thickness": 12, "outlinewidth": 0, "len": 0.9}
    ends: Json = {"cmin": shades.low, "cmax": shades.high if shades.high > shades.low else shades.low + 1}
    return {"color": _numbers(values), "colorscale": steps, "showscale": True, "colorbar": bar} | ends


def _tick(item: Points, x: object, n: str) -> Json:
    place = {"xref": f"x{n}", "yref": f"y{n} domain", "x0": x, "x1": x, "y0": 0, "y1": 0.04}
    return {"type": "line", "line": {"color": item.colour, "width": 1}, **place}


def _hover(item: Series) -> Json:
    if not item.hover:
        return {"hoverinfo": "skip"}
    texts: Json = {"text": [_lines(text) for text in item.texts]} if item.texts else {}
    if item.hover == "text":
        return texts | {"hovertemplate": "%{text}<extra></extra>"}
    name = _text(item.name).replace("%", "&#37;")  # so that a name is never a placeholder
    return texts | {"hovertemplate": f"{name}, step %{{x}}: %{{{'text' if texts else 'y'}}}<extra></extra>"}


def _text(text: str, limit: int = 60) -> str:
    """Returns a text for Plotly, whose labels know some HTML: nothing in it is markup."""
    return escape(text if len(text) <= limit else text[: limit - 1] + "…", quote=False)


def _lines(text: str) -> str:
    return _text(text, 1000).replace("\n", "<br>")


def _places(y: Sequence[float | None], up: Up) -> list[object]:
    return _numbers([None if place is None else place if up is float else up(place) for place in y])


def _numbers(values: Iterable[object]) -> list[object]:
    """Returns numbers as JSON knows them, to seven digits, which no screen can tell from more; None for a gap."""
    return [float(f"{v:.7g}") if isinstance(v, float) and isfinite(v) else None if isinstance(v, float) else v for v in values]
