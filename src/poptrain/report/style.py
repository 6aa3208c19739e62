"""How every chart of the report looks: the colours of `plots`, and texts that nothing in a browser can take for markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from typing import Any

from poptrain.views import clean
from poptrain.views.palette import BEST, FAILED, FEW, GREY, GRID, INK, MEMBERS, NOTE, TIMES, colours

__all__ = [
    "BELOW", "BEST", "FAILED", "FAINT", "FEW", "GREY", "INK", "MEMBERS", "NOTE", "SCORES", "STAR",
    "TIMES", "Chart", "axis", "chain", "chart", "colours", "line", "numbers", "points", "text",
]  # fmt: skip

FAINT = "#D3D7DC"
# Cividis from yellow to blue, without its palest end: readable with every kind of colour vision.
SCORES = ("#E4CF5B", "#CBBA69", "#B2A770", "#9A9475", "#848279", "#6F717A", "#5A616F", "#44506C", "#29406B", "#00306F", "#00204C")

STAR = {"symbol": "star", "size": 17, "color": BEST, "line": {"color": "white", "width": 1}}

BELOW = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}  # a legend under everything

Chart = dict[str, Any]  # what Plotly draws: data and layout


def text(value: Any, limit: int = 60) -> str:
    """Returns somebody's text for Plotly, whose labels know some HTML: nothing in it is markup any more."""
    return escape(clean(value, limit), quote=False)


def chart(data: Iterable[dict[str, Any]], height: int, **layout: Any) -> Chart:
    """Returns a chart with the looks of the report."""
    axes = {name: layout.pop(name) for name in list(layout) if name.startswith(("xaxis", "yaxis"))}
    return {
        "data": list(data),
        "layout": {
            "height": height,
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12.5, "color": INK},
            "margin": {"l": 64, "r": 16, "t": 26, "b": 46},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {"bgcolor": "white", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
            "hovermode": "closest",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#B8BEC6", "activecolor": INK},
            "legend": {"bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant"},
            **layout,
            **{name: axis(**settings) for name, settings in axes.items()},
        },
    }


def axis(**settings: Any) -> dict[str, Any]:
    """Returns an axis with a quiet grid; its type is never guessed."""
    quiet = {"gridcolor": GRID, "zeroline": False, "linecolor": "#9AA1AA", "tickcolor": "#9AA1AA", "ticks": "outside"}
    return {"type": "linear", "automargin": True, "ticklen": 4, **quiet, **settings}


def line(x: Sequence[Any], y: Sequence[Any], colour: str, width: float = 1.5, **more: Any) -> dict[str, Any]:
    """Returns a trace of one line; what is not finite is a gap."""
    look = {"color": colour, "width": width, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "x": numbers(x), "y": numbers(y), "line": look, **more}


def points(x: Sequence[Any], y: Sequence[Any], **more: Any) -> dict[str, Any]:
    """Returns a trace of markers."""
    return {"type": "scatter", "mode": "markers", "x": numbers(x), "y": numbers(y), **more}


def numbers(values: Iterable[Any]) -> list[Any]:
    """Returns numbers as JSON knows them, to seven digits, which no screen can tell from more."""
    return [float(f"{v:.7g}") if isinstance(v, float) and isfinite(v) else None if isinstance(v, float) else v for v in values]


def chain(pieces: Iterable[Sequence[tuple[Any, Any]]]) -> tuple[list[Any], list[Any]]:
    """Returns the coordinates of many pieces as those of one line with gaps between them."""
    x: list[Any] = []
    y: list[Any] = []
    for piece in pieces:
        x += [a for a, _ in piece] + [None]
        y += [b for _, b in piece] + [None]
    return x[:-1], y[:-1]
