"""References of checkpoints: ``name:hash``, or ``name/lane:hash`` for one member of a population."""

from __future__ import annotations

import re
from typing import NamedTuple

from poptrain.core.errors import UsageError
from poptrain.core.file_name import safe_name

_REF = re.compile(r"([^:/]+)(?:/(\d{1,9}))?:([0-9a-z]+)", re.ASCII)


class Ref(NamedTuple):
    """The parts of a reference."""

    name: str
    lane: int | None
    hash: str

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Returns the parts of ``name:hash`` or ``name/lane:hash``.

        Raises:
            UsageError: the text is something else.
        """
        match = _REF.fullmatch(text)
        if not match:
            raise UsageError(f"{text!r} is not a checkpoint reference: expected 'name:hash' or 'name/lane:hash'.")
        return cls(safe_name(match[1]), int(match[2]) if match[2] else None, match[3])


def stem(ref: str) -> str:
    """Returns the name in a reference without checking it: good for comparing names, not for opening files."""
    return ref.partition(":")[0].partition("/")[0]
