"""The state of a user's object as a tree, and back: everything that its attributes lead to.

A tree consists of plain values, tensors, arrays and containers, with three kinds of nodes of its own. `Ref` stands for something
that has a path already: an alias, a weight of a module, or an object that is stored by itself. `Fields` are the attributes of an
object of the user's code. `MADE` stands for what ``__init__`` makes again: functions, loggers, data sets, objects of libraries.

A tree is put into the object *in place*: a tensor keeps its storage and a list stays the same list, so that references which
``__init__`` took, in optimisers, lists and closures, stay valid.
"""

from __future__ import annotations

import io
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import Reads

Tree = Any  # see above
Live = Any  # an object of the user's
PLAIN = (bool, int, float, complex, str, bytes, type(None))
DICTS = (dict, OrderedDict, defaultdict)
ITEMS = (list, tuple, deque)
SETS = (set, frozenset)


class Ref(NamedTuple):
    """Something that has been met under another path."""

    path: str


@dataclass(frozen=True)
class Fields:
    """The attributes of an object, and its class, as ``module:qualname``."""

    kind: str
    values: dict[str, Tree]


@dataclass(frozen=True)
class Made:
    """What ``__init__`` makes again."""


MADE = Made()


class Reader:
    """Reads the tree of an object.

    Args:
        is_part: True for objects that are stored by themselves; they are collected in `parts`.
        known: tensors that belong to parts, by id.
    """

    def __init__(self, is_part: Callable[[Live], bool], known: Mapping[int, str] | None = None):
        self._is_part = is_part
        self.parts: dict[str, Live] = {}
        self.paths: dict[int, str] = dict(known or {})
        self._alive: list[Live] = []  # an id is only valid while its object lives

    def read(self, value: Live, path: str) -> Tree:
        """Returns the tree of a value.

        Raises:
            UsageError: the value has a position that cannot be stored; the message names its path.
        """
        if type(value) in PLAIN or isinstance(value, np.generic):
            return value
        if id(value) in self.paths:
            return Ref(self.paths[id(value)])
        if not self._is_part(value) and _is_made(value):
            return MADE
        self.paths[id(value)] = path
        self._alive.append(value)
        if self._is_part(value):
            self.parts[path] = value
            return Ref(path)
        if isinstance(value, torch.Tensor):
            return value.detach().requires_grad_(value.requires_grad)
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, DICTS):
            return _like(value, {key: self.read(item, f"{path}.{key}") for key, item in value.items()})
        if isinstance(value, ITEMS):
            return _like(value, [self.read(item, f"{path}.{index}") for index, item in enumerate(value)])
        if isinstance(value, SETS):
            return type(value)(item for item in value if type(item) in PLAIN)
        if isinstance(value, Iterator) and not is_users(type(value)):
            raise UsageError(
                f"{path} is a {type(value).__name__}, whose position cannot be stored, so a copy or a resumed run would begin it "
                "again: use poptrain.integrations.torch.Batches, make it inside train, or begin its name with an underscore."
            )
        return Fields(name_of(type(value)), {key: self.read(item, f"{path}.{key}") for key, item in fields_of(value).items()})


class Writer:
    """Puts a tree into an object.

    Args:
        parts: of the object, by path; they are put in place by others.
        known: tensors that belong to parts, by path.
        classes: the user's classes of which training may have made objects, by name.
    """

    def __init__(self, parts: Mapping[str, Live], known: Mapping[str, Live], classes: Mapping[str, type]):
        self.met: dict[str, Live] = {**known, **parts}
        self._classes = classes

    def put(self, mine: Live, tree: Tree, path: str) -> Live:
        """Returns the value for a place that holds `mine`: the same object, if it can take the tree.

        Raises:
            UsageError: training made an object of a class that cannot be found.
        """
        if isinstance(tree, Made):
            return mine
        if isinstance(tree, Ref):
            return self.met.get(tree.path, mine)
        if type(tree) in PLAIN or isinstance(tree, np.generic):
            return tree
        value = self._whole(mine, tree, path)
        self.met[path] = value
        return value

    def _whole(self, mine: Live, tree: Tree, path: str) -> Live:
        if isinstance(tree, torch.Tensor):
            return put_tensor(mine, tree)
        if isinstance(tree, np.ndarray):
            if isinstance(mine, np.ndarray) and (mine.shape, mine.dtype) == (tree.shape, tree.dtype) and mine.flags.writeable:
                np.copyto(mine, tree)
                return mine
            return tree.copy()
        if isinstance(tree, Fields):
            if name_of(type(mine)) != tree.kind:
                mine = self._new(tree.kind, path)
            self.met[path] = mine
            self._put_fields(mine, tree.values, path)
            return mine
        if isinstance(tree, DICTS):
            return self._put_dict(mine, tree, path)
        if isinstance(tree, SETS):
            if isinstance(mine, set):
                mine.clear()
                mine.update(tree)
                return mine
            return type(tree)(tree)
        items = [self.put(_at(mine, index), item, f"{path}.{index}") for index, item in enumerate(tree)]
        if lost := [index for index, item in enumerate(items) if item is MADE]:
            raise UsageError(
                f"{path}.{lost[0]} cannot be stored, and training made it, so it is missing in a copy or a resumed run: make it "
                "in __init__, or begin the name of the attribute with an underscore and make it where it is used."
            )
        if isinstance(tree, tuple):
            same = isinstance(mine, tuple) and len(mine) == len(items) and all(a is b for a, b in zip(mine, items, strict=True))
            return mine if same else _like(tree, items)
        if type(mine) is type(tree) and getattr(mine, "maxlen", None) == getattr(tree, "maxlen", None):
            mine.clear()
            mine.extend(items)
            return mine
        return _like(tree, items)

    def _put_dict(self, mine: Live, tree: Tree, path: str) -> Live:
        held = mine if isinstance(mine, DICTS) else {}
        items = {key: self.put(held.get(key, MADE), item, f"{path}.{key}") for key, item in tree.items()}
        items = {key: item for key, item in items.items() if item is not MADE}
        if not isinstance(mine, DICTS):
            return _like(tree, items)
        mine.clear()
        mine.update(items)
        return mine

    def _put_fields(self, mine: Live, values: Mapping[str, Tree], path: str) -> None:
        held = fields_of(mine)
        for key, tree in values.items():
            value = self.put(held.get(key, MADE), tree, f"{path}.{key}")
            if value is not MADE and held.get(key, MADE) is not value:
                object.__setattr__(mine, key, value)  # also of a frozen dataclass
        for key in [key for key in held if key not in values]:
            object.__delattr__(mine, key)

    def _new(self, kind: str, path: str) -> Live:
        if kind not in self._classes:
            raise UsageError(
                f"{path} is a {kind.rpartition(':')[2]} that training made, and the class is not one of the member's own module: "
                "make it in __init__, define its class next to the member's, or write its state_dict and load_state_dict."
            )
        return object.__new__(self._classes[kind])


