"""Pictures of scores: along ancestry, of two seats, of methods, and of what a model expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

from poptrain.core.counting import counted
from poptrain.views.compared import Comparison, Point
from poptrain.views.curves import Curves, Mark, curves_extent
from poptrain.views.exploits import Exploit
from poptrain.views.format import clean, short
from poptrain.views.improvement import Faster, Piece
from poptrain.views.palette import BEST, COPIES, FAINT, INK, MEMBERS, STEPS, colour, colours
from poptrain.views.panels.model import STEPS as STEPS_AXIS
from poptrain.views.panels.model import Axis, Band, Coordinate, Dash, Item, LineSeries, Panel, Picture, PointSeries, Shades, Texts
from poptrain.views.suggestions import Suggestion


def score(view: Curves, exploit: Callable[[int], Exploit | None] = lambda task: None) -> Picture:
    """Returns the score along the ancestry of every final member: the best one bold, its copies marked, dead ends faint.

    Args:
        exploit: of a task, the exploit that began it, whose changes are shown when hovering over its mark.
    """
    low, high, log = curves_extent(view)
    every = {mark.task: mark for curve in view.members for mark in curve.marks}
    best = {mark.task: mark for mark in view.best.marks} if view.best else {}
    others = [mark for task, mark in every.items() if task not in best]
    series: list[Item] = [_abandoned(view), *_members(view), _marks("copied a member", others, exploit, COPIES, 3.0)]
    if view.best is not None:
        x, y = zip(*view.best.points, strict=True)
        caption = f"best  {short(view.best.score, 5)}"
        series += [
            LineSeries(
                name="best",
                caption=caption,
                rank=-1,
                colour=BEST,
                width=2.8,
                mark="star",
                x=x,
                y=y,
                hover="value",
                tasks=[view.best.task],
            ),
            _marks("exploit of the best", list(best.values()), exploit, BEST, 6.0),
            PointSeries(name="star", legend=False, colour=BEST, marker="star", size=13, x=x[-1:], y=y[-1:]),
        ]
    metric, members, copies = clean(view.metric, 40), len(view.members), len(every)
    better = "lower is better" if view.mode == "min" else "higher is better"
    count = f"{counted(members, 'member')}, {counted(copies, 'copy')} along the way"
    panel = Panel(tuple(series), y=Axis(metric, "log" if log else "linear", low, high), legend=True)
    return Picture("score", f"{metric} along ancestry", (panel,), 5.0, note=f"{better} · {count}")


def _abandoned(view: Curves) -> LineSeries:
    """Returns all that was trained; what no final member descends from stays visible."""
    pieces = [[*piece, (None, None)] for seat in view.seats for piece in seat.pieces if len(piece) > 1]
    points: list[tuple[Coordinate, Coordinate]] = list(chain(*pieces))
    x, y = [x for x, _ in points], [y for _, y in points]
    return LineSeries(name="abandoned", rank=1000, colour=FAINT, width=0.8, x=x, y=y)


def _members(view: Curves) -> Iterable[LineSeries]:
    colour = colours([curve.member for curve in view.members])
    few = len(view.members) <= len(MEMBERS)
    ranked = sorted(view.members, key=lambda curve: curve.score, reverse=view.mode != "min")
    for index, curve in enumerate(view.members):
        name = f"member {curve.member}"
        yield LineSeries(
            name=name,
            caption=f"{name}  {short(curve.score, 5)}" if few else counted(len(view.members), "member"),
            legend=few or index == 0,
            rank=ranked.index(curve) + 1 if few else 1,
            colour=colour[curve.member],
            width=1.4 if few else 0.9,
            alpha=0.9 if few else 0.6,
            x=[step for step, _ in curve.points],
            y=[value for _, value in curve.points],
            hover="value",
            tasks=[curve.task],
        )


def _marks(name: str, marks: Sequence[Mark], exploit: Callable[[int], Exploit | None], colour: str, size: float) -> PointSeries:
    x, y = [mark.step for mark in marks], [mark.score for mark in marks]
    texts = Texts(lambda mark: _about(mark, exploit(mark.task)), marks)
    tasks = [mark.task for mark in marks]
    return PointSeries(
        name=name, rank=999, colour=colour, marker="ring", size=size, x=x, y=y, hover="text", texts=texts, tasks=tasks
    )


def _about(mark: Mark, exploit: Exploit | None) -> str:
    changes = exploit.changes.items() if exploit else ()
    lines = [f"{clean(name, 60)}: {short(old)} → {short(new)}" for name, (old, new) in changes]
    return "\n".join([f"member {mark.member} copied {mark.donor} at step {mark.step:,}", *lines])


def faster(view: Faster) -> Picture:
    """Returns two curves, smoothed, and the section in which they overlap; steps from the start of each."""
    series = (*_piece(view.first, BEST), *_piece(view.second, MEMBERS[0]))
    panel = Panel(
        series, replace(STEPS_AXIS, label="steps since the weights were copied"), Axis(clean(view.metric, 40)), legend=True
    )
    return Picture("faster", f"{_seat(view.first)} against {_seat(view.second).lower()}", (panel,), 4.4, note=_outcome(view))


def _piece(piece: Piece, colour: str) -> Iterable[Item]:
    x, name = [step - piece.steps[0] for step in piece.steps], _seat(piece)
    yield PointSeries(
        name=f"{name}, raw", legend=False, colour=colour, alpha=0.45, marker="dot", size=4, x=x, y=piece.scores, hover="value"
    )
    yield LineSeries(name=name, colour=colour, width=1.1, x=x, y=piece.smoothed)
    if piece.overlap is not None:
        a, b = piece.overlap
        here, there = x[a : b + 1], piece.smoothed[a : b + 1]
        yield LineSeries(name=f"overlap, {counted(b - a, 'point')}", colour=colour, width=3.2, x=here, y=there)
        yield PointSeries(name="start", legend=False, colour=colour, marker="ring", size=8, x=here[:1], y=there[:1])


def _seat(piece: Piece) -> str:
    return f"{'Evaluator' if piece.evaluator else 'Member'} {piece.seat}"


def _outcome(view: Faster) -> str:
    if not view.difference:
        found = "neither improves faster" if view.p is not None else "the curves do not overlap, so neither is known to be faster"
    else:
        better = view.first if view.difference > 0 else view.second
        found = f"{_seat(better).lower()} improves faster, by {short(abs(view.difference), 3)}"
        found += "" if view.p is not None else "; no overlap: under the penalty that suits it best"
    return found if view.p is None else f"{found}; the first better by chance: p = {short(view.p, 3)}"


def comparison(view: Comparison) -> Picture:
    """Returns the best score so far of each method: interquartile means, with bands between the quartiles over runs."""
    metric = f"best {clean(view.metric, 40)} so far"
    panels = []
    for title, steps, label in (
        ("at equal steps per member", True, "steps of a member"),
        ("at equal total steps", False, "steps of all members together"),
    ):
        series: list[Item] = []
        for index, method in enumerate(view.methods):
            name = f"{clean(method.name, 60)} ({len(method.runs)})"
            series += _method(method.by_steps if steps else method.by_total, name, index)
        panels.append(Panel(tuple(series), Axis(label), Axis(metric if steps else ""), title))
    return Picture("comparison", "", tuple(panels), 4.2, width=9.6, columns=2, legend="below", same_x=False, same_y=True)


def _method(points: Sequence[Point], name: str, index: int) -> Iterable[Item]:
    at, mean = [point.at for point in points], [point.mean for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    dash: Dash = "dashed" if index >= len(MEMBERS) else ""
    yield Band(name=name, legend=False, colour=colour(index), alpha=0.15, x=at, low=low, high=high)
    yield LineSeries(name=name, colour=colour(index), width=1.8, dash=dash, x=at, y=mean, hover="value")


def suggestions(found: Sequence[Suggestion]) -> Picture | None:
    """Returns what a model (PB2) expected of each suggestion, and what was observed; None if there is nothing to compare."""
    known = [(each, each.gain, each.observed) for each in found if each.gain is not None and each.observed is not None]
    if not known:
        return None
    numbers = [number for _, expected, observed in known for number in (expected, observed)]
    ends, steps = (min(numbers), max(numbers)), [each.step for each, _, _ in known]
    texts = [f"member {each.member}, step {each.step:,}\n{_gains(each)}" for each, _, _ in known]
    tasks = [each.task for each, _, _ in known]
    points = PointSeries(
        name="suggestions",
        colour=INK,
        marker="dot",
        size=6,
        x=[expected for _, expected, _ in known],
        y=[observed for _, _, observed in known],
        values=steps,
        shades=Shades("step", min(steps), max(steps), STEPS),
        spread=[each.gain_sd or 0.0 for each, _, _ in known],
        hover="text",
        texts=texts,
        tasks=tasks,
    )
    diagonal = LineSeries(name="as expected", colour=BEST, width=1.2, dash="dotted", x=ends, y=ends)
    panel = Panel((diagonal, points), Axis("expected gain (± standard deviation)"), Axis("observed gain"))
    return Picture("model", "Suggestions of the model", (panel,), 4.3)


def _gains(each: Suggestion) -> str:
    return f"expected {short(each.gain)} ± {short(each.gain_sd)}, observed {short(each.observed)}"
