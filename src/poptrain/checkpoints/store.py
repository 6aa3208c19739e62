"""The store of a run directory. Carries are committed once, never changed, and read back bit for bit or not at all.

    checkpoints/<name>/MANIFEST.json       what it is, sizes and hashes of its files, and the structure of the carry
                       arrays.safetensors  the arrays of the carry, if it has any
                       shared/…            its large arrays, see `shared`
                       user/…              or the files that the user's ``save`` wrote
    trash/<name>/                          about to be removed

A commit writes into a temporary directory, the manifest last, makes everything durable at once, and renames the directory. Its
reference, ``name:hash`` (``name/lane:hash`` for one member of a population), holds the first 16 hex digits of the manifest's
SHA-256. A checkpoint becomes real by the log line with its reference; a directory that no line names is an orphan and will be
removed. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import cast

from safetensors import SafetensorError
from safetensors.numpy import load, save

from poptrain.checkpoints import carry as carries
from poptrain.checkpoints.files import FilePath, Files
from poptrain.checkpoints.manifest import (
    ARRAYS,
    MANIFEST,
    MANIFEST_FORMAT,
    SHARED,
    SHARING_FORMAT,
    USER,
    FileEntry,
    Manifest,
    Purpose,
    parsed,
    purpose,
    written,
)
from poptrain.checkpoints.refs import Ref, stem
from poptrain.checkpoints.sealed import sealed
from poptrain.checkpoints.shared import SharedFiles, join, split
from poptrain.checkpoints.verified import Mismatch, read_verified
from poptrain.core import Carry
from poptrain.core.errors import CheckpointDamaged, PoptrainError, Suspended, UsageError
from poptrain.core.file_name import safe_name
from poptrain.log.disk import default

__all__ = ["ARRAYS", "MANIFEST", "MANIFEST_FORMAT", "USER", "DiskStore", "Ref", "sha256", "stem"]

# Dead checkpoints are collected together, with one durable log line for all, when there are this many, or this many bytes.
_DEAD_CHECKPOINTS = 16
_DEAD_BYTES = 64 << 20
Ids = Sequence[int]
LONGEST_MANIFEST = 1 << 28  # bytes that are read: what is longer was not committed by a run


class DiskStore:
    """Checkpoints in a run directory. Workers have a pickled copy to commit and read; only the driver collects.

    Args:
        directory: of the run.
        durable: False leaves out the fsyncs, as in `Log.create`.
        hash_below: of files with this many bytes or more only the size is checked, not the hash; None: hash all files.
    """

    fs: Files
    exclusive = True  # a file that was added to a checkpoint is damage

    def __init__(self, directory: Path | str, *, fs: Files = default, durable: bool = True, hash_below: int | None = None):
        self.fs, self.durable, self.hash_below = fs, durable, hash_below
        self._home: FilePath = fs.home(directory)
        self.root: FilePath = self._home / "checkpoints"
        self.trash: FilePath = self._home / "trash"
        self._live: set[str] = set()  # names that are in the log and were not collected
        self._dead: dict[str, int] = {}  # those of them that are no longer needed, and their bytes
        self._staged: dict[str, FilePath] = {}
        self._shared = SharedFiles(fs)
        self._made = False  # True if `root` is known to exist, and not as a link

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_live": set(), "_dead": {}, "_staged": {}, "_shared": SharedFiles(self.fs)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {str(self.root)!r}>"

    # -- committing ---------------------------------------------------------------------------------------------------

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        """Stores a carry durably and returns its reference. A name is used once.

        Raises:
            TypeError: the carry contains something that cannot be stored exactly.
            Suspended: the disk refused it; nothing of it is left.
        """
        return self._commit_carry(name, carry, {"task": task, "member": member, "step": step})

    def commit_population(
        self, name: str, carry: Carry, lanes: int, *, tasks: Ids = (), members: Ids = (), steps: Ids = ()
    ) -> list[str]:
        """Stores a carry with `lanes` members on the leading axis of every array; returns a reference for each."""
        about: Purpose = {"lanes": lanes, "task": list(tasks), "member": list(members), "step": list(steps)}
        hash = self._commit_carry(name, carry, about).partition(":")[2]
        return [f"{name}/{lane}:{hash}" for lane in range(lanes)]

    def stage(self, name: str) -> Path:
        """Returns an empty directory for the user's ``save``; `commit_staged` commits the files in it."""
        safe_name(name)
        self._discard(name)
        self._staged[name] = self._temporary(name)
        path: Path = self._staged[name] / USER
        try:
            self.fs.make_dir(path)
        except BaseException:
            self._discard(name)
            raise
        return path

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        """Commits the directory that `stage` returned and returns its reference."""
        if name not in self._staged:
            raise PoptrainError(f"checkpoint {name}: call stage() before commit_staged().")
        temporary = self._staged[name]
        try:
            files, folders = sealed(self.fs, temporary)
            about = {"task": task, "member": member, "step": step}
            manifest = cast(Manifest, {"format": MANIFEST_FORMAT, "name": name, **about, "files": files})
            return self._finish(temporary, manifest, [temporary / file for file in files], folders)
        finally:
            self._discard(name)

    def _commit_carry(self, name: str, carry: Carry, about: Purpose) -> str:
        safe_name(name)
        structure, arrays = carries.flatten(carry)
        arrays, parts = split(arrays, about.get("lanes"))
        data = save(arrays) if arrays else b""
        temporary = self._temporary(name)
        try:
            files: dict[str, FileEntry] = {}
            if arrays:
                files[ARRAYS] = {"size": len(data), "sha256": sha256(data).hexdigest()}
                self.fs.write_new(temporary / ARRAYS, data, sync=False)
            shared, more = self._shared.write(temporary, parts, self.durable)
            format = {"format": SHARING_FORMAT, "shared": shared} if shared else {"format": MANIFEST_FORMAT}
            manifest = {**format, "name": name, **about, "files": files | more, "carry": structure}
            unsafe = [temporary / ARRAYS] if arrays else []
            return self._finish(temporary, cast(Manifest, manifest), unsafe, [temporary / SHARED] if parts else [])
        except BaseException:
            with suppress(Suspended):  # the user must see the first error
                self.fs.remove_tree(temporary)
            raise

    def _finish(self, temporary: FilePath, manifest: Manifest, files: Sequence[FilePath], folders: Sequence[FilePath]) -> str:
        """Writes the manifest, makes everything durable that is not yet, and returns the reference."""
        name, data = manifest["name"], written(manifest)
        self.fs.write_new(temporary / MANIFEST, data, sync=False)
        if self.durable:
            self.fs.flush([*files, temporary / MANIFEST], [*folders, temporary])
        self._publish(name, temporary)
        self._shared.remember(self.root / name, manifest["files"])
        return f"{name}:{sha256(data).hexdigest()[:16]}"

    def _publish(self, name: str, temporary: FilePath) -> None:
        """Gives a complete checkpoint its name."""
        self._check_free(name)
        self.fs.rename(temporary, self.root / name)
        if self.durable:
            self.fs.fsync_dir(self.root)

    def _used(self, name: str) -> bool:
        return self.fs.exists(self.root / name)

    def _check_free(self, name: str) -> None:
        if self._used(name):
            raise PoptrainError(f"checkpoint {name} exists already in {self.fs.shown(self.root)}: each name is used once.")

    def _temporary(self, name: str) -> FilePath:
        if not self._made:
            self._make_root()
        path = self.root / f".tmp-{name}-{os.urandom(4).hex()}"
        self.fs.make_dir(path)
        return path

    def _make_root(self) -> None:
        """Makes the directory of all checkpoints; its own name must be durable too, or a power cut would lose them all."""
        self.fs.make_dir(self.root)  # it refuses a link, so that nothing outside is removed
        if self.durable:
            self.fs.fsync_dir(self._home)
        self._made = True

    def _discard(self, name: str) -> None:
        if (path := self._staged.pop(name, None)) is not None:
            self.fs.remove_tree(path)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, ref: str) -> Carry:
        """Returns the carry of a reference: of one member, if the reference names a lane. Every byte is verified.

        Raises:
            CheckpointDamaged: a file is missing or differs from what was committed.
        """
        lane = Ref.parse(ref).lane
        carry = self.read_population(ref)
        return carry if lane is None else carries.lane(carry, lane)

    def read_population(self, ref: str) -> Carry:
        """Returns the carry of all lanes that a reference belongs to. Every byte is verified."""
        manifest, files = self._verified(ref)
        if "carry" not in manifest:
            raise UsageError(f"checkpoint {ref} contains files of a trainable class, not a carry: use path().")
        try:
            self._shared.remember(self.root / Ref.parse(ref).name, manifest["files"])
            arrays = join(manifest.get("shared", {}), files) | (load(files[ARRAYS]) if ARRAYS in files else {})
            return carries.unflatten(manifest["carry"], arrays)
        except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(ref, manifest, ARRAYS, f"does not fit the manifest ({error})") from error

    def path(self, ref: str) -> Path:
        """Returns the verified directory that the user's ``save`` wrote. Files in it may be read, and never written."""
        manifest, _ = self._verified(ref)
        if "carry" in manifest:
            raise UsageError(f"checkpoint {ref} contains a carry, not files of a trainable class: use read().")
        path: Path = self.fs.inside(self.root, Ref.parse(ref).name) / USER
        return path

    def is_directory(self, ref: str) -> bool:
        """True if the checkpoint contains files of a trainable class (use `path`), False if it is a carry (use `read`)."""
        return "carry" not in self._manifest(ref)

    def hashes(self, ref: str) -> dict[str, str]:
        """Returns the SHA-256 of every file of a checkpoint, by name."""
        return {name: file["sha256"] for name, file in self._manifest(ref)["files"].items()}

    def verify(self, ref: str) -> bool:
        """True if every byte of the checkpoint is as it was committed."""
        return self.damage(ref) is None

    def damage(self, ref: str) -> str | None:
        """Returns one sentence about the damage of a checkpoint; None if every byte is as it was committed."""
        try:
            self._verified(ref)
        except CheckpointDamaged as error:
            return str(error)
        return None

    def about(self, ref: str) -> dict[str, int | None]:
        """Returns the task, the member and the step that a checkpoint was committed for; None where it is not recorded."""
        return purpose(self._manifest(ref), Ref.parse(ref).lane)

    def _manifest(self, ref: str) -> Manifest:
        name, _, hash = Ref.parse(ref)
        try:
            data = self.fs.read(self.fs.inside(self.root, name) / MANIFEST, 0, LONGEST_MANIFEST)
        except (FileNotFoundError, NotADirectoryError, UsageError) as error:
            why = getattr(error, "strerror", None) or error
            raise self._damaged(ref, None, MANIFEST, f"cannot be read ({why})") from error
        if sha256(data).hexdigest()[:16] != hash:
            raise self._damaged(ref, None, MANIFEST, "differs from the hash in the log")
        try:
            manifest = parsed(data)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise self._damaged(ref, None, MANIFEST, f"is not a manifest ({error})") from error
        if manifest["format"] > SHARING_FORMAT:
            raise UsageError(f"checkpoint {ref} was written by a newer poptrain (format {manifest['format']}): upgrade.")
        return manifest

    def _verified(self, ref: str) -> tuple[Manifest, dict[str, bytes]]:
        manifest, directory = self._manifest(ref), self.root / Ref.parse(ref).name
        keep = "carry" in manifest
        try:
            return manifest, read_verified(self.fs, directory, manifest["files"], keep, self.hash_below, self.exclusive)
        except Mismatch as error:
            raise self._damaged(ref, manifest, error.file, error.what) from None

    def _damaged(self, ref: str, manifest: Manifest | None, file: str, what: str) -> CheckpointDamaged:
        name, lane, _ = Ref.parse(ref)
        about = purpose(manifest, lane)
        of = "".join(f", {key} {about[key]}" for key in ("member", "step") if about[key] is not None)
        return CheckpointDamaged(f"checkpoint {name}{of}: {self.fs.shown(self.root / name / file)} {what}.")

    # -- collecting ---------------------------------------------------------------------------------------------------

    def add(self, refs: Iterable[str | None]) -> None:
        """Registers checkpoints that are in the log now. From then on they live as long as `keep` names them."""
        self._enter({stem(ref) for ref in refs if ref})

    def keep(self, refs: Iterable[str], gc: Callable[[list[str]], None], *, flush: bool = False) -> None:
        """Collects checkpoints that were added and are not among `refs`, when there are enough of them.

        Args:
            refs: of the checkpoints that are still needed.
            gc: writes the names of those that will be removed as one durable log line; it is called before the first removal.
            flush: collect now, including orphans. Nothing may be training at that time.
        """
        kept = {stem(ref) for ref in refs}
        self._enter(kept)
        if flush:
            self._make_root()
            self._live.update(name for name in self.fs.list(self.root) if not name.startswith("."))
        for name in self._live - kept - self._dead.keys():
            self._dead[name] = sum(self._sizes(name))
        for name in kept & self._dead.keys():
            del self._dead[name]
        if self._dead and (flush or len(self._dead) >= _DEAD_CHECKPOINTS or sum(self._dead.values()) >= _DEAD_BYTES):
            gc(names := sorted(self._dead))
            self._remove(names)
            self._live -= self._dead.keys()
            self._dead = {}

    def adopt(self, refs: Iterable[str]) -> None:
        """Takes over the directory of a run that is continued, and removes what does not belong to it.

        These are orphans (committed before a crash that prevented the log line), the rest of a collection that a crash
        interrupted, temporary directories and the trash. `refs` are all that are in the log and were not collected.
        """
        self._make_root()
        self.fs.make_dir(self.trash)
        self.add(refs)
        names = self.fs.list(self.root)
        for name in names:
            if name.startswith(".tmp-"):
                self.fs.remove_tree(self.root / name)
        self._remove([name for name in names if not name.startswith(".") and name not in self._live])
        for name in self.fs.list(self.trash):
            self.fs.remove_tree(self.trash / name)

    def _enter(self, names: set[str]) -> None:
        for name in names - self._live:
            safe_name(name)  # names in `_live` may be removed later, so they are checked here
        self._live |= names

    def _remove(self, names: Sequence[str]) -> None:
        # They are renamed first, so that a checkpoint that is half removed never has its name.
        if names:
            self.fs.make_dir(self.trash)
        for name in names:
            if self.fs.exists(self.root / name):
                self.fs.remove_tree(self.trash / name)
                self.fs.rename(self.root / name, self.trash / name)
                self.fs.remove_tree(self.trash / name)

    def _sizes(self, name: str) -> Iterable[int]:
        try:
            return self.fs.walk(self.root / name).values()
        except (OSError, Suspended):  # removed already, or not a directory: it takes no space
            return ()
