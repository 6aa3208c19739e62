"""`Batches`: the batches of a ``DataLoader``, with a position that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from poptrain.core.counting import counted
from poptrain.integrations.torch.draws import Draws, State


class Batches(Iterator[Any]):
    """The batches of a loader, epoch after epoch without end; a copy and a resumed run go on at the same batch.

    Keep it in an attribute of a `TorchMember` and call ``next``. The order of an epoch is drawn when the epoch begins, from
    PyTorch's, numpy's or Python's generator or those of the loader and its samplers; the checkpoint holds their states at that
    moment, and the number of batches that were taken. To come back to the position, the loader goes through these batches again.
    A loader with another batch size begins a new epoch.

    Attributes:
        loader: the loader.
        epoch: epochs that have begun, less one.
        taken: batches of this epoch that were taken.
    """

    def __init__(self, loader: DataLoader[Any]):
        self.loader = loader
        self.epoch, self.taken = -1, 0
        self._draws = Draws(loader)
        self._begun: State | None = None  # what the order depends on, when the epoch began
        self._running: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._running is None and self._begun is not None:
            self._return()
        if self._running is not None:
            try:
                batch = next(self._running)
                self.taken += 1
                return batch
            except StopIteration:
                self._running = None
        self._begin(self._draws.read())
        self.epoch, self.taken = self.epoch + 1, 1
        assert self._running is not None
        return next(self._running)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position.

        It has the number of batches and their size in one text: a copy with another batch size must see the size of its parent.
        """
        at = f"{counted(self.taken, 'batch')} of {self._size()}"
        return {"epoch": self.epoch, "begun": self._begun, "at": at, "own": self._draws.read_own()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a position that `state_dict` returned."""
        self._running = None
        self.epoch = state["epoch"]
        at = state.get("at") or f"{counted(state['taken'], 'batch')} of {state['batch_size']}"  # the second form is older
        taken, _, size = at.partition(" batches of ")
        same = size == str(self._size())
        self.taken, self._begun = (int(taken), state["begun"]) if same else (0, None)
        self._draws.put_own(state.get("own", {}))

    def _size(self) -> int | None:
        """Returns the rows of a batch, also where a sampler of batches decides; None: unknown."""
        loader = self.loader
        return loader.batch_size if loader.batch_size is not None else getattr(loader.batch_sampler, "batch_size", None)

    def _begin(self, state: State) -> None:
        self._begun = state
        self._running = iter(self.loader)

    def _return(self) -> None:
        """Begins the epoch as it was begun before, and skips what was taken; the generators are left as they are."""
        now = self._draws.read()
        assert self._begun is not None
        self._draws.put(self._begun)
        self._begin(self._begun)
        assert self._running is not None
        for _ in range(self.taken):
            next(self._running)
        self._draws.put(now)
