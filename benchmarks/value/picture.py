"""The picture of the page: what every contender gains on random search, problem by problem."""

from __future__ import annotations

from pathlib import Path

from benchmarks.value import verdicts
from benchmarks.value.registry import PROBLEMS
from poptrain.plots import style

COLORS = {
    "halving": 3, "pbt": 0, "pb2": 1, "bg_pbt": 8, "fire": 2, "tpe": 4, "pbt_paper": 5, "pbt_01": 6, "pb2_paper": 7
}  # fmt: skip


def draw(found: verdicts.Found, path: Path, size: int = 8) -> None:
    """Draws the mean gain on random search with its 95 % interval: a row a problem, a point a contender, into a PNG file."""
    names = [name for name in COLORS if any(name in cell for (_, n), cell in found.items() if n == size)]
    problems = [problem for problem in PROBLEMS if (problem, size) in found]
    figure = style.figure(9.6, 1.2 + 0.5 * len(problems))
    axes = figure.subplots()
    style.tidy(axes)
    style.title(axes, f"Gain on random search at equal cost, population {size} (1 is the oracle's gain)")
    for index, name in enumerate(names):
        shown = False
        for place, problem in enumerate(problems):
            cell = found[problem, size]
            if name in cell and "random" in cell and (said := verdicts.compared(cell[name], cell["random"])):
                at, color = place + 0.7 * ((index + 0.5) / len(names) - 0.5), f"C{COLORS[name]}"
                axes.plot([said["low"], said["high"]], [at, at], color=color, linewidth=1.5)
                axes.plot(said["gain"], at, "o", color=color, markersize=5, label=None if shown else name)
                shown = True
    axes.axvline(0, color=style.INK, linewidth=0.8)
    labels = [f"{problem}\n{PROBLEMS[problem].half}" for problem in problems]  # type: ignore[attr-defined]
    axes.set_yticks(range(len(problems)), labels, fontsize=8)
    axes.set_ylim(len(problems) - 0.5, -0.5)
    for place in range(1, len(problems)):
        axes.axhline(place - 0.5, color=style.INK, linewidth=0.3, alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.savefig(path, dpi=80)
