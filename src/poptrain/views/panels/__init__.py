"""Panels: every picture of poptrain, described once, as data that any renderer can draw.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(10))
>>> picture = score(pt.views.curves(run.record))
>>> picture.title, [series.name for series in picture.panels[0].series][:3]
('score along ancestry', ['abandoned', 'member 0', 'member 1'])
"""

from poptrain.views.panels.curves import comparison, faster, score, suggestions
from poptrain.views.panels.hparams import hparams, schedules, subpopulations
from poptrain.views.panels.model import (
    Axis,
    Band,
    Bars,
    Item,
    Line,
    Panel,
    Picture,
    Points,
    Rule,
    Segments,
    Series,
    Shades,
)
from poptrain.views.panels.population import spread, time
from poptrain.views.panels.tree import tree

__all__ = [
    "Axis",
    "Band",
    "Bars",
    "Item",
    "Line",
    "Panel",
    "Picture",
    "Points",
    "Rule",
    "Segments",
    "Series",
    "Shades",
    "comparison",
    "faster",
    "hparams",
    "schedules",
    "score",
    "spread",
    "subpopulations",
    "suggestions",
    "time",
    "tree",
]
