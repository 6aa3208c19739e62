"""The chart of a model's suggestions (PB2): what it expected of each, and what came."""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.report import style
from poptrain.views import Suggestion, short


def suggestions(found: Sequence[Suggestion]) -> style.Chart | None:
    """Returns the chart of predicted against observed gains; None if there is nothing to compare."""
    known = [each for each in found if each.gain is not None and each.observed is not None]
    if not known:
        return None
    ends = [min(min(each.gain, each.observed) for each in known), max(max(each.gain, each.observed) for each in known)]
    told = [
        f"member {each.member}, step {each.step:,}<br>expected {_expected(each)}, {short(each.observed)} came" for each in known
    ]
    bar = {"title": {"text": "step"}, "thickness": 12, "outlinewidth": 0}
    marker = {"size": 8, "color": [each.step for each in known], "colorscale": [[0, "#9CC9E3"], [1, "#003B5C"]],
              "showscale": True, "colorbar": bar, "line": {"color": "white", "width": 0.7}}  # fmt: skip
    deviations = style.numbers([each.gain_sd or 0.0 for each in known])
    bars = {"type": "data", "array": deviations, "color": style.FAINT, "thickness": 1, "width": 0}
    data = [
        style.line(ends, ends, style.BEST, 1.2, name="as expected", hoverinfo="skip", line={"dash": "dot"}),
        style.points([each.gain for each in known], [each.observed for each in known], name="suggestions", marker=marker,
                     text=told, error_x=bars, hovertemplate="%{text}<extra></extra>"),
    ]  # fmt: skip
    return style.chart(data, 400, showlegend=False, xaxis={"title": {"text": "expected gain (± standard deviation)"}},
                       yaxis={"title": {"text": "gain that came"}})  # fmt: skip


def _expected(each: Suggestion) -> str:
    return f"{short(each.gain)} ± {short(each.gain_sd)}"
