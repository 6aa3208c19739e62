"""Plots: views as figures, for files. Each function takes a record and returns a Matplotlib `Figure`; no window is opened.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(10))
>>> score(run.record).axes[0].get_ylabel()
'score'
"""

from __future__ import annotations

import warnings
from pathlib import Path

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'poptrain[plots]'") from error

from matplotlib.figure import Figure

from poptrain.log.reader import Record
from poptrain.plots.figures import comparison, faster, hparams, lineage, schedules, score, spread, subpopulations, time
from poptrain.views.subpopulations import sizes_of

FIGURES = {"score": score, "hparams": hparams, "lineage": lineage, "spread": spread, "time": time}

__all__ = [
    "FIGURES",
    "comparison",
    "faster",
    "hparams",
    "lineage",
    "save",
    "save_all",
    "schedules",
    "score",
    "spread",
    "subpopulations",
    "time",
]


def save_all(record: Record, directory: str | Path) -> list[Path]:
    """Draws every figure of a run as PNG, makes the directory, and returns the paths."""
    drawn = {**FIGURES, **({"subpopulations": subpopulations} if sizes_of(record) else {})}
    return [save(draw(record), Path(directory) / f"{name}.png") for name, draw in drawn.items()]


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, makes its directory, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(path, format="png")
    return path
