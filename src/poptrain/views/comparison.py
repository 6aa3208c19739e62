"""Comparison: runs grouped by method, at equal steps per member and at equal total steps, and what the evidence supports.

A method is an algorithm with all its settings; runs of one method differ in their seeds. Compared are the best scores that the
runs had reached after equal steps per member, or after equal steps of all members together. The second view is the fair one
when populations differ in size, or when full runs follow one another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import isfinite

import numpy as np

from poptrain import statistics
from poptrain.core import History
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record
from poptrain.views.compared import Comparison, Method, Outcome, Pair, Point, Reported
from poptrain.views.format import clean, short
from poptrain.views.index import about, history_of, reported
from poptrain.views.sources import AnyRun, record_of

POINTS = 50  # of a curve


def compare(records: Sequence[AnyRun], names: Sequence[str] | None = None) -> Comparison:
    """Returns the comparison of runs of one task. A run without a healthy result is left out, with a warning.

    Args:
        names: of the method of each run; default: methods are distinguished, and named, by their settings.

    Raises:
        UsageError: there are fewer than two runs with results, or their metrics differ.
    """
    records = [record_of(run, "views.compare") for run in records]
    empty = [record for record in records if history_of(record).best() is None]
    traces = [_Trace(record) for record in records if record not in empty]
    if len(traces) < 2:
        without = f"; left out: {counted(len(empty), 'run')} without a healthy result" if empty else ""
        raise UsageError(f"compare: got {counted(len(traces), 'run')} with results, expected at least 2{without}.")
    for what in ("metric", "mode"):
        differ = sorted({str(trace.record.run.get(what)) for trace in traces})
        if len(differ) > 1:
            raise UsageError(
                f"compare: the runs have different settings of {what} ({', '.join(differ)}); their scores cannot be compared."
            )
    sign = traces[0].sign
    steps, total = min(trace.steps[-1][0] for trace in traces), min(trace.total[-1][0] for trace in traces)
    steps = max(steps, max(trace.steps[0][0] for trace in traces))  # every run has a result by then
    groups = _grouped(traces) if names is None else _by_name(traces, dict(zip(records, names, strict=True)))
    methods = tuple(_method(name, group, steps, total) for name, group in groups.items())
    reference = next((name for name, group in groups.items() if _independent(group[0].algorithm)), next(iter(groups)))
    found = {method.name: method for method in methods}
    others = [name for name in groups if name != reference]
    pairs = [_pair(found[name], found[reference], sign) for name in others]
    pairs += [_pair(found[b], found[a], sign) for a, b in combinations(others, 2)]
    return Comparison(
        metric=about(traces[0].record)[0],
        mode="min" if sign < 0 else "max",
        steps=steps,
        total=total,
        reference=reference,
        methods=methods,
        pairs=tuple(pairs),
        said=(*_selection(groups, found, sign), statistics.caution(min(len(group) for group in groups.values()))),
        warnings=(*_left_out(empty), *_other_code(traces), *_warnings(traces, steps)),
    )


class _Trace:
    """One run as two step functions: the best score so far (maximised) over steps of a member and over those of all."""

    def __init__(self, record: Record):
        history = history_of(record)
        self.record, self.sign = record, history.sign
        algorithm = record.run.get("algorithm")
        self.algorithm: Mapping[str, object] = algorithm if isinstance(algorithm, Mapping) else {"type": algorithm or ""}
        shown = list(_shown(history))
        self.steps = _rising((step, score) for step, _, score in shown)
        self.total = _rising((total, score) for _, total, score in shown)
        self.steps.append((max(history.end(id) for id in reported(history)), self.steps[-1][1]))
        trained = sum(history.step(id) - history.begin(id) for id in reported(history))
        self.total.append((trained, self.total[-1][1]))

    @property
    def seed(self) -> int:
        return int(self.record.run.get("seed", 0))


def _shown(history: History) -> Iterator[tuple[int, int, float]]:
    """Yields (lineage step, steps of all members so far, maximised score) of every evaluation that was reported."""
    total, told = 0, history.column("told")
    for id in sorted(reported(history), key=lambda id: (told[id], id)):
        result, begin = history.result(id), history.begin(id)
        assert result is not None
        if history.ok(id):
            for step, score in [*result.curve, (result.step, result.score)]:
                if isfinite(score):
                    yield int(step), total + int(step) - begin, score
        total += result.step - begin


def _rising(points: Iterator[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns the points, in order, at which the best score so far rises."""
    found: list[tuple[int, float]] = []
    for at, score in sorted(points):
        if not found or score > found[-1][1]:
            if found and found[-1][0] == at:
                found.pop()
            found.append((at, score))
    return found


