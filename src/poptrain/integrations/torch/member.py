"""`TorchMember`: the base of a trainable class with PyTorch in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from poptrain.core import Metrics
from poptrain.core.errors import UsageError
from poptrain.core.warned import warn_user
from poptrain.integrations.adapter import (
    Place,
    Reads,
    check_in_force,
    check_rate,
    check_read,
    effective,
    flattened,
    plain,
    same_value,
)
from poptrain.integrations.torch.contents import Contents
from poptrain.integrations.torch.gradients import put_gradients, read_gradients, watch
from poptrain.integrations.torch.hparams import OptionPlace, apply_hparams, option_places
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.rates import check_cycled, is_predicted
from poptrain.integrations.torch.state import load_state, save_state
from poptrain.integrations.torch.teachers import hold
from poptrain.integrations.torch.tree import Tree, classes_near, cloned

WHY = "Something other than poptrain set it between two intervals, or while the state was loaded."


class TorchMember:
    """The base of a trainable class with PyTorch in it: write ``__init__(hp, seed)`` and ``train(hp, steps)``, nothing else.

    ``__init__`` decides what the hyperparameters mean. One that it reads is used as it uses it; one that it does not read, and
    that is named like an option of the optimisers (``lr``, ``weight_decay``, ``beta1`` …), is set in them. When the values of a
    member change, ``__init__`` runs again with the new ones, and the state is put into the new objects in place. ``train`` may
    read hyperparameters too. One that nothing reads is an error, unless its name is in `own`.

    The state is everything that the attributes lead to: modules, optimisers, schedulers, random generators, tensors, arrays,
    plain values, containers of these, and objects of your own classes. Attributes of the member whose name begins with an
    underscore are not saved. The base seeds PyTorch, numpy and `random`, and each member has a random stream of its own.

    A member that can learn from another one also has ``distill(teacher, hp, steps, progress)``; see `teachers`.
    """

    own: tuple[str, ...] = ()  # hyperparameters that code reads later than in the first interval
    _random: Generators | None = None  # the state of its random stream, while it does not train
    _busy = False  # inside `__init__` or `train`, where a subclass may call its parent's method
    _made: _Made

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for name, wrapped in (("__init__", _seeded), ("train", _tuned), ("distill", _taught), ("set_budget", _noted)):
            if name in cls.__dict__:
                setattr(cls, name, wrapped(cls.__dict__[name]))

    @classmethod
    def restored(cls, hp: Mapping[str, object], seed: int, directory: Path) -> Self:
        """Returns a member with these values and the state that `save` wrote; it is built with the seed of its ancestor."""
        state = load_state(Path(directory), classes=classes_near(cls))
        member = cls(hp, state["made"]["seed"] if "made" in state else seed)
        member._put(state)
        return member

    def optimizers(self) -> dict[str, Optimizer]:
        """Returns the optimisers among the attributes, by name. Override it to return others."""
        return self._contents().of(Optimizer)

    def schedulers(self) -> list[LRScheduler]:
        """Returns the learning rate schedulers among the attributes."""
        return list(self._contents().schedulers.values())

    def places(self, hp: Mapping[str, object]) -> list[Place]:
        """Returns the places of the live optimisers at which hyperparameters act."""
        return [Place(each.hparam, each.name, self._made.base(each)) for each in self._governed(hp)]

    def effective(self, hp: Mapping[str, object]) -> dict[str, object]:
        """Returns what the live optimisers hold for each of `hp` that they know, by full name."""
        return effective(self.places(hp))

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        save_state(self._state(), Path(directory))

    def load(self, directory: Path) -> None:
        """Puts in what `save` wrote; this member keeps its own hyperparameters.

        Raises:
            UsageError: the checkpoint has the state of an object that this member does not have.
        """
        state = load_state(Path(directory), classes=classes_near(type(self)))
        made = state.get("made", {"seed": self._made.seed})
        if self._made.trained or made["seed"] != self._made.seed:
            self._make(self._made.hp, made["seed"])
        self._put(state)

    # -- the state ------------------------------------------------------------------------------------------------------

    def _contents(self) -> Contents:
        named = {} if type(self).optimizers is TorchMember.optimizers else self.optimizers()
        return Contents(vars(self), named)

    def _state(self) -> dict[str, Tree]:
        made, contents = self._made, self._contents()
        gradients = read_gradients(contents.of(Optimizer))
        state = {"made": made.saved(), "contents": contents.read(), "random": self._random}
        return state | ({"gradients": gradients} if gradients else {})

    def _put(self, state: Mapping[str, Tree]) -> None:
        made, here, contents = state.get("made"), self._made, self._contents()
        here.trained, self._random = True, state["random"]
        if made is None:  # of version 0.1
            contents.put_first_format(state)
            apply_hparams(self.optimizers(), here.hp, list(contents.schedulers.values()))
            here.settle(self._governed(here.hp))
            return
        classes = classes_near(type(self))
        same = dict(flattened(made["hp"])) == dict(flattened(here.hp))
        changed = sorted(n for n, v in flattened(made["hp"]) if dict(flattened(here.hp)).get(n) != v)
        hint = f"Values that change what is built ({', '.join(changed)}) must be the same in copies: declare them static=True."
        contents.put(state["contents"], None if same else made["outline"], here.outline, classes, hint)
        put_gradients(contents.of(Optimizer), state.get("gradients", {}))
        here.settle(self._governed(here.hp))

    def _make(self, hp: Mapping[str, object], seed: int) -> None:
        """Lets ``__init__`` make the object again; the old one is closed first."""
        if isinstance(self, _Closing):
            self.close()
        budget = vars(self).get("_budget")
        vars(self).clear()
        type(self).__init__(self, hp, seed)  # type: ignore[misc]  # the user's own
        if budget is not None and isinstance(self, _Planning):
            self.set_budget(*budget)

    def _retune(self, hp: Mapping[str, object]) -> None:
        """Changes the hyperparameters: the object is made with them, and the state is put into it."""
        state = cloned(self._state())
        self._make(plain(hp), self._made.seed)
        self._put(state)

    def _options_with(self, hp: Mapping[str, object]) -> Tree:
        """Returns the options of the optimisers as ``__init__`` makes them with these values; None if code sets their rates."""
        contents, fresh = self._contents(), self._made.outline["options"]
        for owner, optimizer in contents.of(Optimizer).items():
            over = [each for each in contents.schedulers.values() if each.optimizer is optimizer]
            same = [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in fresh.get(owner, ())]
            if not same and not (over and all(map(is_predicted, over))):
                return None
        if dict(flattened(hp)) == dict(flattened(self._made.hp)):
            made = self._made
        else:
            other = type(self)(hp, self._made.seed)  # type: ignore[call-arg]  # the user's own
            made = other._made
            if isinstance(other, _Closing):
                other.close()
        return {"options": made.outline["options"], "schedulers": made.outline["schedulers"]}

    def _governed(self, hp: Mapping[str, object]) -> list[OptionPlace]:
        contents = self._contents()
        places = option_places(self.optimizers(), hp, list(contents.schedulers.values()))
        return [place for place in places if self._made.governs(place)]


class _Made:
    """How ``__init__`` made a member: with what, and what it was then.

    Args:
        hp: nested, as the task had them.
        outline: the contents of the new object, for `merge`.
    """

    def __init__(self, hp: Mapping[str, object], seed: int, reads: Reads):
        self.hp, self.seed, self.reads = plain(hp), seed, reads
        self.outline: Tree = None
        self.trained = False
        self.checked = False  # that every hyperparameter has had an effect
        self.names: frozenset[str] | None = None  # of the places that hyperparameters govern
        self.first: dict[str, object] = {}  # what they held when the object was made
        self.held: dict[str, object] = {}  # what they held when the last interval ended

    def saved(self) -> dict[str, Tree]:
        return {"hp": self.hp, "seed": self.seed, "outline": self.outline}

    def governs(self, place: OptionPlace) -> bool:
        return self.names is None or place.name in self.names

    def base(self, place: OptionPlace) -> object:
        """Returns what a place holds, without the reductions that a scheduler has decided on."""
        held, first = place.get(), self.first.get(place.name)
        lowered = place.reduced and isinstance(held, float) and isinstance(first, float) and held < first
        return first if lowered else held

    def settle(self, places: list[OptionPlace]) -> None:
        """Notes what the optimisers hold now."""
        self.held = {place.name: place.get() for place in places}


@runtime_checkable
class _Closing(Protocol):
    def close(self) -> object: ...


@runtime_checkable
class _Planning(Protocol):
    def set_budget(self, steps: int | None) -> object: ...


def _seeded(init: Callable[..., object]) -> Callable[..., None]:
    """Returns an ``__init__`` that begins the member's random stream, and notes what was made."""

    @functools.wraps(init)
    def seeded(self: TorchMember, hp: Mapping[str, object], seed: int, *args: object, **options: object) -> None:
        if self._busy:
            init(self, hp, seed, *args, **options)
            return
        reads = Reads(hp)
        with _own_stream(self, seed):
            init(self, reads, seed, *args, **options)
        made = self._made = _Made(hp, seed, reads)
        contents = self._contents()
        places = list(option_places(self.optimizers(), hp, list(contents.schedulers.values())))
        unread = {name: value for name, value in flattened(hp) if name not in reads.seen}
        apply_hparams(self.optimizers(), unread, list(contents.schedulers.values()))
        made.names = frozenset(each.name for each in places if each.hparam in unread or same_value(each.get(), each.value))
        made.outline = contents.outline()
        made.settle(self._governed(hp))
        made.first = made.held

    return seeded


