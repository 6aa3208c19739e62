"""The options of `Ray`, and what they must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poptrain.core.errors import UsageError, did_you_mean

CARRIERS = ("shared", "driver")


@dataclass(frozen=True)
class RayOptions:
    """The options of `Ray`, which documents them; how an executor is made of them is not known here."""

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
    options: Mapping[str, Any] = field(default_factory=dict)  # Ray's own

    def __post_init__(self) -> None:
        _check_whole("slots", self.slots)
        _check_whole("retries", self.retries, optional=False)
        for name, value in {"cpus": self.cpus, "gpus": self.gpus, **self.resources}.items():
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise UsageError(f"Ray: {name}={value!r}, expected a number of at least 0.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(f"Ray: gpus={self.gpus!r}, expected a whole number, or a share of one GPU such as 0.5.")
        _check_seconds("timeout", self.timeout)
        _check_seconds("patience", self.patience, optional=False)
        if self.carrier not in CARRIERS:
            near = did_you_mean(self.carrier, CARRIERS)
            raise UsageError(f"Ray: carrier={self.carrier!r}, expected 'shared' or 'driver'.{near}")
        if str(self.address).startswith("ray://"):
            raise UsageError(
                f"Ray: address={self.address!r} is the address of a Ray client: start the driver on a node of the cluster, for "
                "example with `ray job submit`, and use address='auto'."
            )

    @property
    def demand(self) -> dict[str, float]:
        """The resources that one actor needs, by Ray's names; a resource of which it needs 0 is left out."""
        return {name: value for name, value in {"CPU": self.cpus, "GPU": self.gpus, **self.resources}.items() if value}


def _check_whole(name: str, value: object, optional: bool = True) -> None:
    if not (optional and value is None) and (type(value) is not int or value < 1):
        raise UsageError(f"Ray: {name}={value!r}, expected a whole number of at least 1.")


def _check_seconds(name: str, value: float | None, optional: bool = True) -> None:
    if not (optional and value is None) and (type(value) not in (int, float) or not 0 < (value or 0) < math.inf):
        raise UsageError(f"Ray: {name}={value!r}, expected more than 0 seconds.")
