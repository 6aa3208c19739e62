"""Carries: exact storage of nested plain containers and arrays, without pickle.

A carry is a tree of dict (str keys), list, tuple, str, int, float, bool, None, numpy scalars, numpy or JAX arrays, typed random
keys of JAX, and tensors of PyTorch. It is split into a JSON structure and named arrays, and comes back equal in value, type and
dtype (JAX arrays as numpy arrays). In the structure, plain JSON stands for itself. An object with one of these tags stands for
what JSON does not have:

    {"dict": {…}}   {"tuple": […]}   {"float": "nan"}   {"int": "0x…"}   {"array": name}   {"scalar": name}
    {"key": name, "generator": "threefry2x32"}: the words of a key
    {"tensor": name, "type": "bfloat16"}: the values of a tensor

Arrays of a type that safetensors does not know are stored as bytes, with ``"dtype"`` and ``"shape"`` next to the name.
Everything else is refused, and the error names its path, because a value that cannot come back as it was must not be stored:
a named tuple would need its class, and to look up a class by a name in a file is to run code from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import is_dataclass
from math import isfinite
from typing import Any

import numpy as np

from poptrain.checkpoints import keys, tensors
from poptrain.checkpoints.size import DEEPEST, check_size
from poptrain.core import Carry, Json

Array = np.ndarray[Any, np.dtype[Any]]  # of any shape and type
TreePath = tuple[str | int, ...]  # the keys and indices that lead to a leaf

_PLAIN = (str, int, bool, type(None))
_NODES = "convert it to a dict or a tuple, pass pt.jax_trainable(init, train), which knows the class from init"
_ATOMS = frozenset((*_PLAIN, float))
_NATIVE = frozenset(("|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"))


def flatten(tree: Carry) -> tuple[Json, dict[str, Array]]:
    """Returns a JSON structure and its arrays by name; a name is the JSON pointer of the array in the tree.

    Raises:
        TypeError: the tree contains something that cannot be stored exactly.

    >>> flatten({"w": np.zeros(2), "n": (1, None)})
    ({'dict': {'w': {'array': '/w'}, 'n': {'tuple': [1, None]}}}, {'/w': array([0., 0.])})
    """
    arrays: dict[str, Array] = {}
    check_size(tree)
    return _flatten(tree, (), arrays), arrays


def unflatten(structure: Json, arrays: Mapping[str, Array]) -> Carry:
    """Returns the tree that `flatten` split; raises ValueError or KeyError if the two do not belong together."""
    kind = type(structure)
    if kind in _ATOMS:
        return structure
    if kind is list:
        return [unflatten(item, arrays) for item in structure]
    tag, value = next(iter(structure.items()))
    if tag == "dict":
        return {key: unflatten(item, arrays) for key, item in value.items()}
    if tag == "tuple":
        return tuple([unflatten(item, arrays) for item in value])
    if tag == "float":
        return float(value)
    if tag == "int":
        return int(value, 16)
    if tag == "key":
        return keys.typed(arrays[value], structure["generator"])
    if tag == "tensor":
        return tensors.tensor(_stored(structure, arrays[value]), structure["type"])
    if tag not in ("array", "scalar"):
        raise ValueError(f"unknown tag {tag!r} in a carry: it was written by a newer poptrain")
    array = _stored(structure, arrays[value])
    return array if tag == "array" else array[()]


def _stored(structure: Mapping[str, Json], array: Array) -> Array:
    """Returns an array as it was before it was stored as bytes, if it was."""
    if "dtype" not in structure:
        return array
    return np.ndarray(structure["shape"], _dtype(structure["dtype"]), array.tobytes()).copy()


def copy(tree: Carry) -> Carry:
    """Returns a copy that shares nothing mutable: containers and arrays are copied, JAX arrays become numpy arrays."""
    check_size(tree)
    return _copy(tree, ())


def lane(tree: Carry, index: int) -> Carry:
    """Returns one member of a population: a copy of entry `index` of every array; everything else is unchanged."""
    return _map(tree, (), lambda array, path: _lane(array, index, path))


def stacked(tree: Carry) -> Carry:
    """Returns a population of one: a copy with a leading axis of length 1 on every array. ``lane(…, 0)`` reverses it."""
    return _map(tree, (), lambda array, path: array[None].copy())


def _copy(tree: Carry, path: TreePath) -> Carry:
    return _map(tree, path, lambda array, path: array.copy())


def _map(tree: Carry, path: TreePath, function: Callable[[Array, TreePath], Array]) -> Carry:
    kind = type(tree)
    if kind in _ATOMS or isinstance(tree, np.generic):
        return tree
    if kind is dict:
        return {_key(key, path): _map(value, (*path, key), function) for key, value in tree.items()}
    if kind is tuple or kind is list:
        items = [_map(value, (*path, i), function) for i, value in enumerate(tree)]
        return items if kind is list else tuple(items)
    if generator := keys.generator_of(tree):
        return keys.typed(function(keys.words(tree), path), generator)
    if tensors.is_tensor(tree):
        return tensors.tensor(function(_values(tree, path), path), tensors.type_of(tree))
    return function(_array(tree, path), path)


def _flatten(tree: Carry, path: TreePath, arrays: dict[str, Array]) -> Json:
    kind = type(tree)
    if len(path) > DEEPEST:
        raise TypeError(f"the carry has more than {DEEPEST} levels, or contains itself: make it flatter")
    if kind is int and not -(2**63) <= tree < 2**63:
        return {"int": hex(tree)}  # Python refuses to read very long decimal numbers
    if kind in _PLAIN:
        return tree
    if kind is float:
        return tree if isfinite(tree) else {"float": repr(tree)}
    if kind is dict:
        return {"dict": {_key(key, path): _flatten(value, (*path, key), arrays) for key, value in tree.items()}}
    if kind is list or kind is tuple:
        items = [_flatten(value, (*path, i), arrays) for i, value in enumerate(tree)]
        return items if kind is list else {"tuple": items}
    if generator := keys.generator_of(tree):
        arrays[name := _pointer(path, arrays)] = keys.words(tree)
        return {"key": name, "generator": generator}
    name = _pointer(path, arrays)
    entry: dict[str, Json]
    if tensors.is_tensor(tree):
        array, entry = _values(tree, path), {"tensor": name, "type": tensors.type_of(tree)}
    else:
        array, entry = _array(tree, path), {"scalar" if isinstance(tree, np.generic) else "array": name}
    if array.dtype.str not in _NATIVE:
        entry |= {"dtype": _dtype_name(array.dtype), "shape": list(array.shape)}
        array = np.ndarray(array.nbytes, np.uint8, array.tobytes())
    arrays[name] = np.asarray(array, order="C")
    return entry


def _values(tensor: Carry, path: TreePath) -> Array:
    if why := tensors.why_not(tensor):
        raise TypeError(f"{_where(path)}: a tensor cannot be stored exactly: {why}")
    return tensors.values(tensor)


def _array(leaf: Carry, path: TreePath) -> Array:
    if type(leaf) is np.ndarray or isinstance(leaf, np.generic):
        if leaf.dtype.hasobject or leaf.dtype.names:
            raise _refuse(leaf, path, f"{leaf.dtype} contains Python objects or records; use one plain array for each field")
        return np.asarray(leaf)
    if type(leaf).__module__.partition(".")[0] in ("jax", "jaxlib") and hasattr(leaf, "__array__"):
        try:
            return np.asarray(leaf)
        except Exception as error:
            raise _refuse(leaf, path, f"it has no values to store ({error})") from None
    if isinstance(leaf, tuple):
        raise _refuse(leaf, path, f"a named tuple cannot be restored without its class; {_NODES}")
    if is_dataclass(leaf):
        raise _refuse(leaf, path, f"a dataclass cannot be restored without its class; {_NODES}")
    raise _refuse(leaf, path, "convert it to plain dict, list, tuple, number, str or array")


def _lane(array: Array, index: int, path: TreePath) -> Array:
    if not array.ndim or not 0 <= index < len(array):
        raise ValueError(f"{_where(path)}: an array of shape {array.shape} has no member {index} on its leading axis")
    return np.array(array[index])


def _key(key: object, path: TreePath) -> str:
    if type(key) is not str:
        raise TypeError(f"{_where(path)}: the key {key!r} is {type(key).__name__}; the keys of a carry must be str")
    return key


def _refuse(leaf: object, path: TreePath, why: str) -> TypeError:
    return TypeError(
        f"{_where(path)}: {type(leaf).__qualname__} cannot be stored exactly: {why}, "
        "or use the class form of a trainable, which saves and loads itself"
    )


def _where(path: TreePath) -> str:
    return "carry" + "".join(f"[{key!r}]" for key in path)


def _pointer(path: TreePath, taken: Container[str]) -> str:
    parts = (str(key).replace("~", "~0").replace("/", "~1") for key in path)
    name = ("/" + "/".join(parts)).encode("utf-8", "backslashreplace").decode()  # UTF-8 has no lone surrogates
    while name in taken:
        name += "'"
    return name


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.isbuiltin == 2 else dtype.str  # `str` of bfloat16 and similar types is not their own


def _dtype(name: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(name)
    except TypeError:
        import ml_dtypes  # it is installed with the JAX that made the array

        dtype = np.dtype(getattr(ml_dtypes, "float8_e5m2" if name == "<f1" else name))  # earlier versions wrote "<f1"
    if dtype.hasobject:
        raise ValueError(f"a stored array cannot have the type {name!r}")
    return dtype
