"""The chart of the hyperparameters along ancestry: one panel each, every member's schedule, the best one bold."""

from __future__ import annotations

from math import ceil, log10
from typing import Any

from poptrain.log.reader import Record
from poptrain.report import style
from poptrain.views import Schedule, schedule, schedules, short
from poptrain.views.facts import Facts, space_of
from poptrain.views.scale import Scale, nines, scale_of

COLUMNS, ROW = 2, 225  # panels side by side, pixels of one


def hparams(record: Record) -> style.Chart:
    """Returns the chart."""
    members = schedules(record)
    best = schedule(record) if Facts.of(record).best is not None else None
    drawn, space = [*members, *([best] if best else [])], space_of(record)
    names = list(space) or list(drawn[0].names if drawn else ())
    down = ceil(len(names) / COLUMNS) or 1
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": []}
    for index, name in enumerate(names):
        number = "" if index == 0 else str(index + 1)
        scale = scale_of(space.get(name) or {}, (segment.hparams.get(name) for view in drawn for segment in view.segments))
        left, top = (index % COLUMNS) * 0.55, 1 - (index // COLUMNS) / down
        bottom = top - (1 - 56 / ROW) / down
        layout[f"xaxis{number}"] = {"domain": [left, left + 0.45], "anchor": f"y{number}", "rangemode": "tozero",
                                    **({"matches": "x"} if number else {})}  # fmt: skip
        layout[f"yaxis{number}"] = {"domain": [bottom, top - 16 / ROW / down], "anchor": f"x{number}", **_axis(scale)}
        layout["annotations"].append({
            "text": f"<b>{style.text(name)}</b>", "xref": "paper", "yref": "paper", "x": left, "y": top, "showarrow": False,
            "xanchor": "left", "yanchor": "middle", "font": {"size": 13},
        })  # fmt: skip
        data += _panel(name, scale, members, best, number, first=index == 0)
    layout["legend"] = {**style.BELOW, "itemsizing": "constant"}
    layout["margin"] = {"l": 64, "r": 16, "t": 26, "b": 14}
    return style.chart(data, 50 + ROW * down, **layout)


def _panel(name: str, scale: Scale, members: Any, best: Schedule | None, number: str, first: bool) -> list[dict[str, Any]]:
    colours, few = style.colours([view.member for view in members]), len(members) <= style.FEW
    found = []
    for rank, view in enumerate(members):
        # Equal options lie on one line: a small shift keeps the members apart.
        shift = (rank - (len(members) - 1) / 2) * min(0.08, 0.3 / max(len(members), 1)) if scale.listed else 0.0
        label = f"member {view.member}" if few else f"{len(members)} members"
        found += _steps(view, name, scale, shift, colours[view.member], 1.5 if few else 1, number, name=label,
                        legendgroup=label, showlegend=first and (few or rank == 0), opacity=0.9 if few else 0.5)  # fmt: skip
    if best is not None:
        found += _steps(best, name, scale, 0.0, style.BEST, 3.2, number, name="best", legendgroup="best", showlegend=first)
    return found


def _steps(
    view: Schedule, of: str, scale: Scale, shift: float, colour: str, width: float, number: str, **more: Any
) -> list[dict[str, Any]]:  # fmt: skip
    segments = [segment for segment in view.segments if scale.place(segment.hparams.get(of)) is not None]
    if not segments:
        return []
    values = [segment.hparams[of] for segment in segments]
    places = [scale.place(value) + shift for value in values]
    shown = [style.text(short(value, 5)) for value in values]
    x = [segment.start for segment in segments] + [segments[-1].end]
    made = style.line(x, [*places, places[-1]], colour, width, text=[*shown, shown[-1]], line={"shape": "hv"}, **more,
                      hovertemplate=f"{more['name']}, step %{{x}}: %{{text}}<extra></extra>")  # fmt: skip
    return [made | {"xaxis": f"x{number}", "yaxis": f"y{number}"}]


def _axis(scale: Scale) -> dict[str, Any]:
    if scale.listed:
        shown = range(0, len(scale.options), ceil(len(scale.options) / 12) or 1)
        return {"tickvals": list(shown), "ticktext": [style.text(short(scale.options[index]), 13) for index in shown],
                "range": [-0.6, len(scale.options) - 0.4]}  # fmt: skip
    if scale.kind == "nines":
        low, high, ticks = nines(scale.low), nines(scale.high), scale.ticks()
        pad = 0.06 * (high - low)
        return {"tickvals": [nines(tick) for tick in ticks], "ticktext": [f"{tick:.6g}" for tick in ticks],
                "range": [low - pad, high + pad]}  # fmt: skip
    if scale.kind == "log":
        low, high = log10(scale.low), log10(scale.high)
        pad = 0.06 * (high - low) or 0.1
        return {
            "type": "log",
            "range": [low - pad, high + pad],
            "dtick": 1 if high - low > 2.5 else "D2",
            "exponentformat": "power",
            "tickfont": {"size": 10.5},
        }
    if not scale.bounded:
        return {}
    pad = 0.06 * (scale.high - scale.low)
    return {"range": [scale.low - pad, scale.high + pad]}
