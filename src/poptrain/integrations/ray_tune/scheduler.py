"""A poptrain algorithm as a Ray Tune scheduler: trials are the seats, reports make results, tasks make configs and restarts.

The scheduler owns a history, as `poptrain.run` does. A trial works on one task at a time; when its report reaches the end of
the task, its checkpoint is written, *then* the result is logged, then the algorithm is asked. A member that goes on unchanged
trains on in its live actor; one that is given other weights or hyperparameters is restarted from the checkpoint of the task's
parent. Nobody waits for a trial that failed: its task has failed, and the algorithm decides without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from poptrain.core import History, Result, Task
from poptrain.core.errors import UsageError
from poptrain.integrations.ray_tune import checks, configs, controller, journal
from poptrain.integrations.ray_tune.checkpoints import Checkpoints
from poptrain.integrations.ray_tune.controller import Controller
from poptrain.integrations.ray_tune.journal import Journal
from poptrain.integrations.ray_tune.seats import Phase, Seat, failure

_BUSY = (Phase.QUEUED, Phase.TRAINING, Phase.SAVING)


@dataclass(frozen=True)
class Settings:
    """What a scheduler is made with; all that is pickled of it."""

    make: Callable[[int, list[dict[str, Any]]], Any]  # the number of trials, the config of each -> the algorithm
    name: str  # in messages
    metric: str | None
    mode: str | None
    time_attr: str
    seed: int
    directory: str | Path | None
    revive: int
    require_attrs: bool
    resolution: int = 1  # steps in one unit of `time_attr`
    returns: str | None = None
    sinks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in (None, "min", "max"):
            raise UsageError(f"{self.name}: mode={self.mode!r}, expected 'max' or 'min'.")
        for name, value in (("seed", self.seed), ("revive", self.revive)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"{self.name}: {name}={value!r}, expected a whole number from 0.")


class PoptrainScheduler(TrialScheduler):
    """Runs a poptrain algorithm under `tune.Tuner`; made by `poptrain_scheduler`."""

    _supports_buffered_results = False

    def __init__(self, settings: Settings):
        super().__init__()
        self._settings = settings
        self._reset()

    def _reset(self) -> None:
        self._metric, self._mode, self._stop = self._settings.metric, self._settings.mode, None
        self._seats: list[Seat] = []
        self._of: dict[str, Seat] = {}  # by trial id
        self.algorithm: Any = None
        self._journal: Journal | None = None
        self._checkpoints = Checkpoints()
        self._asked_at = -1  # lines of the history when the algorithm was last asked

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings}  # what is learned is in the run log: `Tuner.restore` finds it there

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = state["_settings"]
        self._reset()

    @property
    def history(self) -> History:
        """All tasks and results of the experiment so far, scores maximised."""
        return History() if self._journal is None else self._journal.history

    @property
    def directory(self) -> Path | None:
        """Where the run log is: `poptrain.open_run` and the command line read it. None while there is none."""
        return None if self._journal is None else self._journal.directory

    # -- what Ray calls -----------------------------------------------------------------------------------------------

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Takes metric and mode from `tune.TuneConfig`; False if the scheduler has its own. Begins a new experiment."""
        self._reset()
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._metric, self._mode, self._stop = metric or self._metric, mode or self._mode, spec.get("stop")
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Gives a trial its seat; a trial that Ray recovers keeps it."""
        if trial.trial_id in self._of:
            seat = self._of[trial.trial_id]
            seat.phase = Phase.QUEUED if seat.task is not None else Phase.WAITING
            return
        checks.search(self._settings.name, Controller(tune_controller).search)
        checks.goal(self._settings.name, self._metric, self._mode)
        if self._journal is not None:
            raise UsageError(
                f"{self._settings.name}: a trial was added to a population that already trains; set num_samples to its size."
            )
        seat = Seat(len(self._seats), trial, configs.copied(Controller(tune_controller).config_as_given(trial)))
        self._seats.append(seat)
        self._of[trial.trial_id] = seat
        self._checkpoints.adopt(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Decides whatever can be decided now; returns the trial that has been waiting longest for a slot."""
        ray = Controller(tune_controller)
        if self._journal is None:
            if not self._seats:
                return None
            self._open(ray)
        self._bury()
        self._collect()
        self._decide(ray)
        self._make_room(ray)
        waiting = self._wanting(ray)
        return min(waiting, key=lambda seat: seat.task.id).trial if waiting else None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Takes in a report; at the end of the task, asks for a checkpoint and holds the trial."""
        seat = self._of[trial.trial_id]
        if seat.task is None:
            return TrialScheduler.PAUSE
        measured = self._measured(result)
        if measured is None:
            return TrialScheduler.CONTINUE
        seat.report(*measured, result)
        step = measured[0]
        if step < seat.due:
            return TrialScheduler.CONTINUE
        if controller.is_function(trial) and not result.get("should_checkpoint"):
            checks.patience(self._settings.name, self._settings.time_attr, step, seat.due, seat.task.steps)
            return TrialScheduler.CONTINUE
        ray = Controller(tune_controller)
        seat.phase, seat.before = Phase.SAVING, controller.latest(trial)
        if self._wanting(ray):
            return TrialScheduler.PAUSE  # Ray saves it first, then its slot is free
        if not controller.saves_itself(trial, result):
            ray.save(trial, result)
        return TrialScheduler.NOOP

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Fails the trial's task, unless Ray tries it again (``max_failures``)."""
        seat = self._of[trial.trial_id]
        if trial.status == Trial.ERROR or seat.phase is Phase.GONE:
            return  # Ray queues it again
        self._failed(seat)
        self._end_if_all_gone()

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Takes in the last report of a trial that Ray's stop condition, or its own end, has stopped."""
        seat = self._of[trial.trial_id]
        if seat.task is not None:
            measured = self._measured(result)
            if measured is not None and measured[0] > seat.start:
                seat.report(*measured, result)
            newest = controller.latest(trial)
            same = newest is not None and newest.metrics.get("training_iteration") == result.get("training_iteration")
            self._journal.append((seat.done(self._checkpoints.name(trial, newest) if same else None, self._settings.returns),))
        seat.leave("its trial has ended")
        self._end_if_all_gone()

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Fails the task of a trial that was stopped while it waited."""
        seat = self._of[trial.trial_id]
        if seat.task is not None and self._journal is not None:
            self._journal.append((seat.failed("the trial was stopped"),))
        seat.leave("its trial was stopped")
        self._end_if_all_gone()

    def debug_string(self) -> str:
        """Returns one line for Ray's progress display."""
        history = self.history
        copied = sum(1 for id in range(history.n) if _is_copy(history, id))
        return f"poptrain {self._settings.name}: {history.n} tasks, {copied} clones" + (
            f", log in {self.directory}" if self.directory else ""
        )

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, ray: Controller) -> None:
        """Begins the journal, or reads it again, when Ray has added all trials and started none."""
        place, ids, there = journal.find([seat.trial for seat in self._seats], self._settings.directory)
        self._seats = [self._of[id] for id in ids]  # Ray restores them in another order
        for number, seat in enumerate(self._seats):
            seat.number = number
        self.algorithm = checks.fitting(
            self._settings.name, self._settings.make(len(ids), [seat.config for seat in self._seats]), len(ids)
        )
        first = self._seats[0].trial
        ray.reuse_if_possible(first)
        meta = journal.meta(
            self.algorithm, first, metric=self._metric, mode=self._mode, seed=self._settings.seed, budget=self._budget()
        )
        self._journal = (Journal.go_on if there else Journal.begin)(place, ids, meta, self._settings.sinks)
        for seat in self._seats:
            if seat.trial.is_finished():
                seat.leave("its trial has ended")
            if there:
                self._checkpoints.number_on(seat.trial)
        for task in self._journal.history.pending():  # decided in an earlier sitting
            self._give(ray, task, crowded=True)
        self._decide(ray)
        for seat in self._seats:
            if seat.phase is Phase.WAITING:
                ray.park(seat.trial)  # until it has a task

    def _budget(self) -> int | None:
        stop = self._stop.get(self._settings.time_attr) if isinstance(self._stop, Mapping) else None
        return None if stop is None else max(1, int(stop * self._settings.resolution))

    # -- failures -----------------------------------------------------------------------------------------------------

    def _failed(self, seat: Seat) -> None:
        seat.failures += 1
        if seat.task is not None:
            self._journal.append((seat.failed(failure(seat.trial)),))
        if seat.failures > self._settings.revive:
            seat.leave(f"its trial failed {seat.failures} times in a row")

    def _bury(self) -> None:
        """Fails the tasks of trials that Ray ended without a word, as it does when an actor refuses to be reused."""
        for seat in self._seats:
            if seat.task is not None and seat.trial.status == Trial.ERROR and seat.phase is not Phase.GONE:
                self._failed(seat)

    # -- results ------------------------------------------------------------------------------------------------------

    def _measured(self, result: dict[str, Any]) -> tuple[int, float] | None:
        """Returns (step, score) of a report; None if it lacks one of them and may."""
        settings = self._settings
        if not checks.complete(settings.name, result, (settings.time_attr, self._metric), settings.require_attrs):
            return None
        score = result[self._metric]
        return int(result[settings.time_attr] * settings.resolution + 1e-9), float("nan" if score is None else score)

    def _collect(self) -> None:
        """Logs the results whose checkpoints have been written."""
        told = []
        for seat in self._seats:
            if seat.phase is not Phase.SAVING or controller.saving(seat.trial):
                continue
            newest = controller.latest(seat.trial)
            if newest is None or newest is seat.before:
                checks.no_checkpoint(self._settings.name, seat.trial)
            seat.failures = 0
            told.append(seat.done(self._checkpoints.name(seat.trial, newest), self._settings.returns))
        if told:
            self._journal.append(tuple(told))

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _decide(self, ray: Controller) -> None:
        """Asks the algorithm, until it has nothing more to say to what is known."""
        while self._asked_at != self._journal.history.lines:
            self._asked_at = self._journal.history.lines
            tasks = self.algorithm.ask(self._journal.history)
            self._journal.append(tasks)
            crowded = bool(self._wanting(ray))
            told = [result for task in tasks if (result := self._give(ray, task, crowded)) is not None]
            alive = any(self._seats[self._journal.history.task(result.task).member].phase is not Phase.GONE for result in told)
            self._journal.append(tuple(told))
            if tasks and not alive:
                self._asked_at = self._journal.history.lines  # a seat that is gone is no reason to ask again
            if tasks:
                self._tidy()
        if not len(self._journal.history.open()):
            self._finish(ray)

    def _give(self, ray: Controller, task: Task, crowded: bool) -> Result | None:
        """Sets a seat to work on a task; returns the result where there is nothing to train.

        If somebody waited for a slot before (`crowded`), those that are about to start again do not keep their actors.
        """
        seat, history = self._seats[task.member], self._journal.history
        if task.teacher is not None:
            raise UsageError(
                f"{self._settings.name}: a trial cannot distil from another (task {task.id}); run it with poptrain.run."
            )
        gone, live = seat.phase is Phase.GONE, self._held(ray, seat)
        unchanged = task.parent is not None and task.parent == seat.holds and task.hparams == seat.hparams
        seat.begin(task, history.step(task.parent))
        if gone:
            result = seat.failed(seat.why)
            seat.leave(seat.why)
            return result
        if task.steps == 0:
            return seat.failed("a trial cannot be evaluated before it trains")
        if live and unchanged:
            ray.go_on(seat.trial)
            seat.phase = Phase.TRAINING
            return None
        if live:
            ray.release(seat.trial, reuse=not crowded)
        self._configure(seat, task)
        ray.queue(seat.trial)
        return None

    def _configure(self, seat: Seat, task: Task) -> None:
        """Gives a trial that does not run the weights and the config of a task."""
        history, trial = self._journal.history, seat.trial
        root = task.member if task.parent is None else history.task(history.ancestry(task.parent)[0]).member
        trial.set_config(configs.applied(self._seats[root].config, task.hparams))
        trial.evaluated_params = {**trial.evaluated_params, **{name.replace(".", "/"): v for name, v in task.hparams.items()}}
        controller.start_from(trial, self._checkpoints.find(trial, history, task.parent))
        seat.hparams, seat.holds = task.hparams, None

    def _tidy(self) -> None:
        """Deletes checkpoints that are old and needed by nobody, where ``num_to_keep`` asks for it."""
        history = self._journal.history
        ids = set(self.algorithm.needed(history)) | {history.best(), *history.heads().tolist()}
        ids |= {task.parent for task in history.pending()}
        results = [history.result(id) for id in ids if id is not None and id >= 0]
        names = {result.checkpoint for result in results if result is not None and result.checkpoint}
        self._checkpoints.collect([seat.trial for seat in self._seats], names)

    def _wanting(self, ray: Controller) -> list[Seat]:
        """Returns the seats that have a task and no slot to begin it in."""
        return [seat for seat in self._seats if seat.phase is Phase.QUEUED and not ray.has_slot(seat.trial)]

    def _make_room(self, ray: Controller) -> None:
        """Frees the slots of held trials when nobody trains and somebody cannot begin."""
        if not self._wanting(ray):
            return
        if any(seat.phase in _BUSY and ray.has_slot(seat.trial) for seat in self._seats):
            return
        for seat in self._seats:
            if self._held(ray, seat):
                ray.release(seat.trial, reuse=False)

    def _held(self, ray: Controller, seat: Seat) -> bool:
        """True for a live trial that has no task."""
        return seat.phase is Phase.WAITING and seat.trial.status == Trial.RUNNING and ray.has_slot(seat.trial)

    def _finish(self, ray: Controller) -> None:
        """Ends the trials when the algorithm has nothing to train any more."""
        for seat in self._seats:
            if seat.phase is not Phase.GONE:
                ray.stop(seat.trial)
                seat.leave("the run is over")
        self._end_if_all_gone()

    def _end_if_all_gone(self) -> None:
        if self._journal is not None and all(seat.phase is Phase.GONE for seat in self._seats) and not self._journal.ended:
            self._journal.end("every trial has ended")


def _is_copy(history: History, id: int) -> bool:
    parent = history.task(id).parent
    return parent is not None and history.task(parent).member != history.task(id).member