def _tuned(train: Callable[..., Metrics]) -> Callable[..., Metrics]:
    """Returns a ``train`` that makes its hyperparameters act first, and checks them before and afterwards."""

    @functools.wraps(train)
    def tuned(self: TorchMember, hp: Mapping[str, object], steps: int) -> Metrics:
        return train(self, hp, steps) if self._busy else _performed(self, hp, steps, lambda reads: train(self, reads, steps))

    return tuned


def _taught(distill: Callable[..., Metrics]) -> Callable[..., Metrics]:
    """Returns a ``distill`` that does the same, and whose teacher cannot learn."""

    @functools.wraps(distill)
    def taught(self: TorchMember, teacher: TorchMember, hp: Mapping[str, object], steps: int, progress: object) -> Metrics:
        if self._busy:
            return distill(self, teacher, hp, steps, progress)
        hold(teacher._contents().of(nn.Module).values())
        return _performed(self, hp, steps, lambda reads: distill(self, teacher, reads, steps, progress))

    return taught


def _performed(self: TorchMember, hp: Mapping[str, object], steps: int, perform: Callable[[Reads], Metrics]) -> Metrics:
    """Returns what the user's code returned; its hyperparameters were made to act before, and are checked afterwards."""
    if not hasattr(self, "_made"):
        raise UsageError(f"{type(self).__name__} has no random stream: define __init__(hp, seed) in the class itself.")
    who = type(self).__name__
    if not self.optimizers():
        raise UsageError(f"{who} has no optimiser among its attributes: keep it in one, or return it from optimizers().")
    if dict(flattened(self._made.hp)) != dict(flattened(hp)):
        self._retune(hp)
    made = self._made
    held = {each.name: each for each in self._governed(hp)}
    if moved := [name for name, each in held.items() if not same_value(each.get(), made.held.get(name, each.get()))]:
        check_in_force(who, hp, [Place(held[n].hparam, n, held[n].get()) for n in moved], WHY)
    watch(self.optimizers().values())
    reads = Reads(hp)
    with _own_stream(self):
        metrics = perform(reads)
    made.trained = True
    made.reads.seen |= reads.seen
    _check_after(self, hp)
    if steps and not made.checked:
        options = {option for each in self.optimizers().values() for group in each.param_groups for option in group}
        places = self.places(hp)
        check_cycled(who, hp, places, self.schedulers())
        check_read(who, hp, made.reads, places, self.own, options - {"params"})
        check_rate(type(self), hp, places, {*self.own, *reads.seen}, self._options_with)
        made.checked = True
    return metrics


