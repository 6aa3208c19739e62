"""The chart of the family tree: one row a member, coloured by score; lines with tips show who was copied by whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from poptrain.log.reader import Record
from poptrain.report import style
from poptrain.views import short
from poptrain.views.facts import Facts


def tree(record: Record) -> style.Chart:
    """Returns the chart."""
    facts = Facts.of(record)
    seats = {seat: row for row, seat in enumerate(sorted(facts.seats))}
    metric, members = style.text(record.run.get("metric", "score"), 20), set(facts.members())
    path = facts.ancestry(facts.best) if facts.best is not None else []
    width = float(np.clip(130 / max(len(seats), 1), 2, 9))
    bad = [id for id, result in enumerate(facts.results) if result is not None and not facts.ok(id)]
    others = [id for id in facts.exploits if id not in set(path)]
    data = [
        *_segments(facts, seats, width, metric),
        *_copies(facts, seats, others, "#5B6470", 0.9, "copied by the member at the tip"),
        *_ancestry(facts, seats, path),
        style.points([facts.end(id) for id in bad], [seats[facts.tasks[id].member] for id in bad], name="failed or diverged",
                     marker={"symbol": "x-thin", "size": 8, "line": {"color": style.FAILED, "width": 1.8}},
                     text=[_why(facts, id) for id in bad], hovertemplate="%{text}<extra></extra>", showlegend=bool(bad)),
    ]  # fmt: skip
    names = [str(seat) if seat in members else f"evaluator {seat}" for seat in seats]
    every = max(1, -(-len(names) // 40))
    rows = {"tickvals": list(range(0, len(names), every)), "ticktext": names[::every], "range": [len(names) - 0.4, -0.6]}
    return style.chart(
        data, int(np.clip(170 + 26 * len(seats), 260, 900)), xaxis={"title": {"text": "steps"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "member"}, "showgrid": False, **rows},
        legend=style.BELOW,
        margin={"l": 64, "r": 16, "t": 26, "b": 84},
    )  # fmt: skip


def _segments(facts: Facts, seats: dict[int, int], width: float, metric: str) -> Iterable[dict[str, Any]]:
    """Yields one trace for each colour: the segments whose scores it stands for; and the colour bar."""
    ids = [id for id in range(len(facts.tasks)) if facts.ok(id) and facts.end(id) > facts.begin(id)]
    if not ids:
        return
    scores = np.array([facts.results[id].score for id in ids])
    low, high = np.quantile(scores, (0.05, 1.0) if facts.sign > 0 else (0.0, 0.95))
    palette = style.SCORES if facts.sign > 0 else style.SCORES[::-1]
    bins = np.clip((scores - low) / ((high - low) or 1.0) * len(palette), 0, len(palette) - 1).astype(int)
    for index, colour in enumerate(palette):
        chosen = [id for id, where in zip(ids, bins.tolist(), strict=True) if where == index]
        if not chosen:
            continue
        x, y = style.chain([_line(facts, seats, id) for id in chosen])
        told = [text for id in chosen for text in (_told(facts, id), _told(facts, id), "")]
        yield style.line(x, y, colour, width, text=told[:-1], hovertemplate="%{text}<extra></extra>", showlegend=False)
    steps = [[k / (len(palette) - 1), colour] for k, colour in enumerate(palette)]
    bar = {"title": {"text": metric}, "thickness": 12, "outlinewidth": 0, "len": 0.9}
    yield style.points([None, None], [None, None], showlegend=False, hoverinfo="skip", marker={
        "color": style.numbers([float(low), float(high)]), "colorscale": steps, "showscale": True, "colorbar": bar,
        "cmin": float(low), "cmax": float(high) if high > low else float(low) + 1})  # fmt: skip


def _line(facts: Facts, seats: dict[int, int], id: int) -> list[tuple[int, int]]:
    row = seats[facts.tasks[id].member]
    return [(facts.begin(id), row), (facts.end(id), row)]


def _copies(
    facts: Facts, seats: dict[int, int], ids: list[int], colour: str, width: float, name: str
) -> Iterable[dict[str, Any]]:  # fmt: skip
    ends = [
        (facts.begin(id), seats[facts.donor(id)], seats[facts.tasks[id].member], id) for id in ids if facts.donor(id) in seats
    ]
    if not ends:
        return
    yield style.line(*style.chain([[(x, a), (x, b)] for x, a, b, _ in ends]), colour, width, hoverinfo="skip", showlegend=False,
                     legendgroup=name)  # fmt: skip
    symbols = ["triangle-down" if b > a else "triangle-up" for _, a, b, _ in ends]
    told = [f"member {facts.tasks[id].member} copied {facts.donor(id)} at step {x:,}" for x, _, _, id in ends]
    yield style.points([x for x, *_ in ends], [b for _, _, b, _ in ends], name=name, legendgroup=name, text=told,
                       hovertemplate="%{text}<extra></extra>",
                       marker={"symbol": symbols, "size": 7 if width < 2 else 11, "color": colour,
                               "line": {"color": "white", "width": 1}})  # fmt: skip


def _ancestry(facts: Facts, seats: dict[int, int], path: list[int]) -> Iterable[dict[str, Any]]:
    if not path:
        return
    corners = [point for id in path for point in _line(facts, seats, id)]
    yield style.line(*zip(*corners, strict=True), style.BEST, 2.6, name="ancestry of the best", hoverinfo="skip")
    yield from _copies(facts, seats, [id for id in facts.exploits if id in set(path)], style.BEST, 2.6, "its exploits")
    yield style.points([corners[-1][0]], [corners[-1][1]], showlegend=False, text=[_told(facts, path[-1])],
                       hovertemplate="%{text}<extra></extra>",
                       marker=style.STAR)  # fmt: skip


def _told(facts: Facts, id: int) -> str:
    score = short(facts.results[id].score, 5)
    return f"member {facts.tasks[id].member}, steps {facts.begin(id):,}–{facts.end(id):,}: {score}"


def _why(facts: Facts, id: int) -> str:
    result = facts.results[id]
    why = result.error or ("the checkpoint was damaged" if id in facts.lost else f"the score was {result.score}")
    return f"member {facts.tasks[id].member}, task {id}<br>{style.text(why, 120)}"
