"""The picture of architectures over generations: every network that was tried, and those that became members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views.architectures import Architectures, Trial
from poptrain.views.architectures import architectures as view_of
from poptrain.views.format import clean, short
from poptrain.views.index import space_of
from poptrain.views.palette import FAINT
from poptrain.views.panels.hyperparameters import axis_of
from poptrain.views.panels.model import Axis, Item, Panel, Picture, PointSeries, Shades
from poptrain.views.panels.shades import score_shades
from poptrain.views.scale import Scale, scale_of

WIDTH = 0.7  # of the column of a generation, in which its networks stand side by side


def architectures(record: Record) -> Picture | None:
    """Returns one panel for each static hyperparameter; None for a run that has tried no new architecture."""
    view, space = view_of(record), space_of(record)
    if not view.trials:
        return None
    scores = [each.score for each in view.trials if each.score is not None]
    shades = score_shades(clean(view.metric, 40), scores, view.mode)
    places = _places(view.trials)
    panels = []
    for name in view.names:
        panels.append(_panel(view, name, space.get(name, {}), places, shades))
        shades = replace(shades, label="")  # one scale is enough
    stayed = sum(each.stayed for each in view.trials)
    note = (
        f"begun: {counted(len(view.trials), 'network')}, of which {stayed} became members; the colour is the best "
        f"{clean(view.metric, 40)}"
    )
    height = min(1.7 * len(panels) + 1.4, 14)
    return Picture("architectures", "Architectures by generation", tuple(panels), height, note=note, legend="below")


def _panel(view: Architectures, name: str, kind: Mapping[str, object], places: Mapping[int, float], shades: Shades) -> Panel:
    scale = scale_of(kind, (each.architecture.get(name) for each in view.trials))
    numbers = sorted({each.generation for each in view.trials})
    x = Axis("generation", low=numbers[0] - 0.5, high=numbers[-1] + 0.5, ticks=tuple((float(n), str(n)) for n in numbers))
    y = replace(axis_of(scale, kind), label=clean(name, 40))
    return Panel(tuple(_points(view, name, scale, places, shades)), x, y)


def _points(view: Architectures, name: str, scale: Scale, places: Mapping[int, float], shades: Shades) -> Iterator[Item]:
    """Yields those that were given up, and on top of them those that became members, side by side in their generation."""
    for stays, text, size in ((False, "tried", 4.5), (True, "became a member", 8.5)):
        found = [
            (each, place)
            for each in view.trials
            if each.stayed == stays and (place := scale.place(each.architecture.get(name))) is not None
        ]
        if not found:
            continue
        yield PointSeries(
            name=text,
            colour=FAINT,
            marker="dot",
            size=size,
            x=[places[each.task] for each, _ in found],
            y=[place for _, place in found] if scale.listed else [_number(each, name) for each, _ in found],
            values=[shades.low if each.score is None else each.score for each, _ in found],
            shades=shades,
            hover="text",
            texts=[_about(view, each) for each, _ in found],
            tasks=[each.task for each, _ in found],
        )
        shades = replace(shades, label="")


def _places(trials: Sequence[Trial]) -> dict[int, float]:
    """Returns where each network stands on the axis, by its task: those of one generation have a place of their own each."""
    places = {}
    for number in {each.generation for each in trials}:
        own = [each.task for each in trials if each.generation == number]
        for index, task in enumerate(own):
            places[task] = number + WIDTH * ((index + 0.5) / len(own) - 0.5)
    return places


def _number(trial: Trial, name: str) -> float:
    value = trial.architecture[name]
    assert isinstance(value, (int, float))  # it has a place
    return float(value)


def _about(view: Architectures, trial: Trial) -> str:
    values = ", ".join(f"{clean(name, 40)} {short(value)}" for name, value in trial.architecture.items())
    reached = "it never had a score" if trial.score is None else f"{clean(view.metric, 40)} {short(trial.score, 5)}"
    source = {"start": "from the start", "model": "proposed by the model", "best": "the best of a generation before"}
    return f"task {trial.task}: {values}\n{source.get(trial.source, 'drawn at random')}, {reached}"
