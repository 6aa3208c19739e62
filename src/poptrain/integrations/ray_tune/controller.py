"""What the scheduler uses of Ray's controller beyond the scheduler interface: all in this file, tested with Ray 2.60.

A trial that has reported stays ``RUNNING`` without training until `go_on` is called: its actor lives, and a member that
continues unchanged needs no restart. A trial that takes another's checkpoint is paused and queued again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.trainable import FunctionTrainable, Trainable

from poptrain.integrations.ray_tune.closing import Closing
from poptrain.integrations.ray_tune.configs import Config, Report
from poptrain.integrations.ray_tune.whole_files import with_whole_files

RayController = Any  # Ray's `TuneController`, of which private parts are used
RayCheckpoints = Any  # Ray's `_CheckpointManager` of one trial, the same
StoredCheckpoint = _TrainingResult  # a checkpoint and the metrics that were reported with it

logger = logging.getLogger(__name__)


class Controller:
    """Ray's controller, unwrapped."""

    def __init__(self, controller: RayController):
        self._ray: RayController = getattr(controller, "_tune_controller", controller)

    @property
    def search(self) -> object:
        """The search algorithm that makes the trials."""
        return self._ray.search_alg

    def config_as_given(self, trial: Trial) -> Config:
        """Returns the config that a trial was made with, also when it was restored with a later one."""
        if self._ray._placeholder_resolvers:
            return trial.config  # Ray has just made it anew
        return getattr(trial, "_Trial__unresolved_config", trial.config)

    def make_all_trials_at_once(self) -> None:
        """Has Ray make the whole population before the first trial is chosen; it makes 200 trials at most otherwise."""
        self._ray._max_pending_trials = max(self._ray._max_pending_trials, getattr(self.search, "total_samples", 0) or 0)

    def leave_reports_to_us(self) -> None:
        """Turns off Ray's own check of the metric, which knows nothing of ``require_attrs=False``."""
        self._ray._metric = self._ray.search_alg._metric = None

    def when_all_have_ended(self, ended: Callable[[], None]) -> None:
        """Has a function called when no trial is left that trains or waits, also where Ray ends them without a call."""
        self._ray._callbacks._callbacks.append(Closing(ended))

    def reuse_if_possible(self, trial: Trial) -> None:
        """Turns ``reuse_actors`` off for a trainable that cannot take another config, because Ray would end its trials."""
        trainable = trial.get_trainable_cls()
        if self._ray._reuse_actors and getattr(trainable, "reset_config", None) is Trainable.reset_config:
            self._ray._reuse_actors = False
            logger.warning("reuse_actors=True has no effect: %s does not define reset_config.", trial.trainable_name)

    def replace_state_whole(self) -> None:
        """Has Ray replace its state files whole, so that a killed driver leaves files that `Tuner.restore` can read."""
        manager = self._ray._checkpoint_manager
        manager._storage = with_whole_files(manager._storage)

    def save(self, trial: Trial, result: Report) -> None:
        """Asks the trial for a checkpoint; it is there when `saving` is False again."""
        self._ray._schedule_trial_save(trial, result=result)

    def go_on(self, trial: Trial) -> None:
        """Lets a held trial continue to train."""
        self._ray._schedule_trial_train(trial)

    def release(self, trial: Trial, reuse: bool) -> None:
        """Frees the slot of a held trial, whose checkpoint is stored; `reuse` keeps the actor, as the trial is queued at once."""
        ray = self._ray
        if reuse and ray._reuse_actors and trial not in ray._staged_trials:
            ray._staged_trials.add(trial)  # Ray keeps an idle actor only for a trial that already waits for one
            ray._actor_cache.increase_max(trial.placement_group_factory)
        ray.pause_trial(trial, should_checkpoint=False)

    def queue(self, trial: Trial) -> None:
        """Lets the trial start, or start again, as soon as there is a slot."""
        if trial.status == Trial.ERROR:  # it gets other weights and hyperparameters, so the old failure no longer counts
            trial.run_metadata.error_filename = trial.run_metadata.pickled_error_filename = None
        self._ray._set_trial_status(trial, Trial.PENDING)

    def park(self, trial: Trial) -> None:
        """Takes a trial that has not started out of the queue."""
        self._ray._set_trial_status(trial, Trial.PAUSED)

    def stop(self, trial: Trial) -> None:
        """Ends a trial for good."""
        self._ray.stop_trial(trial)

    def has_slot(self, trial: Trial) -> bool:
        """True if the trial holds its resources."""
        actor = self._ray._trial_to_actor.get(trial)
        return actor is not None and actor in self._ray._actor_manager._live_actors_to_ray_actors_resources


def saving(trial: Trial) -> bool:
    """True while a checkpoint of the trial is being written."""
    return bool(trial.is_saving)


def saves_itself(trial: Trial, result: Report) -> bool:
    """True if Ray takes a checkpoint at this result without being asked."""
    every = trial.checkpoint_freq
    return bool(result.get("should_checkpoint") or (every and result.get("training_iteration", 0) % every == 0))


def is_function(trial: Trial) -> bool:
    """True for a trainable function, which reports its checkpoints itself."""
    trainable = trial.get_trainable_cls()
    return isinstance(trainable, type) and issubclass(trainable, FunctionTrainable)


def checkpoints_of(trial: Trial) -> RayCheckpoints:
    """Returns what Ray knows of a trial's checkpoints."""
    return trial.run_metadata.checkpoint_manager


def storage_of(trial: Trial) -> StorageContext:
    """Returns where a trial is stored."""
    assert trial.storage is not None  # trials of a `tune.Tuner` have a storage
    return trial.storage


def latest(trial: Trial) -> StoredCheckpoint | None:
    """Returns the newest checkpoint of a trial, with the metrics that were reported with it."""
    return trial.latest_checkpoint_result


def start_from(trial: Trial, checkpoint: StoredCheckpoint | None) -> None:
    """Sets what the trial loads when it starts: a checkpoint, or nothing for a fresh start."""
    if checkpoint is not None:  # Ray writes into the metrics of the checkpoint that a trial was restored from
        checkpoint = StoredCheckpoint(checkpoint.checkpoint, dict(checkpoint.metrics))
    checkpoints_of(trial)._latest_checkpoint_result = checkpoint
    trial.run_metadata.invalidate_cache()


def stored(trial: Trial, path: str, metrics: Report) -> StoredCheckpoint:
    """Returns the checkpoint at a path of the experiment's storage."""
    return StoredCheckpoint(Checkpoint(path, storage_of(trial).storage_filesystem), metrics)
