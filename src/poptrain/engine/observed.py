"""What a session watches its results for, and announces: failures, scores that are older, metrics that no log can hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poptrain.core import History, Result
from poptrain.engine.experiment import Experiment
from poptrain.engine.notices import Failures, Unlogged
from poptrain.engine.stale import StaleScores
from poptrain.log.writer import LogWriter
from poptrain.trainable import as_trainable, form_name


class Observed:
    """The notices of one session.

    Args:
        history: what earlier sessions left.
        directory: of the run; None: it has none.
    """

    def __init__(self, log: LogWriter, history: History, experiment: Experiment, directory: str | Path | None):
        form = form_name(as_trainable(experiment.trainable))
        self.failures, self._unlogged = Failures(directory, experiment.metric, form), Unlogged()
        self._stale = StaleScores(log, history, experiment.algorithm.seats, experiment.trainable)

    def returned(self, returned: object) -> None:
        """Takes what an executor returned, before it is checked."""
        self._unlogged.see(returned)

    def see(self, history: History, results: Sequence[Result]) -> None:
        """Takes new results, which `history` holds."""
        self.failures.see(history, results)
        self._stale.see(history, results)

    def summary(self, history: History) -> None:
        """Sums up at the end of the session."""
        self.failures.summary(history)
        self._stale.summary()
