"""The checkpoints of an experiment: their names in the log, how one is found again, and which may be deleted.

Ray deletes by age, trial by trial (``CheckpointConfig.num_to_keep``), even a checkpoint that another trial is about to start
from. Here the newest ``num_to_keep`` of each trial stay, and so does every checkpoint that a member still needs.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import replace

from pyarrow.fs import FileSelector
from ray.tune.experiment import Trial
from ray.tune.utils.util import unflatten_dict

from poptrain.core import History
from poptrain.integrations.ray_tune import controller
from poptrain.integrations.ray_tune.controller import StoredCheckpoint

_NUMBER = re.compile(r"checkpoint_(\d+)")
TOTALS = ("training_iteration", "time_total_s", "timesteps_total", "episodes_total")  # what Ray itself restores


class Checkpoints:
    """The checkpoints that the results of a history refer to."""

    def __init__(self) -> None:
        self._known: dict[str, StoredCheckpoint] = {}  # by name
        self._keep: dict[str, int | None] = {}  # by trial id

    def adopt(self, trial: Trial) -> None:
        """Takes over from Ray the deletion of a trial's checkpoints, and has Ray save one when a trial of a class ends."""
        manager = controller.checkpoints_of(trial)
        config = manager.checkpoint_config
        self._keep.setdefault(trial.trial_id, config.num_to_keep)
        at_end = config.checkpoint_at_end or not controller.is_function(trial)  # a function reports all its checkpoints itself
        manager._checkpoint_config = replace(config, num_to_keep=None, checkpoint_at_end=at_end)

    def continue_numbering(self, trial: Trial) -> None:
        """Gives the next checkpoint of a restored trial a number that is not in use.

        Ray's state may be older than the run log. With the next number of that state, a checkpoint would overwrite one that
        the log refers to.
        """
        storage = controller.storage_of(trial)
        if storage.trial_dir_name is None:
            return
        folder = FileSelector(storage.trial_fs_path, allow_not_found=True)
        matches = [_NUMBER.fullmatch(each.base_name) for each in storage.storage_filesystem.get_file_info(folder)]
        newest = max((int(match[1]) for match in matches if match), default=-1)
        storage.current_checkpoint_index = max(storage.current_checkpoint_index, newest)
        trial.invalidate_json_state()

    def name(self, trial: Trial, checkpoint: StoredCheckpoint) -> str:
        """Returns the name of a checkpoint, relative to the experiment, so that the experiment may be moved."""
        assert checkpoint.checkpoint is not None
        name: str = checkpoint.checkpoint.path.removeprefix(controller.storage_of(trial).experiment_fs_path).lstrip("/")
        self._known[name] = checkpoint
        return name

    def find(self, trial: Trial, history: History, task: int | None) -> StoredCheckpoint | None:
        """Returns the checkpoint of a task, for Ray to load; None for a fresh start."""
        if task is None:
            return None
        result = history.result(task)
        assert result is not None and result.checkpoint is not None  # a parent is healthy
        if result.checkpoint not in self._known:  # of an earlier session
            metrics = unflatten_dict({key: value for key, value in result.metrics.items() if value == value})
            for key in TOTALS:
                if key in metrics and key != "time_total_s":
                    metrics[key] = int(metrics[key])
            path = f"{controller.storage_of(trial).experiment_fs_path}/{result.checkpoint}"
            self._known[result.checkpoint] = controller.stored(trial, path, metrics)
        return self._known[result.checkpoint]

    def collect(self, trials: list[Trial], needed: Set[str]) -> None:
        """Deletes the checkpoints that are not among the newest ``num_to_keep`` of their trial and not `needed`."""
        for trial in trials:
            keep = self._keep.get(trial.trial_id)
            manager = controller.checkpoints_of(trial)
            if keep is None or len(manager._checkpoint_results) <= keep:
                continue
            latest = manager.latest_checkpoint_result
            stay = manager._checkpoint_results[-keep:]
            for old in manager._checkpoint_results[:-keep]:
                if old is latest or self.name(trial, old) in needed:
                    stay.insert(0, old)
                else:
                    self._known.pop(self.name(trial, old))
                    old.checkpoint.filesystem.delete_dir(old.checkpoint.path)
            manager._checkpoint_results = sorted(stay, key=manager._checkpoint_results.index)
