"""``replay``: the schedule that a population found, trained alone, with or without its run at hand. It is itself a run.

What is replayed is the ancestry of one result, through every copy and, for FIRE PBT, every hand-over by an evaluator.
From a run, it is asked again as the very tasks that it was trained in (as long as neither its length nor its cuts are
changed), so that a deterministic trainable repeats the scores exactly if the seeds are the same too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.algorithms.replay import Piece, ScheduleReplay, guessed, merged, pieces, schedule_replay
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.engine import stop as stops
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.result import Run
from poptrain.log.reader import Record, read
from poptrain.space import Space
from poptrain.space.from_json import described

FITS = ("stretch", "hold")


@dataclass(frozen=True)
class Source:
    """A schedule to be replayed, and where it comes from."""

    pieces: tuple[Piece, ...]
    length: int | None  # steps; None: a list, which holds its last values for as long as it is trained
    space: Space | None = None  # None: not known
    metric: str | None = None
    mode: str | None = None
    task: int | None = None  # whose ancestry it is, in the run that it comes from
    member: int | None = None
    score: float | None = None  # of that task, in the user's sign


def replay(
    schedule: Any,
    trainable: Any = None,
    *,
    task: int | None = None,
    final: bool = False,
    same_seeds: bool = False,
    metric: str | None = None,
    mode: str | None = None,
    stop: Any = None,
    fit: str | None = None,
    interval: int | None = None,
    executor: Any = "inline",
    directory: str | Path | None = None,
    seed: int = 0,
    sinks: Sequence[Any] = (),
) -> Run:
    """Returns the run that trains one schedule alone, from fresh weights.

    Args:
        schedule: a `Run`, the directory of one, what ``run.schedule()`` returns, the JSON file of an exported one, or a list
            of ``(start, hparams)``.
        trainable: what is trained; default: that of the `Run`.
        task: of a run: whose ancestry is replayed; default: that of the best result.
        final: train with the schedule's last values from step 0 instead: what the values are worth without their schedule.
        same_seeds: of a run: give every task the seed that it had there, instead of one drawn from `seed`.
        metric: as in `run`; default: as in the run that the schedule comes from.
        mode: likewise.
        stop: default: the length of the schedule. Another number of steps needs `fit`.
        fit: "stretch" (every change comes proportionally later or earlier) or "hold" (changes stay where they are; a longer
            training goes on with the last values, a shorter one ends early).
        interval: steps between two results; default: where the run had them, or where the schedule changes.
        executor: as in `run`, as are `directory`, `seed` and `sinks`.

    Raises:
        UsageError: there is no such schedule, or it does not fit the length, the names or the trainable.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> run = pt.run(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> pt.replay(run, same_seeds=True).best.score == run.best.score
    True
    """
    source = source_of(schedule, task)
    if trainable is None:
        trainable = getattr(schedule, "trainable", None)
    if trainable is None:
        raise UsageError("replay: the trainable is missing: give the one to train, replay(schedule, trainable).")
    algorithm, stop = planned(source, stop=stop, fit=fit, final=final, same_seeds=same_seeds, interval=interval)
    experiment = Experiment(algorithm, trainable, metric or source.metric or "score", mode or source.mode or "max", stop,
                            executor, seed, tuple(sinks))  # fmt: skip
    return execute(experiment, directory)


def planned(
    source: Source, *, stop: Any = None, fit: str | None = None, final: bool = False, same_seeds: bool = False,
    interval: int | None = None, space: Space | None = None,
) -> tuple[ScheduleReplay, Any]:  # fmt: skip
    """Returns the algorithm and the stop condition of a replay; `space` is that of the experiment, if it is another one.

    Raises:
        UsageError: a length that needs `fit`, seeds that are not known, or other hyperparameters than the schedule's.
    """
    if fit is not None and fit not in FITS:
        raise UsageError(f"replay: fit={fit!r}, expected 'stretch' or 'hold'.{did_you_mean(fit, FITS)}")
    row, length = source.pieces, source.length
    stop, budget = _stop(stop, length, interval)
    changed = length is not None and budget != length
    if changed and fit is None and not final:
        raise UsageError(
            f"replay: the schedule is {length:,} steps long, not {budget:,}: say with fit='stretch' or fit='hold' (--fit stretch "
            "or --fit hold) what becomes of it, or leave the length as it is."
        )
    if same_seeds and (interval is not None or fit == "stretch" or row[0].seed is None):
        why = "a schedule without its run has no seeds" if row[0].seed is None else "with interval or fit='stretch' tasks differ"
        raise UsageError(f"replay: same_seeds repeats the tasks of a run; {why}.")
    if final:
        last = row[-1].hparams
        row = tuple(replace(piece, hparams=last) for piece in row)
    if changed and fit == "stretch":
        row = _stretched(merged(row), budget / length)
    if not same_seeds:
        row = tuple(replace(piece, seed=None) for piece in row)
    return schedule_replay([row], interval=interval, space=_space(row, source.space, space)), stop


def _stop(stop: Any, length: int | None, interval: int | None) -> tuple[Any, int]:
    budget = None if stop is None else stops.budget(stops.check(stop), interval)
    if budget is None and length is None:
        raise UsageError("replay: a list of (start, hparams) has no end: give stop=pt.steps(n).")
    if budget is None:
        budget = length
        stop = stops.steps(length) if stop is None else stops.any_of(stop, stops.steps(length))
    return stop, budget


def _stretched(row: Sequence[Piece], factor: float) -> tuple[Piece, ...]:
    """Returns the pieces with every start multiplied; of two that then start at one step, the later stays."""
    moved = {round(piece.start * factor): piece for piece in row}
    return tuple(Piece(start, piece.hparams) for start, piece in moved.items())


def _space(row: Sequence[Piece], recorded: Space | None, given: Space | None) -> Space:
    """Returns the space of a replay: the narrowest that is known to hold its values; its static names are what matters."""
    names = tuple(row[0].hparams)
    if given is not None and set(given.names) != set(names):
        more, less = set(names) - set(given.names), set(given.names) - set(names)
        what = f"has {', '.join(sorted(more))}, which the experiment has not" if more else f"lacks {', '.join(sorted(less))}"
        raise UsageError(f"replay: the schedule {what}; the experiment's hyperparameters are {', '.join(given.names)}.")
    for space in (given, recorded):
        if space is not None and all(space[name].contains(piece.hparams[name]) for piece in row for name in names):
            return described(space.describe())
    static = () if given is None else given.static_names
    return guessed([row], static)


# -- where schedules come from --------------------------------------------------------------------------------------------


def source_of(schedule: Any, task: int | None = None) -> Source:
    """Returns the schedule of whatever `replay` takes.

    Raises:
        UsageError: it is none of that, or has no schedule for the task.
    """
    if isinstance(schedule, (str, Path)):
        path = Path(schedule)
        if path.is_file():
            from poptrain.views import schedule_from

            schedule = schedule_from(path)
        else:
            return recorded(read(path), task)
    if isinstance(record := getattr(schedule, "record", schedule), Record):
        return recorded(record, task)
    if task is not None:
        raise UsageError(f"replay: task={task!r} names a task of a run, and this is a schedule without its run.")
    row = pieces(schedule, "replay: the schedule")
    about = {name: getattr(schedule, name, None) for name in ("metric", "mode", "task", "member", "score")}
    return Source(row, getattr(schedule, "step", None), None, **about)


def recorded(record: Record, task: int | None = None) -> Source:
    """Returns the schedule of a run: the tasks that led to one result, as they were asked.

    Raises:
        UsageError: there is no such result, or it was distilled from a teacher, which no schedule can say.
    """
    from poptrain.views.index import chosen, history_of, score_of

    history = history_of(record)
    id = chosen(history, task)
    if not history.ok(id):
        raise UsageError(f"replay: task {id} has no healthy result: only what was trained can be trained again.")
    chain = history.descent(id)
    if (pupil := next((t for t in chain if history.task(t).teacher is not None), None)) is not None:
        raise UsageError(f"replay: task {pupil}, an ancestor of task {id}, was distilled from a teacher: no schedule says that.")
    row = []
    for ancestor in chain:
        told, begin = history.task(ancestor), history.begin(ancestor)
        timed = told.seconds is not None  # it trained step by step until the time was up
        steps = history.end(ancestor) - begin if timed else told.steps
        row.append(Piece(begin, FrozenDict(told.hparams), steps, steps if timed else told.evals, told.seed))
    about = record.run.get("algorithm")
    try:
        space = described(about.get("space") if isinstance(about, Mapping) else None)
    except UsageError:
        space = None  # a parameter of the user's own kind
    return Source(tuple(row), history.end(id), space, record.run.get("metric"), record.run.get("mode"), id,
                  history.task(id).member, score_of(history, id))  # fmt: skip


def rebuilt(description: Any) -> ScheduleReplay | None:
    """Returns the replay that a log describes, which needs no file beside it; None if it describes another algorithm."""
    if not isinstance(description, Mapping) or description.get("type") != ScheduleReplay.__name__:
        return None
    try:
        rows = [
            [Piece(p["start"], FrozenDict(p["hparams"]), p["steps"], p["evals"], p["seed"]) for p in row]
            for row in description["schedules"]
        ]
        return schedule_replay(rows, interval=description["interval"], space=described(description["space"]))
    except (KeyError, TypeError) as error:
        raise UsageError("the log describes a schedule replay that this poptrain cannot read.") from error
