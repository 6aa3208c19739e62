"""Learning rates under schedulers, after a base rate or an option of the schedule has changed in the middle of training.

The rates are then those of plain PyTorch with these values from the start: schedulers that ``__init__`` has just made, nested
ones too, are stepped to where training is. What a scheduler decided by itself (`ReduceLROnPlateau`) lasts.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import product
from typing import TypeGuard

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import Place, flattened, same_value
from poptrain.integrations.torch.merge import merged
from poptrain.integrations.torch.optimizers import Options, put_option
from poptrain.integrations.torch.tree import Tree

OWN_MODULE = LRScheduler.__module__
MOMENTA = ("momentum", "beta1")  # what cycles set besides the rate
DIRECT = (LambdaLR, CosineAnnealingWarmRestarts, OneCycleLR, CyclicLR)  # besides those with a closed form


def is_scheduler(value: object) -> TypeGuard[LRScheduler]:
    """True for a learning rate scheduler of PyTorch, or one that is written like it."""
    alike = hasattr(value, "base_lrs") and hasattr(value, "state_dict")
    return isinstance(value, LRScheduler) or (alike and isinstance(getattr(value, "optimizer", None), Optimizer))


def outermost(schedulers: Sequence[LRScheduler]) -> list[LRScheduler]:
    """Returns the schedulers that are not inside another one."""
    inside = {id(inner) for each in schedulers for inner in _inner(each)}
    return [each for each in schedulers if id(each) not in inside]


def has_base(scheduler: LRScheduler) -> bool:
    """True if a scheduler computes rates from the rate that the optimiser was built with."""
    return not any(hasattr(each, "max_lrs") or type(each).__name__ == "OneCycleLR" for each in (scheduler, *_inner(scheduler)))


def read_scheduler(scheduler: LRScheduler) -> dict[str, Tree]:
    """Returns the state of a scheduler."""
    return {"kind": type(scheduler).__name__, "state": dict(scheduler.state_dict())}


def put_scheduler(scheduler: LRScheduler, state: Mapping[str, Tree]) -> None:
    """Puts the state of a scheduler of the same kind into one that ``__init__`` has made."""
    counters = {name: Counter(value) for name, value in state.items() if isinstance(vars(scheduler).get(name), Counter)}
    scheduler.load_state_dict({**state, **counters})


def follow(
    optimizer: Optimizer,
    schedulers: Mapping[str, LRScheduler],
    saved: Mapping[str, Mapping[str, Tree]],
    built: Mapping[str, Mapping[str, Tree]],
    fresh: list[Options],
    options: tuple[list[Options], list[Options]],
) -> None:
    """Brings new schedulers of one optimiser, and its rates, to where the parent is.

    Args:
        schedulers: by path, as ``__init__`` of the copy made them.
        saved: the states of those of the parent.
        built: the states of those of the parent when its ``__init__`` had made them.
        fresh: the options that ``__init__`` of the copy gave the groups.
        options: those of the parent's groups, when they were made and now.
    """
    replayed = {path: each for path, each in schedulers.items() if is_replayed(each)}
    counts = [steps_of(saved[path]["state"]) if path in saved else 0 for path in replayed]
    if replayed and len(replayed) == len(schedulers):
        merged_options = [dict(group) for group in optimizer.param_groups]
        for group, made in zip(optimizer.param_groups, fresh, strict=False):
            for option, value in made.items():
                put_option(group, option, value)
        _advance(list(replayed.values()), counts, [saved.get(path, {}).get("state", {}) for path in replayed])
        for group, made, other in zip(optimizer.param_groups, fresh, merged_options, strict=False):
            for option in made:
                if option not in ("lr", "initial_lr") and group[option] == made[option]:  # no scheduler has touched it
                    put_option(group, option, other[option])
        return
    for path, each in schedulers.items():
        if path not in saved or saved[path]["kind"] != type(each).__name__:
            continue
        first = built.get(path, saved[path])["state"]
        put_scheduler(each, merged(first, dict(each.state_dict()), saved[path]["state"]))
        if isinstance(each, ReduceLROnPlateau) and len(schedulers) == 1:
            before, now = options
            rates = [float(group["lr"]) for group in before], [float(group["lr"]) for group in now]
            for group, rate in zip(optimizer.param_groups, _reduced(each, *rates, fresh), strict=False):
                put_option(group, "lr", rate)
        if getattr(each, "_last_lr", None) is not None:
            each._last_lr = [float(group["lr"]) for group in optimizer.param_groups]


def rebase(
    schedulers: Sequence[LRScheduler],
    bases: Sequence[float],
    made: Sequence[Mapping[str, Tree]] = (),
    places: Mapping[int, int] | None = None,
) -> None:
    """Changes the base rates of the schedulers of one optimiser where training is; `bases` has one for each group.

    Args:
        made: the states that the schedulers had when they were new, with the options of this member; none: they keep theirs.
        places: the steps that a schedule is to have made, by its index, if not those of its state.
    """
    optimizer = schedulers[0].optimizer
    counts = [steps_of(each.state_dict()) for each in schedulers]
    states = [dict(each.state_dict()) for each in schedulers]
    for index, count in (places or {}).items():
        counts[index], states[index] = count, {}
    for group, base in zip(optimizer.param_groups, bases, strict=True):
        put_option(group, "initial_lr", base)
        put_option(group, "lr", base)
    with _quiet():
        for each, new in zip(schedulers, made, strict=False):
            each.load_state_dict(deepcopy(dict(new)))
        for each in schedulers:
            _rewind(each)
    _advance(schedulers, counts, states)


def steps_of(state: Mapping[str, Tree]) -> int:
    """Returns how often a scheduler with this state has been stepped."""
    if "last_epoch" in state:
        return int(state["last_epoch"])
    return max((steps_of(each) for each in state.get("_schedulers", ())), default=0)


def _advance(schedulers: Sequence[LRScheduler], counts: Sequence[int], states: Sequence[Mapping[str, Tree]]) -> None:
    """Steps schedulers that are at step 0 of one optimiser; those of several schedulers alternate, as in a training loop."""
    with _quiet():
        if len(schedulers) == 1 and _is_direct(schedulers[0]):
            _jump(schedulers[0], counts[0], states[0])
            return
        left = [count - steps_of(each.state_dict()) for each, count in zip(schedulers, counts, strict=True)]
        for step in range(max(left, default=0)):
            for each, count in zip(schedulers, left, strict=True):
                if step < count:
                    each.step()


def _reduced(plateau: ReduceLROnPlateau, built: Sequence[float], now: Sequence[float], fresh: Sequence[Options]) -> list[float]:
    """Returns the rates of a copy after the reductions that its parent has had.

    Args:
        built: the rates, one a group, from which the parent began.
        now: those of the parent.
        fresh: the options from which the copy begins.
    """
    rates = []
    for index, (old, current, options) in enumerate(zip(built, now, fresh, strict=False)):
        rate = float(options["lr"])
        least = plateau.min_lrs[min(index, len(plateau.min_lrs) - 1)]
        times = 0
        while old > current * (1 + 1e-9) and old - (lower := max(old * plateau.factor, least)) > plateau.eps:
            old, times = lower, times + 1
        for _ in range(times):
            if rate - (lower := max(rate * plateau.factor, least)) > plateau.eps:
                rate = lower
        rates.append(rate if abs(old / current - 1) < 1e-6 else rate * current / old)
    return rates


def _inner(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    for each in getattr(scheduler, "_schedulers", ()):
        yield each
        yield from _inner(each)


def is_replayed(scheduler: LRScheduler) -> bool:
    """True if stepping a new scheduler repeats what the old one did: it decides nothing by itself."""
    for each in (scheduler, *_inner(scheduler)):
        step = getattr(type(each), "step", None)
        if isinstance(each, ReduceLROnPlateau) or getattr(step, "__module__", None) not in (OWN_MODULE, "torch.optim.swa_utils"):
            return False
    return True


def cycles(option: str, optimizer: Optimizer, schedulers: Iterable[LRScheduler]) -> bool:
    """True if one of the schedulers sets this option of an optimiser, a momentum, whatever the optimiser was made with."""
    return option in MOMENTA and any(each.optimizer is optimizer for each in _cycling(schedulers))


def check_cycled(who: str, hp: Mapping[str, object], places: Iterable[Place], schedulers: Iterable[LRScheduler]) -> None:
    """Raises a `UsageError` for a momentum that is tuned, while a `OneCycleLR` or `CyclicLR` sets it from values of its own.

    Args:
        who: the member, for the message.
        hp: the values of the task, flat or nested.
        places: at which hyperparameters act.
    """
    placed = {place.hparam for place in places}
    names = [(name, value) for name, value in flattened(hp) if name not in placed and name.rpartition(".")[2] in MOMENTA]
    for (name, value), each in product(names, _cycling(schedulers)):
        limits = [each.optimizer.param_groups[0].get(limit) for limit in ("base_momentum", "max_momentum")]
        if not any(same_value(limit, value) for limit in limits):
            raise UsageError(
                f"{who} does not train with the values of its task: {name}={value!r}, but {type(each).__name__} moves the "
                f"momentum between {limits[0]!r} and {limits[1]!r}. Build it with cycle_momentum=False, or with "
                f"max_momentum=hp[{name!r}]."
            )


def _cycling(schedulers: Iterable[LRScheduler]) -> list[LRScheduler]:
    """Returns the schedulers, nested ones too, that move the momentum against the rate."""
    return [part for each in schedulers for part in (each, *_inner(each)) if getattr(part, "cycle_momentum", False)]


def is_predicted(scheduler: LRScheduler) -> bool:
    """True if the rates follow from the options of the optimiser and the state of the scheduler, without the user's functions."""
    each_one = (scheduler, *_inner(scheduler))
    return is_replayed(scheduler) and not any(isinstance(each, (LambdaLR, MultiplicativeLR)) for each in each_one)


