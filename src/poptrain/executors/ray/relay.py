"""The store as an actor sees it.

`Shared` is the run's own store, on a disk that every node mounts; a carry that came along with a task is not read from
there. `Parcels` needs no disk: what is committed travels to the driver with the result, what is read has come with the task.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from poptrain.checkpoints import carry as carries
from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.store import Store
from poptrain.core import Carry
from poptrain.core.errors import CheckpointDamaged
from poptrain.log.disk import default as disk

SENT = "sent"  # the hash in a reference, until the driver has stored the parcel and knows the real one


class Parcel(NamedTuple):
    """A checkpoint on its way to the driver: a carry, a population's carry, or the files of a trainable class."""

    how: str  # the method of the store
    name: str
    content: Any
    about: dict[str, Any]


class Shared:
    """The run's store, and the carries that members of this actor hold or were handed."""

    def __init__(self, store: Store, warm: int):
        self._store, self._warm = store, warm
        self._held: OrderedDict[int, tuple[str, Carry]] = OrderedDict()  # member -> what it committed last
        self.given: dict[str, Carry] = {}  # reference -> carry that came with the task
        self.parcels: list[Parcel] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        ref = self._store.commit(name, carry, task=task, member=member, step=step)
        self._held[member] = ref, carry
        if len(self._held) > self._warm:
            self._held.popitem(last=False)
        return ref

    def read(self, ref: str) -> Carry:
        carry = self.given.get(ref)
        return self._store.read(ref) if carry is None else carries.copy(carry)

    def handed(self, ref: str) -> Carry | None:
        """Returns the carry of a checkpoint if a member of this actor just left it behind, else None."""
        carry = next((carry for held, carry in self._held.values() if held == ref), None)
        return None if carry is None else carries.copy(carry)

    def take(self, ref: str | None, member: int) -> None:
        """Keeps a checkpoint for a task that is about to read it, if another member of this actor left it behind."""
        held = self._held.get(member)
        if ref is not None and ref not in self.given and (held is None or held[0] != ref):
            carry = self.handed(ref)
            if carry is not None:
                self.given[ref] = carry

    def forget(self, member: int) -> None:
        """Is called before a member trains on: its training may change what it holds in place."""
        self._held.pop(member, None)

    def tidy(self) -> None:
        """Is called when all tasks of a call are done."""


class Parcels:
    """A store that only sends and receives."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.parcels: list[Parcel] = []
        self._folder: Path | None = None
        self._files: Store | None = None

    def commit(self, name: str, carry: Carry, **about: Any) -> str:
        self.parcels.append(Parcel("commit", name, carries.copy(carry), about))
        return f"{name}:{SENT}"

    def commit_population(self, name: str, carry: Carry, lanes: int, **about: Any) -> list[str]:
        self.parcels.append(Parcel("commit_population", name, carries.copy(carry), {"lanes": lanes, **about}))
        return [f"{name}/{lane}:{SENT}" for lane in range(lanes)]

    def stage(self, name: str) -> Path:
        if self._files is None:
            self._folder = Path(tempfile.mkdtemp(prefix="poptrain-")).resolve()
            self._files = Store(self._folder, durable=False)
        return self._files.stage(name)

    def commit_staged(self, name: str, **about: Any) -> str:
        ref = self._files.commit_staged(name, **about)  # refuses what is no regular file
        self.parcels.append(Parcel("commit_staged", name, packed(self._files.path(ref)), about))
        return f"{name}:{SENT}"

    def read(self, ref: str) -> Carry:
        return carries.copy(self._received(ref))

    def path(self, ref: str) -> Path:
        path = self.stage(ref.partition(":")[0])
        unpack(self._received(ref), path)
        return path

    def handed(self, ref: str) -> None:
        return None

    def take(self, ref: str | None, member: int) -> None:
        pass

    def forget(self, member: int) -> None:
        pass

    def tidy(self) -> None:
        """Removes the files of tasks that are done."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._files = None

    def _received(self, ref: str) -> Any:
        if ref not in self.given:
            raise CheckpointDamaged(f"checkpoint {ref} did not come with the task.")
        return self.given[ref]


def store(parcel: Parcel, where: Store | MemoryStore) -> list[str]:
    """Commits a parcel that has arrived; returns its reference, or those of a population's members."""
    if parcel.how == "commit_population":
        return where.commit_population(parcel.name, parcel.content, **parcel.about)
    if parcel.how == "commit":
        return [where.commit(parcel.name, parcel.content, **parcel.about)]
    unpack(parcel.content, where.stage(parcel.name))
    return [where.commit_staged(parcel.name, **parcel.about)]


def fetched(ref: str, where: Store | MemoryStore) -> Any:
    """Returns what `Parcels` needs in order to read a checkpoint: its carry, or its files."""
    return packed(where.path(ref)) if where.is_directory(ref) else where.read(ref)


def packed(directory: Path) -> dict[str, bytes]:
    """Returns the contents of all files under a directory by their relative paths."""
    return {file: disk.read(directory / file) for file in sorted(disk.walk(directory))}


def unpack(files: dict[str, bytes], directory: Path) -> None:
    """Writes files into an existing directory."""
    for file, data in files.items():
        path = directory / file
        for parent in reversed(path.relative_to(directory).parents[:-1]):
            disk.make_dir(directory / parent)
        disk.write_new(path, data, sync=False)
