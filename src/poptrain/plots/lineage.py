"""The family tree: one row a member, steps to the right, coloured by score; arrows show who was copied by whom."""

from __future__ import annotations

from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views.facts import Facts

_ARROWS = 400  # copies drawn with heads; more are drawn as lines


def lineage(record: Record) -> Figure:
    """Returns the figure of who descends from whom."""
    facts = Facts.of(record)
    seats = {seat: row for row, seat in enumerate(sorted(facts.seats))}
    metric, sign = str(record.run.get("metric", "score")), facts.sign
    figure = style.figure(8.4, min(max(2.6, 1.6 + 0.28 * len(seats)), 14))
    axes = style.tidy(figure.subplots())
    style.steps_axis(axes)
    axes.grid(axis="y", visible=False)
    members = set(facts.members())
    _rows(axes, [str(seat) if seat in members else f"evaluator {seat}" for seat in seats])
    path = facts.ancestry(facts.best) if facts.best is not None else []
    note = f"{len(facts.exploits)} cop{'ies' if len(facts.exploits) != 1 else 'y'}"
    if facts.best is not None:
        note += f", best: member {facts.tasks[facts.best].member} at step {style.thousands(facts.end(facts.best))}"
    style.title(axes, "Family tree", note)
    told = [id for id, result in enumerate(facts.results) if result is not None and facts.end(id) > facts.begin(id)]
    good = [id for id in told if facts.ok(id)]
    bad = [id for id, result in enumerate(facts.results) if result is not None and not facts.ok(id)]
    _segments(figure, axes, facts, seats, good, metric, sign)
    _crosses(axes, facts, seats, bad)
    _copies(axes, facts, seats, set(path))
    _best_path(axes, facts, seats, path)
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    _legend(figure, bool(path), bool(bad))
    return figure


def _rows(axes: Axes, seats: list[str]) -> None:
    every = max(1, -(-len(seats) // 40))
    axes.set_yticks(range(0, len(seats), every), seats[::every])
    axes.set_ylim(len(seats) - 0.4, -0.6)
    axes.set_ylabel("member", color=style.INK)


def _segments(figure: Figure, axes: Axes, facts: Facts, seats: dict[int, int], ids: list[int], metric: str, sign: int) -> None:
    lines, scores = [], []
    for id in ids:
        row = seats[facts.tasks[id].member]
        lines.append([(facts.begin(id), row), (facts.end(id), row)])
        scores.append(facts.results[id].score)
    values = np.array(scores) if scores else np.zeros(1)
    low, high = np.quantile(values[np.isfinite(values)], (0.05, 1.0) if sign > 0 else (0.0, 0.95))
    colours = style.scale() if sign > 0 else style.scale().reversed()
    norm = Normalize(low, high if high > low else low + 1)
    width = float(np.clip(110 / max(len(seats), 1), 1.5, 7))
    axes.add_collection(LineCollection(lines, array=values if scores else None, cmap=colours, norm=norm,
                                       linewidths=width, capstyle="butt", zorder=2))  # fmt: skip
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.015, aspect=30, extend="min" if sign > 0 else "max")
    bar.outline.set_visible(False)
    bar.set_label(style.label(metric), color=style.INK)
    axes.autoscale_view(scaley=False)


def _crosses(axes: Axes, facts: Facts, seats: dict[int, int], ids: list[int]) -> None:
    if ids:
        axes.scatter([facts.end(id) for id in ids], [seats[facts.tasks[id].member] for id in ids], marker="x", s=26,
                     color=style.FAILED, linewidth=1.4, zorder=6)  # fmt: skip


def _copies(axes: Axes, facts: Facts, seats: dict[int, int], path: set[int]) -> None:
    ids = [id for id in facts.exploits if facts.donor(id) in seats]
    for chosen, colour, width, order in (
        ([id for id in ids if id not in path], "#5B6470", 0.8, 3),
        ([id for id in ids if id in path], style.BEST, 1.8, 5),
    ):
        ends = [(facts.begin(id), seats[facts.donor(id)], seats[facts.tasks[id].member]) for id in chosen]
        axes.add_collection(LineCollection([[(x, a), (x, b)] for x, a, b in ends], colors=colour, linewidths=width,
                                           alpha=0.75 if order == 3 else 1.0, zorder=order))  # fmt: skip
        if len(ids) <= _ARROWS or order == 5:
            for down, marker in ((True, "v"), (False, "^")):
                heads = [(x, b) for x, a, b in ends if (b > a) == down]
                if heads:
                    axes.scatter(*zip(*heads, strict=True), marker=marker, s=24 if order == 3 else 52, facecolor=colour,
                                 edgecolor="white", linewidth=0.7, zorder=order + 0.5)  # fmt: skip


def _best_path(axes: Axes, facts: Facts, seats: dict[int, int], path: list[int]) -> None:
    """Draws a line over the segments that led to the best result, and a star where it ends."""
    lines = [[(facts.begin(id), seats[facts.tasks[id].member]), (facts.end(id), seats[facts.tasks[id].member])] for id in path]
    axes.add_collection(LineCollection(lines, colors=style.BEST, linewidths=2.2, zorder=5))
    if path and isfinite(facts.results[path[-1]].score):
        axes.plot([facts.end(path[-1])], [seats[facts.tasks[path[-1]].member]], "*", markersize=13, color=style.BEST,
                  markeredgecolor="white", zorder=7)  # fmt: skip


def _legend(figure: Figure, best: bool, failed: bool) -> None:
    handles = [Line2D([], [], color="#5B6470", linewidth=0.9, marker="v", markersize=4, label="copied by the member at the tip")]
    if best:
        handles.insert(0, Line2D([], [], color=style.BEST, linewidth=2.2, marker="*", label="ancestry of the best"))
    if failed:
        handles.append(Line2D([], [], color=style.FAILED, linestyle="", marker="x", label="failed or diverged"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
