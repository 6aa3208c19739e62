"""Ray: members train in actors of a Ray cluster, on this machine or on many.

Nothing that must last is in Ray: the log stays with the driver, checkpoints are in the run directory, and a new cluster
goes on from there. Ray repeats nothing by itself; a lost actor's task is given to another one, as a new attempt.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poptrain.core.errors import MissingExtra, UsageError, did_you_mean
from poptrain.executors.context import Context

CARRIERS = ("shared", "driver")


@dataclass(frozen=True)
class Ray:
    """Trains members in Ray actors, `slots` at a time.

    Args:
        slots: actors; None: as many as the cluster has room for, never more than members. More members than slots
            time-share them, first in, first out.
        cpus, gpus: what Ray reserves for each actor; fractions share (gpus=0.25: four actors a GPU).
        resources: custom resources for each actor, such as {"accelerator_type:A100": 0.01}.
        vectorized: each actor trains all members that it is given in one JAX program, as `Vectorized` does; `slots` is
            then by default one for each GPU, or one.
        carrier: how checkpoints reach the run directory. "shared": every node mounts the file system that it is on.
            "driver": they travel through Ray to the driver, who writes them; no shared disk is needed.
        address: of the cluster: "auto" (the one that this machine belongs to), "host:port", "local" (a new one on this
            machine alone); None: ``RAY_ADDRESS``, else a running one on this machine, else a new local one.
        timeout: seconds that a task may take, loading and saving included; None: no limit.
        retries: how often in a row a task may lose its worker before it has failed. A lost node does not count.
        patience: seconds to wait while the cluster has room for no worker at all; then the run is suspended.
        options: more arguments for ``ray.init``, such as {"runtime_env": {"working_dir": "."}}.
    """

    slots: int | None = None
    cpus: float = 1
    gpus: float = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    vectorized: bool = False
    carrier: str = "shared"
    address: str | None = None
    timeout: float | None = None
    retries: int = 3
    patience: float = 300.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("slots", "retries"):
            value = getattr(self, name)
            if not (value is None and name == "slots") and (type(value) is not int or value < 1):
                raise UsageError(f"Ray: {name}={value!r}, expected a whole number from 1.")
        for name, value in {"cpus": self.cpus, "gpus": self.gpus, **self.resources}.items():
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise UsageError(f"Ray: {name}={value!r}, expected a number from 0.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(f"Ray: gpus={self.gpus!r}, expected a whole number, or a share of one such as 0.5.")
        for name in ("timeout", "patience"):
            value = getattr(self, name)
            if not (value is None and name == "timeout") and (type(value) not in (int, float) or not 0 < value < math.inf):
                raise UsageError(f"Ray: {name}={value!r}, expected seconds above 0.")
        if self.carrier not in CARRIERS:
            raise UsageError(
                f"Ray: carrier={self.carrier!r}, expected 'shared' or 'driver'.{did_you_mean(self.carrier, CARRIERS)}"
            )
        if str(self.address).startswith("ray://"):
            raise UsageError(
                f"Ray: address={self.address!r} is a Ray client's: start the driver on a node of the cluster, for example with "
                "`ray job submit`, and use address='auto'."
            )

    def check(self, trainable: Any) -> None:
        """Raises a `UsageError` if Ray is not installed, or the trainable cannot be vectorised."""
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("executor='ray' needs Ray: pip install 'poptrain[ray]'.")
        if self.vectorized:
            from poptrain.executors.vectorized import Vectorized

            Vectorized().check(trainable)

    def open(self, context: Context) -> Any:
        """Returns the running executor, connected to the cluster; its workers are being started."""
        from poptrain.executors.ray.executor import RayExecutor

        return RayExecutor(self, context)

    @property
    def demand(self) -> dict[str, float]:
        """What one actor asks of a node, in Ray's words; what is 0 is left out."""
        return {name: value for name, value in {"CPU": self.cpus, "GPU": self.gpus, **self.resources}.items() if value}
