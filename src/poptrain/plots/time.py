"""Where the time went: training, saving, queued, waiting and deciding, one bar a member and one for all."""

from __future__ import annotations

from matplotlib.figure import Figure

from poptrain.log.reader import Record
from poptrain.plots import style
from poptrain.views import MemberTime, Overhead, overhead, span
from poptrain.views.palette import TIMES

MOST = 40  # members with a bar of their own


def time(source: Record | Overhead) -> Figure:
    """Returns the figure of where the time went, from a record or its `views.overhead`."""
    view = overhead(source) if isinstance(source, Record) else source
    members = view.by_member[:MOST]
    figure = style.figure(8.4, 1.9 + 0.24 * (len(members) + 1))
    axes = style.tidy(figure.subplots())
    axes.grid(axis="y", visible=False)
    style.title(axes, "Time spent", _note(view, len(members)))
    rows = [*(_parts(each) for each in members), _mean(view)]
    left = [0.0] * len(rows)
    for part, colour in TIMES.items():
        widths = [100 * row[part] for row in rows]
        axes.barh(range(len(rows)), widths, left=left, height=0.78, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    every = max(1, len(members) // 24)
    names = [f"evaluator {each.member}" if each.evaluator else str(each.member) for each in members]
    places = [*range(0, len(members), every), len(members)]
    axes.set_yticks(places, [*(names[place] for place in places[:-1]), "all"])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max([100.0, *left]))
    axes.set_ylabel("member", color=style.INK)
    axes.set_xlabel("% of each one's time", color=style.INK)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(TIMES), frameon=False, fontsize=9)
    return figure


def _parts(each: MemberTime) -> dict[str, float]:
    """Returns the parts of the time that is known of one member, as fractions."""
    whole = sum(getattr(each, part) for part in TIMES) or 1.0
    return {part: getattr(each, part) / whole for part in TIMES}


def _mean(view: Overhead) -> dict[str, float]:
    whole = sum(getattr(each, part) for each in view.by_member for part in TIMES) or 1.0
    return {part: sum(getattr(each, part) for each in view.by_member) / whole for part in TIMES}


def _note(view: Overhead, shown: int) -> str:
    parts = [f"wall time {span(view.wall)}", f"{view.slots} at the same time"]
    if view.share is not None:
        parts.append(f"slots busy {100 * min(view.share, 1):.0f} %")
    parts.append(f"deciding {span(view.deciding)}")
    if len(view.by_member) > shown:
        parts.append(f"the first {shown} of {len(view.by_member)} members")
    return " · ".join(parts)
