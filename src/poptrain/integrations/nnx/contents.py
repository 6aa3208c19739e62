"""What the attributes of a member hold, as a tree that a checkpoint can hold, and back into the same objects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Protocol, cast, runtime_checkable

import jax
import numpy as np
from flax import nnx

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry
from poptrain.core.errors import UsageError
from poptrain.integrations import generators
from poptrain.integrations.nnx.live import injected, keys, parts

Attributes = dict[str, object]  # of a member, without those that begin with an underscore
Fields = Mapping[str, Mapping[str, object]]  # plain attributes of modules, by attribute and path
PLAIN = (bool, int, float, str, type(None))


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


def fields(attributes: Mapping[str, object]) -> Fields:
    """Returns the plain fields of modules and dataclasses, by attribute and path: a counter, a mode that ``eval()`` has set."""
    return {
        name: {
            f"{path}/{field}": vars(owner)[field]
            for path, owner in _owners(held)
            for field in sorted(vars(owner))
            if type(vars(owner)[field]) in PLAIN and not field.startswith("_")
        }
        for name, held in attributes.items()
    }


def put_fields(attributes: Attributes, built: Fields, now: Fields) -> None:
    """Puts in the plain fields that training has changed; all others are a matter of `make`.

    Args:
        attributes: of the member.
        built: what `make` of the parent made of them.
        now: what they are in the parent.
    """
    for name, held in attributes.items():
        before, after = built.get(name, {}), now.get(name, {})
        changed = {path: value for path, value in after.items() if path not in before or before[path] != value}
        for path, owner in _owners(held) if changed else ():
            for field in [each for each in vars(owner) if f"{path}/{each}" in changed]:
                object.__setattr__(owner, field, changed[f"{path}/{field}"])  # also of a frozen dataclass, which is new here


def _owners(value: object) -> Iterator[tuple[str, object]]:
    """Yields the modules, and the dataclasses in other nodes, in the value of an attribute."""
    for where, part in parts(value):
        if isinstance(part, nnx.Module):
            yield f"/{_joined(where)}", part
    yield from _owners_of_data(value, "")


def _owners_of_data(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yields the dataclasses inside a node."""
    own = is_dataclass(value) and not isinstance(value, (type, nnx.Pytree, nnx.Variable)) and hasattr(value, "__dict__")
    if own:
        yield path, value
    for key, item in vars(value).items() if own else _items(value) or ():
        yield from _owners_of_data(item, f"{path}/{key}")


def put(attributes: Attributes, state: Mapping[str, Carry]) -> None:
    """Puts a state into the attributes of a member that `make` has just made; values that training added are added.

    Raises:
        UsageError: the checkpoint has variables that the member does not have, or of other shapes.
    """
    for name, saved in state.items():
        kind, value, *jax_paths = saved
        held = attributes.get(name)
        if kind == "value":
            _compare_values(name, held, value, *jax_paths)
            attributes[name] = _of_jax(value, set(*jax_paths))
        elif held is None:
            raise UsageError(f"the checkpoint has the state of {name}, but make() does not set self.{name}.")
        elif kind == "variables":
            _put_variables(name, held, value)
        elif kind == "leaves":
            attributes[name] = _put_leaves(name, held, value)
        elif isinstance(held, generators.GENERATORS):
            generators.put_generator(held, value)
        elif isinstance(held, Positioned):
            held.load_state_dict(value)
    for name in [name for name in attributes if name not in state and _read(name, attributes[name]) is not None]:
        del attributes[name]  # training did it as well


def _read(name: str, value: object) -> Carry:
    """Returns the kind of an attribute and its state; None if it has none."""
    if any(isinstance(part, nnx.Variable) for _, part in parts(value)):
        return ["variables", {_joined(path): _array(leaf) for path, leaf in _variables(value)}]
    if isinstance(value, generators.GENERATORS):
        return ["generator", generators.read_generator(value)]
    if isinstance(value, Positioned):
        return ["state", value.state_dict()]
    leaves = jax.tree.leaves(value)
    if leaves and all(map(callable, leaves)):
        return None  # a function, compiled or not; a transformation of optax
    if isinstance(value, nnx.Pytree):
        return ["variables", {}]
    if any(isinstance(leaf, jax.Array) for leaf in leaves) and not _is_plain(value):
        return ["leaves", {_joined(path): leaf for path, leaf in _leaves(value)}]
    try:
        carries.flatten(value)
    except TypeError as error:
        raise UsageError(
            f"self.{name} cannot be stored: {error}. If make() sets it and training does not change it, begin its name with an "
            "underscore."
        ) from None
    return ["value", value, [path for path, leaf in _plain_leaves(value) if isinstance(leaf, jax.Array)]]


