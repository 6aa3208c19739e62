"""Views: what a log contains, as frozen dataclasses. Each is a pure function of a record, with the user's sign of scores.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
>>> run = pt.run(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(20))
>>> view = status(run.record)
>>> view.state, view.generation, view.results, schedule(run.record).step
('finished', 4, 16, 20)
"""

from poptrain.views.architectures import Architectures, Trial, architectures
from poptrain.views.as_json import as_json, dumps
from poptrain.views.compared import Comparison, Method, Outcome, Pair, Point, Reported
from poptrain.views.comparison import compare
from poptrain.views.curves import Curve, Curves, Mark, SeatCurve, curves
from poptrain.views.exploits import Exploit
from poptrain.views.format import clean, short, span
from poptrain.views.gauges import Gauges, gauges
from poptrain.views.improvement import Faster, Piece, faster
from poptrain.views.lineage import Ancestor, Common, Lineage, lineage
from poptrain.views.lock_holder import Writer
from poptrain.views.overhead import LineTime, MemberTime, Overhead, overhead
from poptrain.views.phases import RegionMoment, Rung
from poptrain.views.region import RegionLife, region
from poptrain.views.schedule import Schedule, Segment, schedule, schedule_from, schedules
from poptrain.views.spread import Generation, Spread, spread
from poptrain.views.status import Best, Member, Status, Trouble, status
from poptrain.views.story import Story, story
from poptrain.views.subpopulations import HandOver, Quantiles, Subpopulation, Subpopulations, subpopulations
from poptrain.views.suggestions import Suggestion, suggestions
from poptrain.views.table import table
from poptrain.views.tally import Diversity
from poptrain.views.teams import TeamResult, Teams, teams

__all__ = [
    "Ancestor",
    "Architectures",
    "Best",
    "Common",
    "Comparison",
    "Curve",
    "Curves",
    "Diversity",
    "Exploit",
    "Faster",
    "Gauges",
    "Generation",
    "HandOver",
    "LineTime",
    "Lineage",
    "Mark",
    "Member",
    "MemberTime",
    "Method",
    "Outcome",
    "Overhead",
    "Pair",
    "Piece",
    "Point",
    "Quantiles",
    "RegionLife",
    "RegionMoment",
    "Reported",
    "Rung",
    "Schedule",
    "SeatCurve",
    "Segment",
    "Spread",
    "Status",
    "Story",
    "Subpopulation",
    "Subpopulations",
    "Suggestion",
    "TeamResult",
    "Teams",
    "Trial",
    "Trouble",
    "Writer",
    "architectures",
    "as_json",
    "clean",
    "compare",
    "curves",
    "dumps",
    "faster",
    "gauges",
    "lineage",
    "overhead",
    "region",
    "schedule",
    "schedule_from",
    "schedules",
    "short",
    "span",
    "spread",
    "status",
    "story",
    "subpopulations",
    "suggestions",
    "table",
    "teams",
]
