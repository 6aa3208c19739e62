"""`Run`: what a run returns. The best result, every member, the schedule and the lineage, read from log and store."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from poptrain.checkpoints import places
from poptrain.core import Carry, History, Task, Value, markup
from poptrain.core.answering import answering, answering_class
from poptrain.core.arguments import plain
from poptrain.core.errors import UsageError
from poptrain.core.other_names import no_attribute
from poptrain.core.protocols import Store
from poptrain.engine.notices import warn
from poptrain.executors.adapters import form_of
from poptrain.executors.users_code import RaisedByUser
from poptrain.log.reader import Record, read
from poptrain.trainable import AnyTrainable, as_trainable, class_in_memory
from poptrain.views.described import described
from poptrain.views.format import clean, short

if TYPE_CHECKING:
    import pandas

    from poptrain.views import Lineage, Schedule
    from poptrain.views.table import Table


@dataclass(frozen=True, repr=False)
class Standing:
    """One finished task of a member, with its score and its checkpoint."""

    task: Task
    score: float  # in the user's sign
    step: int
    _run: Run = field(repr=False)
    evidence: str = ""  # of `Run.best`: why it is the best

    @property
    def hparams(self) -> dict[str, Value]:
        """The hyperparameters that it trained with."""
        return dict(self.task.hparams)

    @property
    def member(self) -> int:
        """The seat that trained it."""
        return self.task.member

    @property
    def metrics(self) -> dict[str, float]:
        """Every number that training returned with it, under the user's names; the score has the name of the metric."""
        result = self._run.history.result(self.task.id)
        return {self._run.metric: self.score, **({} if result is None else result.metrics)}

    def load(self) -> Carry:
        """Returns the stored carry; for a trainable class, an object of the class that has loaded its files.

        For a command it is the directory that its program left. `open_run` may not know the trainable: then a warning says what
        is returned instead, and how to get the object.

        Raises:
            CheckpointDamaged: the files differ from the record in the log, or were deleted.
        """
        return self._run._load(self.task)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name)

    def __repr__(self) -> str:
        hparams = ", ".join(f"{name}={short(value)}" for name, value in self.hparams.items())
        return (
            f"<{self._run.metric} {short(self.score, 6)} of member {self.member} at step {self.step:,}, trained with {hparams}>"
        )

    def _repr_html_(self) -> str:
        title = f"Member {self.member} at step {self.step:,} (task {self.task.id})"
        numbers = [(name, short(value, 6)) for name, value in {**self.metrics, **self.hparams}.items()]
        return markup.block(title, markup.table((), numbers), *([markup.line(self.evidence)] if self.evidence else ()))


class Judged(NamedTuple):
    """A result, and what `Run.judged` found out about it."""

    standing: Standing
    value: float


