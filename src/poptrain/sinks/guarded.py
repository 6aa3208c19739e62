"""The guard around every sink: its failure is one warning."""

from __future__ import annotations

import warnings
from typing import Any

from poptrain.core import History


class Guarded:
    """A sink whose failure is a warning: it never stops training."""

    def __init__(self, sink: Any):
        self._sink, self._broken = sink, False

    def open(self, record: Any) -> None:
        self._call("open", record)

    def write(self, record: Any, history: History) -> None:
        self._call("write", record, history)

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str, *args: Any) -> None:
        function = getattr(self._sink, method, None)
        if self._broken or function is None:
            return
        try:
            function(*args)
        except Exception as error:
            self._broken = True
            warnings.warn(f"sink {type(self._sink).__name__} failed and is off: {type(error).__name__}: {error}", stacklevel=2)
