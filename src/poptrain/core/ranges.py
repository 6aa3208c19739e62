"""What the core knows of a space of hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from poptrain.core.facts import Hparams

if TYPE_CHECKING:
    import numpy.typing as npt


class Ranges(Protocol):
    """A `Space`, as far as the history and the engine need it."""

    @property
    def static_names(self) -> Sequence[str]:
        """The hyperparameters that clones keep."""
        ...

    def encode(self, hparams: Hparams) -> npt.NDArray[np.float64]:
        """Returns the hyperparameters in the unit cube; shape (d,)."""
        ...

    def __len__(self) -> int:
        """The number of hyperparameters, d."""
        ...
