"""The words with which a program failed: the line among those on its standard error that names the cause."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FRAME = re.compile(r"[\s│|╭╰─╮╯┃━]*([^│┃]*?)[\s│┃]*")  # a box that is drawn around a text
_WORD = re.compile(r"\w")
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?::|\s*$)")
_RANK = re.compile(r"^\[\w+\]: ?")  # of the process that torchrun started
AFTER = 6  # lines that may follow the exception that ended a program
_LAUNCHERS = ("ChildFailedError", "CalledProcessError")  # what the launcher of the failed program raises
_ADVICE = re.compile(
    r"(?:for (?:full |more )?(?:help|information|debugging)|pass --help|try |usage:|tip:|set the environment )", re.I
)


def last_words(lines: Sequence[str]) -> str:
    """Returns the line that names the cause: the exception of the last traceback, else the last line that is not advice.

    >>> last_words(["Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: bad", "see the notes"])
    'ValueError: bad'
    >>> last_words(["Error: no option --lrr", "  did you mean --lr?", "Try --help for help."])
    'Error: no option --lrr'
    """
    raised = [found for index, line in enumerate(lines) if _TRACEBACK in line and (found := _raised(lines, index + 1))]
    if raised:
        own = [text for _, text in raised if not _by_a_launcher(text)]
        last, text = raised[-1]
        if own and (_by_a_launcher(text) or sum(map(bool, map(str.strip, lines[last + 1 :]))) <= AFTER):
            return own[-1]
    said = [(line, text) for line in lines if _WORD.search(text := _unframed(line))]
    plain = [text for line, text in said if not line[:1].isspace() and not _ADVICE.match(text)]
    return (plain or [text for _, text in said] or [""])[-1]


def _by_a_launcher(text: str) -> bool:
    return text.partition(":")[0].endswith(_LAUNCHERS)


def _raised(lines: Sequence[str], begin: int) -> tuple[int, str] | None:
    """Returns the line of the exception that ends a traceback, with its index; None if it does not end."""
    for index in range(begin, len(lines)):
        text = _RANK.sub("", lines[index])
        if _TRACEBACK in text:
            return None
        if _RAISED.match(text):
            return index, text.strip()
    return None


def _unframed(line: str) -> str:
    match = _FRAME.fullmatch(line)
    return (match[1] if match else line).strip()
