"""What the progress line costs a run: the CPU time of its thread, as a share of the time between two looks.

    python -m benchmarks.progress [--quick] --json

The thread looks twice a second on a terminal or in a notebook, and more seldom in a file, or if its looks take long. A look is
measured as CPU time of the thread, which other programs on the machine do not disturb, 25 times in a run of `members` × `rounds`
tasks.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import poptrain as pt
from benchmarks.common import figure, main
from poptrain.core import History
from poptrain.engine.glance import Watch
from poptrain.engine.progress import pause
from poptrain.engine.screens import NotebookBar, TerminalLine
from poptrain.testing.simulate import noisy, play

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.1, 0.99))


def look_seconds(members: int, rounds: int) -> list[float]:
    """Returns the CPU seconds of looks at a growing history, the text included."""
    algorithm = pt.pbt(SPACE, population=members, interval=5)
    whole = play(algorithm, noisy, budget=5 * rounds)
    history = History(whole.seed, whole.budget)
    watch = Watch(pt.Experiment(algorithm, pt.testing.quadratic, stop=pt.steps(5 * rounds)), 0.0)
    found = []
    for number in range(whole.lines):
        history = history.add(whole.line(number))
        history.best()  # as the run does after every line
        if (number + 1) % max(whole.lines // 25, 1) == 0:
            began = time.thread_time()
            watch.look(history, 0).line(120)
            found.append(time.thread_time() - began)
    return found


def measure(quick: bool) -> list[dict[str, Any]]:
    figures = []
    every = min(TerminalLine.wait, NotebookBar.wait)
    for members, rounds in ((8, 100), (64, 200 if quick else 1600)):
        looks = look_seconds(members, rounds)
        typical, first = statistics.median(looks), max(looks)
        name = f"{members} members, {members * rounds:,} tasks"
        share = 100 * typical / pause(every, typical)
        figures.append(figure(f"{name}: one look", 1e3 * typical, "ms", "", None, len(looks), 1e3 * statistics.stdev(looks)))
        figures.append(figure(f"{name}: longest look", 1e3 * first, "ms"))
        figures.append(figure(f"{name}: share of the time", share, "%", "< 0.5", share < 0.5, len(looks)))
    return figures


if __name__ == "__main__":
    main("progress", measure, __doc__.splitlines()[0])