def _is_plain(value: object) -> bool:
    """True for dicts, lists and tuples that come back as they were: of any length, and in their order."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, cast("list[object]", value)))
    return type(value) in PLAIN or isinstance(value, (jax.Array, np.ndarray, np.generic))


def _items(value: object) -> list[tuple[str, object]] | None:
    """Returns what a container holds, by key or index; None for a leaf."""
    if type(value) is dict:
        return [(str(key), item) for key, item in value.items()]
    return [(str(at), item) for at, item in enumerate(value)] if isinstance(value, (list, tuple)) else None


def _plain_leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    inner = _items(value)
    if inner is None:
        yield path, value
    for key, item in inner or ():
        yield from _plain_leaves(item, f"{path}/{key}")


def _of_jax(value: Carry, paths: Collection[str], path: str = "") -> Carry:
    """Returns a value in which the arrays at these paths are those of JAX, as they were; those of numpy stay exact."""
    if type(value) is dict:
        return {key: _of_jax(item, paths, f"{path}/{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_of_jax(item, paths, f"{path}/{at}") for at, item in enumerate(value))
    return _as_jax(value) if path in paths else value


def _compare_values(name: str, held: object, saved: Carry, paths: Collection[str] = ()) -> None:
    """Raises a `UsageError` for an array of JAX that has another shape than the one that `make` made; lists may grow."""
    live = dict(_plain_leaves(held)) if not isinstance(held, list) else {}
    stored = dict(_plain_leaves(saved))
    both = [path for path in paths if path in live and hasattr(live[path], "dtype")]
    _compare(name, {path: live[path] for path in both}, {path: stored[path] for path in both})


def _put_variables(name: str, held: object, saved: Mapping[str, Carry]) -> None:
    live = dict(_variables(held))
    _compare(name, {_joined(path): _array(leaf) for path, leaf in live.items()}, saved)
    new = [(path, leaf.replace(_like(leaf.get_value(), saved[_joined(path)]))) for path, leaf in live.items()]
    nnx.update(_graph(held), nnx.from_flat_state(new))


def _put_leaves(name: str, held: object, saved: Mapping[str, Carry]) -> object:
    _compare(name, {_joined(path): leaf for path, leaf in _leaves(held)}, saved)
    paths, structure = jax.tree_util.tree_flatten_with_path(held)
    return jax.tree.unflatten(structure, [_like(leaf, saved.get(_joined(keys(path)), leaf)) for path, leaf in paths])


def _variables(value: object) -> list[tuple[tuple[object, ...], nnx.Variable]]:
    """Returns the variables in a value by path.

    Left out are injected hyperparameters, which are not state, and variables without an array: `optax.masked` and
    `optax.multi_transform` put a marker in the place of what they leave alone.
    """
    injections = tuple((*path, "hyperparams") for path, _ in injected(value))
    flat = nnx.to_flat_state(nnx.state(_graph(value)))
    return [(path, leaf) for path, leaf in flat if path[:-1] not in injections and jax.tree.leaves(leaf.get_value())]


def _leaves(value: object) -> list[tuple[tuple[object, ...], Carry]]:
    injections = tuple((*path, "hyperparams") for path, _ in injected(value))
    found = [(keys(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]]
    return [(path, leaf) for path, leaf in found if path[:-1] not in injections]


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


def _graph(value: object) -> object:
    """Returns a graph of Flax: a variable alone is not one."""
    return {"value": value} if isinstance(value, nnx.Variable) else value


def _array(variable: nnx.Variable) -> Carry:
    value = variable.get_value()
    if isinstance(value, (dict, list, tuple)):
        kind = type(value).__name__
        raise UsageError(f"a {type(variable).__name__} holds a {kind}, which cannot be stored: use one variable for each array.")
    return value if _is_key(value) else np.asarray(value)


def _as_jax(value: Carry) -> Carry:
    return jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value


def _like(live: object, saved: Carry) -> Carry:
    """Returns an array of JAX for one of JAX; an array of numpy stays one, because JAX may not have its type."""
    return _as_jax(saved) if isinstance(live, jax.Array) else saved


def _joined(path: tuple[object, ...]) -> str:
    return "/".join(map(str, path))
