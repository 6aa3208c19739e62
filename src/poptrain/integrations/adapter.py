"""The one idea of every adapter: it applies values, reads them back from the live object, and carries everything.

A framework keeps a hyperparameter in many places, and most of them are not the one that acts: a configuration object, a
schedule that was made from it, a compiled function, the file of an optimiser that a copy loads. So an adapter does not trust
what it has set.

1. **Apply.** The values of the task are set after every load, at the latest moment before the first step.
2. **Read back.** What the *live* object holds is read: the parameter groups of the optimiser that steps, the attribute that the
   layer multiplies with, the function that runs. Each such spot is a `Place`. `check_in_force` compares it with the value of the
   task, before and after the training. A name without a place that no code has read has no effect at all: `check_read`. A
   learning rate that was read, and that no optimiser follows, has none either: `check_rate`. Each is an error that names the
   hyperparameter, at the first interval.
3. **Carry everything.** A checkpoint holds all that a continued training needs: weights, optimisers, schedules and what they
   decided, random state, the order and the position in the data, normalisers, buffers, open episodes. What cannot be stored
   is refused with its name; it is never left out silently.
4. **Values decide, state continues.** A copy with other values is an object that was *made* with them, into which the state of
   its parent is put: whatever follows from a value follows from the new one, and whatever training did goes on. Objects stay
   the same objects while state is put into them, so that every reference to them stays valid.
5. **One at a time.** The old object is closed before the next one is made; nothing of it is left in the new one.

`poptrain.testing.AdapterContract` has these sentences as tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from poptrain.core.errors import UsageError, did_you_mean
from poptrain.space.space import nested

RATES = ("lr", "learning_rate")  # names that mean one thing in every framework


@dataclass(frozen=True)
class Place:
    """One spot of a live object at which a hyperparameter acts, and what is there now."""

    hparam: str  # flat, as the space calls it
    name: str  # as the live object calls it: ``optimizer[0].lr``
    held: object  # what was read from it


@runtime_checkable
class Adapted(Protocol):
    """What an adapter's members have besides `MemberClass`: the places at which their hyperparameters act."""

    def places(self, hp: Mapping[str, object]) -> list[Place]:
        """Returns the places of the live object at which the hyperparameters act; a name that only user code reads has none."""
        ...


def effective(places: Iterable[Place]) -> dict[str, object]:
    """Returns what the places hold, by their names."""
    return {place.name: place.held for place in places}


def check_in_force(who: str, hp: Mapping[str, object], places: Iterable[Place], why: str) -> dict[str, object]:
    """Returns what the places hold, by their names.

    Args:
        who: the member, for the message.
        hp: the values of the task, flat or nested.
        places: read from the live object just now.
        why: what has probably happened, and what to do; the end of the message.

    Raises:
        UsageError: a place holds another value than the task has.
    """
    wanted = dict(flattened(hp))
    found = list(places)
    if wrong := [place for place in found if place.hparam in wanted and not same_value(place.held, wanted[place.hparam])]:
        listed = "; ".join(f"{each.hparam}={wanted[each.hparam]!r}, but {each.name} is {each.held!r}" for each in wrong[:3])
        raise UsageError(f"{who} does not train with the values of its task: {listed}. {why}")
    return effective(found)


def check_read(
    who: str,
    hp: Mapping[str, object],
    reads: Reads,
    places: Iterable[Place],
    own: Iterable[str] = (),
    options: Iterable[str] = (),
    decider: Callable[[str], str] = lambda name: "",
) -> None:
    """Raises a `UsageError` that names the hyperparameters that had no effect.

    Args:
        who: the member, for the message.
        hp: the values of the task, flat or nested.
        reads: what the user's code has read up to the end of its first interval.
        places: at which hyperparameters act.
        own: names that are excused, because code reads them later.
        options: names that the framework knows, for a "did you mean".
        decider: returns what decides the value of a name instead of the task, such as a schedule; "" if nothing does.
    """
    placed = {place.hparam for place in places}
    names = [name for name, _ in flattened(hp)]
    if idle := [name for name in names if name not in placed and name not in reads.seen and name not in own]:
        for name in idle:
            if instead := decider(name):
                raise UsageError(
                    f"{who} does not train with the values of its task: no code read {name!r}, because {instead} decides it. "
                    f"Build that with hp[{name!r}], or remove {name!r} from the space."
                )
        listed = ", ".join(map(repr, idle))
        raise UsageError(
            f"{who} has no use for {listed}: no code read {'it' if len(idle) == 1 else 'them'}, and no option of a "
            f"live object has taken the value, so tuning it has no effect. Use it, remove it from the space, or name it in "
            f"`own` if it is read later.{did_you_mean(idle[0], [*placed, *reads.seen, *options])}"
        )


