"""Classifies a call to an actor that brought no result: what was lost decides which tasks are retried, and which have failed."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from ray import exceptions


class Loss(Enum):
    """What was lost."""

    NODE = "node"  # with every worker on it, or taken away with notice: no task caused it, and the tasks are done elsewhere
    MEMORY = "memory"  # the node was short of memory: the task is tried once more, alone on a node
    WORKER = "worker"  # the process died: the task is tried again, a few times
    UNKNOWN = "unknown"  # the worker cannot be reached: soon it is known what became of it, and of its node
    GIFT = "gift"  # a carry from another actor: this worker is well, and the carry is also on disk
    SETUP = "setup"  # no worker can be set up: the run ends
    CLUSTER = "cluster"  # the run is suspended
    CODE = "code"  # the call itself failed, in a worker that is well


class Fate(NamedTuple):
    """What was lost, and how messages put it: the text says what happened to the worker."""

    loss: Loss
    text: str


# What Ray's memory monitor writes. Its guess at "the OOM killer" comes with every death, and means nothing.
_SHORT = re.compile(r"running low on memory|memory usage .{0,80}threshold|OutOfMemoryError", re.IGNORECASE)
_NODE = re.compile(r"node has died|node .{0,80}(?:died|dead|terminated|drain)|preempt|Owner's node has crashed", re.IGNORECASE)


def fate(error: BaseException, actor: str, node_alive: bool) -> Fate:
    """Returns what an error of `ray.get` means for a call to one actor.

    Args:
        actor: id of the actor that was called.
        node_alive: True if the node of that actor is still alive.
    """
    text = " ".join(str(error).split())
    called = getattr(error, "actor_id", None)
    if isinstance(error, exceptions.LocalRayletDiedError):
        return Fate(Loss.CLUSTER, text)
    if isinstance(error, exceptions.RayActorError):
        if error.actor_init_failed:
            return Fate(Loss.SETUP, _last_words(str(error)))
        if called is not None and called != actor:
            return Fate(Loss.GIFT, text)
        if _SHORT.search(text):
            return Fate(Loss.MEMORY, "was ended because its node ran out of memory")
        if error.preempted or not node_alive or _NODE.search(text):
            return Fate(Loss.NODE, "was lost with its node")
        if isinstance(error, exceptions.ActorUnavailableError):
            return Fate(Loss.UNKNOWN, "could not be reached")
        return Fate(Loss.WORKER, "ended without an error (killed, or a crash)")
    if isinstance(error, exceptions.OutOfMemoryError):
        return Fate(Loss.MEMORY, "was ended because its node ran out of memory")
    if isinstance(error, (exceptions.NodeDiedError, exceptions.ActorUnschedulableError)):
        return Fate(Loss.NODE, "was lost with its node")
    if isinstance(error, (exceptions.ObjectLostError, exceptions.ObjectFetchTimedOutError, exceptions.OwnerDiedError)):
        return Fate(Loss.GIFT if node_alive else Loss.NODE, "was lost with its node")
    if isinstance(error, exceptions.WorkerCrashedError):
        return Fate(Loss.WORKER, "ended without an error (killed, or a crash)")
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        return Fate(Loss.SETUP, _last_words(str(error)))
    return Fate(Loss.CODE, _last_words(str(error)))


def _last_words(text: str) -> str:
    """Returns the last line of a traceback that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "")[:300]
