"""What members share whose object ``make(hp, seed)`` makes anew when values change: its places, and the end of an interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Self

from poptrain.integrations.adapter import Place, Reads, check_in_force, check_rate, check_read, effective, plain


class Remade(ABC):
    """The places of a live object, and the verification that its values act.

    A subclass yields every place that may be meant (`_places`), and knows which of them its hyperparameters govern.
    """

    own: tuple[str, ...] = ()  # hyperparameters that code reads later than in the first interval
    _why = ""  # what has probably happened if a value is not in force, and what to do

    def __init__(self, hp: Mapping[str, object]):
        self._hp = plain(hp)
        self._reads = Reads(self._hp)  # of the `make` that made the live object
        self._governed: frozenset[str] = frozenset()  # places that held the value when the object was new
        self._checked = False

    def places(self, hp: Mapping[str, object]) -> list[Place]:
        """Returns the places of the live objects at which hyperparameters act."""
        found = self._places(hp)  # it may make the object, and with it `_governed`
        return [place for place in found if place.name in self._governed]

    def effective(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Returns what the live objects hold for each of `hp`, by place."""
        return effective(self.places(hp))

    @abstractmethod
    def _places(self, hp: Mapping[str, object]) -> Iterable[Place]:
        """Returns every place that may be meant by one of the hyperparameters."""

    def _decider(self, name: str) -> str:
        """Returns what decides a hyperparameter in the live object instead of the task; "" if nothing does."""
        return ""

    def _verify(self, hp: Mapping[str, object], trained: bool = False) -> None:
        """Raises a `UsageError` if a value is not in force; after the first training, if a hyperparameter has no effect."""
        found = self.places(hp)
        check_in_force(type(self).__name__, hp, found, self._why)
        if trained and not self._checked:
            check_read(type(self).__name__, hp, self._reads, found, self.own, decider=self._decider)
            check_rate(type(self), hp, found, {*self.own, *self._used()}, self._options_with)
            self._checked = True

    def _used(self) -> Iterable[str]:
        """Returns the hyperparameters that code reads while it trains, not only while it is made."""
        return ()

    def _options_with(self, hp: Mapping[str, object]) -> object:
        """Returns what the optimisers of a new object with these values are like; None if that cannot be known."""
        other = type(self)(hp, 0)
        try:
            return other._options(self)
        finally:
            other.close()

    @abstractmethod
    def close(self) -> None:
        """Frees the live objects."""

    @abstractmethod
    def _options(self, trained: Self) -> object:
        """Returns all that the rates of the optimisers of this new member follow from, to compare; None if it is unknown.

        Args:
            trained: a member with the same code that has trained.
        """
