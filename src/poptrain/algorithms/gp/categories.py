"""How PB2 and its relatives choose categories: `pb2.Uniformly`, and the bandits of `pb2_mix`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from poptrain.algorithms.gp.kernels import Kernel
from poptrain.core import History, Value
from poptrain.core.protocols import Clone
from poptrain.space import Space

Drawn = tuple[dict[str, Value], dict[str, Value]]  # the categories of a clone, and what its note states about them


class Categories(Protocol):
    """How the categorical hyperparameters of a round's clones are chosen, and what the process learns about them."""

    @property
    def separate(self) -> bool:
        """True if each combination of categories has a process of its own; with too few rows, the rows of all are used."""
        ...

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns the categories of every clone; those without a bandit are redrawn with this probability."""
        ...

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the columns of the space that are categorical inputs of the process."""
        ...

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the covariance over numeric columns with these names, and this number of categorical columns."""
        ...
