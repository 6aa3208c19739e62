"""The store: carries that are committed once, never changed, read back bit for bit or not at all, and collected.

    checkpoints/<name>/MANIFEST.json       what it is, sizes and hashes of its files, and the structure of the carry
                       arrays.safetensors  the arrays of the carry, if there are any
                       user/…              or: what the user's ``save`` wrote
    trash/<name>/                          on its way out

A commit writes into a temporary directory, the manifest last, makes all of it durable, and renames it. Its reference,
``name:hash`` (``name/lane:hash`` for one member of a population), holds the first 16 hex digits of the manifest's
SHA-256; the log line with that reference is what makes a checkpoint real. A directory that no line names is an orphan,
whatever it looks like. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load, save

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry
from poptrain.core.errors import CheckpointDamaged, PoptrainError, Suspended, UsageError
from poptrain.log.disk import FS, default, safe_name

FORMAT = 1
MANIFEST, ARRAYS, USER = "MANIFEST.json", "arrays.safetensors", "user"
_SLACK = 16  # so many dead checkpoints, or so many bytes of them, are collected together: one durable log line for all
_SLACK_BYTES = 64 << 20
_REF = re.compile(r"([^:/]+)(?:/(\d{1,9}))?:([0-9a-z]+)", re.ASCII)


class Ref(NamedTuple):
    """A reference, taken apart."""

    name: str
    lane: int | None
    hash: str

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Returns the parts of ``name:hash`` or ``name/lane:hash``; raises UsageError for anything else."""
        match = _REF.fullmatch(text)
        if not match:
            raise UsageError(f"{text!r} is no checkpoint reference: expected 'name:hash' or 'name/lane:hash'.")
        return cls(safe_name(match[1]), int(match[2]) if match[2] else None, match[3])


def stem(ref: str) -> str:
    """Returns the name in a reference, unchecked: enough to compare names, not to open files."""
    return ref.partition(":")[0].partition("/")[0]


