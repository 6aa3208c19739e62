"""Where hyperparameters act in the attributes of a member: injected ones of optimisers, options of modules, sizes of batches.

A schedule decides an injected hyperparameter by itself; it has no place, and `make` builds it with the member's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from poptrain.integrations.adapter import Place, flattened
from poptrain.integrations.nnx.batches import Batches

ALIASES = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2", "dropout": "rate"}  # as optax and Flax call them

Path = tuple[object, ...]  # keys and indices that lead from an attribute to an object in it
INJECTED = (optax.InjectStatefulHyperparamsState, optax.InjectHyperparamsState)


def parts(value: object) -> Iterator[tuple[Path, object]]:
    """Yields every object inside the value of an attribute, with its path; nothing for a value that JAX does not look into."""
    if isinstance(value, (nnx.Pytree, nnx.Variable, dict, list, tuple)):
        yield from nnx.iter_graph(value)
    else:  # another node of JAX, such as a train state of Flax
        for path, part in jax.tree_util.tree_flatten_with_path(value, is_leaf=_is_injected)[0]:
            if _is_injected(part):
                yield keys(path), part


def injected(value: object) -> Iterator[tuple[Path, optax.InjectStatefulHyperparamsState]]:
    """Yields the optimiser states that hold injected hyperparameters."""
    for path, part in parts(value):
        if isinstance(part, INJECTED):
            yield path, part


def keys(path: Path) -> Path:
    """Returns the keys and indices of a path of JAX, as Flax writes them."""
    return tuple(next(getattr(key, each) for each in ("key", "idx", "name") if hasattr(key, each)) for key in path)


def _is_injected(part: object) -> bool:
    return isinstance(part, INJECTED)


def scheduled(state: optax.InjectStatefulHyperparamsState) -> frozenset[str]:
    """Returns the names of the injected hyperparameters that schedules decide."""
    return frozenset(getattr(state, "hyperparams_states", {}))


def apply(attributes: Mapping[str, object], hp: Mapping[str, object], but: frozenset[str]) -> None:
    """Sets injected hyperparameters, except those that `make` has read and those that schedules decide."""
    for name, value in flattened(hp):
        owner, option = _owner_and_option(name)
        for attribute, held in attributes.items():
            if name in but or owner not in ("", attribute):
                continue
            for _, state in injected(held):
                if option in state.hyperparams and option not in scheduled(state):
                    _set(state.hyperparams, option, value)


def places(attributes: Mapping[str, object], hp: Mapping[str, object]) -> Iterator[Place]:
    """Yields the places of the live objects that hyperparameters name."""
    for name, wanted in flattened(hp):
        owner, option = _owner_and_option(name)
        for attribute, held in attributes.items():
            if owner not in ("", attribute):
                continue
            if isinstance(held, Batches) and option == "batch_size":
                yield Place(name, f"{attribute}.size", held.size)
            for path, part in parts(held):
                where = ".".join(map(str, (attribute, *path)))
                if isinstance(part, INJECTED) and option in part.hyperparams and option not in scheduled(part):
                    yield Place(name, f"{where}.hyperparams.{option}", _number(part.hyperparams[option], wanted))
                elif isinstance(part, nnx.Module) and isinstance(value := vars(part).get(option), (int, float, str)):
                    yield Place(name, f"{where}.{option} of {type(part).__name__}", value)


def first_updates(attributes: Mapping[str, object]) -> list[list[float]] | None:
    """Returns the first updates that the transformations of optax in the attributes give for gradients of 1.

    Two that are alike in them have the same rate. None if a transformation needs the user's own parameters, or there is none.
    """
    found = []
    for held in attributes.values():
        for each in [held] if isinstance(held, optax.GradientTransformation) else [part for _, part in parts(held)]:
            made = getattr(each, "tx", each)
            if isinstance(made, optax.GradientTransformation):
                found.append(made)
    if not found:
        return None
    try:
        return [_updates(each) for each in found]
    except (ValueError, TypeError, KeyError, AttributeError):  # it is made for other parameters, or for a loss
        return None


def _updates(transformation: optax.GradientTransformation, count: int = 3) -> list[float]:
    parameters = jnp.ones(2)
    state, moved = transformation.init(parameters), []
    for _ in range(count):
        updates, state = transformation.update(jnp.ones(2), state, parameters)
        moved.append(float(updates[0]))
    return moved


def _owner_and_option(name: str) -> tuple[str, str]:
    """Returns the attribute that a name is limited to, "" for all, and the option: "actor.lr" is the lr of ``self.actor``."""
    owner, _, option = name.rpartition(".")
    return owner, ALIASES.get(option, option)


def _set(hyperparams: dict[str, object], option: str, value: object) -> None:
    held = hyperparams[option]
    if isinstance(held, nnx.Variable):
        held[...] = jnp.asarray(value, held.dtype)  # in place: the optimiser keeps its variable
    else:
        hyperparams[option] = jnp.asarray(value, getattr(held, "dtype", None))


def _number(held: object, wanted: object) -> object:
    """Returns what is held; the wanted value itself, if it is held in a shorter type."""
    found = np.asarray(held[...] if isinstance(held, nnx.Variable) else held)
    return wanted if isinstance(wanted, float) and found == jnp.asarray(wanted, found.dtype) else found.item()
