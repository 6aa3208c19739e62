"""The store of a run without a directory. It ends with the process; in everything else it is like the others."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from poptrain.checkpoints import carry as carries
from poptrain.checkpoints.refs import Ref, stem
from poptrain.checkpoints.store import DiskStore
from poptrain.core import Carry
from poptrain.core.counting import counted
from poptrain.core.errors import CheckpointDamaged, PoptrainError
from poptrain.core.file_name import safe_name
from poptrain.log.disk import default


class MemoryStore:
    """Keeps carries in memory, and the files of a trainable class in a temporary directory.

    The methods are those of `poptrain.core.protocols.Store`.
    """

    durable = False

    def __init__(self) -> None:
        self._carries: dict[str, Carry] = {}
        self._live: set[str] = set()  # references
        self._files: DiskStore | None = None

    def __repr__(self) -> str:
        return f"<MemoryStore of {counted(len(self._live), 'checkpoint')}>"

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        if safe_name(name) in self._carries:
            raise PoptrainError(f"checkpoint {name} exists already: each name is used once.")
        self._carries[name] = carries.copy(carry)
        return f"{name}:memory"

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
        self.commit(name, carry, task=-1, member=-1, step=-1)
        return [f"{name}/{lane}:memory" for lane in range(lanes)]

    def stage(self, name: str) -> Path:
        if self._files is None:
            directory = Path(tempfile.mkdtemp(prefix="poptrain-")).resolve()
            weakref.finalize(self, default.remove_tree, directory)
            self._files = DiskStore(directory, durable=False)
        return self._files.stage(name)

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        return self._disk(name).commit_staged(name, task=task, member=member, step=step)

    def read(self, ref: str) -> Carry:
        lane = Ref.parse(ref).lane
        carry = self._carry(ref)
        return carries.copy(carry) if lane is None else carries.lane(carry, lane)

    def read_population(self, ref: str) -> Carry:
        return carries.copy(self._carry(ref))

    def path(self, ref: str) -> Path:
        return self._disk(ref).path(ref)

    def is_directory(self, ref: str) -> bool:
        return Ref.parse(ref).name not in self._carries and self._disk(ref).is_directory(ref)

    def verify(self, ref: str) -> bool:
        return Ref.parse(ref).name in self._carries or (self._files is not None and self._files.verify(ref))

    def add(self, refs: Iterable[str | None]) -> None:
        self._live.update(filter(None, refs))

    def keep(self, refs: Iterable[str], gc: Callable[[list[str]], None], *, flush: bool = False) -> None:
        """Drops immediately what was added and is not among `refs`. It does not call `gc`: no crash could leave anything."""
        kept = set(refs)
        dropped = self._live - kept
        names = {stem(ref) for ref in dropped}
        if any("/" in ref for ref in dropped):  # a population's carry stays as long as one of its lanes is kept
            names -= {stem(ref) for ref in kept}
        for name in names:
            self._carries.pop(name, None)
        if self._files is not None:
            self._files.add(f"{name}:files" for name in map(stem, self._live) if name not in self._carries)
            self._files.keep(kept, lambda names: None, flush=flush)
        self._live = kept

    def adopt(self, refs: Iterable[str]) -> None:
        self.add(refs)

    def _carry(self, ref: str) -> Carry:
        name = Ref.parse(ref).name
        if name not in self._carries:
            raise CheckpointDamaged(
                f"checkpoint {name} is not in memory: it was deleted because no task needed it, or it belongs to another run."
            )
        return self._carries[name]

    def _disk(self, name: str) -> DiskStore:
        if self._files is None:
            raise CheckpointDamaged(
                f"checkpoint {name} is not in memory: it was deleted because no task needed it, or it belongs to another run."
            )
        return self._files
