"""The runs of one dashboard: those that were named, and those that appear later in a directory of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poptrain import views
from poptrain.core import clock
from poptrain.core.errors import UsageError
from poptrain.dashboard.thin import drawable
from poptrain.dashboard.watch import Loading, Watched
from poptrain.log.finding import runs_in
from poptrain.views import as_json, panels

RESCAN = 2.0  # seconds between two looks for new runs
SLOW = 3.0  # seconds between two looks at a run that has ended
MOST_RUNS = 200


class Fleet:
    """All watched runs, in the order in which they were found; a run keeps its number.

    Args:
        paths: run directories, or directories of them.
    """

    def __init__(self, paths: Sequence[Path]):
        self.paths, self.runs = list(paths), list[Watched]()
        self._looked: dict[Path, float] = {}
        self._scanned = float("-inf")
        self.scan()

    def scan(self) -> bool:
        """Looks for new runs; returns True if there are some."""
        before, self._scanned = len(self.runs), clock.monotonic()
        known = {run.path.resolve() for run in self.runs}
        for path in self.paths:
            for each in runs_in(path):
                if each.resolve() not in known and len(self.runs) < MOST_RUNS:
                    known.add(each.resolve())
                    self.runs.append(Watched(each))
        return len(self.runs) > before

    def look(self) -> list[int]:
        """Reads what the logs have gained and returns the numbers of the runs that changed."""
        now = clock.monotonic()
        if now >= self._scanned + RESCAN:
            self.scan()
        changed = []
        for number, run in enumerate(self.runs):
            resting = run.view is not None and run.view.state in ("finished", "failed") and not run.reading
            if resting and now < self._looked.get(run.path, float("-inf")) + SLOW:
                continue
            self._looked[run.path] = now
            if run.look():
                changed.append(number)
        return changed

    def run(self, number: int) -> Watched:
        """Returns a run by its number.

        Raises:
            UsageError: there is no such run.
        """
        if not 0 <= number < len(self.runs):
            raise UsageError(f"no run {number}: this dashboard has {len(self.runs)}.")
        return self.runs[number]

    def summaries(self) -> list[dict[str, Any]]:
        """Returns all runs, in one row each."""
        return [run.summary() | {"run": number} for number, run in enumerate(self.runs)]

    def comparison(self) -> dict[str, Any]:
        """Returns the runs side by side: a picture and sentences.

        Raises:
            Loading: a log is still being read.
            UsageError: the runs cannot be compared.
        """
        records = [run.whole() for run in self.runs if run.view is not None and run.view.best is not None]
        ready = [record for record in records if record is not None]
        if len(ready) < len(records):
            raise Loading(0.0)
        found = views.compare(ready)
        said = [*found.said, *found.warnings]
        return {"picture": drawable(panels.comparison(found)), "said": said, "pairs": as_json(found.pairs)}
