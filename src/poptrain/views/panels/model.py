"""What a picture is made of, before anything draws it: panels, axes and series, as frozen dataclasses.

`plots` renders a `Picture` with Matplotlib, `report` with Plotly, and `as_json` makes it JSON. Series are listed from back to
front. Texts may hold anything that a user wrote, without control characters: a renderer escapes what its own markup needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, overload

T = TypeVar("T")
Coordinate = int | float | None  # None: a gap
Coordinates = Sequence[Coordinate]
Marker = Literal["ring", "dot", "cross", "star", "up", "down", "tick"]
Dash = Literal["", "dashed", "dotted"]
Hover = Literal["", "value", "text"]  # nothing; name, x, and the text or else y; the text alone


class Texts(Sequence[str], Generic[T]):
    """Texts that are made when they are read: most of those of a long run are never shown.

    Args:
        about: makes one.
        of: what each of them is about.
    """

    def __init__(self, about: Callable[[T], str], of: Sequence[T]):
        self._about, self._of = about, of

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts[T]: ...
    def __getitem__(self, index: int | slice) -> str | Texts[T]:
        return Texts(self._about, self._of[index]) if isinstance(index, slice) else self._about(self._of[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What all series have: a name in the legend, and a colour."""

    name: str
    colour: str = ""
    caption: str = ""  # what the legend shows instead of the name
    legend: bool = True
    rank: int = 0  # order in the legend; equal ones in the order of the panel
    alpha: float = 1.0
    hover: Hover = ""
    texts: Sequence[str] = ()  # one a point, for hovering; several lines are separated by a newline
    tasks: Sequence[int] = ()  # one a point: the task that it shows; of a line, one: the task whose ancestry it follows


@dataclass(frozen=True, kw_only=True)
class LineSeries(Series):
    """A line through points."""

    x: Coordinates
    y: Coordinates
    width: float = 1.5
    stepped: bool = False  # each value is kept up to the next x
    dash: Dash = ""
    mark: Marker | None = None  # that the legend shows on the line
    kind: str = field(default="line", init=False)


@dataclass(frozen=True, kw_only=True)
class Band(Series):
    """The area between two lines."""

    x: Coordinates
    low: Coordinates
    high: Coordinates
    stepped: bool = False
    kind: str = field(default="band", init=False)


@dataclass(frozen=True)
class Shades:
    """A colour scale, from the worst to the best value."""

    label: str  # "": another panel shows the scale
    low: float
    high: float
    palette: tuple[str, ...]  # from low to high
    beyond: Literal["", "min", "max"] = ""  # the end at which values lie outside


@dataclass(frozen=True, kw_only=True)
class PointSeries(Series):
    """Separate marks. With `shades`, each has the colour of its value."""

    x: Coordinates
    y: Coordinates
    marker: Marker = "dot"
    size: float = 6.0  # points
    values: Sequence[float] = ()
    shades: Shades | None = None
    spread: Sequence[float] = ()  # half the length of a horizontal error bar
    kind: str = field(default="points", init=False)


@dataclass(frozen=True, kw_only=True)
class Segments(Series):
    """Separate pieces of lines. With `shades`, each has the colour of its value."""

    x: Coordinates  # where they begin
    y: Coordinates
    x_end: Coordinates
    y_end: Coordinates
    width: float = 1.5
    values: Sequence[float] = ()
    shades: Shades | None = None
    mark: Marker | None = None  # that the legend shows on the line
    kind: str = field(default="segments", init=False)


@dataclass(frozen=True, kw_only=True)
class Bars(Series):
    """Horizontal bars, one a row from 0 on; those of the next series of bars are stacked on them."""

    widths: Sequence[float]
    kind: str = field(default="bars", init=False)


@dataclass(frozen=True)
class Rule:
    """A dotted horizontal line over the whole panel."""

    y: float
    kind: str = field(default="rule", init=False)


Item = LineSeries | Band | PointSeries | Segments | Bars | Rule


@dataclass(frozen=True)
class Axis:
    """One axis of a panel, in the units of the data."""

    label: str = ""
    scale: Literal["linear", "log", "nines"] = "linear"  # nines: 0.9, 0.99, 0.999 … are equally far apart
    low: float | None = None  # None: the renderer fits it to the data
    high: float | None = None  # below `low` for an axis that points down
    ticks: tuple[tuple[float, str], ...] | None = None  # None: the renderer chooses
    whole: bool = False  # only whole numbers are labelled
    grid: bool = True


STEPS = Axis("steps", low=0)


@dataclass(frozen=True)
class Panel:
    """One pair of axes with what is drawn inside."""

    series: tuple[Item, ...]
    x: Axis = STEPS
    y: Axis = Axis()
    title: str = ""
    height: float = 1.0  # relative to the other panels
    legend: bool = False  # of its own, at its right

    @property
    def shades(self) -> Shades | None:
        """The colour scale of the first series that has one."""
        return next((each.shades for each in self.series if isinstance(each, (PointSeries, Segments)) and each.shades), None)


@dataclass(frozen=True)
class Picture:
    """Panels in a grid, row by row. All panels have the same x axis unless `columns` says otherwise."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    height: float  # inches
    note: str = ""  # one line under the title
    width: float = 8.4  # inches
    columns: int = 1
    legend: Literal["", "below", "right"] = ""  # one of the first panel, for all
    same_x: bool = True
    same_y: bool = False

    @property
    def rows(self) -> int:
        """The number of rows of the grid."""
        return -(-len(self.panels) // self.columns) or 1

    @property
    def heights(self) -> list[float]:
        """The relative heights of the rows."""
        return [panel.height for panel in self.panels[:: self.columns]]

    def listed(self, index: int) -> bool:
        """True if the series of a panel are listed in a legend."""
        return self.panels[index].legend or (index == 0 and bool(self.legend))
