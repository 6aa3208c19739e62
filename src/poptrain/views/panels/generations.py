"""Marks where generations of architectures begin (BG-PBT), for pictures over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from poptrain.views.palette import LESSONS
from poptrain.views.panels.model import PointSeries


def new_generations(begins: Sequence[int], height: float) -> PointSeries:
    """Returns the marks.

    Args:
        begins: the steps at which students of a new generation begin.
        height: where the marks are, in units of the vertical axis.
    """
    return PointSeries(
        name="new generation",
        colour=LESSONS,
        marker="up",
        size=7,
        x=list(begins),
        y=[height] * len(begins),
        hover="text",
        texts=[f"generation {number} is distilled from step {step:,}" for number, step in enumerate(begins, 1)],
    )
