"""The charts of the population: its spread over time, its lines of descent, and where the time went."""

from __future__ import annotations

from math import log10
from typing import Any

import numpy as np

from poptrain.log.reader import Record
from poptrain.report import style
from poptrain.views import Gauges, overhead, span
from poptrain.views import spread as spread_of
from poptrain.views.spread import extent

_PANELS = ([0.62, 1.0], [0.24, 0.55], [0.0, 0.16])
_HOVER = "%{fullData.name}, step %{x}: %{y:.2f}<extra></extra>"


def spread(record: Record, gauges: Gauges) -> style.Chart:
    """Returns the chart of scores, hyperparameters and lines of descent, generation by generation."""
    view = spread_of(record)
    steps = [generation.step for generation in view.generations]
    data: list[dict[str, Any]] = []
    begin, end, log = extent(view)
    ends = style.numbers([log10(begin), log10(end)] if log else [begin, end])
    if steps:
        low, lower, middle, upper, high = np.array([generation.scores for generation in view.generations]).T.tolist()
        best = low if view.mode == "min" else high
        for bottom, top, name, alpha in ((low, high, "worst to best", 0.13), (lower, upper, "middle half", 0.28)):
            data += [style.line(steps, bottom, style.MEMBERS[0], 0, hoverinfo="skip", showlegend=False),
                     style.line(steps, top, style.MEMBERS[0], 0, fill="tonexty", fillcolor=f"rgba(0,114,178,{alpha})", name=name,
                                hoverinfo="skip")]  # fmt: skip
        for y, colour, name in ((middle, style.MEMBERS[0], "median"), (best, style.BEST, "best of the generation")):
            data.append(style.line(steps, y, colour, 2, name=name, hovertemplate=_HOVER.replace(":.2f", "")))
    palette = [*style.MEMBERS, style.FAILED, style.NOTE]
    for index, name in enumerate(view.names):
        y = [generation.hparams[name] for generation in view.generations]
        data.append(style.line(steps, y, palette[index % len(palette)], 1.6, name=style.text(name, 24), legend="legend2",
                               yaxis="y2", hovertemplate=_HOVER))  # fmt: skip
    descent = [(each.step, each.effective) for each in gauges.history]
    if descent and steps:
        descent.append((max(steps[-1], descent[-1][0]), descent[-1][1]))
    data.append(style.line([step for step, _ in descent], [effective for _, effective in descent], style.INK, 2, name="lineages",
                           legend="legend3", yaxis="y3", line={"shape": "hv"},
                           hovertemplate="step %{x}: worth %{y:.1f} equal lineages<extra></extra>"))  # fmt: skip
    legends = {f"legend{n}": {"y": top, "yanchor": "top", "x": 1.01} for n, top in (("", 1.0), ("2", 0.55), ("3", 0.16))}
    return style.chart(
        data, 660, **legends, xaxis={"title": {"text": "steps"}, "rangemode": "tozero", "anchor": "y3"},
        yaxis={"domain": _PANELS[0], "title": {"text": style.text(view.metric, 24)}, "range": ends,
               "type": "log" if log else "linear"},
        yaxis2={"domain": _PANELS[1], "title": {"text": "spread of<br>hyperparameters"}, "rangemode": "tozero"},
        yaxis3={"domain": _PANELS[2], "title": {"text": "lineages"}, "rangemode": "tozero"},
        shapes=[{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y2", "y0": 1, "y1": 1,
                 "line": {"color": "#B4BAC2", "width": 1, "dash": "dot"}}],
    )  # fmt: skip


def time(record: Record) -> style.Chart:
    """Returns the chart of where the time went: one bar a member, and one for all."""
    view = overhead(record)
    names = [f"evaluator {each.member}" if each.evaluator else f"member {each.member}" for each in view.by_member] + ["all"]
    rows = [[getattr(each, part) for part in style.TIMES] for each in view.by_member]
    table = np.array([*rows, np.sum(rows, axis=0)] if rows else np.zeros((1, len(style.TIMES))), float)
    whole = table.sum(1, keepdims=True)
    shares = 100 * table / np.where(whole > 0, whole, 1)
    data = [
        {"type": "bar", "orientation": "h", "name": part, "y": list(range(len(names))),
         "x": style.numbers(shares[:, index].tolist()),
         "marker": {"color": colour}, "text": [span(seconds) for seconds in table[:, index].tolist()], "textposition": "none",
         "hovertemplate": f"{part}: %{{text}} (%{{x:.1f}} %)<extra></extra>"}
        for index, (part, colour) in enumerate(style.TIMES.items())
    ]  # fmt: skip
    return style.chart(
        data, 110 + max(22 * len(names), 70), barmode="stack", bargap=0.22,
        xaxis={"range": [0, 100], "title": {"text": "% of each one's time"}},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.4, -0.6], "showgrid": False},
        legend={"traceorder": "normal"},
    )  # fmt: skip