def _best(trace: list[tuple[int, float]], at: float) -> float:
    """Returns the best score until `at`; NaN if there was no result."""
    index = bisect_right(trace, at, key=lambda point: point[0])
    return trace[index - 1][1] if index else float("nan")


# -- methods ----------------------------------------------------------------------------------------------------------


def _grouped(traces: Sequence[_Trace]) -> dict[str, list[_Trace]]:
    """Returns the runs by method, under the user's own name or the settings in which they differ, in the order of `_ordered`."""
    kinds: list[tuple[Mapping[str, object], list[_Trace]]] = []
    for trace in traces:
        group = next((group for algorithm, group in kinds if algorithm == trace.algorithm), None)
        if group is None:
            kinds.append((trace.algorithm, [trace]))
        else:
            group.append(trace)
    own = [{_own_name(trace) for trace in group} for _, group in kinds]
    named: dict[str, list[_Trace]] = {}
    for (algorithm, group), names in zip(kinds, own, strict=True):
        if len(names) == 1 and "" not in names and sum(bool(names & others) for others in own) == 1:
            named[names.pop()] = group
            continue
        alike = [other for other, _ in kinds if _title(other) == _title(algorithm)]
        differing = [key for key in algorithm if any(other.get(key) != algorithm[key] for other in alike)]
        name = " ".join([_title(algorithm), *(f"{key}={_brief(algorithm[key])}" for key in differing if key != "type")])
        while name in named:
            name += "'"
        named[name] = group
    return _ordered(named)


def _own_name(trace: _Trace) -> str:
    """Returns the user's name of a method: a study calls the directory of a run ``name-seed``. "" if it has another name."""
    directory = trace.record.directory
    name, _, seed = ("" if directory is None else directory.name).rpartition("-")
    return clean(name, 40) if seed == str(trace.seed) else ""


def _ordered(groups: Mapping[str, list[_Trace]]) -> dict[str, list[_Trace]]:
    """Returns methods by name, those of independent members first, and the runs of each by seed."""
    names = sorted(groups, key=lambda name: (not _independent(groups[name][0].algorithm), name))
    return {name: sorted(groups[name], key=lambda trace: trace.seed) for name in names}


def _by_name(traces: Sequence[_Trace], names: Mapping[Record, str]) -> dict[str, list[_Trace]]:
    """Returns the runs by the names of their methods."""
    groups: dict[str, list[_Trace]] = {}
    for trace in traces:
        groups.setdefault(clean(names[trace.record], 40), []).append(trace)
    return _ordered(groups)


def _title(algorithm: Mapping[str, object]) -> str:
    if _independent(algorithm):
        initial = algorithm.get("initial")
        whole = isinstance(initial, (list, tuple)) and len(initial) == algorithm.get("population")
        return "grid_search" if whole else "random_search"
    return clean(str(algorithm.get("name") or algorithm.get("type") or "unknown"), 40)


def _brief(value: object) -> str:
    """Returns a setting in a few characters: ``truncation(0.2)``, ``none``."""
    if isinstance(value, Mapping) and "parameters" in value:
        return counted(len(value["parameters"]), "parameter")
    if isinstance(value, Mapping) and "type" in value:
        inner = [_brief(item) for key, item in value.items() if key != "type"]
        return "none" if value["type"] == "Keep" else str(value["type"]).lower() + (f"({','.join(inner)})" if inner else "")
    if isinstance(value, (list, tuple)):
        return counted(len(value), "value") if len(value) > 3 else "/".join(map(_brief, value))
    return clean(short(value), 24)


def _kind(described: object) -> object:
    """Returns the type that a description in a log names."""
    return described.get("type") if isinstance(described, Mapping) else None


def _independent(algorithm: object) -> bool:
    return _kind(algorithm) == "Independent"


def _method(name: str, group: list[_Trace], steps: int, total: int) -> Method:
    sign = group[0].sign
    outcomes = tuple(_outcome(trace, steps, total) for trace in group)
    totals = [outcome.score_total for outcome in outcomes if outcome.score_total is not None]
    return Method(
        name=name,
        runs=outcomes,
        score=_reported([outcome.score for outcome in outcomes]),
        score_total=_reported(totals) if len(totals) == len(outcomes) else None,
        total=float(np.mean([outcome.total for outcome in outcomes])),
        seconds=float(np.mean([outcome.seconds for outcome in outcomes])),
        by_steps=_curve([trace.steps for trace in group], steps, sign),
        by_total=_curve([trace.total for trace in group], total, sign),
    )


def _outcome(trace: _Trace, steps: int, total: int) -> Outcome:
    at_total = _best(trace.total, total)
    return Outcome(
        directory=None if trace.record.directory is None else str(trace.record.directory),
        seed=trace.seed,
        finished=trace.record.finished,
        score=trace.sign * _best(trace.steps, steps),
        score_total=None if at_total != at_total else trace.sign * at_total,
        steps=trace.steps[-1][0],
        total=trace.total[-1][0],
        seconds=trace.record.elapsed,
    )


