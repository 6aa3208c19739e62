"""Who works on what: tasks become configs, restarts and continuations of trials, and slots go to those that can begin.

A member that continues unchanged trains on in its live actor. One that gets other weights or hyperparameters is restarted from
the checkpoint of the task's parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ray.tune.experiment import Trial

from poptrain.core import History, Result, Task
from poptrain.core.errors import UsageError
from poptrain.integrations.ray_tune import configs, controller
from poptrain.integrations.ray_tune.checkpoints import Checkpoints
from poptrain.integrations.ray_tune.controller import Controller
from poptrain.integrations.ray_tune.trial_seat import Phase, TrialSeat

BUSY = (Phase.QUEUED, Phase.TRAINING, Phase.SAVING)


class Assignments:
    """The seats of an experiment, and the checkpoints that their trials start from."""

    def __init__(self, name: str):
        self._name = name  # of the scheduler, in messages
        self._seats: list[TrialSeat] = []
        self._of: dict[str, TrialSeat] = {}  # by trial id
        self.checkpoints = Checkpoints()

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[TrialSeat]:
        return iter(self._seats)

    def __getitem__(self, number: int) -> TrialSeat:
        return self._seats[number]

    def of(self, trial: Trial) -> TrialSeat | None:
        """Returns the seat of a trial; None if it has none."""
        return self._of.get(trial.trial_id)

    def add(self, trial: Trial, config: configs.Config) -> None:
        """Makes a seat for a trial."""
        seat = TrialSeat(len(self._seats), trial, configs.copied(config))
        self._seats.append(seat)
        self._of[trial.trial_id] = seat
        self.checkpoints.adopt(trial)

    def order(self, ids: Sequence[str]) -> None:
        """Numbers the seats by the ids of their trials; Ray restores trials in another order."""
        self._seats = [self._of[id] for id in ids]
        for number, seat in enumerate(self._seats):
            seat.number = number

    # -- slots --------------------------------------------------------------------------------------------------------

    def waiting_for_slot(self, ray: Controller) -> list[TrialSeat]:
        """Returns the seats that have a task and no slot to begin it in."""
        return [seat for seat in self._seats if seat.phase is Phase.QUEUED and not ray.has_slot(seat.trial)]

    def queue_paused(self) -> None:
        """Queues trials again that something else has paused in the middle of a task, such as a ResourceChangingScheduler."""
        for seat in self._seats:
            if seat.phase is Phase.TRAINING and seat.trial.status == Trial.PAUSED:
                seat.phase = Phase.QUEUED

    def make_room(self, ray: Controller) -> None:
        """Frees the slots of held trials when no trial trains and a queued one has no slot."""
        if not self.waiting_for_slot(ray):
            return
        if any(seat.phase in BUSY and ray.has_slot(seat.trial) for seat in self._seats):
            return
        for seat in self._seats:
            if self._held(ray, seat):
                ray.release(seat.trial, reuse=False)

    def _held(self, ray: Controller, seat: TrialSeat) -> bool:
        """True for a live trial that has no task."""
        return seat.phase is Phase.WAITING and seat.trial.status == Trial.RUNNING and ray.has_slot(seat.trial)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def give(self, ray: Controller, history: History, task: Task, crowded: bool) -> Result | None:
        """Sets a seat to work on a task; returns the result if there is nothing to train.

        `crowded`: trials were waiting for a slot before this decision, so restarted trials do not keep their actors.
        """
        seat = self._seats[task.member]
        if task.teacher is not None:
            raise UsageError(f"{self._name}: a trial cannot distil from another (task {task.id}); run it with poptrain.run.")
        gone, live = seat.phase is Phase.GONE, self._held(ray, seat)
        unchanged = task.parent is not None and task.parent == seat.holds and task.hparams == seat.hparams
        parent = None if task.parent is None else history.task(task.parent).hparams
        seat.begin(task, history.step(task.parent), tuple(each for each in (parent, seat.hparams) if each is not None))
        if gone:
            result = seat.without_result(seat.why, seat.why_kind)
            seat.leave(seat.why, seat.why_kind)
            return result
        if task.steps == 0:
            return seat.without_result("a trial cannot be evaluated before it trains", "ended")
        if live and unchanged:
            ray.go_on(seat.trial)
            seat.phase = Phase.TRAINING
            return None
        if live:
            ray.release(seat.trial, reuse=not crowded)
        self._configure(history, seat, task)
        ray.queue(seat.trial)
        return None

    def _configure(self, history: History, seat: TrialSeat, task: Task) -> None:
        """Gives a trial that does not run the weights and the config of a task."""
        trial = seat.trial
        root = task.member if task.parent is None else history.task(history.ancestry(task.parent)[0]).member
        trial.set_config(configs.applied(self._seats[root].config, task.hparams))
        shown = {name.replace(".", "/"): value for name, value in task.hparams.items()}
        trial.evaluated_params = {**trial.evaluated_params, **shown}
        controller.start_from(trial, self.checkpoints.find(trial, history, task.parent))
        seat.hparams, seat.holds = task.hparams, None
