"""The protocols that the parts of poptrain meet at. Each says all that an implementation must do.

`Algorithm` decides, `Executor` acts, `Store` keeps checkpoints, `Sink` follows the log. `Exploit` and `Explore` are the two
halves of population based training: who copies whom, and with which hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from poptrain.core.facts import Carry, Forecast, Hparams, Result, Task, Value
from poptrain.core.history import History

# The core knows no space, population or record, so the protocols that take one are generic: `Explore[Space]`,
# `Exploit[Population]`, `Sink[Record]`.
SpaceT = TypeVar("SpaceT", contravariant=True)
PopulationT = TypeVar("PopulationT", contravariant=True)
RecordT = TypeVar("RecordT", contravariant=True)


class Ranges(Protocol):
    """What the engine must know of a `Space`."""

    @property
    def static_names(self) -> Sequence[str]:
        """The hyperparameters that clones keep."""
        ...

    def encode(self, hparams: Hparams) -> np.ndarray:
        """Returns the hyperparameters in the unit cube; shape (d,)."""
        ...

    def __len__(self) -> int:
        """The number of hyperparameters, d."""
        ...


@runtime_checkable
class Algorithm(Protocol):
    """Decides the next tasks from the history, and owns no state.

    An algorithm is a frozen, hashable value (a frozen dataclass): its fields are written into the log, and a resumed run must
    have equal ones. `poptrain.testing.AlgorithmContract` holds every law as a test.
    """

    @property
    def space(self) -> Ranges:
        """The hyperparameters with their ranges: a `Space`."""
        ...

    @property
    def seats(self) -> int:
        """The most tasks that are ever pending: members, evaluators and candidates together."""
        ...

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks; () while waiting for results, and when the run is finished.

        Pure: the same history gives the same tasks, and nothing but the return value changes. Ids go on from ``history.n``, a
        seat has at most one pending task, a parent is a task of the history with a healthy result, no task passes
        ``history.budget``, and each seed is ``task_seed(history.seed, id)``. `parts.turns.segments` makes tasks like that.
        """
        ...

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents or teachers; the run deletes the others."""
        ...


class Executor(Protocol):
    """Turns tasks into results; knows no algorithm. There is no cancel: to stop a seat is to give it no next task.

    `poptrain.testing.ExecutorContract` holds every law as a test.
    """

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queues tasks, first in, first out; never blocks."""
        ...

    def wait(self) -> list[Result]:
        """Returns at least one result; each has its checkpoint committed, or says why there is none.

        Exceptions of the user's code are results. Only a failure of the infrastructure is raised.
        """
        ...

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields the results of tasks that are running and finish within `seconds`, while the run is being suspended.

        Queued tasks are not started any more. An executor that runs nothing between two calls of `wait` yields nothing.
        """
        ...

    def close(self) -> None:
        """Ends the workers. Results that were not returned are lost; their tasks are pending when the run is resumed."""
        ...


class Store(Protocol):
    """Keeps checkpoints: carries, or directories that a user's class filled.

    A *name* is used once. A *reference*, which `commit` returns and the log records, is the name and a hash of the content.
    What `commit` has returned survives a crash if the store is `durable`.
    """

    durable: bool

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        """Returns the reference of a carry after storing it."""
        ...

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
        """Returns one reference a lane, after storing a carry whose arrays have a leading axis of `lanes` members."""
        ...

    def stage(self, name: str) -> Path:
        """Returns an empty directory to fill, which `commit_staged` makes a checkpoint."""
        ...

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        """Returns the reference of the directory that was staged under this name, after storing it."""
        ...

    def read(self, ref: str) -> Carry:
        """Returns the carry of a reference, a copy of its own.

        Raises:
            CheckpointDamaged: it is missing, or differs from what was committed.
        """
        ...

    def read_population(self, ref: str) -> Carry:
        """Returns the whole carry that a lane's reference belongs to."""
        ...

    def path(self, ref: str) -> Path:
        """Returns the directory of a reference, to be read only."""
        ...

    def is_directory(self, ref: str) -> bool:
        """True if a user's class wrote the checkpoint, False if it is a carry."""
        ...

    def verify(self, ref: str) -> bool:
        """True if the checkpoint is there and equals what was committed."""
        ...

    def add(self, refs: Iterable[str | None]) -> None:
        """Takes notice of references that were logged."""
        ...

    def keep(self, refs: Iterable[str], gc: Callable[[list[str]], None], *, flush: bool = False) -> None:
        """Deletes the checkpoints that were added and are not among `refs`; `gc(names)` is called before, to log it."""
        ...

    def adopt(self, refs: Iterable[str]) -> None:
        """Takes over the references of a run that is continued, and deletes what belongs to none of them."""
        ...


class Sink(Protocol[RecordT]):
    """Follows the log of a run, on a thread of its own; what it raises never stops training.

    Every method has a default, so that a sink that inherits from this class writes only those that it needs.
    """

    every: float = 0.0  # seconds between two calls of `write`
    patience: float = 10.0  # seconds that the run waits for it at the end
    retries: bool = False  # True if `open` may be called again after an error, because the sink knows how far it came

    def open(self, record: RecordT) -> None:
        """Begins to follow a record, which may have lines already."""

    def write(self, record: RecordT, history: History) -> None:
        """Is called when the record has grown; several lines may have come since the last call."""

    def close(self) -> None:
        """Is called once, after the last `write`."""

    def hint(self, record: RecordT) -> str | None:
        """Returns the command that fills in afterwards what is missing; None if there is none."""
        return None


Draw = Callable[[], np.random.Generator]


@runtime_checkable
class Exploit(Protocol[PopulationT]):
    """Chooses whom a member copies: one frozen, hashable value, shared by all members."""

    def losers(self, population: PopulationT) -> np.ndarray:
        """Returns the positions for which `donor` may answer with a member; shape (r,), bool, one entry a ranked seat.

        It spares large populations the questions whose answer is known; all True is always right.
        """
        ...

    def donor(self, population: PopulationT, position: int, draw: Draw) -> int | None:
        """Returns the position of the member that the one at `position` copies; None to go on with its own weights.

        Args:
            population: the ranked seats, a `parts.snapshot.Population`; positions are indices into its arrays.
            position: of the member that it is about, from 0 to r - 1.
            draw: makes the generator of this decision; call it only if a decision is random.
        """
        ...


@dataclass(frozen=True, slots=True)
class Clone:
    """A member about to be replaced: the task it gets, whose checkpoint it starts from, and the configuration to vary."""

    id: int
    member: int
    parent: int
    hparams: Hparams


class Proposal(NamedTuple):
    """The hyperparameters of one clone, and why."""

    hparams: Mapping[str, Value]
    note: Mapping[str, Value] = {}  # for people
    forecast: Forecast | None = None  # what a model expects of them


@runtime_checkable
class Explore(Protocol[SpaceT]):
    """Proposes the hyperparameters of clones: one frozen, hashable value. All clones of one `ask` are proposed together."""

    def propose(self, history: History, space: SpaceT, clones: Sequence[Clone]) -> Sequence[Proposal]:
        """Returns one proposal a clone, in their order: hyperparameters inside the space, a note, and a forecast.

        Static hyperparameters keep the values of ``clone.hparams``. Randomness comes from ``rng(history.seed, clone.id, …)``.
        """
        ...
