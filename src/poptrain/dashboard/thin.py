"""Pictures for a browser: as JSON, and with no more points than a screen can show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import singledispatch
from math import ceil
from typing import Any, TypeVar

import numpy as np

from poptrain.core.counting import counted
from poptrain.views import as_json, short
from poptrain.views.panels import Band, Item, LineSeries, Picture, PointSeries, Segments

Marks = TypeVar("Marks", PointSeries, Segments)

MOST_OF_LINE = 1_200  # points of one line, about two for each pixel column
MOST_OF_BACKGROUND = 4_000  # points of a line with gaps, which holds many pieces
MOST_POINTS = 600
MOST_SEGMENTS = 2_400


def drawable(picture: Picture) -> dict[str, Any]:
    """Returns a picture as JSON, thinned; `shown` and `of` count the marks of series that were thinned."""
    panels, shown, of = [], 0, 0
    for panel in picture.panels:
        series = tuple(thinned(item) for item in panel.series)
        for before, after in zip(panel.series, series, strict=True):
            if before is not after:
                shown, of = shown + _size(after), of + _size(before)
        panels.append(replace(panel, series=series))
    found: dict[str, Any] = _rounded(as_json(replace(picture, panels=tuple(panels))))
    return found | {"shown": shown, "of": of, "listed": [picture.listed(index) for index in range(len(panels))]}


@singledispatch
def thinned(item: Item) -> Item:
    """Returns a series with at most as many marks as can be distinguished; the same object if it has no more."""
    return item


@thinned.register
def _(item: LineSeries) -> Item:
    y = np.array([np.nan if value is None else value for value in item.y], float)
    gaps = np.isnan(y)
    most = MOST_OF_BACKGROUND if gaps.any() else MOST_OF_LINE
    if len(y) <= most:
        return item
    wide = ceil(len(y) / max(most // 3, 1))  # of each piece, the lowest point, the highest, and a gap are kept
    padded = np.pad(y, (0, -len(y) % wide), constant_values=np.nan).reshape(-1, wide)
    hole, first = np.isnan(padded), np.arange(len(padded)) * wide
    lowest = first + np.where(hole, np.inf, padded).argmin(axis=1)
    highest = first + np.where(hole, -np.inf, padded).argmax(axis=1)
    last = first + wide - 1 - hole[:, ::-1].argmax(axis=1)  # where there is a gap
    keep = np.concatenate([lowest[~hole.all(axis=1)], highest[~hole.all(axis=1)], last[hole.any(axis=1)], [0, len(y) - 1]])
    ends = np.unique(np.minimum(keep, len(y) - 1)).tolist()
    return replace(item, x=_at(item.x, ends), y=_at(item.y, ends), texts=_at(item.texts, ends))


@thinned.register
def _(item: Band) -> Item:
    if len(item.x) <= MOST_OF_LINE:
        return item
    parts = np.array_split(np.arange(len(item.x)), MOST_OF_LINE)
    first = [int(part[0]) for part in parts]
    low, high = (_extreme(side, parts, best) for side, best in ((item.low, np.nanmin), (item.high, np.nanmax)))
    return replace(item, x=_at(item.x, first), low=low, high=high)


@thinned.register
def _(item: PointSeries) -> Item:
    if len(item.x) <= MOST_POINTS:
        return item
    at = np.linspace(0, len(item.x) - 1, MOST_POINTS).astype(int).tolist()
    return _picked(item, at)


@thinned.register
def _(item: Segments) -> Item:
    if len(item.x) <= MOST_SEGMENTS:
        return item
    if any(begin != end for begin, end in zip(item.y[:50], item.y_end[:50], strict=True)):  # arrows: some of them
        at = np.linspace(0, len(item.x) - 1, MOST_SEGMENTS // 3).astype(int).tolist()
        return replace(_picked(item, at), x_end=_at(item.x_end, at), y_end=_at(item.y_end, at))
    return _merged(item)


def _merged(item: Segments) -> Segments:
    """Returns the pieces of each row, as many neighbours as necessary joined into one with their mean value."""
    rows: dict[object, list[int]] = {}
    for index, row in enumerate(item.y):
        rows.setdefault(row, []).append(index)
    each = ceil(len(item.x) / MOST_SEGMENTS)
    groups: list[list[int]] = []
    for indices in rows.values():
        indices.sort(key=lambda index: item.x[index] or 0)
        groups += [indices[at : at + each] for at in range(0, len(indices), each)]
    values = [float(np.mean([item.values[index] for index in group])) for group in groups] if item.values else []
    texts = [_about(item, group, at) for at, group in enumerate(groups)] if item.texts else []
    return replace(
        item,
        x=[item.x[group[0]] for group in groups],
        y=[item.y[group[0]] for group in groups],
        x_end=[max(item.x_end[index] or 0 for index in group) for group in groups],
        y_end=[item.y_end[group[0]] for group in groups],
        values=values,
        texts=texts,
        tasks=[item.tasks[group[-1]] for group in groups] if item.tasks else (),
    )


def _about(item: Segments, group: list[int], at: int) -> str:
    if len(group) == 1:
        return item.texts[group[0]]
    mean = f", mean {short(float(np.mean([item.values[index] for index in group])), 5)}" if item.values else ""
    return f"{counted(len(group), 'task')}, from step {item.x[group[0]]:,} to {item.x_end[group[-1]]:,}{mean}"


def _picked(item: Marks, at: list[int]) -> Marks:
    changed: dict[str, Any] = {name: _at(getattr(item, name), at) for name in ("x", "y", "values", "texts", "tasks")}
    if isinstance(item, PointSeries):
        changed["spread"] = _at(item.spread, at)
    return replace(item, **changed)


def _at(values: Sequence[Any], indices: Sequence[int]) -> list[Any]:
    """Returns the values at some places; [] if there are no values, or one for all."""
    return [values[index] for index in indices] if len(values) > 1 else list(values)


def _extreme(side: Sequence[Any], parts: Sequence[np.ndarray], best: Callable[[np.ndarray], Any]) -> list[float | None]:
    values = np.array([np.nan if value is None else value for value in side], float)
    return [None if np.isnan(values[part]).all() else float(best(values[part])) for part in parts]


def _size(item: Item) -> int:
    return len(getattr(item, "x", ()))


def _rounded(value: Any) -> Any:
    """Returns JSON whose numbers have seven digits, which no screen can tell from more."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value
