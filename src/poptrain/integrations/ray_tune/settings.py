"""The arguments of a scheduler: all that is pickled of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from poptrain.core.errors import UsageError
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune.configs import Config


@dataclass(frozen=True)
class Settings:
    """What a scheduler is made with."""

    make: Callable[[int, list[Config]], Algorithm]  # (number of trials, the config of each) -> the algorithm
    name: str  # in messages
    metric: str | None
    mode: str | None
    time_attr: str
    seed: int
    directory: str | Path | None
    revive: int
    require_attrs: bool
    resolution: int = 1  # steps in one unit of `time_attr`
    returns: str | None = None
    sinks: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in (None, "min", "max"):
            raise UsageError(f"{self.name}: mode={self.mode!r}, expected 'max' or 'min'.")
        for name, value in (("seed", self.seed), ("revive", self.revive)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"{self.name}: {name}={value!r}, expected a whole number from 0.")
