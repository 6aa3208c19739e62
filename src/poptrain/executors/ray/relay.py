"""The store as an actor sees it.

`SharedStore` is the run's own store, on a disk that every node mounts; a carry that came along with a task is not read from
there. `StoreInParcels` needs no shared disk: what is committed travels to the driver with the result, and what is read has
come with the task.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from poptrain.checkpoints import carry as carries
from poptrain.checkpoints.store import DiskStore
from poptrain.core import Carry
from poptrain.core.errors import CheckpointDamaged
from poptrain.executors.context import PopulationStore
from poptrain.log.disk import default as disk

HASH_UNKNOWN = "sent"  # the hash in a reference, until the driver has stored the parcel and knows the real one

FileContents = Mapping[str, bytes]  # the files of a trainable class, by relative path


class Parcel(NamedTuple):
    """A checkpoint on its way to the driver."""

    kind: Literal["carry", "population", "files"]
    name: str
    content: Carry | FileContents
    tasks: Sequence[int]
    members: Sequence[int]
    steps: Sequence[int]
    lanes: int = 1  # of a population


class Relay(PopulationStore, Protocol):
    """A store in an actor, which also knows what came along with the tasks, and what goes back with the results."""

    given: dict[str, Carry]  # reference -> what came along with the tasks of this call
    parcels: list[Parcel]  # go back with the results

    def handed(self, ref: str) -> Carry | None:
        """Returns the carry of a checkpoint if a member of this actor has just committed it, else None."""
        ...

    def take(self, ref: str | None, member: int) -> None:
        """Keeps a checkpoint for a task that is about to read it, if another member of this actor has committed it."""
        ...

    def forget(self, member: int) -> None:
        """Is called before a member trains on: its training may change in place what it has committed."""
        ...

    def tidy(self) -> None:
        """Is called when all tasks of a call are done."""
        ...


class SharedStore:
    """The run's store, and the carries that members of this actor have committed or that came along.

    Args:
        warm: the most carries that are kept.
    """

    def __init__(self, store: DiskStore, warm: int):
        self._store, self._warm = store, warm
        self._held: OrderedDict[int, tuple[str, Carry]] = OrderedDict()  # member -> what it committed last
        self.given: dict[str, Carry] = {}
        self.parcels: list[Parcel] = []

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        ref = self._store.commit(name, carry, task=task, member=member, step=step)
        self._held[member] = ref, carry
        if len(self._held) > self._warm:
            self._held.popitem(last=False)
        return ref

    def commit_population(
        self,
        name: str,
        carry: Carry,
        lanes: int,
        *,
        tasks: Sequence[int] = (),
        members: Sequence[int] = (),
        steps: Sequence[int] = (),
    ) -> list[str]:
        return self._store.commit_population(name, carry, lanes, tasks=tasks, members=members, steps=steps)

    def stage(self, name: str) -> Path:
        return self._store.stage(name)

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        return self._store.commit_staged(name, task=task, member=member, step=step)

    def read(self, ref: str) -> Carry:
        carry = self.given.get(ref)
        return self._store.read(ref) if carry is None else carries.copy(carry)

    def path(self, ref: str) -> Path:
        return self._store.path(ref)

    def handed(self, ref: str) -> Carry | None:
        carry = next((carry for held, carry in self._held.values() if held == ref), None)
        return None if carry is None else carries.copy(carry)

    def take(self, ref: str | None, member: int) -> None:
        held = self._held.get(member)
        if ref is not None and ref not in self.given and (held is None or held[0] != ref):
            carry = self.handed(ref)
            if carry is not None:
                self.given[ref] = carry

    def forget(self, member: int) -> None:
        self._held.pop(member, None)

    def tidy(self) -> None:
        pass


class StoreInParcels:
    """A store that only sends and receives."""

    def __init__(self) -> None:
        self.given: dict[str, Carry | FileContents] = {}
        self.parcels: list[Parcel] = []
        self._staging: tuple[Path, DiskStore] | None = None  # a folder for the files of this call, and a store in it

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        self.parcels.append(Parcel("carry", name, carries.copy(carry), [task], [member], [step]))
        return f"{name}:{HASH_UNKNOWN}"

    def commit_population(
        self,
        name: str,
        carry: Carry,
        lanes: int,
        *,
        tasks: Sequence[int] = (),
        members: Sequence[int] = (),
        steps: Sequence[int] = (),
    ) -> list[str]:
        self.parcels.append(Parcel("population", name, carries.copy(carry), tasks, members, steps, lanes))
        return [f"{name}/{lane}:{HASH_UNKNOWN}" for lane in range(lanes)]

    def stage(self, name: str) -> Path:
        return self._files().stage(name)

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        ref = self._files().commit_staged(name, task=task, member=member, step=step)  # refuses links and pipes
        files = files_in(self._files().path(ref))
        self.parcels.append(Parcel("files", name, files, [task], [member], [step]))
        return f"{name}:{HASH_UNKNOWN}"

    def read(self, ref: str) -> Carry:
        return carries.copy(self._received(ref))

    def path(self, ref: str) -> Path:
        path = self.stage(ref.partition(":")[0])
        write_files(self._received(ref), path)
        return path

    def handed(self, ref: str) -> None:
        return None

    def take(self, ref: str | None, member: int) -> None:
        pass

    def forget(self, member: int) -> None:
        pass

    def tidy(self) -> None:
        """Removes the files of tasks that are done."""
        if self._staging is not None:
            shutil.rmtree(self._staging[0], ignore_errors=True)
            self._staging = None

    def _files(self) -> DiskStore:
        if self._staging is None:
            folder = Path(tempfile.mkdtemp(prefix="poptrain-")).resolve()
            self._staging = folder, DiskStore(folder, durable=False)
        return self._staging[1]

    def _received(self, ref: str) -> Carry:
        if ref not in self.given:
            raise CheckpointDamaged(f"checkpoint {ref} did not come with the task.")
        return self.given[ref]


def store_parcel(parcel: Parcel, store: PopulationStore) -> list[str]:
    """Commits a parcel that has arrived; returns its reference, or those of a population's members."""
    _, name, content, tasks, members, steps, lanes = parcel
    if parcel.kind == "population":
        return store.commit_population(name, content, lanes, tasks=tasks, members=members, steps=steps)
    (task,), (member,), (step,) = tasks, members, steps
    if parcel.kind == "carry":
        return [store.commit(name, content, task=task, member=member, step=step)]
    write_files(content, store.stage(name))
    return [store.commit_staged(name, task=task, member=member, step=step)]


def files_in(directory: Path) -> FileContents:
    """Returns the contents of all files in a directory by their relative paths."""
    return {file: disk.read(directory / file) for file in sorted(disk.walk(directory))}


def write_files(files: FileContents, directory: Path) -> None:
    """Writes files into an existing directory."""
    for file, data in files.items():
        path = directory / file
        for parent in reversed(path.relative_to(directory).parents[:-1]):
            disk.make_dir(directory / parent)
        disk.write_new(path, data, sync=False)
