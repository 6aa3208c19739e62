"""The protocols between the parts of poptrain. Each one states everything that an implementation must do.

`Algorithm` decides, `Executor` trains, `Store` keeps checkpoints, `Sink` follows the log. `Exploit` and `Explore` are the two
halves of population based training: which member copies which, and with which hyperparameters it continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from poptrain.core.facts import Carry, Forecast, Hparams, Result, Task, Value
from poptrain.core.history import History
from poptrain.core.ranges import Ranges

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Algorithm",
    "Clone",
    "Controlled",
    "Draw",
    "Executor",
    "Exploit",
    "Explore",
    "Populated",
    "Proposal",
    "Ranges",
    "Retuning",
    "Sink",
    "Store",
    "TrainsInWait",
    "WorkerStore",
]

# The core knows no space, population or record, so the protocols that take one are generic: `Explore[Space]`,
# `Exploit[Population]`, `Sink[Record]`.
SpaceT = TypeVar("SpaceT", contravariant=True)
PopulationT = TypeVar("PopulationT", contravariant=True)
RecordT = TypeVar("RecordT", contravariant=True)


@runtime_checkable
class Algorithm(Protocol):
    """Decides the next tasks from the history, and owns no state.

    An algorithm is a frozen, hashable value (a frozen dataclass): its fields are written into the log, and a resumed run must
    have equal ones. `poptrain.testing.AlgorithmContract` holds every law as a test.

    More fields are optional: `name`, which `status` and `compare` show instead of the class name in snake case; `interval`, which
    ``stop=pt.generations(n)`` needs (see `poptrain.core.interval.Paced`); `population` and `controls`, which let the contract
    check more (see `Populated` and `Controlled`).
    """

    @property
    def space(self) -> Ranges:
        """The hyperparameters with their ranges: a `Space`."""
        ...

    @property
    def seats(self) -> int:
        """The largest number of pending tasks there can be: members, evaluators and candidates together."""
        ...

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks; () while it waits for results, and when the run is finished.

        The method is pure: the same history gives the same tasks, and nothing but the return value changes. Its tasks obey:

        * ids continue from ``history.n`` without gaps, and each seed is ``task_seed(history.seed, id)``;
        * a seat has at most one pending task;
        * a parent is a task of the history that is `ok`;
        * no task passes ``history.budget``.

        `parts.turns.segments` makes such tasks.
        """
        ...

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents or teachers; the run deletes the others."""
        ...


@runtime_checkable
class Populated(Protocol):
    """An `Algorithm` whose first seats are its members, each of which trains to the budget. This is optional."""

    @property
    def population(self) -> int:
        """The number of members. They have the seats from 0; evaluators have those after them."""
        ...


@runtime_checkable
class Controlled(Populated, Protocol):
    """An `Algorithm` with control members, which keep their first hyperparameters and weights of their own. This is optional.

    All tasks of a control member have the role "control".
    """

    @property
    def controls(self) -> int:
        """The number of control members. They have the last seats of the population."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Turns tasks into results, and knows nothing of the algorithm.

    There is no cancel: a seat stops when it gets no next task. `poptrain.testing.ExecutorContract` holds every law as a test.
    """

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queues tasks, first in, first out; never blocks."""
        ...

    def wait(self) -> list[Result]:
        """Returns at least one result. Each has its checkpoint committed, or states why there is none.

        An exception in the user's code is a result. Only a failure of the infrastructure is raised.
        """
        ...

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        """Yields the results of tasks that are running and finish within `seconds`, while the run is being suspended.

        Queued tasks are no longer started. An executor that runs nothing between two calls of `wait` yields nothing.
        """
        ...

    def close(self) -> None:
        """Ends the workers. Results that were not returned are lost; their tasks are pending when the run is resumed."""
        ...


@runtime_checkable
class TrainsInWait(Protocol):
    """An `Executor` that trains inside `wait`, in the process of the run. This is optional.

    An interrupt then comes in the middle of a task: the run lets the task finish, within the same time as any other executor.
    """

    @property
    def trains_in_wait(self) -> bool:
        """True."""
        ...


class WorkerStore(Protocol):
    """The methods of a `Store` that training itself needs; a worker in another process may implement only these.

    A *name* is used once. A *reference*, which `commit` returns and the log records, is the name and a hash of the content.
    """

    def commit(self, name: str, carry: Carry, *, task: int, member: int, step: int) -> str:
        """Returns the reference of a carry after storing it."""
        ...

    def stage(self, name: str) -> Path:
        """Returns an empty directory; after it was filled, `commit_staged` makes it a checkpoint."""
        ...

    def commit_staged(self, name: str, *, task: int, member: int, step: int) -> str:
        """Returns the reference of the directory that was staged under this name, after storing it."""
        ...

    def read(self, ref: str) -> Carry:
        """Returns the carry of a reference: a copy that the caller may change.

        Raises:
            CheckpointDamaged: it is missing, or differs from what was committed.
        """
        ...

    def path(self, ref: str) -> Path:
        """Returns the directory of a reference. Files in it may be read, and never written."""
        ...


