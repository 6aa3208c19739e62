"""Runs without a directory that a person interrupted at a prompt or in a notebook: the same call continues them."""

from __future__ import annotations

import json
from collections import OrderedDict

from poptrain.core.protocols import Store
from poptrain.engine.edited import edits, recorded
from poptrain.engine.experiment import Experiment
from poptrain.engine.open_log import fingerprint
from poptrain.log.memory import MemoryLog
from poptrain.trainable import as_trainable, code_of

MOST = 4  # interrupted runs that stay in memory

_runs: OrderedDict[str, tuple[MemoryLog, Store]] = OrderedDict()


def keep(experiment: Experiment, log: MemoryLog, store: Store) -> None:
    """Keeps an interrupted run until the same call continues it; the oldest ones make room."""
    _runs[_key(experiment)] = log, store
    while len(_runs) > MOST:
        _runs.popitem(last=False)


def taken(experiment: Experiment) -> tuple[MemoryLog, Store] | None:
    """Returns the interrupted run of this experiment, with unchanged code, opened once more; None if there is none."""
    found = _runs.pop(_key(experiment), None)
    if found is None or edits(found[0].record.run, recorded(experiment.trainable)):
        return None
    log, _ = found
    log.reopen()
    if log.record.budget != experiment.budget:
        log.note("budget", budget=experiment.budget)
    return found


def _key(experiment: Experiment) -> str:
    code = code_of(as_trainable(experiment.trainable))
    return json.dumps([fingerprint(experiment), code], sort_keys=True, default=str)
