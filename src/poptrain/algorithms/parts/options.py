"""The arguments that `pbt`, PB2 and its relatives, `bg_pbt` and `fire_pbt` share, and how they are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import check_exploit
from poptrain.algorithms.parts.snapshot import Population
from poptrain.core import Value
from poptrain.core.arguments import check_flag
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.fingerprint import Earlier
from poptrain.core.interval import Interval
from poptrain.core.protocols import Exploit

Copy = Literal["both", "weights", "hparams"]
OnPlateau = Literal["search", "copy"]


@dataclass(frozen=True)
class PbtOptions:
    """The arguments of PBT, as the user passed them: None is an option that was left open. See `pbt` for what they mean."""

    interval: Interval
    sync: bool = True
    exploit: Exploit[Population] | None = None
    copy: Copy = "both"
    warmup: int = 0
    average: int = 1
    initial: Sequence[Mapping[str, Value]] = ()
    controls: int = 0
    evaluate_first: bool = False
    starts: turns.Starts | None = None
    as_in: Literal["paper"] | None = None
    plateau: OnPlateau | None = None
    anew: bool | None = None

    @property
    def paper(self) -> bool:
        """True if what is not named is as in the paper."""
        return self.as_in == "paper"

    @property
    def steps(self) -> int | None:
        """The interval in steps; None if it is a length of time."""
        return self.interval if isinstance(self.interval, int) else None

    @property
    def first(self) -> tuple[turns.Starts, Earlier]:
        """How members start, and what the default was in release 0.1 if the user left it open."""
        if self.starts is not None:
            return self.starts, {}
        return ("random", {}) if self.paper else ("spread", {"starts": ("random",)})

    def check(self, what: str, population: int) -> None:
        """Raises a `UsageError` with the first argument that is out of range."""
        turns.check_population(what, population, self.initial)
        turns.check_interval(what, self.interval)
        if self.as_in not in (None, "paper"):
            raise UsageError(f"{what}: as_in={self.as_in!r}, expected 'paper' or None.")
        turns.check_starts(what, self.starts)
        if self.plateau not in (None, *get_args(OnPlateau)):
            near = did_you_mean(self.plateau, get_args(OnPlateau))
            raise UsageError(f"{what}: plateau={self.plateau!r}, expected 'search' or 'copy'.{near}")
        if self.exploit is not None:
            check_exploit(what, self.exploit)
        if self.copy not in get_args(Copy):
            near = did_you_mean(self.copy, get_args(Copy))
            raise UsageError(f"{what}: copy={self.copy!r}, expected 'both', 'weights' or 'hparams'.{near}")
        turns.check_count(what, "warmup", self.warmup, 0)
        turns.check_count(what, "average", self.average, 1)
        turns.check_count(what, "controls", self.controls, 0)
        if self.controls and population - self.controls < 2:
            raise UsageError(f"{what}: controls={self.controls} of population={population}: leave at least 2 other members.")
        check_flag(what, "sync", self.sync)
        if self.anew is not None:
            check_flag(what, "anew", self.anew)
        check_flag(what, "evaluate_first", self.evaluate_first)