@answering_class
@dataclass(frozen=True, repr=False)
class Run:
    """A run, finished or not. Scores have the user's sign; `history` maximises.

    In a notebook it shows itself: its state, its best result, and its members.
    """

    record: Record
    history: History
    store: Store
    trainable: AnyTrainable | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name)

    @property
    def metric(self) -> str:
        """The name of the score."""
        return str(self.record.run.get("metric", "score"))

    @property
    def best(self) -> Standing:
        """The best result, by the evidence that `Standing.evidence` states.

        When a run ends, it chooses among the newest results of its members and the highest score: each counts with the scores
        before and after it on its lineage, so that one lucky evaluation is not enough. Until then, and in a run that an older
        version wrote, it is the highest score. `highest` is always that.

        Raises:
            UsageError: no result was finite.
        """
        from poptrain.views.index import best_of

        id, evidence = best_of(self.record, self.history) or (None, "")
        return replace(self._standing(self._some(id)), evidence=evidence)

    @property
    def highest(self) -> Standing:
        """The result with the highest score of the whole run, which may be a lucky one.

        Raises:
            UsageError: no result was finite.
        """
        return self._standing(self._some(self.history.best()))

    @property
    def final_best(self) -> Standing:
        """The best of the newest results of all members: the final state of the population, and not its luckiest moment."""
        ids = self._newest()
        if not ids and self.history.best() is not None:
            raise UsageError("the newest task of every member failed, so that no member is the best at the end: see run.best.")
        return self._standing(self._some(max(ids, key=self.history.score, default=None)))

    def judged(self, judge: Callable[[Carry], object], *, mode: str | None = None) -> list[Judged]:
        """Returns the newest results of all members with what a function says of each one's state, the best first.

        The score that selects members need not be what counts in the end: an agent's returns are those of a policy that explores,
        and the policy without noise may fall. So judge the last states on data, or on episodes, that no member trained on.

        Args:
            judge: ``judge(state) -> number``; `state` is what `Standing.load` returns.
            mode: "max" or "min"; None: as in the run.

        Raises:
            UsageError: no member has a healthy result, or `judge` returned no number. One that is NaN counts as the worst.

        >>> import poptrain as pt
        >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
        >>> run = pt.run(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20), progress=False)
        >>> best, value = run.judged(lambda state: state["steps"] / 2)[0]
        >>> best.step, value
        (20, 10.0)
        """
        mode = ("min" if self.history.sign < 0 else "max") if mode is None else mode
        if mode not in ("max", "min"):
            raise UsageError(f"judged: mode={mode!r}, expected 'max', 'min' or None.")
        if not callable(judge):
            raise UsageError(f"judged: judge={judge!r:.60}, expected a function: judge(state) -> number.")
        ids = self._newest()
        if not ids:
            self._some(self.history.best())
            raise UsageError("judged: the newest task of every member failed, so no state can be judged: see run.best.")
        found = []
        for standing in map(self._standing, ids):
            value = plain(judge(standing.load()))
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise UsageError(f"judged: judge returned {value!r:.60} for member {standing.member}, expected one number.")
            found.append(Judged(standing, float(value)))
        worth = lambda each: -math.inf if math.isnan(each.value) else each.value if mode == "max" else -each.value
        return sorted(found, key=worth, reverse=True)

    def member(self, seat: int) -> Standing:
        """Returns the newest healthy result on one seat.

        Raises:
            UsageError: there is no such member, or it never had a healthy result.
        """
        which = plain(seat)  # a table of pandas has the numbers of numpy
        id = self.history.head(which) if isinstance(which, int) and not isinstance(which, bool) and which >= 0 else -1
        if id < 0:
            raise UsageError(f"member({seat!r:.60}): this run has members 0 to {self.history.seats - 1}.")
        while id >= 0 and not self.history.ok(id):
            id = int(self.history.column("prev")[id])
        if id < 0 and self.history.best() is not None:
            raise UsageError(f"member({seat}) never had a healthy result: no task of it succeeded.")
        return self._standing(self._some(id if id >= 0 else None))

    def schedule(self, task: int | None = None) -> Schedule:
        """Returns the hyperparameters over the steps that led to a task (default: the best), as `views.schedule` does."""
        from poptrain.views import schedule

        return schedule(self.record, task)

    def lineage(self, task: int | None = None) -> Lineage:
        """Returns the ancestors of a task (default: the best), as `views.lineage` does."""
        from poptrain.views import lineage

        return lineage(self.record, task)

    def table(self) -> Table:
        """Returns all tasks as columns, as `views.table` does: `pandas.DataFrame` and `polars.DataFrame` take them."""
        from poptrain.views import table

        return table(self.record)

    def to_pandas(self) -> pandas.DataFrame:
        """Returns `table` as a data frame of pandas, one row for each task.

        Raises:
            MissingExtra: pandas is not installed.
        """
        from poptrain.engine.frames import frame

        return frame(self.table())

    def __dataframe__(self, *arguments: object, **options: object) -> object:
        """Returns `table` in the interchange protocol of data frames, which other libraries read; it needs pandas."""
        return self.to_pandas().__dataframe__(*arguments, **options)

    def __arrow_c_stream__(self, *arguments: object) -> object:
        """Returns `table` as a stream of Arrow, which newer libraries read; it needs pandas and pyarrow."""
        return self.to_pandas().__arrow_c_stream__(*arguments)

    def __repr__(self) -> str:
        return described(self.record).text()

    def _repr_html_(self) -> str:
        return described(self.record).markup()

    def _newest(self) -> list[int]:
        """Returns the newest task of every member, if it is healthy."""
        return [int(id) for id in self.history.standing() if self.history.ok(int(id))]

    def _some(self, id: int | None) -> int:
        if id is None:
            from poptrain.views.index import none_healthy

            raise none_healthy(self.record, self.history)
        return id

    def _standing(self, id: int) -> Standing:
        sign = self.history.sign
        return Standing(self.history.task(id), sign * self.history.score(id), self.history.step(id), self)

    def _load(self, task: Task) -> Carry:
        result = self.history.result(task.id)
        if result is None or result.checkpoint is None:
            raise UsageError(f"task {task.id} has no checkpoint.")
        if self.trainable is not None:
            form = form_of(self.trainable, self.record.run.get("static", ()))
            try:
                return form.opened(self.store, result.checkpoint, task)
            except RaisedByUser as raised:
                raise raised.error from None
        in_files = self.store.is_directory(result.checkpoint)
        if (instead := raw(self.record, in_files)) is not None:
            warn(instead)
        return self.store.path(result.checkpoint) if in_files else self.store.read(result.checkpoint)


def raw(record: Record, in_files: bool) -> str | None:
    """Returns what is loaded without the trainable, and how to get the object; None if it is what training used.

    Args:
        in_files: the checkpoint is a directory of files.
    """
    name = str(record.run.get("trainable", ""))
    form = record.run.get("form", "command" if name.startswith("command:") else "class" if in_files else "")
    known = f"because this program does not define {clean(name, 80)}"
    if form == "class":
        path = f"the path of the files that {clean(name.rpartition(':')[2], 80)}.save wrote"
        return f"load() returns {path}, {known}: pass the class, as in pt.open_run(directory, TheClass), to get an object."
    if form == "jax":
        return (
            f"load() returns the arrays of the carry as a list, {known}: pass the pair, as in "
            "pt.open_run(directory, pt.jax_trainable(init, train)), to get the carry that init makes."
        )
    return None


@answering
def open_run(directory: str | Path, trainable: object = None) -> Run:
    """Returns the run in a directory as it is now, for reading: it locks, writes and executes nothing.

    Args:
        trainable: what the run trained. Default: the class of the name that the log records, if this program has defined or
            imported it already. Otherwise a checkpoint of a trainable class loads as the path of its files, with a warning.

    Raises:
        UsageError: the directory holds no run.
    """
    record = read(directory)
    if trainable is None:
        trainable = class_in_memory(str(record.run.get("trainable", "")))
    form = None if trainable is None else as_trainable(trainable)
    return Run(record, record.history(), places.of(record), form)