def _check_after(member: TorchMember, hp: Mapping[str, object]) -> None:
    """Compares what the optimisers hold after training with the task; a rate without a scheduler may be changed by hand."""
    made, who = member._made, type(member).__name__
    places = member._governed(hp)
    options = [each for each in places if each.option != "lr" or each.schedulers]
    why = "train() must not change tuned values."
    check_in_force(who, hp, [Place(each.hparam, each.name, each.get()) for each in options], f"train changed what was set. {why}")
    for each in places:
        before = made.held.get(each.name, each.value)
        if each not in options and not each.reduced and not same_value(each.get(), before):
            text = (
                f"train changed {each.name} from {before!r} to {each.get()!r} without a scheduler: {why} A copy with another "
                "rate keeps the ratio."
            )
            warn_user(text, RuntimeWarning)
    made.settle(places)


def _noted(set_budget: Callable[..., object]) -> Callable[..., object]:
    """Returns a ``set_budget`` whose argument is remembered."""

    @functools.wraps(set_budget)
    def noted(self: TorchMember, *args: object) -> object:
        vars(self)["_budget"] = args
        return set_budget(self, *args)

    return noted


@contextmanager
def _own_stream(member: TorchMember, seed: int | None = None) -> Iterator[None]:
    """Puts the member's random stream in place; `seed` begins a new one."""
    member._busy = True
    try:
        with stream(member, seed):
            yield
    finally:
        member._busy = False
