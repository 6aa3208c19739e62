"""How every figure looks: colours that colour-blind readers can distinguish, labels that no user's text can break."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poptrain.views import clean
from poptrain.views.palette import BEST, FAINT, GRID, INK, MEMBERS, NOTE

__all__ = ["BEST", "FAINT", "INK", "MEMBERS", "NOTE", "figure", "label", "tidy", "title"]


class Shown(Figure):
    """A figure that a notebook shows, also if no backend of Matplotlib was chosen there."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure, independent of any window or global state of Matplotlib."""
    return Shown(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def tidy(axes: Axes, grid: bool = True) -> Axes:
    """Returns the axes without a frame, with a quiet grid; without horizontal lines if not `grid`."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9AA1AA")
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(True, axis="both" if grid else "x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def title(axes: Axes, head: str, note: str = "") -> None:
    """Writes a bold title at the left, and a note under it."""
    axes.set_title(head, loc="left", fontsize=12, fontweight="bold", color=INK, pad=22 if note else 8)
    if note:
        axes.text(0, 1.012, note, transform=axes.transAxes, fontsize=9, color=NOTE, va="bottom")


def label(text: object, limit: int = 40) -> str:
    """Returns a user's text for Matplotlib: no control characters, and no $ that would begin a formula."""
    return clean(text, limit).replace("$", r"\$")
