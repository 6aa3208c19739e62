"""The name under which an algorithm appears in `status`, in `compare` and in reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # between the words of a class name


@runtime_checkable
class Named(Protocol):
    """An `Algorithm` that chooses its name. This is optional; the default is the name of its class in snake case.

    The name has to be a field of the dataclass, so that the log records it: ``name: str = "copy_the_best"``.
    """

    @property
    def name(self) -> str:
        """The name, for example ``"pb2"``."""
        ...


def algorithm_name(description: object) -> str:
    """Returns the name of an algorithm that a log describes: its field `name`, else the name of its class in snake case.

    >>> algorithm_name({"type": "CopyTheBest"}), algorithm_name({"type": "Pbt", "name": "pb2"})
    ('copy_the_best', 'pb2')
    """
    if not isinstance(description, Mapping):
        return str(description or "")
    return str(description.get("name") or _WORD.sub("_", str(description.get("type", ""))).lower())