class Store(WorkerStore, Protocol):
    """Keeps the checkpoints of a run: carries, or directories that a user's class filled.

    What `commit` has returned survives a crash if the store is `durable`.
    """

    durable: bool

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
        """Returns one reference for each lane, after storing a carry whose arrays have a leading axis of `lanes` members."""
        ...

    def read_population(self, ref: str) -> Carry:
        """Returns the carry of all lanes that a lane's reference belongs to."""
        ...

    def is_directory(self, ref: str) -> bool:
        """True if a user's class wrote the checkpoint, False if it is a carry."""
        ...

    def verify(self, ref: str) -> bool:
        """True if the checkpoint exists and equals what was committed."""
        ...

    def add(self, refs: Iterable[str | None]) -> None:
        """Registers references that are in the log: from then on they live as long as `keep` names them."""
        ...

    def keep(self, refs: Iterable[str], gc: Callable[[list[str]], None], *, flush: bool = False) -> None:
        """Deletes checkpoints that were added and are not among `refs`, at once or later.

        Args:
            refs: of the checkpoints that are still needed.
            gc: is called with the names before they are deleted, in order to log them.
            flush: delete now. Nothing may be training at that time.
        """
        ...

    def adopt(self, refs: Iterable[str]) -> None:
        """Takes over the references of a run that is continued, and deletes everything else in the store."""
        ...


class Sink(Protocol[RecordT]):
    """Follows the log of a run in a thread of its own. An exception that it raises never stops training.

    Every method has a default, so that a sink that inherits from this class writes only those that it needs.
    """

    every: float = 0.0  # seconds between two calls of `write`
    patience: float = 10.0  # seconds that the run waits at its end until `write` and `close` return
    retries: bool = False  # True if `open` may be called again after an error, because the sink knows what it has written

    def open(self, record: RecordT) -> None:
        """Begins to follow a record. It may have lines already."""

    def write(self, record: RecordT, history: History) -> None:
        """Is called when the record has grown, by one line or by several since the last call."""

    def close(self) -> None:
        """Is called once, after the last `write`."""

    def hint(self, record: RecordT) -> str | None:
        """Returns the command that adds later what is missing; None if there is none."""
        return None


Draw = Callable[[], np.random.Generator]


@runtime_checkable
class Exploit(Protocol[PopulationT]):
    """Chooses the member that another one copies. It is one frozen, hashable value that all members share."""

    def losers(self, population: PopulationT) -> npt.NDArray[np.bool_]:
        """Returns True for each member that may copy another one; shape (r,), bool, one entry for each ranked seat.

        `donor` is called for these alone, which saves time in large populations. All True is always right.
        """
        ...

    def donor(self, population: PopulationT, position: int, draw: Draw) -> int | None:
        """Returns the position of the member that the one at `position` copies; None if it keeps its own weights.

        Args:
            population: the ranked seats, a `parts.snapshot.Population`; positions are indices into its arrays.
            position: of the member that may copy, from 0 to r - 1.
            draw: returns the random generator of this decision; call it only if the decision is random.
        """
        ...


@dataclass(frozen=True, slots=True)
class Clone:
    """A member that is about to be replaced."""

    id: int  # of the task that it gets
    member: int
    parent: int  # task whose checkpoint it starts from
    hparams: Hparams  # the configuration to vary


class Proposal(NamedTuple):
    """The hyperparameters of one clone, and the reasons."""

    hparams: Mapping[str, Value]
    note: Mapping[str, Value] = {}  # for people
    forecast: Forecast | None = None  # what a model expects of them


@runtime_checkable
class Explore(Protocol[SpaceT]):
    """Proposes the hyperparameters of clones. It is one frozen, hashable value; the clones of one `ask` come together."""

    def propose(self, history: History, space: SpaceT, clones: Sequence[Clone]) -> Sequence[Proposal]:
        """Returns one proposal for each clone, in their order: hyperparameters inside the space, a note, and a forecast.

        Static hyperparameters keep the values of ``clone.hparams``. Randomness comes from ``rng(history.seed, clone.id, …)``.
        """
        ...


@runtime_checkable
class Retuning(Protocol):
    """An explore that may also change the hyperparameters of members that go on with their own weights.

    They are among the clones of `Explore.propose`, with their own newest task as the parent. A proposal with the same
    hyperparameters leaves a member as it is.
    """

    @property
    def retunes(self) -> bool:
        """False: only clones are asked about."""
        ...