class Store:
    """Checkpoints in a run directory. Workers hold a pickled copy to commit and read; only the driver collects.

    Args:
        directory: of the run.
        durable: False leaves out the fsyncs, as in `Log.create`.
        hash_below: files of so many bytes or more are read back after a check of their size alone; None: hash them all.
    """

    def __init__(self, directory: Path | str, *, fs: FS = default, durable: bool = True, hash_below: int | None = None):
        self.fs, self.durable, self.hash_below = fs, durable, hash_below
        home = fs.home(directory)
        self.root, self.trash = home / "checkpoints", home / "trash"
        self._live: set[str] = set()  # names that the log holds and that were not collected
        self._dead: dict[str, int] = {}  # those of them that nobody keeps, and their bytes
        self._staged: dict[str, Path] = {}
        self._made = False  # whether `root` is known to be there, and no link

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_live": set(), "_dead": {}, "_staged": {}}

    # -- committing ---------------------------------------------------------------------------------------------------

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        """Stores a carry durably and returns its reference. A name is used once.

        Raises:
            TypeError: the carry holds something that cannot be stored exactly.
            Suspended: the disk did not take it; nothing of it is left.
        """
        return self._commit_carry(name, carry, {"task": task, "member": member, "step": step})

    def commit_population(
        self, name: str, carry: Carry, lanes: int, *,
        tasks: Sequence[int] = (), members: Sequence[int] = (), steps: Sequence[int] = (),
    ) -> list[str]:  # fmt: skip
        """Stores a carry with `lanes` members on the leading axis of every array; returns a reference for each."""
        about = {"lanes": lanes, "task": list(tasks), "member": list(members), "step": list(steps)}
        stem, _, hash = self._commit_carry(name, carry, about).partition(":")
        return [f"{stem}/{lane}:{hash}" for lane in range(lanes)]

    def stage(self, name: str) -> Path:
        """Returns an empty directory for the user's ``save``; `commit_staged` commits what is in it then."""
        safe_name(name)
        self._discard(name)
        self._staged[name] = self._temporary(name)
        path = self._staged[name] / USER
        try:
            self.fs.make_dir(path)
        except BaseException:
            self._discard(name)
            raise
        return path

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        """Commits the directory that `stage` returned and returns its reference."""
        if name not in self._staged:
            raise PoptrainError(f"checkpoint {name}: stage() it before commit_staged().")
        temporary = self._staged[name]
        try:
            files = {}
            for file, size in sorted(self.fs.walk(temporary).items()):
                if size < 0:
                    raise ValueError(f"save wrote {file}, a link or pipe: a checkpoint is made of regular files")
                if self.durable:
                    self.fs.fsync(temporary / file)
                files[file] = {"size": size, "sha256": self.fs.digest(temporary / file)}
            if self.durable:
                for directory in sorted({USER} | {str(parent) for file in files for parent in Path(file).parents[:-1]}):
                    self.fs.fsync_dir(temporary / directory)
            return self._finish(name, temporary, {"task": task, "member": member, "step": step, "files": files})
        finally:
            self._discard(name)

    def _commit_carry(self, name: str, carry: Carry, about: dict[str, Any]) -> str:
        safe_name(name)
        structure, arrays = carries.flatten(carry)
        data = save(arrays) if arrays else b""
        temporary = self._temporary(name)
        try:
            files = {}
            if arrays:
                files[ARRAYS] = {"size": len(data), "sha256": sha256(data).hexdigest()}
                self.fs.write_new(temporary / ARRAYS, data, self.durable)
            return self._finish(name, temporary, {**about, "files": files, "carry": structure})
        except BaseException:
            with suppress(Suspended):  # what went wrong first is what the user is told
                self.fs.remove_tree(temporary)
            raise

    def _finish(self, name: str, temporary: Path, about: dict[str, Any]) -> str:
        about = {"format": FORMAT, "name": name, **about}
        manifest = json.dumps(about, allow_nan=False, separators=(",", ":")).encode()
        self.fs.write_new(temporary / MANIFEST, manifest, self.durable)
        self._publish(name, temporary)
        return f"{name}:{sha256(manifest).hexdigest()[:16]}"

    def _publish(self, name: str, temporary: Path) -> None:
        """Gives what is complete its name."""
        if self.durable:
            self.fs.fsync_dir(temporary)
        self._check_free(name)
        self.fs.rename(temporary, self.root / name)
        if self.durable:
            self.fs.fsync_dir(self.root)

    def _used(self, name: str) -> bool:
        return self.fs.exists(self.root / name)

    def _check_free(self, name: str) -> None:
        if self._used(name):
            raise PoptrainError(f"checkpoint {name} exists already in {self.fs.shown(self.root)}: a name is used once.")

    def _temporary(self, name: str) -> Path:
        if not self._made:
            self.fs.make_dir(self.root)
            self._made = True
        path = self.root / f".tmp-{name}-{os.urandom(4).hex()}"
        self.fs.make_dir(path)
        return path

    def _discard(self, name: str) -> None:
        if (path := self._staged.pop(name, None)) is not None:
            self.fs.remove_tree(path)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, ref: str) -> Carry:
        """Returns the carry of a reference, of its one member if it names a lane; every byte is verified.

        Raises:
            CheckpointDamaged: a file is missing or differs from what was committed.
        """
        lane = Ref.parse(ref).lane
        carry = self.read_population(ref)
        return carry if lane is None else carries.lane(carry, lane)

    def read_population(self, ref: str) -> Carry:
        """Returns the whole carry that a reference, of any lane, belongs to."""
        manifest, files = self._verified(ref)
        if "carry" not in manifest:
            raise UsageError(f"checkpoint {ref} holds files of a trainable class, not a carry: use path().")
        try:
            return carries.unflatten(manifest["carry"], load(files[ARRAYS]) if ARRAYS in files else {})
        except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(ref, manifest, ARRAYS, f"does not fit the manifest ({error})") from error

    def path(self, ref: str) -> Path:
        """Returns the verified directory that the user's ``save`` wrote: read it, never write to it."""
        manifest, _ = self._verified(ref)
        if "carry" in manifest:
            raise UsageError(f"checkpoint {ref} holds a carry, not files of a trainable class: use read().")
        return self.fs.inside(self.root, Ref.parse(ref).name) / USER

    def is_directory(self, ref: str) -> bool:
        """True if the checkpoint holds files of a trainable class: `path`, not `read`."""
        return "carry" not in self._manifest(ref)

    def hashes(self, ref: str) -> dict[str, str]:
        """Returns the SHA-256 of every file of a checkpoint, by name."""
        return {name: file["sha256"] for name, file in self._manifest(ref)["files"].items()}

    def verify(self, ref: str) -> bool:
        """True if every byte of the checkpoint is as it was committed."""
        return self.damage(ref) is None

    def damage(self, ref: str) -> str | None:
        """Returns what is wrong with a checkpoint, one sentence; None if every byte is as it was committed."""
        try:
            self._verified(ref)
        except CheckpointDamaged as error:
            return str(error)
        return None

    def about(self, ref: str) -> dict[str, Any]:
        """Returns the task, the member and the step that a checkpoint was committed for, as far as it says."""
        return _told(self._manifest(ref), Ref.parse(ref).lane)

    def _manifest(self, ref: str) -> dict[str, Any]:
        name, _, hash = Ref.parse(ref)
        try:
            data = self.fs.read(self.fs.inside(self.root, name) / MANIFEST)
        except (OSError, UsageError) as error:
            why = getattr(error, "strerror", None) or error
            raise self._damaged(ref, {}, MANIFEST, f"cannot be read ({why})") from error
        if sha256(data).hexdigest()[:16] != hash:
            raise self._damaged(ref, {}, MANIFEST, "differs from the hash in the log")
        try:
            manifest = json.loads(data)
            newer = manifest["format"] > FORMAT
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise self._damaged(ref, {}, MANIFEST, f"is no manifest ({error})") from error
        if newer:
            raise UsageError(f"checkpoint {ref} is of a newer poptrain (format {manifest['format']}): upgrade.")
        return manifest

    def _verified(self, ref: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        manifest, files = self._manifest(ref), {}
        directory = self.root / Ref.parse(ref).name
        found = self.fs.walk(directory)  # follows no link: whatever a manifest names, only what is in here is read
        for file, expected in manifest["files"].items():
            size = found.get(file, -1)
            if size != expected["size"]:
                what = "is missing" if size < 0 else f"has {size:,} bytes instead of {expected['size']:,}"
                raise self._damaged(ref, manifest, file, what)
            if file == ARRAYS:
                files[file] = self.fs.read(directory / file)
            if self.hash_below is not None and size >= self.hash_below:
                continue
            hash = sha256(files[file]).hexdigest() if file in files else self.fs.digest(directory / file)
            if hash != expected["sha256"]:
                raise self._damaged(ref, manifest, file, "differs from its hash")
        return manifest, files

    def _damaged(self, ref: str, manifest: dict[str, Any], file: str, what: str) -> CheckpointDamaged:
        name, lane, _ = Ref.parse(ref)
        told = _told(manifest, lane)
        of = "".join(f", {key} {told[key]}" for key in ("member", "step") if told[key] is not None)
        return CheckpointDamaged(f"checkpoint {name}{of}: {self.fs.shown(self.root / name / file)} {what}.")

    # -- collecting ---------------------------------------------------------------------------------------------------

    def add(self, refs: Iterable[str | None]) -> None:
        """Takes in checkpoints that are in the log now: from here on they live as long as `keep` names them."""
        self._enter({stem(ref) for ref in refs if ref})

    def keep(self, refs: Iterable[str], gc: Callable[[list[str]], None], *, flush: bool = False) -> None:
        """Collects what was added and is not among `refs`: not at once, but when enough has come together.

        Args:
            gc: writes the names that go as one durable log line; it is called before anything is touched.
            flush: collect now, and orphans too. Nothing may be training then.
        """
        kept = {stem(ref) for ref in refs}
        self._enter(kept)
        if flush:
            self.fs.make_dir(self.root)
            self._live.update(name for name in self.fs.list(self.root) if not name.startswith("."))
        for name in self._live - kept - self._dead.keys():
            self._dead[name] = sum(self._sizes(name))
        for name in kept & self._dead.keys():
            del self._dead[name]
        if self._dead and (flush or len(self._dead) >= _SLACK or sum(self._dead.values()) >= _SLACK_BYTES):
            gc(names := sorted(self._dead))
            self._remove(names)
            self._live -= self._dead.keys()
            self._dead = {}

    def adopt(self, refs: Iterable[str]) -> None:
        """Takes over a directory: `refs` are all that the log holds and has not collected, the rest is removed.

        The rest are orphans (committed, then crashed before the log line), collections that a crash cut short,
        temporary directories and the trash.
        """
        for directory in (self.root, self.trash):
            self.fs.make_dir(directory)  # refuses a link: nothing outside may be taken for ours and removed
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
            safe_name(name)  # once is enough: what is in `_live` may be removed under that name
        self._live |= names

    def _remove(self, names: Sequence[str]) -> None:
        # Renamed first, so that a half removed checkpoint never stands under its name.
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
        except OSError:
            return ()  # gone already, or no directory: it costs nothing to collect


def _told(manifest: dict[str, Any], lane: int | None) -> dict[str, Any]:
    told = {key: manifest.get(key) for key in ("task", "member", "step")}
    return told if lane is None else {key: row[lane] if row and lane < len(row) else None for key, row in told.items()}
