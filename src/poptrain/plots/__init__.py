"""Plots: views as figures. Each function takes a run, its record or a view, and returns a Matplotlib `Figure`.

No window is opened: a notebook shows the figure, and ``figure.savefig("score.png")`` writes it.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(10))
>>> score(run).axes[0].get_ylabel()
'score'
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'poptrain[plots]'") from error

from matplotlib.figure import Figure

from poptrain import views
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.log.private import as_private_as
from poptrain.plots.render import render
from poptrain.views import Comparison, Curves, Faster, Overhead, RegionLife, Spread, Teams, panels
from poptrain.views.panels.hyperparameters import Named
from poptrain.views.sources import AnyRun, record_of

__all__ = ["FIGURES", "architectures", "comparison", "faster", "hparams", "lineage", "region", "save", "save_all", "schedules"]
__all__ += ["score", "spread", "subpopulations", "team", "time"]


class HasComparison(Protocol):
    """A study, as `pt.study` returns it."""

    @property
    def comparison(self) -> Comparison:
        """What the evidence supports."""
        ...


ELSEWHERE = {  # names that people look for
    "schedule": "hparams(run)",
    "hyperparameters": "hparams(run)",
    "scores": "score(run)",
    "curves": "score(run)",
    "loss": "score(run)",
    "history": "score(run)",
    "compare": "comparison(study)",
    "study": "comparison(study)",
    "tree": "lineage(run)",
    "plot": "score(run)",
    "all": "save_all(run, directory)",
}
MOST_BARS = 40  # members that have a bar of their own in `time`


def score(source: AnyRun | Curves) -> Figure:
    """Returns the figure of the scores of a run along ancestry, from the run or its `views.curves`."""
    return render(panels.score(source if isinstance(source, Curves) else views.curves(record_of(source))))


def hparams(run: AnyRun) -> Figure:
    """Returns the figure of the hyperparameter schedules of a run."""
    return render(panels.hparams(record_of(run)))


def lineage(run: AnyRun) -> Figure:
    """Returns the figure of the family tree of a run."""
    return render(panels.tree(record_of(run)))


def spread(source: AnyRun | Spread) -> Figure:
    """Returns the figure of how far apart the members are, from a run or its `views.spread`."""
    if isinstance(source, Spread):
        return render(panels.spread(source))
    record = record_of(source)
    return render(panels.spread(views.spread(record), views.gauges(record).history))


def time(source: AnyRun | Overhead) -> Figure:
    """Returns the figure of where the time went, from a run or its `views.overhead`."""
    return render(panels.time(source if isinstance(source, Overhead) else views.overhead(record_of(source)), MOST_BARS))


def subpopulations(run: AnyRun) -> Figure:
    """Returns the figure of the sub-populations of FIRE PBT: one panel for each hyperparameter that is a number.

    Raises:
        UsageError: the algorithm of the run has no sub-populations.
    """
    return render(panels.subpopulations(record_of(run)))


def team(source: AnyRun | Teams) -> Figure:
    """Returns the figure of the actors of teams, from a run or its `views.teams`.

    Raises:
        UsageError: the members of the run are not teams.
    """
    picture = panels.team(source if isinstance(source, Teams) else views.teams(record_of(source)))
    if picture is None:
        raise UsageError("team: the members of this run are not teams: no result has a metric 'team/0'.")
    return render(picture)


def region(source: AnyRun | RegionLife) -> Figure:
    """Returns the figure of the life of a trust region, from a run or its `views.region`.

    Raises:
        UsageError: the algorithm of the run has no trust region, or has suggested nothing in it yet.
    """
    picture = panels.region(source if isinstance(source, RegionLife) else views.region(record_of(source)))
    if picture is None:
        raise UsageError("region: no hyperparameters of this run were suggested in a trust region; bg_pbt does that.")
    return render(picture)


def architectures(run: AnyRun) -> Figure:
    """Returns the figure of the architectures of a run with generations: those that were tried, and those that stayed.

    Raises:
        UsageError: the run has tried no new architecture.
    """
    picture = panels.architectures(record_of(run))
    if picture is None:
        raise UsageError("architectures: this run has tried no new architecture; bg_pbt with generations does that.")
    return render(picture)


def faster(source: AnyRun | Faster, first: int = 0, second: int = 1, step: int | None = None) -> Figure:
    """Returns the figure of which of two seats improves faster, from a run or its `views.faster`.

    Args:
        first: one seat, if the source is a run.
        second: the other seat.
        step: compare them as they were after this many steps; default: at the end.
    """
    view = source if isinstance(source, Faster) else views.faster(record_of(source), first, second, step)
    return render(panels.faster(view))


def comparison(source: Comparison | HasComparison) -> Figure:
    """Returns the figure of a comparison of methods, or of a study: interquartile means, with bands between the quartiles."""
    return render(panels.comparison(source if isinstance(source, Comparison) else source.comparison))


def schedules(named: Named, hparam: str, end: int, *, log: bool = True, title: str = "Learned schedules") -> Figure:
    """Returns the figure of schedules by name.

    Args:
        named: each a `views.Schedule`, a list of these (of several seeds), or a function of the step: a hand-made schedule.
        hparam: the hyperparameter that is drawn.
        end: the last step.

    Raises:
        UsageError: a schedule does not have the hyperparameter.
    """
    return render(panels.schedules(named, hparam, end, log=log, title=title))


OF_SOME = ("subpopulations", "team", "region", "architectures")  # pictures of some algorithms, which are files too
FIGURES = {"score": score, "hparams": hparams, "lineage": lineage, "spread": spread, "time": time}


def save_all(run: AnyRun, directory: str | Path) -> list[Path]:
    """Draws every figure of a run as PNG, makes the directory, and returns the paths."""
    record = record_of(run)
    own = {name: picture for name in OF_SOME if (picture := panels.SOME[name](record)) is not None}
    with as_private_as(record.directory):
        files = [save(draw(record), Path(directory) / f"{name}.png") for name, draw in FIGURES.items()]
        return files + [save(render(picture), Path(directory) / f"{name}.png") for name, picture in own.items()]


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, makes its directory, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(path, format="png")
    return path


def __getattr__(name: str) -> object:
    """Says which figure is meant by a name that does not exist."""
    hint = f" Write pt.plots.{ELSEWHERE[name]}." if name in ELSEWHERE else did_you_mean(name, __all__)
    raise AttributeError(f"module 'poptrain.plots' has no attribute {name!r}.{hint}")


def __dir__() -> list[str]:
    """Returns the names of the figures and of the functions that write them."""
    return sorted(__all__)
