"""Names that may become a part of a path."""

from __future__ import annotations

import re

from poptrain.core.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def safe_name(name: str) -> str:
    """Returns `name` if it may become part of a path: at most 128 letters, digits, dots, dashes and underscores.

    Raises:
        UsageError: it is not such a name.

    >>> safe_name("m03-t12.a2")
    'm03-t12.a2'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid file name: use at most 128 letters, digits, '.', '_' and '-', with a letter or digit first."
        )
    return name
