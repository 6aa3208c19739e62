"""What the driver and its actors send each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from poptrain.checkpoints.store import DiskStore
from poptrain.core import Result
from poptrain.executors.messages import Fatal
from poptrain.executors.ray.probe import DiskProbe
from poptrain.executors.ray.relay import Parcel
from poptrain.trainable import AnyTrainable


class ActorSetup(NamedTuple):
    """What every actor is sent once."""

    trainable: AnyTrainable
    metric: str
    store: DiskStore | None  # None: checkpoints travel with results
    probe: DiskProbe | None  # a file next to the checkpoints, which the actor must be able to read
    warm: int  # the most member states that it keeps
    static: tuple[str, ...]  # names of static hyperparameters
    lanes: int  # of a population; 0: members one after another
    memory_share: float  # of a GPU, for JAX; 0: all


class Ready(NamedTuple):
    """What an actor that is ready for tasks reports."""

    node: str
    pid: int
    version: str


class Delivery(NamedTuple):
    """What became of the tasks of one call."""

    results: Sequence[Result]
    held: Mapping[int, int]  # member -> the task that left the state which the actor now has in memory
    parcels: Sequence[Parcel] = ()
    tracebacks: Sequence[tuple[str, str]] = ()
    error: Fatal | None = None  # an error that ends the run
