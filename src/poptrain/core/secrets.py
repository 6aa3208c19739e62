"""Secrets in command lines: passwords and keys, which no log may keep.

    --api-key abc    --password=abc    wandb.api_key=abc

A name ends in a word such as ``password``, ``secret`` or ``api_key``; a ``token`` is a secret only if its value is as long as
one, because ``--pad-token <pad>`` and ``--stop_token end`` are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_NAME = re.compile(
    r"-{0,2}(?:[\w.-]*[-_.])?(?:passwords?|passwd|passphrase|secrets?|credentials?|(token)|(?:api|access|private|secret)[-_.]?key)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"|true|false|yes|no|none|null|[\d.,e+-]+|\$.*|.*\{\w*\}.*|-.*", re.IGNORECASE)  # `$KEY` is not its value
_LONG = re.compile(r"[\w.+/=~-]{16,}")  # of the characters that tokens consist of
HIDDEN = "…"


def redacted(words: Sequence[str]) -> list[str]:
    """Returns the words of a command line, with an ellipsis in place of each secret."""
    shown = list(words)
    for index, start in _secrets(words):
        shown[index] = words[index][:start] + HIDDEN
    return shown


def secret_in(words: Sequence[str]) -> str | None:
    """Returns the name of the first option that has a secret, such as ``--api-key``; None if none has.

    >>> secret_in(["--lr", "0.1", "--api-key", "sk-1f4"])
    '--api-key'
    """
    for index, start in _secrets(words):
        return words[index][: start - 1] if start else words[index - 1]
    return None


def _secrets(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yields each secret: the index of its word, and where in the word it begins."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and _is_secret(name, value):
            yield index, len(name) + 1
        elif index and words[index - 1].startswith("-") and _is_secret(words[index - 1], word):
            yield index, 0


def _is_secret(name: str, value: str) -> bool:
    found = _NAME.fullmatch(name)
    if found is None or _HARMLESS.fullmatch(value):
        return False
    return found[1] is None or _LONG.fullmatch(value) is not None
