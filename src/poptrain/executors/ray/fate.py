"""Why a call to an actor brought no result, and what follows: whose fault it was decides who pays for it."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from ray import exceptions


class Kind(Enum):
    """What was lost."""

    NODE = "node"  # with every worker on it, or taken away on notice: nobody's fault, the tasks are done elsewhere
    MEMORY = "memory"  # the node was short of memory: once more, alone on a node
    WORKER = "worker"  # the process died: a new attempt, a few times
    UNKNOWN = "unknown"  # it cannot be reached: what became of it, and of its node, is soon known
    GIFT = "gift"  # a carry that another actor was to hand over: the worker is well, the carry is on disk
    SETUP = "setup"  # no worker can be made: the run ends
    CLUSTER = "cluster"  # the run is suspended
    CODE = "code"  # the call itself failed, in a worker that is well


class Fate(NamedTuple):
    """A kind, and how it is told to people: what the worker did or met."""

    kind: Kind
    said: str


# What Ray's memory monitor says; every death comes with a guess at "the OOM killer", which tells nothing.
_SHORT = re.compile(r"running low on memory|memory usage .{0,80}threshold|OutOfMemoryError", re.IGNORECASE)
_NODE = re.compile(r"node has died|node .{0,80}(?:died|dead|terminated|drain)|preempt|Owner's node has crashed", re.IGNORECASE)


def fate(error: BaseException, actor: str, node_alive: bool) -> Fate:
    """Returns what an error of `ray.get` means for a call to one actor.

    Args:
        actor: id of the actor that was called.
        node_alive: whether the node that it was on still is.
    """
    text = " ".join(str(error).split())
    whose = getattr(error, "actor_id", None)
    if isinstance(error, exceptions.LocalRayletDiedError):
        return Fate(Kind.CLUSTER, text)
    if isinstance(error, exceptions.RayActorError):
        if error.actor_init_failed:
            return Fate(Kind.SETUP, _last_words(str(error)))
        if whose is not None and whose != actor:
            return Fate(Kind.GIFT, text)
        if _SHORT.search(text):
            return Fate(Kind.MEMORY, "was ended because its node ran out of memory")
        if error.preempted or not node_alive or _NODE.search(text):
            return Fate(Kind.NODE, "was lost with its node")
        if isinstance(error, exceptions.ActorUnavailableError):
            return Fate(Kind.UNKNOWN, "could not be reached")
        return Fate(Kind.WORKER, "ended without a word (killed, or a crash)")
    if isinstance(error, exceptions.OutOfMemoryError):
        return Fate(Kind.MEMORY, "was ended because its node ran out of memory")
    if isinstance(error, (exceptions.NodeDiedError, exceptions.ActorUnschedulableError)):
        return Fate(Kind.NODE, "was lost with its node")
    if isinstance(error, (exceptions.ObjectLostError, exceptions.ObjectFetchTimedOutError, exceptions.OwnerDiedError)):
        return Fate(Kind.GIFT if node_alive else Kind.NODE, "was lost with its node")
    if isinstance(error, exceptions.WorkerCrashedError):
        return Fate(Kind.WORKER, "ended without a word (killed, or a crash)")
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        return Fate(Kind.SETUP, _last_words(str(error)))
    return Fate(Kind.CODE, _last_words(str(error)))


def _last_words(text: str) -> str:
    """Returns the last line of a traceback that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "")[:300]