_FOLLOWED = WeakKeyDictionary[type, set[str]]()  # by kind of member: rates that its optimisers follow


def check_rate(
    kind: type,
    hp: Mapping[str, object],
    places: Iterable[Place],
    but: Iterable[str],
    made_with: Callable[[Mapping[str, object]], object],
) -> None:
    """Raises a `UsageError` for a learning rate that the code read, and on which nothing in the optimisers depends.

    To have been read proves little: a copy of all values reads them all. So where no place holds the rate, an object is made
    with twice that rate, and its optimisers are compared with those that the rate itself gives: once for each kind of member in
    a process, because making an object may be slow.

    Args:
        kind: the class of the member.
        hp: the values of the task, flat or nested.
        places: at which hyperparameters act.
        but: names that are excused, because code uses them by itself.
        made_with: returns the options of the optimisers of a new object with these values, to compare; None if they do not say.
    """
    followed = _FOLLOWED.setdefault(kind, set())
    idle = {name for name, _ in flattened(hp)} - {place.hparam for place in places} - set(but) - followed
    for name, value in flattened(hp):
        if name not in idle or name.rpartition(".")[2] not in RATES or not isinstance(value, float) or not value:
            continue
        options = made_with(hp)
        if options is not None and options == made_with(nested({**dict(flattened(hp)), name: 2 * value})):
            raise UsageError(
                f"{kind.__name__} does not train with the values of its task: {name}={value!r} was read, but the optimiser is "
                f"the same with any other {name}. Build it with hp[{name!r}], or name {name!r} in `own` if your code uses it by "
                "itself."
            )
        followed.add(name)


def governed(found: Iterable[Place], hp: Mapping[str, object]) -> frozenset[str]:
    """Returns the names of the places that hold the value of their hyperparameter while all is new: those that it governs."""
    wanted = dict(flattened(hp))
    return frozenset(place.name for place in found if same_value(place.held, wanted[place.hparam]))


def same_value(held: object, wanted: object) -> bool:
    """True if a live object holds the value that was set; it may hold a number in single precision."""
    if isinstance(held, bool) or isinstance(wanted, bool):
        return held == wanted
    if isinstance(held, (int, float)) and isinstance(wanted, (int, float)):
        return isclose(held, wanted, rel_tol=1e-6, abs_tol=1e-45)
    return held == wanted


def flattened(hp: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    """Yields hyperparameters by their flat names: ``head.lr`` for ``{"head": {"lr": …}}``."""
    for name, value in dict.items(hp) if isinstance(hp, dict) else hp.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def plain(hp: Mapping[str, object]) -> dict[str, object]:
    """Returns a copy of hyperparameters, nested as they are; copying a `Reads` does not count as reading it."""
    items = dict.items(hp) if isinstance(hp, dict) else hp.items()
    return {name: plain(value) if isinstance(value, Mapping) else value for name, value in items}


class Reads(dict[str, object]):
    """Hyperparameters as user code gets them, flat or nested; the names that it reads are collected in `seen`.

    Going through all of them, or copying them, counts as reading all.
    """

    def __init__(self, hp: Mapping[str, object], path: str = "", seen: set[str] | None = None):
        self.seen: set[str] = set() if seen is None else seen
        self._path = path
        inner = {k: Reads(v, f"{path}{k}.", self.seen) if isinstance(v, Mapping) else v for k, v in hp.items()}
        super().__init__(inner)

    def _note(self, name: object) -> None:
        if not isinstance(dict.get(self, name), Reads):  # type: ignore[call-overload]  # any object may be asked for
            self.seen.add(f"{self._path}{name}")

    def _note_all(self) -> None:
        self.seen.update(f"{self._path}{name}" for name, _ in flattened(self))

    def __getitem__(self, name: str) -> object:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # one signature instead of three
        self._note(name)
        return super().get(name, default)

    def pop(self, name: str, *default: object) -> object:  # type: ignore[override]
        self._note(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return super().__iter__()

    def items(self):  # type: ignore[no-untyped-def]
        self._note_all()
        return super().items()

    def values(self):  # type: ignore[no-untyped-def]
        self._note_all()
        return super().values()

    def copy(self) -> dict[str, object]:
        self._note_all()
        return dict(super().items())

    def __or__(self, other: Mapping[str, object]) -> dict[str, object]:  # type: ignore[override]
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, object]) -> dict[str, object]:  # type: ignore[override]
        return dict(other) | self.copy()
