"""JSON among the lines of an output, as programs of many languages print it: with colours, `nan`, or a progress bar."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_NUMBERS = re.compile(r'"(?:\\.|[^"\\])*"|(?<![\w.])([-+]?)(nan|inf(?:inity)?)(?![\w.])', re.IGNORECASE)
_OBJECT = re.compile(r'\{\s*["}]')  # how one begins
_NO_SPACE = re.compile(r"\S")
_CLOSING = re.compile(r"^\}[ \t\r]*$", re.MULTILINE)  # a brace alone on a line
MOST_BRACES = 8  # of a line, at which an object may begin


def plain(line: bytes) -> str:
    """Returns a line as text, without colours and a byte order mark."""
    text = line.decode("utf-8", "replace").removeprefix("\ufeff")
    return _COLOURS.sub("", text) if "\x1b" in text else text


def object_of(text: str) -> dict[str, object] | None:
    """Returns the JSON object that a text is; None if it is something else.

    >>> object_of('{"score": 0.5, "loss": inf, "text": "nan"}')
    {'score': 0.5, 'loss': inf, 'text': 'nan'}
    """
    text = text.strip().removeprefix("\ufeff")
    if not (text.startswith("{") and text.endswith("}")):
        return None
    for each in (text, _with_numbers(text)):
        try:
            return _with_nan(json.loads(each))
        except (ValueError, RecursionError):
            continue
    return None


def object_at_the_end(text: str) -> tuple[str, dict[str, object]] | None:
    """Returns the JSON object with which a text ends, and what stands before it; None if it does not end with one."""
    if not text.rstrip().endswith("}"):
        return None
    for begin in [match.start() for match in re.finditer(r"\{", text)][:MOST_BRACES]:
        if (found := object_of(text[begin:])) is not None:
            return text[:begin], found
    return None


def objects_in(text: str) -> Iterator[dict[str, object]]:
    """Yields the JSON objects of a file: one, one a line, or one after another; other lines are passed over.

    >>> list(objects_in('{"a": 1}{"a": 2}\\nepoch 3\\n{\\n "a": nan\\n}'))
    [{'a': 1}, {'a': 2}, {'a': nan}]
    """
    text, decoder, at = text.removeprefix("\ufeff"), json.JSONDecoder(), 0
    closes: int | None = 0  # the end of the last object over several lines; None: no line is a closing brace from here on
    while (begin := _next_place(text, at)) is not None:
        line_end = text.find("\n", begin) % (len(text) + 1)
        found, at = object_of(text[begin:line_end]), line_end
        if found is None and _OBJECT.match(text, begin):
            try:
                found, at = decoder.raw_decode(text, begin)
            except (ValueError, RecursionError):
                if closes is not None and (closes := _closed(text, begin)) is not None:
                    found, at = object_of(text[begin:closes]), closes
        if found is not None:
            yield _with_nan(found)


def _next_place(text: str, at: int) -> int | None:
    """Returns the index of the next character that is not white space."""
    match = _NO_SPACE.search(text, at)
    return None if match is None else match.start()


def _closed(text: str, begin: int) -> int | None:
    """Returns the end of an object over several lines: of the first line that is a brace alone."""
    match = _CLOSING.search(text, begin)
    return None if match is None else match.start() + 1


def _with_numbers(text: str) -> str:
    """Returns a text in which numbers such as ``nan`` and ``-inf`` are written as Python's JSON has them."""

    def written(match: re.Match[str]) -> str:
        sign, name = match[1], match[2]
        if name is None:
            return match[0]
        return "NaN" if name.lower() == "nan" else f"{'-' if sign == '-' else ''}Infinity"

    return _NUMBERS.sub(written, text)


def _with_nan(found: dict[str, object]) -> dict[str, object]:
    return {key: math.nan if value is None else value for key, value in found.items()}  # how many languages write NaN
