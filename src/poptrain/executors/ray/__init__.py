"""Ray: members train in actors of a Ray cluster, on this machine or on many.

Nothing that must last is kept in Ray: the log stays with the driver, checkpoints are in the run directory, and a new
cluster continues from there. Ray retries nothing by itself; the task of a lost actor is sent to another one, as a new
attempt.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from poptrain.core.errors import MissingExtra, UsageError
from poptrain.core.protocols import Executor
from poptrain.executors.context import Context
from poptrain.executors.ray.options import RayOptions
from poptrain.trainable import Command


@dataclass(frozen=True)
class Ray(RayOptions):
    """Trains members in Ray actors, `slots` at a time.

    Args:
        slots: actors; None: as many as the cluster has room for, never more than members. More members than slots take turns,
            first in, first out.
        cpus, gpus: what Ray reserves for each actor; fractions share (gpus=0.25: four actors share a GPU).
        resources: custom resources for each actor, such as {"accelerator_type:A100": 0.01}.
        vectorized: each actor trains all members that it is sent in one JAX program, as `Vectorized` does; the default of
            `slots` is then one for each GPU, or one.
        carrier: how checkpoints reach the run directory. "shared": every node mounts the file system that it is on.
            "driver": they travel through Ray to the driver, which writes them; no shared disk is needed.
        address: of the cluster: "auto" (the one that this machine belongs to), "host:port", "local" (a new one on this
            machine alone); None: ``RAY_ADDRESS``, else a running one on this machine, else a new local one.
        timeout: seconds that a task may take, including loading and saving; None: no limit.
        retries: how often in a row a task may lose its worker before it has failed. A lost node does not count.
        patience: seconds to wait while the cluster has no room for a single worker; then the run is suspended.
        options: more arguments for ``ray.init``, such as {"runtime_env": {"working_dir": "."}}.
    """

    def check(self, trainable: object) -> None:
        """Raises a `UsageError` if Ray is not installed, or the trainable cannot be vectorised or shares a file."""
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("executor='ray' needs Ray: pip install 'poptrain[ray]'.")
        if isinstance(trainable, Command) and (file := trainable.shared_file) is not None and self.slots != 1:
            raise UsageError(
                f"Ray: members on several machines would write the same file {file!r}, which metrics= names: put {{checkpoint}} "
                "into its path, such as metrics='{checkpoint}/metrics.json'."
            )
        if self.vectorized:
            from poptrain.executors.vectorized import Vectorized

            Vectorized().check(trainable)

    def open(self, context: Context) -> Executor:
        """Returns the running executor, connected to the cluster, while its workers are being started."""
        from poptrain.executors.ray.executor import RayExecutor

        return RayExecutor(self, context)