def put_tensor(mine: Live, tree: torch.Tensor) -> torch.Tensor:
    """Returns a tensor with these values: `mine` itself, if it has the shape and the type."""
    if isinstance(mine, torch.Tensor) and (mine.shape, mine.dtype) == (tree.shape, tree.dtype):
        with torch.no_grad():
            mine.copy_(tree)
        if mine.is_leaf and mine.requires_grad != tree.requires_grad:
            mine.requires_grad_(tree.requires_grad)
        return mine
    device = mine.device if isinstance(mine, torch.Tensor) else tree.device
    return tree.detach().to(device, copy=True).requires_grad_(tree.requires_grad)


def cloned(tree: Tree) -> Tree:
    """Returns a tree that shares nothing with the objects that it was read from."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone().requires_grad_(tree.requires_grad)
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Fields):
        return Fields(tree.kind, {key: cloned(item) for key, item in tree.values.items()})
    if isinstance(tree, Ref):
        return tree
    if isinstance(tree, DICTS):
        return _like(tree, {key: cloned(item) for key, item in tree.items()})
    if isinstance(tree, ITEMS):
        return _like(tree, [cloned(item) for item in tree])
    return type(tree)(tree) if isinstance(tree, SETS) else tree


def name_of(cls: type) -> str:
    """Returns ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def is_users(cls: type) -> bool:
    """True for a class of the user's own code, rather than of a library."""
    root = cls.__module__.partition(".")[0]
    if root in sys.stdlib_module_names and root != "__main__":
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    return root != "poptrain" and not {"site-packages", "dist-packages"} & set(file.replace("\\", "/").split("/"))


def classes_near(cls: type) -> dict[str, type]:
    """Returns the classes in the modules in which a class and its bases are written, by name."""
    modules = [sys.modules[base.__module__] for base in cls.__mro__ if is_users(base) and base.__module__ in sys.modules]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return {name_of(each): each for each in found if is_users(each)}


def fields_of(value: Live) -> dict[str, Live]:
    """Returns the attributes of an object, those in slots too."""
    slots = [name for cls in type(value).__mro__ for name in _names(getattr(cls, "__slots__", ()))]
    found = {name: getattr(value, name) for name in slots if name not in ("__dict__", "__weakref__") and hasattr(value, name)}
    return found | getattr(value, "__dict__", {})


def _names(slots: str | Iterable[str]) -> Iterable[str]:
    return [slots] if isinstance(slots, str) else slots


def _is_made(value: Live) -> bool:
    """True for what has no state of its own that could be stored."""
    if isinstance(value, (Reads, Dataset, type, Enum, io.IOBase)):
        return True
    if isinstance(value, (torch.Tensor, Iterator, *DICTS, *ITEMS, *SETS)):
        return False
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "biufc"
    is_function = hasattr(value, "__code__") or hasattr(value, "__func__")
    return is_function or not is_users(type(value))


def _like(container: Live, items: Live) -> Live:
    """Returns a container of the same kind with other items."""
    if isinstance(container, defaultdict):
        return defaultdict(container.default_factory, items)
    if isinstance(container, deque):
        return deque(items, container.maxlen)
    if isinstance(container, tuple) and hasattr(container, "_make"):
        return type(container)._make(items)
    if isinstance(container, DICTS):
        return OrderedDict(items) if isinstance(container, OrderedDict) else dict(items)
    return tuple(items) if isinstance(container, tuple) else list(items)


def _at(mine: Live, index: int) -> Live:
    return mine[index] if isinstance(mine, ITEMS) and index < len(mine) else MADE
