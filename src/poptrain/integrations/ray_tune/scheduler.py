"""A poptrain algorithm as a Ray Tune scheduler: trials are the seats, reports make results, tasks make configs and restarts.

The scheduler owns a history, as `poptrain.run` does. A trial works on one task at a time. When its report reaches the end of
the task, its checkpoint is written, *then* the result is logged, then the algorithm is asked. No member waits for a trial that
failed: its task has failed, and the algorithm decides without it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from poptrain.core import History, Result, check_roles
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.core.interval import interval_of
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune import checks, controller, journal
from poptrain.integrations.ray_tune.assignments import Assignments
from poptrain.integrations.ray_tune.configs import Report
from poptrain.integrations.ray_tune.controller import Controller, RayController
from poptrain.integrations.ray_tune.ending import remarks
from poptrain.integrations.ray_tune.journal import Journal
from poptrain.integrations.ray_tune.reports import Reports
from poptrain.integrations.ray_tune.settings import Settings
from poptrain.integrations.ray_tune.trial_seat import Phase, TrialSeat, failure_text

logger = logging.getLogger(__name__)

__all__ = ["PoptrainScheduler", "Settings"]  # pickled schedulers of version 0.1 look for `Settings` here


class PoptrainScheduler(TrialScheduler):
    """Runs a poptrain algorithm under `tune.Tuner`; made by `poptrain_scheduler`."""

    _supports_buffered_results = False

    algorithm: Algorithm  # known when the experiment starts

    def __init__(self, settings: Settings):
        super().__init__()
        self._settings = settings
        self._reset()

    def _reset(self) -> None:
        self._metric, self._mode = self._settings.metric, self._settings.mode
        self._stop: object = None
        self._seats = Assignments(self._settings.name)
        self._journal: Journal | None = None
        self._asked_at = -1  # lines of the history when the algorithm was last asked
        self._refusal: UsageError | None = None  # raised at the next step, where Ray does not wrap it into a traceback

    def __getstate__(self) -> dict[str, object]:
        return {"_settings": self._settings}  # everything else is in the run log, where `Tuner.restore` finds it

    def __setstate__(self, state: dict[str, Settings]) -> None:
        self._settings = state["_settings"]
        self._reset()

    @property
    def metric(self) -> None:
        """None for Ray, so that it leaves the check of reports to `require_attrs`."""

    @property
    def history(self) -> History:
        """All tasks and results of the experiment so far, scores maximised."""
        return History() if self._journal is None else self._journal.history

    @property
    def directory(self) -> Path | None:
        """Where the run log is: `poptrain.open_run` and the command line read it. None while there is none."""
        return None if self._journal is None else self._journal.directory

    # -- what Ray calls -----------------------------------------------------------------------------------------------

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: object) -> bool:
        """Takes metric and mode from `tune.TuneConfig`; False if the scheduler has its own. Begins a new experiment."""
        self._reset()
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._metric, self._mode, self._stop = metric or self._metric, mode or self._mode, spec.get("stop")
        return True

    def on_trial_add(self, tune_controller: RayController, trial: Trial) -> None:
        """Gives a trial its seat; a trial that Ray recovers keeps it."""
        if (seat := self._seats.of(trial)) is not None:
            seat.phase = Phase.QUEUED if seat.task is not None else Phase.WAITING
            return
        ray = Controller(tune_controller)
        checks.search(self._settings.name, ray.search)
        checks.goal(self._settings.name, self._metric, self._mode)
        ray.make_all_trials_at_once()
        if self._journal is not None:
            raise UsageError(
                f"{self._settings.name}: a trial was added to a population that already trains; set num_samples to its size."
            )
        self._seats.add(trial, ray.config_as_given(trial))

    def choose_trial_to_run(self, tune_controller: RayController) -> Trial | None:
        """Decides everything that can be decided now; returns the trial that has been waiting longest for a slot."""
        self._refuse()
        ray = Controller(tune_controller)
        if self._journal is None:
            if not len(self._seats):
                return None
            self._open(ray)
        self._fail_those_that_ray_ended()
        self._seats.queue_paused()
        self._collect()
        self._decide(ray)
        self._seats.make_room(ray)
        waiting = self._seats.waiting_for_slot(ray)
        return min(waiting, key=lambda seat: seat.working.id).trial if waiting else None

    def on_trial_result(self, tune_controller: RayController, trial: Trial, result: Report) -> str:
        """Records a report; at the end of the task, asks for a checkpoint and holds the trial."""
        seat = self._seat(trial)
        if seat.task is None:
            return TrialScheduler.PAUSE
        try:
            if not self._reports.add(seat, result) or seat.curve[-1][0] < seat.due:
                return TrialScheduler.CONTINUE
            if controller.is_function(trial) and not result.get("should_checkpoint"):
                what, time_attr = self._settings.name, self._settings.time_attr
                checks.checkpoint_in_time(what, time_attr, seat.curve[-1][0], seat.due, seat.task.steps)
                return TrialScheduler.CONTINUE
        except UsageError as error:
            self._refusal = self._refusal or error
            return TrialScheduler.NOOP
        ray = Controller(tune_controller)
        seat.phase, seat.before = Phase.SAVING, controller.latest(trial)
        if self._seats.waiting_for_slot(ray):
            return TrialScheduler.PAUSE  # Ray saves it first, then its slot is free
        if not controller.saves_itself(trial, result):
            ray.save(trial, result)
        return TrialScheduler.NOOP

    def on_trial_error(self, tune_controller: RayController, trial: Trial) -> None:
        """Fails the trial's task, unless Ray tries it again (``max_failures``)."""
        seat = self._seat(trial)
        if trial.status == Trial.ERROR or seat.phase is Phase.GONE:
            return  # Ray queues it again
        self._failed(seat)
        self._end_if_all_gone()

    def on_trial_complete(self, tune_controller: RayController, trial: Trial, result: Report) -> None:
        """Records the last report of a trial that ended by itself or by Ray's stop condition."""
        seat = self._seat(trial)
        if seat.task is not None:
            try:
                if not seat.knows(result) and "training_iteration" in result:  # else it ended without a report
                    self._reports.add(seat, result)
                self._append((self._done(seat, result.get("training_iteration")),))
            except UsageError as error:
                self._refusal = self._refusal or error
        seat.leave()
        self._end_if_all_gone()

    def on_trial_remove(self, tune_controller: RayController, trial: Trial) -> None:
        """Ends the task of a trial that was stopped while it waited."""
        seat = self._seat(trial)
        if seat.task is not None and self._journal is not None:
            self._append((seat.without_result("the trial was stopped", "ended"),))
        seat.leave("its trial was stopped")
        self._end_if_all_gone()

    def debug_string(self) -> str:
        """Returns one line for Ray's progress display."""
        history = self.history
        copied = sum(1 for id in range(history.n) if _is_copy(history, id))
        return f"poptrain {self._settings.name}: {counted(history.n, 'task')}, {counted(copied, 'clone')}" + (
            f", log in {self.directory}" if self.directory else ""
        )

    def _seat(self, trial: Trial) -> TrialSeat:
        seat = self._seats.of(trial)
        if seat is None:
            raise KeyError(trial.trial_id)
        return seat

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, ray: Controller) -> None:
        """Begins the journal, or reads it again, when Ray has added all trials and started none."""
        settings = self._settings
        place, ids, exists = journal.find([seat.trial for seat in self._seats], settings.directory)
        self._seats.order(ids)
        if not exists:
            checks.not_restarted(settings.name, journal.usual_place(self._seats[0].trial), len(ids))
        made = settings.make(len(ids), [seat.config for seat in self._seats])
        self.algorithm = checks.fitting(settings.name, made, len(ids))
        first = self._seats[0].trial
        checks.saves(settings.name, first.get_trainable_cls())
        ray.reuse_if_possible(first)
        ray.replace_state_whole()
        ray.leave_reports_to_us()
        ray.when_all_have_ended(self._all_have_ended)
        assert self._metric is not None and self._mode is not None  # `checks.goal` has seen to it
        about = journal.first_line(
            self.algorithm, first, metric=self._metric, mode=self._mode, seed=settings.seed, budget=self._budget()
        )
        if exists and place is not None:
            self._journal = Journal.go_on(place, ids, about, settings.sinks)
            if self._journal.over and (restored := [seat.trial.trial_id for seat in self._seats if not seat.trial.is_finished()]):
                logger.warning(
                    "%s: the run in %s has ended, so the restored trials %s train no further. Begin a new experiment instead.",
                    settings.name, place, ", ".join(restored),
                )  # fmt: skip
        else:
            self._journal = Journal.begin(place, ids, about, settings.sinks)
        for seat in self._seats:
            if seat.trial.is_finished():
                seat.leave()
            if exists:
                self._seats.checkpoints.continue_numbering(seat.trial)
        for task in self.history.pending():  # decided in an earlier session
            self._seats.give(ray, self.history, task, crowded=True)
        self._decide(ray)
        for seat in self._seats:
            if seat.phase is Phase.WAITING:
                ray.park(seat.trial)  # until it has a task

    def _budget(self) -> int | None:
        settings = self._settings
        return checks.budget(settings.name, self._stop, settings.time_attr, settings.resolution)

    # -- failures -----------------------------------------------------------------------------------------------------

    def _failed(self, seat: TrialSeat) -> None:
        seat.failures += 1
        if seat.task is not None:
            self._append((seat.without_result(failure_text(seat.trial)),))
        if seat.failures > self._settings.revive:
            seat.leave(f"its trial failed {seat.failures} times in a row", "failed")

    def _fail_those_that_ray_ended(self) -> None:
        """Fails the tasks of trials that Ray ended without a call, as it does when an actor refuses to be reused."""
        for seat in self._seats:
            if seat.task is not None and seat.trial.status == Trial.ERROR and seat.phase is not Phase.GONE:
                self._failed(seat)

    # -- results ------------------------------------------------------------------------------------------------------

    def _append(self, results: Sequence[Result]) -> None:
        assert self._journal is not None  # there are no results before it is opened
        self._journal.append(results)

    def _done(self, seat: TrialSeat, iteration: object) -> Result:
        """Returns the result of a task whose last report was at this iteration of Ray; its checkpoint is the one of then."""
        newest = controller.latest(seat.trial)
        current = newest is not None and newest.metrics.get("training_iteration") == iteration
        name = self._seats.checkpoints.name(seat.trial, newest) if newest is not None and current else None
        return seat.done(name, self._reports.returns(seat))

    @property
    def _reports(self) -> Reports:
        assert self._metric is not None  # `checks.goal` has seen to it
        return Reports(self._settings, self._metric)

    def _collect(self) -> None:
        """Logs the results whose checkpoints have been written."""
        results = []
        for seat in self._seats:
            if seat.phase is not Phase.SAVING or controller.saving(seat.trial):
                continue
            newest = controller.latest(seat.trial)
            if newest is None or newest is seat.before:
                checks.no_checkpoint(self._settings.name, seat.trial)
            seat.failures = 0
            results.append(self._done(seat, newest.metrics.get("training_iteration")))
        self._append(tuple(results))

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _decide(self, ray: Controller) -> None:
        """Asks the algorithm until it has no more tasks for what is known."""
        assert self._journal is not None
        while self._asked_at != self.history.lines:
            self._asked_at = self.history.lines
            tasks = self.algorithm.ask(self.history)
            check_roles(tasks)
            self._journal.append(tasks)
            crowded = bool(self._seats.waiting_for_slot(ray))
            given = [self._seats.give(ray, self.history, task, crowded) for task in tasks]
            results = [result for result in given if result is not None]
            alive = any(self._seats[self.history.task(result.task).member].phase is not Phase.GONE for result in results)
            self._append(tuple(results))
            if tasks and not alive:
                self._asked_at = self.history.lines  # the algorithm learns nothing new from a seat that is gone
            if tasks:
                self._delete_old_checkpoints()
        if not len(self.history.open()):
            self._finish(ray)

    def _delete_old_checkpoints(self) -> None:
        """Deletes checkpoints that are old and that no member needs, where ``num_to_keep`` asks for it."""
        history = self.history
        ids = set(self.algorithm.needed(history)) | {history.best(), *history.heads().tolist()}
        ids |= {task.parent for task in history.pending()}
        results = [history.result(id) for id in ids if id is not None and id >= 0]
        names = {result.checkpoint for result in results if result is not None and result.checkpoint}
        self._seats.checkpoints.collect([seat.trial for seat in self._seats], names)

    def _finish(self, ray: Controller) -> None:
        """Ends the trials when the algorithm has nothing more to train."""
        for seat in self._seats:
            if seat.phase is not Phase.GONE:
                ray.stop(seat.trial)
                seat.leave("the run is over")
        self._end_if_all_gone()

    def _all_have_ended(self) -> None:
        """Closes the journal where Ray has ended trials without a call, or where all have failed."""
        self._refuse()
        if self._journal is None or self._journal.ended:
            return
        for seat in self._seats:
            if seat.phase is Phase.GONE:
                continue
            if seat.task is not None:
                self._append((self._done(seat, seat.last.get("training_iteration")),))
            if seat.trial.status == Trial.ERROR:
                seat.leave("its trial failed", "failed")
            else:
                seat.leave()
        self._end_if_all_gone()

    def _refuse(self) -> None:
        """Raises the error of an earlier call of Ray."""
        error, self._refusal = self._refusal, None
        if error is not None:
            raise error

    def _end_if_all_gone(self) -> None:
        if self._journal is not None and all(seat.phase is Phase.GONE for seat in self._seats) and not self._journal.ended:
            settings, ids = self._settings, [seat.trial.trial_id for seat in self._seats]
            interval, budget = interval_of(self.algorithm), self._budget()
            unit, resolution = settings.time_attr, settings.resolution
            for text in remarks(self.history, ids, interval=interval, budget=budget, unit=unit, resolution=resolution):
                logger.warning("%s: %s", settings.name, text)
            self._journal.end("every trial has ended")


def _is_copy(history: History, id: int) -> bool:
    parent = history.task(id).parent
    return parent is not None and history.task(parent).member != history.task(id).member
