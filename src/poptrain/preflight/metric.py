"""Is the metric a number, does it change during training, and does it change in the direction that the mode calls better?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

import numpy as np

from poptrain.audit.verdict import Verdict
from poptrain.core.causes import diverged
from poptrain.core.counting import counted
from poptrain.core.metric_names import hinted
from poptrain.preflight.lab import Probe

STEADY = 0.8  # share of the changes that must have one sign
FEWEST = 6  # changes of the score, below which a fall in all of them is chance too often: 1 in 64


def finite(curves: Sequence[Sequence[Probe]], metric: str) -> Verdict:
    """Returns whether scores are finite numbers. `curves` holds the segments of each configuration, in order."""
    if errors := [probe.result.error for curve in curves for probe in curve if not probe.ok]:
        every = all(not curve[0].ok for curve in curves)
        text = f"{'every' if every else 'one'} configuration raised an error: {errors[0]}"
        return Verdict("trains", "failed" if every else "unclear", text)
    firsts = [next((probe.result.score for probe in curve if not isfinite(probe.result.score)), None) for curve in curves]
    if bad := [score for score in firsts if score is not None]:
        text = f"{diverged(metric, bad[0])} in {'all' if len(bad) == len(curves) else len(bad)} of "
        text += counted(len(curves), "configuration")
        if len(bad) == len(curves):
            return Verdict("metric finite", "failed", text)
        return Verdict("metric finite", "ok", f"{text}; such members are replaced")
    return Verdict("metric finite", "ok", f"a number in all of {counted(len(curves), 'configuration')}")


def moving(curves: Sequence[Sequence[Probe]], whole: bool) -> Verdict:
    """Returns whether scores change during a training; `whole`: the segments were as long as the algorithm's interval."""
    rows = [row for curve in curves if len(row := _scores(curve)) > 1 and np.isfinite(row).all()]
    if not rows:
        return Verdict("metric moves", "unclear", _nothing_to_compare(curves))
    if any(len(set(row)) > 1 for row in rows):
        return Verdict("metric moves", "ok", "it changes while members train")
    everywhere = len({score for row in rows for score in row}) == 1
    text = f"it is {rows[0][0]!r} " + ("in every training" if everywhere else "from the start to the end of a training")
    text += f": constant over {counted(max(map(len, rows)), 'segment')} in {counted(len(rows), 'configuration')}"
    if not whole:  # an accuracy of few examples needs longer to move, and an update may come once in an interval
        return Verdict("metric moves", "unclear", f"{text}, all shorter than the interval: pass more seconds")
    return Verdict("metric moves", "failed", text)


def direction(curves: Sequence[Sequence[Probe]], metric: str, mode: str) -> Verdict:
    """Returns whether training makes the score better, as the mode defines it, and whether the metric's name agrees."""
    sign = -1 if mode == "min" else 1
    rows = [sign * np.array(row) for curve in curves if len(row := _scores(curve)) > 1 and np.isfinite(row).all()]
    contradicts = (hint := hinted(metric)) and hint != sign
    other = "max" if mode == "min" else "min"
    if not rows:
        text = f"the name {metric!r} suggests that {'more' if hint > 0 else 'less'} is better, but mode is {mode!r}"
        return Verdict("direction", "unclear", text if contradicts else _nothing_to_compare(curves))
    better = sum(row[-1] > row[0] for row in rows)
    steps = [b - a for row in rows for a, b in pairwise(row) if a != b]
    falling = sum(step < 0 for step in steps) / max(len(steps), 1)
    worse = not better and all(row[-1] < row[0] for row in rows)
    result = f"training made {metric!r} better in {better} of {counted(len(rows), 'configuration')} under mode={mode!r}"
    if contradicts and better * 2 < len(rows):
        return Verdict("direction", "failed", f"{result}, and its name suggests {other!r}: is mode={other!r} meant?")
    if worse and not hint and len(rows) > 1 and len(steps) >= FEWEST and falling >= STEADY:
        return Verdict("direction", "failed", f"{result}, and all of them got steadily worse: is mode={other!r} meant?")
    if contradicts:
        return Verdict("direction", "unclear", f"{result}, but its name suggests {other!r}")
    if worse:
        return Verdict("direction", "unclear", f"{result}; this is too little evidence that the mode is wrong")
    if not better or (better * 2 < len(rows) and not hint):
        text = f"{result}; the score may be at chance, or need a longer training than the check's: pass more seconds"
        return Verdict("direction", "unclear", text)
    return Verdict("direction", "ok", result)


def _nothing_to_compare(curves: Sequence[Sequence[Probe]]) -> str:
    """Returns why no configuration has two finite scores."""
    if any(len(_scores(curve)) > 1 for curve in curves):
        return "scores that are not finite cannot be compared"
    return "there was no time for a second segment"


def _scores(curve: Sequence[Probe]) -> list[float]:
    """Returns the scores during one training, including the evaluations inside its segments."""
    return [score for probe in curve if probe.ok for _, score in probe.result.curve]
