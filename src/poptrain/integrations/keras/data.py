"""What the training data of `fit` have drawn and given up to now, if they keep that by themselves.

A `PyDataset` may have random generators, an order and counters of its own, as may a ``DataLoader`` of PyTorch; a Python generator
has a position. Arrays have neither: Keras draws their order with the global generators.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from types import GeneratorType
from typing import TYPE_CHECKING

import keras
import numpy as np

from poptrain.core import Carry
from poptrain.integrations.generators import GENERATORS, put_generator, read_generator

if TYPE_CHECKING:
    from poptrain.integrations.torch.draws import Draws

NUMBERS = (bool, int, float)


class Data:
    """The training data of one model, ``x`` among the arguments of `fit`; what has no state of its own has None.

    A generator is followed by counting: a resumed member makes it again, and takes as many batches before it trains. Of a
    `PyDataset`, random generators are stored, and of its other attributes the numbers and the whole-number arrays, such as an
    order, that training has changed; data themselves are made again.
    """

    def __init__(self, x: object):
        self._x = x
        self._taken = 0
        self._made, self._draws = _fingerprints(x), _draws_of(x)
        self.given = self._counted(x) if isinstance(x, GeneratorType) else x

    def read(self) -> Carry:
        """Returns the state."""
        if isinstance(self._x, GeneratorType):
            return {"taken": self._taken}
        if self._draws is not None:
            return {"loader": self._draws.read_own()}
        if not isinstance(self._x, keras.utils.PyDataset):
            return None
        now = _fingerprints(self._x)
        own = {name: value for name, value in vars(self._x).items() if now.get(name) != self._made.get(name)}
        found: dict[str, Carry] = {name: np.array(v) if isinstance(v, np.ndarray) else v for name, v in own.items()}
        drawn: dict[str, Carry] = {name: read_generator(v) for name, v in vars(self._x).items() if isinstance(v, GENERATORS)}
        return {"generators": drawn, "values": found}

    def put(self, state: Carry) -> None:
        """Goes to where another one was."""
        if state is None:
            return
        for _ in range(state.get("taken", 0) - self._taken):
            next(self.given, None)  # type: ignore[call-overload]  # it has a position, so it is an iterator
        if self._draws is not None:
            self._draws.put_own(state.get("loader", {}))
        for name, value in state.get("values", {}).items():
            held = vars(self._x).get(name)
            if isinstance(held, np.ndarray) and isinstance(value, np.ndarray) and held.shape == value.shape:
                np.copyto(held, value)  # references to it stay valid
            else:
                setattr(self._x, name, value)
        for name, value in state.get("generators", {}).items():
            if isinstance(held := vars(self._x).get(name), GENERATORS):
                put_generator(held, value)

    def _counted(self, x: GeneratorType[object, None, None]) -> Iterator[object]:
        for batch in x:
            self._taken += 1
            yield batch


def _fingerprints(x: object) -> dict[str, object]:
    """Returns what shows whether an attribute has changed, of those that may be stored."""
    found: dict[str, object] = {}
    for name, value in vars(x).items() if isinstance(x, keras.utils.PyDataset) else ():
        if type(value) in NUMBERS and not name.startswith("_"):
            found[name] = value
        elif isinstance(value, np.ndarray) and value.dtype.kind == "i":
            found[name] = hashlib.sha256(np.ascontiguousarray(value)).digest()
    return found


def _draws_of(x: object) -> Draws | None:
    """Returns what a ``DataLoader`` of PyTorch draws with; None for everything else."""
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is None or not isinstance(x, torch_data.DataLoader):
        return None
    from poptrain.integrations.torch.draws import Draws

    return Draws(x)
