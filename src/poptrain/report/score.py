"""The chart of the score along the ancestry of every member: the best one bold, exploits marked, dead ends faint."""

from __future__ import annotations

from math import log10
from typing import Any

from poptrain.log.reader import Record
from poptrain.report import style
from poptrain.views import Curve, Mark, curves, short
from poptrain.views.curves import extent
from poptrain.views.exploits import Exploit, exploits_of
from poptrain.views.facts import Facts


def score(record: Record) -> style.Chart:
    """Returns the chart."""
    view, facts = curves(record), Facts.of(record)
    exploits = {each.task: each for each in exploits_of(facts, record.times, facts.exploits)}
    colours = style.colours([curve.member for curve in view.members])
    few = len(view.members) <= style.FEW
    pieces = [piece for seat in view.seats for piece in seat.pieces if len(piece) > 1]
    data: list[dict[str, Any]] = [style.line(*style.chain(pieces), style.FAINT, 1, name="abandoned", hoverinfo="skip")]
    for rank, curve in enumerate(sorted(view.members, key=lambda curve: curve.member)):
        data.append(style.line(*_xy(curve), colours[curve.member], 1.6 if few else 1, opacity=0.95 if few else 0.55,
                               name=f"member {curve.member}" if few else f"{len(view.members)} members",
                               legendgroup=None if few else "members", showlegend=few or rank == 0,
                               hovertemplate=f"member {curve.member}, step %{{x}}: %{{y}}<extra></extra>"))  # fmt: skip
    every = {mark.task: mark for curve in view.members for mark in curve.marks}
    best = {mark.task: mark for mark in view.best.marks} if view.best else {}
    others = [mark for task, mark in every.items() if task not in best]
    data.append(
        _marks(others, exploits, "copied a member", {"size": 5, "color": "white", "line": {"color": style.INK, "width": 1}})
    )
    if view.best is not None:
        data.append(style.line(*_xy(view.best), style.BEST, 3.4, name=f"best {short(view.best.score, 5)}",
                               hovertemplate="best, step %{x}: %{y}<extra></extra>"))  # fmt: skip
        data.append(_marks(list(best.values()), exploits, "exploit of the best",
                           {"size": 9, "color": "white", "line": {"color": style.BEST, "width": 2.2}}))  # fmt: skip
        end = view.best.points[-1]
        data.append(style.points([end[0]], [end[1]], name="best", showlegend=False, hoverinfo="skip",
                                 marker=style.STAR))  # fmt: skip
    low, high, log = extent(view)
    ends = [log10(low), log10(high)] if log else [low, high]
    return style.chart(
        data, 470, xaxis={"title": {"text": "steps"}, "rangemode": "tozero"},
        yaxis={"title": {"text": style.text(view.metric, 50)}, "range": ends, "type": "log" if log else "linear"},
    )  # fmt: skip


def _xy(curve: Curve) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve.points], [value for _, value in curve.points]


def _marks(marks: list[Mark], exploits: dict[int, Exploit], name: str, marker: dict[str, Any]) -> dict[str, Any]:
    told = [_told(mark, exploits.get(mark.task)) for mark in marks]
    return style.points([mark.step for mark in marks], [mark.score for mark in marks], name=name, marker=marker, text=told,
                        hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _told(mark: Mark, exploit: Exploit | None) -> str:
    lines = [f"member {mark.member} copied {mark.donor} at step {mark.step:,}"]
    if exploit is not None:
        lines += [f"{style.text(name)}: {style.text(short(value))} → {style.text(short(exploit.after.get(name)))}"
                  for name, value in exploit.copied.items() if exploit.after.get(name) != value]  # fmt: skip
    return "<br>".join(lines)
