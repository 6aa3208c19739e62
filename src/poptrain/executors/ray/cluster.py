"""The cluster as the driver sees it: joining one or starting one, its nodes, and what fits on them."""

from __future__ import annotations

import math
import os
import socket
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray._private.worker
from ray._private.state import state as _state  # nothing public reports which nodes are about to be taken away

from poptrain.core import clock
from poptrain.core.commands import poptrain
from poptrain.core.counting import counted
from poptrain.core.errors import Suspended, UsageError

_untyped: Any = ray  # Ray annotates only some of its functions

# Seconds without the head before the run is suspended. Ray ends a driver's process, in the middle of anything, 60 s after the
# head was lost. A head that survives restarts comes back sooner.
HEAD_PATIENCE = 30.0
ROOM_WITHOUT_DEMAND = 64  # actors a node, if an actor needs no resource at all


@dataclass(frozen=True)
class Node:
    """A node that is alive; `leaving` if its removal has been announced."""

    id: str
    address: str
    resources: Mapping[str, float]
    leaving: bool = False

    def room(self, demand: Mapping[str, float]) -> int:
        """Returns how many workers this node could hold if it was empty."""
        rooms = (math.floor(self.resources.get(name, 0) / value + 1e-9) for name, value in demand.items())
        return min(rooms, default=ROOM_WITHOUT_DEMAND)


def join(address: str | None, options: Mapping[str, object]) -> bool:
    """Connects this process to a cluster; True if this call made the connection, so that `leave` must end it.

    Raises:
        UsageError: no cluster could be joined.
    """
    if ray.is_initialized():
        return False
    given = {
        "namespace": f"poptrain-{uuid.uuid4().hex[:12]}",
        "log_to_driver": False,
        "logging_level": "error",
    }
    if address is not None:
        given["address"] = address
    if address == "local" or (address is None and "RAY_ADDRESS" not in os.environ):
        given["include_dashboard"] = False  # ignored if a running cluster is found
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _untyped.init(**{**given, **options})
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"Ray: cannot join a cluster (address={address!r}): {text}") from error
    _print_worker_logs(bool(options.get("log_to_driver")))
    return True


def leave() -> None:
    """Ends the connection that `join` made, and the cluster, if it was started with it."""
    ray.shutdown()
    _print_worker_logs(True)


def _print_worker_logs(enabled: bool) -> None:
    """Ray prints pages about every worker that dies, unless this is False: what the user must know is in the results."""
    ray._private.worker._worker_logs_enabled = enabled


def own_address() -> str:
    """Returns the address of the node that this process is on."""
    return str(_untyped.util.get_node_ip_address())


def reachable() -> bool:
    """True if the head of the cluster accepts connections. Ray's own calls would wait for it, and could not be interrupted."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except OSError:
        return False
    return True


def nodes() -> list[Node]:
    """Returns the nodes that are alive.

    Raises:
        Suspended: the cluster does not answer.
    """
    until = clock.monotonic() + HEAD_PATIENCE
    while not reachable():
        if clock.monotonic() > until:
            raise cluster_lost(f"its head has not answered for {HEAD_PATIENCE:g} s")
        clock.sleep(1.0)
    try:
        leaving = _leaving()
        return [
            Node(node["NodeID"], node["NodeManagerAddress"], node.get("Resources", {}), node["NodeID"] in leaving)
            for node in _untyped.nodes()
            if node["Alive"]
        ]
    except Exception as error:
        raise cluster_lost(error) from error


def _leaving() -> set[str]:
    try:
        return set(_state.get_draining_nodes())
    except AttributeError:  # this version of Ray does not report it: such a node is noticed when it is gone
        return set()


def interruptible(call: Callable[..., Any], *args: object, **options: object) -> Any:
    """Returns what a function of Ray returns, and raises the interrupt that a signal handler raised inside it.

    Ray's compiled code wraps the interrupt in a SystemError, which the run would not recognise.
    """
    try:
        return call(*args, **options)
    except SystemError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise


def cluster_lost(why: BaseException | str) -> Suspended:
    """Returns the error of a run that has lost its cluster."""
    text = " ".join((why if isinstance(why, str) else f"{type(why).__name__}: {why}").split())[:200]
    on = f"`{poptrain('resume')}` continues from the run directory, on another cluster"
    return Suspended(f"the Ray cluster is gone ({text}); {on}.")


def wanting(demand: Mapping[str, float], found: list[Node]) -> str:
    """Returns a sentence on what a worker needs and what each node has in all."""
    needed = _listed(demand)
    have = "; ".join(
        f"{node.address} has {_listed({name: node.resources.get(name, 0) for name in demand})}" for node in found[:5]
    )
    more = f"; and {counted(len(found) - 5, 'more node')}" if len(found) > 5 else ""
    return f"each worker asks for {needed}, and {have or 'the cluster has no node'}{more}"


def _listed(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in resources.items()) or "nothing"
