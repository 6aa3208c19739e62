"""How PB2 and its relatives choose categories: `Uniformly`, `Modelled`, and the bandits of `pb2_mix`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Kernel, TimeVarying
from poptrain.algorithms.gp.mixed import Mixed
from poptrain.core import History, Value
from poptrain.core.protocols import Clone
from poptrain.core.rng import rng
from poptrain.space import Space

Drawn = tuple[dict[str, Value], dict[str, Value]]  # the categories of a clone, and what its note states about them


class Categories(Protocol):
    """How the categorical hyperparameters of a round's clones are chosen, and what the process learns about them."""

    @property
    def separate(self) -> bool:
        """True if each combination of categories has a process of its own; with too few rows, the rows of all are used."""
        ...

    @property
    def chosen(self) -> bool:
        """True if the bound chooses the categories of a clone, together with its numbers."""
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


class OneProcess:
    """One process for all rows, over the numbers and the categories that are seen."""

    @property
    def separate(self) -> bool:
        """False: one process for all rows."""
        return False

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the kernel of PB2, or that of PB2-Mix if categories are seen."""
        return Mixed(names) if categories else TimeVarying(names)


@dataclass(frozen=True)
class Uniformly(OneProcess):
    """Every `Choice` is redrawn uniformly, and the process does not see it; a static one is an input."""

    @property
    def chosen(self) -> bool:
        """False: they are drawn."""
        return False

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns the options of every clone: each redrawn uniformly with this probability, else its parent's."""
        drawn: list[Drawn] = []
        tuned = [(name, p) for name, p in space.items() if not p.numeric and not p.static]
        for clone in clones:
            generator = rng(history.seed, clone.id, "categories")
            options = {name: p.draw(generator) for name, p in tuned}
            if probability < 1:
                options = {
                    name: new if generator.random() < probability else clone.hparams[name] for name, new in options.items()
                }
            drawn.append((options, {}))
        return drawn

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the static categorical columns."""
        return tuple(i for i in ModelColumns.of(space).categorical if space[space.names[i]].static)


@dataclass(frozen=True)
class Modelled(OneProcess):
    """Every `Choice` is an input of the process, and points near a parent may have other options, as those of `pbt` have."""

    @property
    def chosen(self) -> bool:
        """True: the bound compares points with different options."""
        return True

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns nothing for every clone: its options are those of its parent, until the bound chooses."""
        return [({}, {}) for _ in clones]

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns all categorical columns."""
        return ModelColumns.of(space).categorical
