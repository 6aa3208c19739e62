"""The colours of scores: one scale for all pictures that colour by score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.views.curves import MOST
from poptrain.views.palette import SCORES
from poptrain.views.panels.model import Shades


def score_shades(label: str, scores: Sequence[float], mode: str) -> Shades:
    """Returns the scale of some scores with the user's sign; the worst of them share a colour."""
    up = mode == "max"
    low, high = np.quantile(np.clip(scores or [0.0], -MOST, MOST), (0.05, 1.0) if up else (0.0, 0.95)).tolist()
    return Shades(
        label, low, high if high > low else low + max(1.0, abs(low)), SCORES if up else SCORES[::-1], "min" if up else "max"
    )
