"""The checkpoints of an experiment: by which name the log knows them, how one is found again, and which may be deleted.

Ray deletes by age, trial by trial (``CheckpointConfig.num_to_keep``), also what another trial is about to start from. Here the
newest ``num_to_keep`` of each trial stay, and so does everything that a member still needs.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import replace
from typing import Any

from pyarrow.fs import FileSelector
from ray.tune.experiment import Trial
from ray.tune.utils.util import flatten_dict, unflatten_dict

from poptrain.core import History
from poptrain.integrations.ray_tune import controller

_NUMBER = re.compile(r"checkpoint_(\d+)")
TOTALS = ("training_iteration", "time_total_s", "timesteps_total", "episodes_total")  # what Ray itself restores


class Checkpoints:
    """The checkpoints behind the results of a history."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}  # by name
        self._keep: dict[str, int | None] = {}  # by trial id

    def adopt(self, trial: Trial) -> None:
        """Takes the deletion of a trial's checkpoints over from Ray, and has Ray save one at the trial's end."""
        manager = trial.run_metadata.checkpoint_manager
        config = manager.checkpoint_config
        self._keep.setdefault(trial.trial_id, config.num_to_keep)
        manager._checkpoint_config = replace(config, num_to_keep=None, checkpoint_at_end=True)

    def number_on(self, trial: Trial) -> None:
        """Makes a restored trial's next checkpoint a new one. Ray's state may be older than the run log: numbered from it, a
        checkpoint would be written over one that the log knows."""
        storage = trial.storage
        if storage.trial_dir_name is None:
            return
        folder = FileSelector(storage.trial_fs_path, allow_not_found=True)
        numbers = [_NUMBER.fullmatch(each.base_name) for each in storage.storage_filesystem.get_file_info(folder)]
        newest = max((int(match[1]) for match in numbers if match), default=-1)
        storage.current_checkpoint_index = max(storage.current_checkpoint_index, newest)
        trial.invalidate_json_state()

    def name(self, trial: Trial, checkpoint: Any) -> str:
        """Returns the name of a checkpoint, relative to the experiment, so that the experiment may be moved."""
        name = checkpoint.checkpoint.path.removeprefix(trial.storage.experiment_fs_path).lstrip("/")
        self._known[name] = checkpoint
        return name

    def find(self, trial: Trial, history: History, task: int | None) -> Any:
        """Returns what a task left behind, for Ray to load; None for the start from nothing."""
        if task is None:
            return None
        result = history.result(task)
        if result.checkpoint not in self._known:  # of an earlier sitting
            metrics = unflatten_dict({key: value for key, value in result.metrics.items() if value == value})
            for key in TOTALS:
                if key in metrics and key != "time_total_s":
                    metrics[key] = int(metrics[key])
            path = f"{trial.storage.experiment_fs_path}/{result.checkpoint}"
            self._known[result.checkpoint] = controller.stored(trial, path, metrics)
        return self._known[result.checkpoint]

    def collect(self, trials: list[Trial], needed: Set[str]) -> None:
        """Deletes what is older than the newest ``num_to_keep`` of its trial and needed by nobody."""
        for trial in trials:
            keep = self._keep.get(trial.trial_id)
            manager = trial.run_metadata.checkpoint_manager
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


def numbers(result: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of a report under their flat names, without what Ray says of the machine and without the config."""
    flat = flatten_dict(result)
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not key.startswith(("config/", "pid", "timestamp"))
    }
