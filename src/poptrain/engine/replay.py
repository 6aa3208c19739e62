"""``replay``: trains the schedule that a population found, alone. The schedule may come without its run. A replay is a run too.

It follows the ancestry of one result, through every copy and, in FIRE PBT, through every evaluator whose weights were taken
over. The schedule of a run is asked for again as the same tasks, unless its length or its interval is changed. Then a
deterministic trainable repeats the scores exactly if the seeds are the same too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.algorithms.schedule_replay import Piece, ScheduleArgument, ScheduleReplay, guessed, merged, pieces, schedule_replay
from poptrain.core import Json
from poptrain.core.answering import answering
from poptrain.core.arguments import check_flag
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.protocols import Sink
from poptrain.engine import stop as stops
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.engine.result import Run
from poptrain.executors.context import ExecutorConfig
from poptrain.log.reader import Record, read
from poptrain.space import Space
from poptrain.space.from_json import described

FITS = ("stretch", "hold")


@dataclass(frozen=True)
class Source:
    """A schedule to replay, and the run that it comes from."""

    pieces: tuple[Piece, ...]
    length: int | None  # steps; None: a list, whose last values hold to the end
    space: Space | None = None  # None: unknown
    metric: str | None = None
    mode: str | None = None
    task: int | None = None  # of that run; the schedule is its ancestry
    member: int | None = None
    score: float | None = None  # of that task, in the user's sign
    budget: int | None = None  # steps of each member of that run; a schedule inside the trainable may extend over them


@answering
def replay(
    schedule: Run | str | Path | ScheduleArgument,
    trainable: object = None,
    *,
    task: int | None = None,
    final: bool = False,
    same_seeds: bool = False,
    metric: str | None = None,
    mode: str | None = None,
    stop: stops.Stop | None = None,
    fit: str | None = None,
    interval: int | None = None,
    executor: str | ExecutorConfig = "inline",
    directory: str | Path | None = None,
    seed: int = 0,
    sinks: Sequence[Sink[Record]] = (),
    progress: bool = True,
) -> Run:
    """Returns the run that trains one schedule alone, from fresh weights.

    Args:
        schedule: a `Run`, the directory of a run, the value of ``run.schedule()``, the JSON file of an exported schedule, or a
            list of ``(start, hparams)``.
        trainable: the function or class to train; default: that of the `Run`.
        task: id of the task of a run whose ancestry is replayed; default: the best result.
        final: train with the last values of the schedule from step 0 on, which shows their worth without the schedule.
        same_seeds: use the seeds that the tasks had in the run, instead of seeds that `seed` determines.
        metric: as in `run`; default: as in the run that the schedule comes from.
        mode: as in `run`; default: as in the run that the schedule comes from.
        stop: default: the length of the schedule. Another number of steps needs `fit`.
        fit: "stretch" (every change comes proportionally later or earlier) or "hold" (changes stay at their steps; a longer
            training goes on with the last values, a shorter one ends early).
        interval: steps between two results; default: as in the run, or at the changes of the schedule.
        executor: as in `run`.
        directory: as in `run`.
        seed: as in `run`.
        sinks: as in `run`.
        progress: as in `run`.

    Raises:
        UsageError: the schedule does not exist, or it does not fit the length, the names or the trainable.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> run = pt.run(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> pt.replay(run, same_seeds=True).best.score == run.best.score
    True
    """
    source = source_of(schedule, task)
    if trainable is None and isinstance(schedule, Run):
        trainable = schedule.trainable
    if trainable is None:
        raise UsageError("replay: the trainable is missing: pass the one to train, replay(schedule, trainable).")
    algorithm, stop = planned(source, stop=stop, fit=fit, final=final, same_seeds=same_seeds, interval=interval)
    metric, mode = metric or source.metric or "score", mode or source.mode or "max"
    check_flag("replay", "progress", progress)
    experiment = Experiment(algorithm, trainable, metric, mode, stop, executor, seed, tuple(sinks))
    return execute(experiment, directory, progress=progress)


def planned(
    source: Source,
    *,
    stop: stops.Stop | None = None,
    fit: str | None = None,
    final: bool = False,
    same_seeds: bool = False,
    interval: int | None = None,
    space: Space | None = None,
) -> tuple[ScheduleReplay, stops.Stop]:
    """Returns the algorithm and the stop condition of a replay. Arguments as for `replay`.

    Args:
        space: that of the experiment, if the schedule is replayed with another one than it comes from.

    Raises:
        UsageError: the length needs `fit`, the seeds are unknown, or the experiment has other hyperparameters.
    """
    if fit is not None and fit not in FITS:
        raise UsageError(f"replay: fit={fit!r}, expected 'stretch' or 'hold'.{did_you_mean(fit, FITS)}")
    row, length = source.pieces, source.length
    stop, budget = _stop(stop, length, interval)
    changed = length is not None and budget != length
    if length is not None and changed and fit is None and not final:
        raise UsageError(
            f"replay: the schedule is {counted(length, 'step')} long, not {budget:,}: pass fit='stretch' or "
            "fit='hold' (--fit stretch or "
            "--fit hold) to fit it, or leave the length as it is."
        )
    if same_seeds and (interval is not None or fit == "stretch" or row[0].seed is None):
        why = "a schedule without its run has no seeds" if row[0].seed is None else "with interval or fit='stretch' tasks differ"
        raise UsageError(f"replay: same_seeds repeats the tasks of a run; {why}.")
    if any(piece.fresh for piece in row) and (final or interval is not None or (changed and fit == "stretch")):
        raise UsageError(
            "replay: a schedule with a distillation is repeated as it was: leave out final, interval and fit='stretch'."
        )
    if final:
        last = row[-1].hparams
        row = tuple(replace(piece, hparams=last) for piece in row)
    if changed and fit == "stretch":
        row = _stretched(merged(row), budget / (length or budget))
    if not same_seeds:
        row = tuple(replace(piece, seed=None) for piece in row)
    algorithm = schedule_replay([row], interval=interval, space=_space(row, source.space, space))
    if source.budget is not None and source.budget != length and (fit == "stretch" or not changed):
        algorithm = replace(algorithm, horizon=round(source.budget * budget / (length or budget)))
    return algorithm, stop


def _stop(stop: stops.Stop | None, length: int | None, interval: int | None) -> tuple[stops.Stop, int]:
    """Returns the stop condition, and the steps that it allows; both are by the length of the schedule if `stop` has none."""
    budget = None if stop is None else stops.budget(stops.check_stop(stop), interval)
    if stop is not None and budget is not None:
        return stop, budget
    if length == 0:
        raise UsageError(
            "replay: this result is that of a member before it trained, so its schedule has no steps: pass the id of "
            "another task, which run.to_pandas() lists."
        )
    if length is None:
        raise UsageError("replay: a list of (start, hparams) has no end: pass stop=pt.steps(n).")
    end = stops.steps(length)
    return (end if stop is None else stops.any_of(stop, end)), length


def _stretched(row: Sequence[Piece], factor: float) -> tuple[Piece, ...]:
    """Returns the pieces with every start multiplied; if two then start at the same step, the later one stays."""
    moved = {round(piece.start * factor): piece for piece in row}
    return tuple(Piece(start, piece.hparams) for start, piece in moved.items())


def _space(row: Sequence[Piece], recorded: Space | None, given: Space | None) -> Space:
    """Returns a space that has the values of a replay: of the experiment, of its run, or the narrowest one.

    Its ranges do not matter, because nothing is drawn; its static names do.
    """
    names = tuple(row[0].hparams)
    if given is not None and set(given.names) != set(names):
        more, less = set(names) - set(given.names), set(given.names) - set(names)
        what = f"has {', '.join(sorted(more))}, which the experiment lacks" if more else f"lacks {', '.join(sorted(less))}"
        raise UsageError(f"replay: the schedule {what}; the experiment's hyperparameters are {', '.join(given.names)}.")
    for space in (given, recorded):
        if space is not None and all(space[name].contains(piece.hparams[name]) for piece in row for name in names):
            return described(space.describe())
    static = () if given is None else given.static_names
    return guessed([row], static)


# -- where schedules come from --------------------------------------------------------------------------------------------


def source_of(schedule: Run | Record | str | Path | ScheduleArgument, task: int | None = None) -> Source:
    """Returns the schedule that the argument of `replay` stands for.

    Args:
        task: id of the task of a run whose ancestry is the schedule; None: the best result.

    Raises:
        UsageError: it is not a schedule, or has none for the task.
    """
    from poptrain.views import Schedule, schedule_from

    if isinstance(schedule, (str, Path)):
        path = Path(schedule)
        if not path.is_file():
            return recorded(read(path), task)
        schedule = schedule_from(path)
    if isinstance(schedule, Run):
        return recorded(schedule.record, task)
    if isinstance(schedule, Record):
        return recorded(schedule, task)
    if task is not None:
        raise UsageError(f"replay: task={task!r} needs a run, but a schedule was passed: pass the run, or leave out task.")
    row = pieces(schedule, "replay: the schedule")
    if not isinstance(schedule, Schedule):
        return Source(row, None)
    s = schedule
    return Source(row, s.step, None, s.metric, s.mode, s.task, s.member, s.score)


def recorded(record: Record, task: int | None = None) -> Source:
    """Returns the schedule of a run: the tasks that led to one result, as they were asked for.

    Raises:
        UsageError: there is no such result, or its teachers do not descend from each other.
    """
    from poptrain.views.index import best_id, none_healthy

    history = record.history()
    id = best_id(record, history) if task is None else task
    if id is None:
        raise none_healthy(record, history)
    if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < history.n:
        has = f"has tasks 0 to {history.n - 1}" if history.n else "has no tasks yet"
        raise UsageError(f"task {id!r}: this run {has}.")
    if not history.ok(id):
        raise UsageError(f"replay: task {id} has no healthy result, so it cannot be trained again.")
    chain = [history.task(ancestor) for ancestor in history.descent(id)]
    place = {each.id: index for index, each in enumerate(chain)}
    if other := next((each for each in chain if each.teacher is not None and each.teacher not in place), None):
        raise UsageError(
            f"replay: task {other.id}, an ancestor of task {id}, changed its teacher while it was distilled, "
            "which a schedule cannot repeat: pass the task of its teacher or of an earlier member."
        )
    row = []
    for index, each in enumerate(chain):
        begin = history.begin(each.id)
        timed = each.seconds is not None  # it trained step by step until the time was up
        steps = history.step(each.id) - begin if timed else each.steps
        piece = Piece(begin, FrozenDict(each.hparams), steps, steps if timed else each.evals, each.seed)
        if each.teacher is not None:
            piece = replace(piece, teacher=place[each.teacher], progress=each.progress)
        row.append(replace(piece, fresh=index > 0 and each.parent is None))
    metric, mode = record.run.get("metric"), record.run.get("mode")
    score = history.sign * history.score(id)
    about = (_recorded_space(record), metric, mode, id, history.task(id).member, score)
    return Source(tuple(row), history.step(id), *about, record.budget)


def _recorded_space(record: Record) -> Space | None:
    """Returns the space that a log describes; None if it has a parameter of the user's own kind."""
    about = record.run.get("algorithm")
    try:
        return described(about.get("space") if isinstance(about, Mapping) else None)
    except UsageError:
        return None


def _piece(p: Json) -> Piece:
    """Returns the piece that a log describes; one from before there were teachers has none."""
    piece = Piece(p["start"], FrozenDict(p["hparams"]), p["steps"], p["evals"], p["seed"], p.get("teacher"))
    progress = p.get("progress")
    return replace(piece, progress=None if progress is None else (progress[0], progress[1]), fresh=p.get("fresh", False))


def rebuilt(description: Json) -> ScheduleReplay | None:
    """Returns the replay that a log describes completely; None if it describes another algorithm."""
    if not isinstance(description, Mapping) or description.get("type") != ScheduleReplay.__name__:
        return None
    try:
        rows = [[_piece(p) for p in row] for row in description["schedules"]]
        replayed = schedule_replay(rows, interval=description["interval"], space=described(description["space"]))
        return replace(replayed, horizon=description.get("horizon"))
    except (KeyError, TypeError) as error:
        raise UsageError("the log describes a schedule replay that this version of poptrain cannot read.") from error
