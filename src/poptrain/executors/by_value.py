"""Functions that worker processes cannot import, such as those of a notebook: their code travels to the workers instead.

It goes through the private pipe of each worker, never to a disk, and only to processes that this one has started.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from poptrain.core.errors import UsageError


class Pickling(Protocol):
    """What is used of cloudpickle."""

    dumps: Callable[[object], bytes]
    loads: Callable[[bytes], object]


class ByValue:
    """A trainable as bytes that a worker turns into the trainable while it receives them.

    Raises:
        UsageError: something that the trainable uses cannot be sent.
    """

    def __init__(self, trainable: object, why: str):
        found = cast(Pickling, importlib.import_module("cloudpickle"))
        try:
            self._code = found.dumps(trainable)
        except Exception as error:
            text = " ".join(str(error).split())
            raise UsageError(
                f"executor='processes': {why}, and its code cannot be sent either, because something that it uses cannot "
                f"({type(error).__name__}: {text}). Create that inside the trainable, or use executor='inline'."
            ) from None
        self._loads = found.loads

    def __reduce__(self) -> tuple[Callable[[bytes], object], tuple[bytes]]:
        return self._loads, (self._code,)
