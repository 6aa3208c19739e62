"""Checkpoints at an fsspec URL: in a bucket, or wherever else every node of a cluster reads and writes.

    URL/run.json                           whose checkpoints are here: one run's, and nobody else's
    URL/checkpoints/<name>/…               as on a disk

Objects are written under their final name, the manifest last; no rename is needed, because a checkpoint becomes real by
the log line with its reference, and a name that no line holds is an orphan. What a trainable class saves and loads passes
through a temporary directory of this process.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from poptrain.checkpoints.store import MANIFEST, USER, Ref, Store
from poptrain.checkpoints.url_files import UrlFS
from poptrain.core.errors import CheckpointDamaged, Suspended, UsageError
from poptrain.log.disk import default as disk

OWNER = PurePosixPath("run.json")


class UrlStore(Store):
    """Checkpoints of one run at a URL; `Store` says what the methods do.

    Args:
        owner: of the place: what `claim` leaves there, and what every sitting of the run finds again.
        run: the directory of the run, which an error names so that it can be resumed.
    """

    fs: UrlFS

    def __init__(self, url: str, owner: str, run: Path | str = "", *, hash_below: int | None = None):
        super().__init__("", fs=UrlFS(url, run), hash_below=hash_below)
        self.owner = owner
        self._local: Store | None = None
        self._emptied: Any = None  # removes its directory
        self._loaded: set[str] = set()  # names of what was downloaded

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_local": None, "_emptied": None, "_loaded": set()}

    # -- whose place it is --------------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Takes an empty place for this run.

        Raises:
            UsageError: it is not empty.
            Suspended: the storage cannot be reached, read or written.
        """
        if self.fs.list(PurePosixPath()):
            raise UsageError(
                f"checkpoints={self.fs.url!r}: something is there already, and a run needs a place of its own: give another URL."
            )
        self.fs.write_new(OWNER, json.dumps({"run": self.owner}).encode())

    def release(self) -> None:
        """Gives back what `claim` took, when the run did not begin."""
        self.fs.remove(OWNER)

    def adopt(self, refs: Iterable[str]) -> None:
        self._check_owner()
        super().adopt(refs)

    def _check_owner(self) -> None:
        try:
            owner = json.loads(self.fs.read(OWNER))["run"]
        except FileNotFoundError:
            raise self.fs.suspended("find", OWNER, "this run put it there, and it is gone") from None
        except (ValueError, TypeError, LookupError):
            owner = None
        if owner != self.owner:
            raise UsageError(f"{self.fs.url} holds the checkpoints of another run: they are not touched.")

    # -- committing ---------------------------------------------------------------------------------------------------

    def stage(self, name: str) -> Path:
        for loaded in self._loaded:
            disk.remove_tree(self._here().root / loaded)
        self._loaded.clear()
        return self._here().stage(name)

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        local = self._here()
        ref = local.commit_staged(name, task=task, member=member, step=step)
        source = local.root / name
        try:
            self._check_free(name)
            try:
                for file in sorted(disk.walk(source), key=lambda file: (file == MANIFEST, file)):
                    self.fs.upload(source / file, self.root / name / file)
            except BaseException:
                with suppress(Suspended):
                    self.fs.remove_tree(self.root / name)
                raise
        finally:
            disk.remove_tree(source)
            if not (local._staged or self._loaded):  # a worker that is killed later leaves nothing behind
                self._local = None
                self._emptied()
        return ref

    def _used(self, name: str) -> bool:
        return MANIFEST in self.fs.walk(self.root / name)  # without one it is the rest of a write that was cut

    def _temporary(self, name: str) -> PurePosixPath:
        self._check_free(name)
        return self.root / name

    def _publish(self, name: str, temporary: PurePosixPath) -> None:
        """Does nothing: it has its name."""

    # -- reading ------------------------------------------------------------------------------------------------------

    def path(self, ref: str) -> Path:
        """Returns the verified directory that the user's ``save`` wrote, downloaded; it stays until the next `stage`."""
        manifest, name, local = self._manifest(ref), Ref.parse(ref).name, self._here()
        if "carry" in manifest:
            raise UsageError(f"checkpoint {ref} holds a carry, not files of a trainable class: use read().")
        target, there = local.root / name, self.root / name
        if name not in self._loaded:
            disk.remove_tree(target)
            (target / USER).mkdir(parents=True)
            found = self.fs.walk(there)
            for file in (MANIFEST, *(file for file in manifest["files"] if found.get(file, -1) >= 0)):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # collected just now: `local` misses it
                    self.fs.download(there / file, target / file)
            self._loaded.add(name)
        try:
            return local.path(ref)
        except CheckpointDamaged as error:
            self._loaded.discard(name)
            disk.remove_tree(target)
            raise CheckpointDamaged(str(error).replace(str(target), self.fs.shown(there))) from None

    def _manifest(self, ref: str) -> dict[str, Any]:
        try:
            return super()._manifest(ref)
        except CheckpointDamaged:
            self._check_owner()  # a checkpoint is not lost because the bucket is
            raise

    # -- collecting ---------------------------------------------------------------------------------------------------

    def _remove(self, names: Sequence[str]) -> None:
        self.fs.remove_trees([self.root / name for name in names])

    def _sizes(self, name: str) -> Iterable[int]:
        return ()  # a bucket has room: no question to the storage for each checkpoint that is not needed any more

    def _here(self) -> Store:
        if self._local is None:
            directory = Path(tempfile.mkdtemp(prefix="poptrain-")).resolve()
            # Not with this store but with the process: `open_run(…).best.load()` returns a path that outlives the run.
            self._emptied = weakref.finalize(disk, disk.remove_tree, directory)
            self._local = Store(directory, durable=False, hash_below=self.hash_below)
            disk.make_dir(self._local.root)
        return self._local
