"""Panels: every picture of poptrain, described once, as data that any renderer can draw.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(10))
>>> picture = score(pt.views.curves(run.record))
>>> picture.title, [series.name for series in picture.panels[0].series][:3]
('score along ancestry', ['abandoned', 'member 0', 'member 1'])
"""

from collections.abc import Callable, Iterator

from poptrain.log.reader import Record
from poptrain.views.curves import curves
from poptrain.views.exploits import exploit_of
from poptrain.views.gauges import gauges
from poptrain.views.index import history_of
from poptrain.views.overhead import overhead
from poptrain.views.panels.architectures import architectures
from poptrain.views.panels.family import tree
from poptrain.views.panels.hyperparameters import hparams, schedules, subpopulations
from poptrain.views.panels.model import (
    Axis,
    Band,
    Bars,
    Item,
    LineSeries,
    Panel,
    Picture,
    PointSeries,
    Rule,
    Segments,
    Series,
    Shades,
)
from poptrain.views.panels.population import spread, time
from poptrain.views.panels.region import region
from poptrain.views.panels.scores import comparison, faster, score, suggestions
from poptrain.views.panels.team import team
from poptrain.views.region import region as region_of
from poptrain.views.spread import spread as spread_of
from poptrain.views.subpopulations import sizes_of
from poptrain.views.suggestions import suggestions as suggestions_of
from poptrain.views.teams import teams

__all__ = [
    "EVERY",
    "SOME",
    "Axis",
    "Band",
    "Bars",
    "Item",
    "LineSeries",
    "Panel",
    "Picture",
    "PointSeries",
    "Rule",
    "Segments",
    "Series",
    "Shades",
    "architectures",
    "comparison",
    "faster",
    "hparams",
    "pictures",
    "region",
    "schedules",
    "score",
    "spread",
    "subpopulations",
    "suggestions",
    "team",
    "time",
    "tree",
]


def _score(record: Record) -> Picture:
    history = history_of(record)
    copies = set(history.copies())
    return score(curves(record), lambda task: exploit_of(history, record.times, task) if task in copies else None)


EVERY: dict[str, Callable[[Record], Picture]] = {
    "score": _score,
    "hparams": hparams,
    "tree": tree,
    "spread": lambda record: spread(spread_of(record), gauges(record).history),
    "time": lambda record: time(overhead(record)),
}  # the pictures that every run has, by name
SOME: dict[str, Callable[[Record], Picture | None]] = {
    "model": lambda record: suggestions(suggestions_of(record)),
    "region": lambda record: region(region_of(record)),
    "architectures": architectures,
    "subpopulations": lambda record: subpopulations(record) if sizes_of(record) else None,
    "team": lambda record: team(teams(record)),
}  # the pictures of some algorithms; None for a run of another one


def pictures(record: Record) -> Iterator[Picture]:
    """Yields the pictures that every run has, one after the other."""
    for draw in EVERY.values():
        yield draw(record)
