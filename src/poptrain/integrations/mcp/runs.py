"""The runs that the server may show: those below the directories that it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.log.finding import runs_in
from poptrain.log.reader import Record, read

DEPTH = 3  # directories below a root that are searched
MOST = 500


class Runs:
    """Run directories by name; a record is kept, and a second question reads only what is new.

    Args:
        roots: run directories, or directories that contain some.
    """

    def __init__(self, roots: Sequence[Path]):
        self.roots = [root.resolve() for root in roots]
        self._records: dict[Path, Record] = {}

    def paths(self) -> dict[str, Path]:
        """Returns the run directories by name: relative to their root, or the name of the root itself."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for path in runs_in(root, DEPTH, links=False):
                name = path.name if path == root else path.relative_to(root).as_posix()
                found.setdefault(name if name not in found else str(path), path)
                if len(found) >= MOST:
                    return found
        return found

    def path(self, name: str) -> Path:
        """Returns the directory of a run.

        Raises:
            UsageError: there is no run of that name below the roots.
        """
        known = self.paths()
        if name in known:
            return known[name]
        if (path := Path(name).resolve()) in known.values():
            return path
        some = f" Known runs: {', '.join(list(known)[:8])}." if known else " There are no runs yet."
        raise UsageError(f"no run {name!r}.{did_you_mean(name, known)}{some}")

    def record(self, name: str) -> Record:
        """Returns the record of a run, read to its end."""
        path = self.path(name)
        if path in self._records:
            self._records[path].refresh()
        else:
            self._records[path] = read(path)
        return self._records[path]
