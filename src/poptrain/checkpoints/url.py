"""Checkpoints at an fsspec URL: in a bucket, or in other storage that every node of a cluster can read and write.

    URL/run.json                           the run that owns this place; there is only one
    URL/checkpoints/<name>/…               as on a disk

Objects are written under their final name, the manifest last. No rename is needed, because a checkpoint becomes real by the
log line with its reference, and a name that no line holds is an orphan. The files of a trainable class pass through a
temporary directory of this process.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from poptrain.checkpoints.manifest import MANIFEST, USER, Manifest
from poptrain.checkpoints.refs import Ref
from poptrain.checkpoints.store import DiskStore
from poptrain.checkpoints.url_files import UrlFS
from poptrain.core.errors import CheckpointDamaged, Suspended, UsageError
from poptrain.log.disk import default as disk

OWNER = PurePosixPath("run.json")


class UrlStore(DiskStore):
    """Checkpoints of one run at a URL, in the format of `DiskStore`.

    Args:
        url: of the place, in any protocol that fsspec knows.
        owner: the key that `claim` writes there, and that every session of the run expects.
        run: the directory of the run; errors name it, so that it can be resumed.
        hash_below: as for `DiskStore`.
    """

    fs: UrlFS

    exclusive = False  # the rest of a write that was cut keeps its name

    def __init__(self, url: str, owner: str, run: Path | str = "", *, hash_below: int | None = None):
        super().__init__("", fs=UrlFS(url, run), hash_below=hash_below)
        self.owner = owner
        self._local: DiskStore | None = None
        self._empty_local: Callable[[], object] = lambda: None  # removes its directory
        self._loaded: set[str] = set()  # names that were downloaded

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_local": None, "_empty_local": None, "_loaded": set()}

    # -- the owner of the place --------------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Takes an empty place for this run.

        Raises:
            UsageError: the place is not empty.
            Suspended: the storage cannot be reached, read or written.
        """
        if self.fs.list(PurePosixPath()):
            raise UsageError(
                f"checkpoints={self.fs.url!r}: the URL already contains files, and a new run needs an empty one. Use another URL."
            )
        self.fs.write_new(OWNER, json.dumps({"run": self.owner}).encode())

    def release(self) -> None:
        """Releases the place that `claim` took, because the run did not begin."""
        self.fs.remove(OWNER)

    def adopt(self, refs: Iterable[str]) -> None:
        self._check_owner()
        super().adopt(refs)

    def _check_owner(self) -> None:
        try:
            owner = json.loads(self.fs.read(OWNER))["run"]
        except FileNotFoundError:
            raise self.fs.suspended("find", OWNER, "this run wrote it there, and now it is gone") from None
        except (ValueError, TypeError, LookupError):
            owner = None
        if owner != self.owner:
            raise UsageError(f"{self.fs.url} contains the checkpoints of another run, which are left unchanged: use another URL.")

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
            if not (local._staged or self._loaded):  # so that a worker that is killed later leaves no files
                self._local = None
                self._empty_local()
        return ref

    def _used(self, name: str) -> bool:
        return MANIFEST in self.fs.walk(self.root / name)  # without one it is the rest of an interrupted write

    def _temporary(self, name: str) -> PurePosixPath:
        self._check_free(name)
        path: PurePosixPath = self.root / name
        return path

    def _publish(self, name: str, temporary: PurePosixPath) -> None:
        """Does nothing: the objects have their names already."""

    # -- reading ------------------------------------------------------------------------------------------------------

    def path(self, ref: str) -> Path:
        """Returns the verified directory that the user's ``save`` wrote, downloaded. It exists until the next `stage`."""
        manifest, name, local = self._manifest(ref), Ref.parse(ref).name, self._here()
        if "carry" in manifest:
            raise UsageError(f"checkpoint {ref} contains a carry, not files of a trainable class: use read().")
        target, there = local.root / name, self.root / name
        if name not in self._loaded:
            disk.remove_tree(target)
            (target / USER).mkdir(parents=True)
            found = self.fs.walk(there)
            for file in (MANIFEST, *(file for file in manifest["files"] if found.get(file, -1) >= 0)):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # it was collected just now: `local` reports it
                    self.fs.download(there / file, target / file)
            self._loaded.add(name)
        try:
            return local.path(ref)
        except CheckpointDamaged as error:
            self._loaded.discard(name)
            disk.remove_tree(target)
            raise CheckpointDamaged(str(error).replace(str(target), self.fs.shown(there))) from None

    def _manifest(self, ref: str) -> Manifest:
        try:
            return super()._manifest(ref)
        except CheckpointDamaged:
            self._check_owner()  # if the bucket is gone, the run is suspended: the checkpoint may come back with it
            raise

    # -- collecting ---------------------------------------------------------------------------------------------------

    def _remove(self, names: Sequence[str]) -> None:
        self.fs.remove_trees([self.root / name for name in names])

    def _sizes(self, name: str) -> Iterable[int]:
        return ()  # a bucket has space: no request to the storage for each checkpoint that is no longer needed

    def _here(self) -> DiskStore:
        if self._local is None:
            directory = Path(tempfile.mkdtemp(prefix="poptrain-")).resolve()
            # Removed at the end of the process, not with this store: `open_run(…).best.load()` returns a path that is used later.
            self._empty_local = weakref.finalize(disk, disk.remove_tree, directory)
            self._local = DiskStore(directory, durable=False, hash_below=self.hash_below)
            disk.make_dir(self._local.root)
        return self._local
