"""What the attributes of a member hold, as a tree that a checkpoint can hold, and back into the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry
from poptrain.core.errors import UsageError
from poptrain.integrations.nnx.live import injected, parts

Attributes = dict[str, object]  # of a member, without those that begin with an underscore


@runtime_checkable
class Positioned(Protocol):
    """An object with a state of its own, such as `Batches`."""

    def state_dict(self) -> Carry: ...
    def load_state_dict(self, state: Carry) -> None: ...


def read(attributes: Mapping[str, object]) -> dict[str, Carry]:
    """Returns the state of all attributes; functions have none, and `make` builds them again.

    Raises:
        UsageError: an attribute holds something that cannot be stored; the message names it.
    """
    found = {name: _read(name, value) for name, value in attributes.items()}
    return {name: state for name, state in found.items() if state is not None}


def put(attributes: Attributes, state: Mapping[str, Carry]) -> None:
    """Puts a state into the attributes of a member that `make` has just made; values that training added are added.

    Raises:
        UsageError: the checkpoint has variables that the member does not have, or of other shapes.
    """
    for name, saved in state.items():
        kind, value = saved
        held = attributes.get(name)
        if kind == "value":
            attributes[name] = value
        elif held is None:
            raise UsageError(f"the checkpoint has the state of {name}, but make() does not set self.{name}.")
        elif kind == "variables":
            _put_variables(name, held, value)
        elif kind == "leaves":
            attributes[name] = _put_leaves(name, held, value)
        elif isinstance(held, np.random.Generator):
            held.bit_generator.state = value
        elif isinstance(held, Positioned):
            held.load_state_dict(value)
    for name in [name for name in attributes if name not in state and _read(name, attributes[name]) is not None]:
        del attributes[name]  # training did it as well


def _read(name: str, value: object) -> Carry:
    """Returns the kind of an attribute and its state; None if it has none."""
    if any(isinstance(part, nnx.Variable) for _, part in parts(value)):
        return ["variables", {_joined(path): _array(leaf) for path, leaf in _variables(value)}]
    if isinstance(value, np.random.Generator):
        return ["generator", dict(value.bit_generator.state)]
    if isinstance(value, Positioned):
        return ["state", value.state_dict()]
    leaves = jax.tree.leaves(value)
    if leaves and all(map(callable, leaves)):
        return None  # a function, compiled or not; a transformation of optax
    if isinstance(value, nnx.Pytree):
        return ["variables", {}]
    arrays = any(isinstance(leaf, jax.Array) for leaf in leaves)
    if arrays and type(value) is not list:
        return ["leaves", {_joined(path): leaf for path, leaf in _leaves(value)}]
    try:
        carries.flatten(value)
    except TypeError as error:
        raise UsageError(
            f"self.{name} cannot be stored: {error}. If make() sets it and training does not change it, begin its name with an "
            "underscore."
        ) from None
    return ["value", value]


def _put_variables(name: str, held: object, saved: Mapping[str, Carry]) -> None:
    live = dict(_variables(held))
    _compare(name, {_joined(path): _array(leaf) for path, leaf in live.items()}, saved)
    nnx.update(held, nnx.from_flat_state([(path, leaf.replace(_as_jax(saved[_joined(path)]))) for path, leaf in live.items()]))


def _put_leaves(name: str, held: object, saved: Mapping[str, Carry]) -> object:
    _compare(name, {_joined(path): leaf for path, leaf in _leaves(held)}, saved)
    paths, structure = jax.tree_util.tree_flatten_with_path(held)
    return jax.tree.unflatten(structure, [_as_jax(saved.get(_joined(_keys(path)), leaf)) for path, leaf in paths])


def _variables(value: object) -> list[tuple[tuple[object, ...], nnx.Variable]]:
    """Returns the variables in a value by path.

    Left out are injected hyperparameters, which are not state, and variables without an array: `optax.masked` and
    `optax.multi_transform` put a marker in the place of what they leave alone.
    """
    injections = tuple((*path, "hyperparams") for path, _ in injected(value))
    flat = nnx.to_flat_state(nnx.state(value))
    return [(path, leaf) for path, leaf in flat if path[:-1] not in injections and jax.tree.leaves(leaf.get_value())]


def _leaves(value: object) -> list[tuple[tuple[object, ...], Carry]]:
    injections = tuple((*path, "hyperparams") for path, _ in injected(value))
    found = [(_keys(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]]
    return [(path, leaf) for path, leaf in found if path[:-1] not in injections]


def _keys(path: tuple[object, ...]) -> tuple[object, ...]:
    """Returns the keys and indices of a path of JAX, as Flax writes them."""
    return tuple(next(getattr(key, each) for each in ("key", "idx", "name") if hasattr(key, each)) for key in path)


def _compare(name: str, live: Mapping[str, Carry], saved: Mapping[str, Carry]) -> None:
    """Raises a `UsageError` that names the first variable that differs."""
    for path in dict.fromkeys([*saved, *live]):
        before, now = _shape(saved, path), _shape(live, path)
        if before != now:
            raise UsageError(
                f"self.{name} of the checkpoint has other variables than make() builds: {path} was {before}, and is now {now}. A "
                "hyperparameter that changes the model or the kind of optimiser must be static=True."
            )


def _shape(state: Mapping[str, Carry], path: str) -> str:
    if path not in state:
        return "absent"
    leaf = state[path]
    return f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(np.shape(leaf)) if not _is_key(leaf) else ''}"


def _is_key(leaf: Carry) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _array(variable: nnx.Variable) -> Carry:
    value = variable.get_value()
    return value if _is_key(value) else np.asarray(value)


def _as_jax(value: Carry) -> Carry:
    return jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value


def _joined(path: tuple[object, ...]) -> str:
    return "/".join(map(str, path))