def _is_direct(scheduler: LRScheduler) -> bool:
    """True if the rates follow from the base rates and the number of steps alone."""
    known = type(scheduler).__module__ == OWN_MODULE
    return known and (hasattr(scheduler, "_get_closed_form_lr") or isinstance(scheduler, DIRECT))


def _jump(scheduler: LRScheduler, steps: int, state: Mapping[str, Tree]) -> None:
    """Sets a scheduler whose rates are direct to a number of steps."""
    if isinstance(scheduler, CosineAnnealingWarmRestarts):
        if (state.get("T_0"), state.get("T_mult")) == (scheduler.T_0, scheduler.T_mult):
            scheduler.T_cur, scheduler.T_i = state["T_cur"], state["T_i"]  # fractions of an epoch too
        else:
            scheduler.step(steps)
    scheduler.last_epoch, scheduler._step_count = steps, steps + 1
    closed = getattr(scheduler, "_get_closed_form_lr", scheduler.get_lr)
    for group, rate in zip(scheduler.optimizer.param_groups, closed(), strict=True):
        put_option(group, "lr", rate)
    scheduler._last_lr = [float(group["lr"]) for group in scheduler.optimizer.param_groups]


def _rewind(scheduler: LRScheduler) -> None:
    """Sets a scheduler back to step 0, on an optimiser whose rates are the base rates."""
    groups = scheduler.optimizer.param_groups
    if not isinstance(scheduler, (SequentialLR, ChainedScheduler)):
        scheduler.base_lrs = [group["initial_lr"] for group in groups]
        scheduler.last_epoch = -1
        scheduler._initial_step()
        return
    for each in scheduler._schedulers:
        _rewind(each)
    if isinstance(scheduler, SequentialLR):
        scheduler.last_epoch = 0
        for group in groups:
            put_option(group, "lr", group["initial_lr"])
        scheduler.recursive_undo()
        scheduler._schedulers[0]._initial_step()
    scheduler._last_lr = [float(group["lr"]) for group in groups]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides PyTorch's remarks on schedulers that are stepped without their optimiser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