def _reported(values: Sequence[float]) -> Reported:
    return Reported(statistics.iqm(values), *statistics.interval(values))


def _curve(traces: list[list[tuple[int, float]]], end: int, sign: int) -> tuple[Point, ...]:
    begin = max(trace[0][0] for trace in traces)
    grid = np.unique(np.linspace(min(begin, end), end, POINTS).astype(int))
    found = []
    for at in grid.tolist():
        values = [sign * value for trace in traces if (value := _best(trace, at)) == value]
        if len(values) == len(traces):
            low, high = np.quantile(values, [0.25, 0.75])
            found.append(Point(at, statistics.iqm(values), float(low), float(high)))
    return tuple(found)


# -- what the evidence supports -------------------------------------------------------------------------------------------------


def _pair(method: Method, against: Method, sign: int) -> Pair:
    a, b = ([sign * outcome.score for outcome in each.runs] for each in (method, against))
    p, low, high = statistics.improvement(a, b)
    seeds = ({outcome.seed: sign * outcome.score for outcome in each.runs} for each in (method, against))
    mine, theirs = seeds
    shared = sorted(mine.keys() & theirs.keys())
    wins, losses, even = statistics.paired([mine[seed] for seed in shared], [theirs[seed] for seed in shared])
    return Pair(method.name, against.name, p, low, high, wins, losses, even, statistics.verdict(a, b))


def _selection(groups: Mapping[str, list[_Trace]], found: Mapping[str, Method], sign: int) -> Iterator[str]:
    """Yields what selection alone explains, where a method was also run without exploring, and random search was run."""
    bases = [name for name, group in groups.items() if _title(group[0].algorithm) == "random_search"]
    for part, group in groups.items():
        if _kind(group[0].algorithm.get("explore")) != "Keep":
            continue
        rest = _but_for_values(group[0].algorithm)
        for whole, others in groups.items():
            if whole == part or _but_for_values(others[0].algorithm) != rest or not bases:
                continue
            a, b, base = ([sign * outcome.score for outcome in found[name].runs] for name in (whole, part, bases[0]))
            share, low, high = statistics.share(a, b, base)
            interval = f"95 % interval {_percent(low)} to {_percent(high)}"
            if share == share and not high - low < 1:
                yield (
                    f"How much of the gain of {whole} over {bases[0]} selection alone ({part}) brings is not known from these "
                    f"runs ({interval})."
                )
            elif share > 1:
                yield f"Exploring brought nothing: selection alone ({part}) gains more over {bases[0]} than {whole} ({interval})."
            elif share == share:
                gain = f"the gain of {whole} over {bases[0]}"
                yield f"Selection alone ({part}) explains {100 * share:.0f} % of {gain} ({interval})."
            else:
                yield f"{whole} has no gain over {bases[0]} that selection could explain."


def _but_for_values(algorithm: Mapping[str, object]) -> dict[str, object]:
    """Returns the description of an algorithm without the options that say how hyperparameters change."""
    return {name: value for name, value in algorithm.items() if name not in ("explore", "anew")}


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if np.isfinite(value) else "no bound"


def _left_out(records: Sequence[Record]) -> Iterator[str]:
    if records:
        where = "in memory" if records[0].directory is None else clean(records[0].directory, 80)
        yield f"left out, because no result was healthy yet: {where}" + (f" and {len(records) - 1} more" * (len(records) > 1))


def _other_code(traces: Sequence[_Trace]) -> Iterator[str]:
    """Yields a warning for each trainable of which the runs have different code."""
    versions: dict[str, set[str]] = {}
    for trace in traces:  # logs of old versions lack it
        versions.setdefault(str(trace.record.run.get("trainable")), set()).add(str(trace.record.run.get("code")))
    for name, codes in versions.items():
        if len(codes - {"None"}) > 1:
            yield (
                f"the runs of {clean(name)} began with {counted(len(codes), 'different version')} of its code, so "
                "that the methods may not "
                "be what differs: train all of them with one."
            )


def _warnings(traces: Sequence[_Trace], steps: int) -> Iterator[str]:
    trainables = sorted({str(trace.record.run.get("trainable", "")).partition("#")[0] for trace in traces})
    if len(trainables) > 1:
        yield f"the runs train different things ({', '.join(clean(name, 60) for name in trainables)}): scores may not compare"
    open = [str(trace.record.directory) for trace in traces if not trace.record.finished]
    if open:
        more = " …" if len(open) > 1 else ""
        count = f"{len(open)} of the runs are" if len(open) > 1 else "one run is"
        yield f"{count} not finished ({clean(open[0], 80)}{more}): all are compared at step {steps:,}"
