"""What an environment reports at each step, as bytes: hindsight replay keeps it with ``copy_info_dict=True``.

Each value comes back as it was, in JSON, where an object with one tag stands for what JSON does not have: dicts, tuples, sets,
arrays and numbers of numpy. A dict of a class of its own comes back as a dict. Anything else is refused with its name, because
rewards may be computed from it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from poptrain.core.errors import UsageError

PLAIN = (bool, int, float, str, type(None))
DICTS = {"dict": dict, "ordered": OrderedDict}
SETS = {"set": set, "frozenset": frozenset}


def packed(infos: Sequence[object]) -> bytes:
    """Returns some steps' reports as bytes.

    Raises:
        UsageError: a report holds something that cannot be stored.
    """
    return json.dumps([_encoded(info, "info") for info in infos]).encode()


def unpacked(data: bytes) -> list[Any]:
    """Returns what `packed` was given."""
    return [_decoded(info) for info in json.loads(data)]


def _encoded(value: object, path: str) -> object:
    if type(value) in PLAIN:
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcSU":
        array = np.asarray(value)
        data = b64encode(array.tobytes()).decode()
        return {"array" if isinstance(value, np.ndarray) else "scalar": [array.dtype.str, list(array.shape), data]}
    if isinstance(value, dict):
        tag = "ordered" if type(value) is OrderedDict else "dict"
        return {tag: [[_encoded(key, f"a key of {path}"), _encoded(item, f"{path}[{key!r}]")] for key, item in value.items()]}
    if type(value) is list:
        return [_encoded(item, f"{path}[{at}]") for at, item in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": [_encoded(item, f"{path}[{at}]") for at, item in enumerate(value)]}
    if isinstance(value, (set, frozenset)) and type(value).__name__ in SETS:
        return {type(value).__name__: sorted((_encoded(item, f"an item of {path}") for item in value), key=repr)}
    raise UsageError(
        f"the replay buffer keeps the info of each step (copy_info_dict=True), and {path} is {_described(value)}, which a "
        "checkpoint cannot hold: leave it out of the environment's info, convert it to numbers, or pass copy_info_dict=False."
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    if kind in ("array", "scalar"):
        dtype, shape, data = inner
        array = np.frombuffer(b64decode(data), np.dtype(dtype)).reshape(shape).copy()
        return array if kind == "array" else array[()]
    if kind in ("dict", "ordered"):
        return DICTS[kind]((_decoded(key), _decoded(item)) for key, item in inner)
    items = [_decoded(item) for item in inner]
    return tuple(items) if kind == "tuple" else SETS[kind](items)


def _described(value: object) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        return f"an array of {value.dtype}"
    return f"of the type {type(value).__name__}"
