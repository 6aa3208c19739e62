"""Plots of the ablations: one figure per question, one panel per problem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from benchmarks.ablation_cells import SIZES, Cells, Question, Stored, scores
from poptrain import statistics
from poptrain.plots import style


def draw(question: Question, stored: Stored, path: Path) -> None:
    """Draws a question into a PNG file."""
    sizes = question.name in ("population", "total")
    figure = style.figure(9.6, 3.2 if sizes else 1.2 + 0.36 * len(question.rows))
    panels = figure.subplots(1, len(stored), squeeze=False, sharey=not sizes)[0]
    for axes, (problem, cells) in zip(panels, stored.items(), strict=True):
        style.tidy(axes)
        style.title(axes, problem)
        _sizes(axes, question, cells) if sizes else _rows(axes, question, cells)
    if sizes:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=80)


def _sizes(axes: Axes, question: Question, cells: Cells) -> None:
    """Draws scores against the population size, with one line for PBT and one for random search."""
    for offset, (label, color) in enumerate((("PBT", style.BEST), ("random search", style.MEMBERS[0]))):
        found = [scores(cells, cell) for _, cell in question.rows[offset * len(SIZES) : (offset + 1) * len(SIZES)]]
        at = [(n, values) for n, values in zip(SIZES, found, strict=True) if values]
        low, high = np.array([statistics.interval(values) for _, values in at]).T
        axes.plot([n for n, _ in at], [statistics.iqm(values) for _, values in at], "o-", color=color, markersize=4, label=label)
        axes.fill_between([n for n, _ in at], low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(SIZES, [str(n) for n in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("population", color=style.INK)


def _rows(axes: Axes, question: Question, cells: Cells) -> None:
    """Draws one row per cell: every seed faintly, the interquartile mean and its interval in bold."""
    for place, (label, cell) in enumerate(question.rows):
        if values := scores(cells, cell):
            color = style.MEMBERS[0] if label == "random search" else style.BEST
            low, high = statistics.interval(values)
            axes.plot(values, [place] * len(values), "o", color=color, alpha=0.25, markersize=4, markeredgewidth=0)
            axes.plot([low, high], [place, place], color=color, linewidth=2)
            axes.plot(statistics.iqm(values), place, "o", color=color, markersize=7)
    axes.set_yticks(range(len(question.rows)), [label for label, _ in question.rows])
    axes.set_ylim(len(question.rows) - 0.5, -0.5)
