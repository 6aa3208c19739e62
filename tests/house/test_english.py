"""The documents, messages and comments are in plain English: the patterns that are reliably wrong stay out of them.

As a script, as `make lint` runs it, ``python tests/house/test_english.py PATH...`` prints every offender as ``file:line: phrase
-> what to write``.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "examples", "src")

# What is wrong, and what to write. A match counts only where it fills the group `x`; other matches are the right use of the
# same words.
# One blank stands for any white space, so that a phrase is also found across a line's end. Case does not matter.
PATTERNS = {
    r"\bthere (?:is|are|was|were) no\b"
    r"|(?P<x>\b(?:is|are|was|were) no (?!longer|more|less|fewer|better|worse|different|later|earlier)\w+)": "is not a ...",
    r"(?P<x>\b(?:nobody|somebody|whoever|whomever)\b)": "name the thing, or use the passive",
    r"(?P<x>\b(?:member|task|seat|worker|run|process|checkpoint|algorithm|executor|clone|actor)(?:e?s)? who\b)": "that",
    r"(?P<x>\b(?:whom|whose fault)\b)": "a plain relative clause with 'that'",
    r"(?P<x>\bso many\b)": "the number, or n",
    r"(?P<x>\bsittings?\b)": "session",
    r"(?:\b(?:falls?|fell|falling|lags?|lagged|lagging|leaves?|left|ideas?|reasons?) behind\b)"
    r"|(?P<x>\bbehind\b)": "after, below, inside",
    r"(?P<x>\bbeside\b)": "next to, alongside, in addition to",
    r"(?P<x>\btold\b)": "reported, recorded, passed, distinguished",
    r"(?P<x>\bsaid\b)": "stated, set, written",
    r"(?P<x>\bheard\b)": "had an effect, received",
    r"(?:^|[.;:,(] |\bor |\bto )(?P<x>give (?:[a-z_]+=|`|it |an? |the |its |only |one |both |either ))": "pass",
    r"(?P<x>\botherwise than\b)": "differently from",
    r"(?P<x>\bbelongs? into\b)": "belongs in",
    r"(?P<x>\bhas (?:every|each) \w+ an? )": "does every ... have / matter",
    r"(?P<x>\bany \w+ does that\b)": "any ... works",
    r"(?P<x>\ballow(?:s|ed)? to\b)": "allows you to ..., makes it possible to ...",
    r"(?P<x>\bwhat fell short\b)": "missed targets",
    r"(?P<x>\bmisfortunes?\b)": "failure",
    r"(?P<x>\bto be had\b)": "available",
    r"(?P<x>\bstands here\b)": "is listed here",
    r"(?P<x>\bapart from all that\b)": "except for",
    r"(?P<x>\b(?:upon|thereof|therein|whereof|wherein|hitherto|whence|heretofore)\b)": "on, in it, until now, from where",
    r"(?P<x>\bowes? nothing\b)": "has nothing pending",
    r"(?P<x>\bnot any ?more\b)": "no longer",
}
COMPILED = [
    (re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE), better) for pattern, better in PATTERNS.items()
]

# (end of the path, phrase, why it is right there). Ten at most.
ALLOWED: tuple[tuple[str, str, str], ...] = (
    ("src/poptrain/statistics.py", "told", "'not told apart' is a documented value of `verdict`, and in the JSON of `compare`"),
)


class Offender(NamedTuple):
    path: Path
    line: int
    phrase: str
    better: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase!r} -> {self.better}"


def blanked(text: str) -> str:
    """Returns the text with everything but its line ends replaced by a character that matches nothing."""
    return re.sub(r"[^\n]", "\0", text)


def quoted_code_blanked(text: str) -> str:
    """Returns the text without what stands between backticks."""
    return re.sub(r"(`+)(?:(?!`).)+?\1", lambda match: blanked(match[0]), text, flags=re.DOTALL)


def prose_of_python(source: str) -> str:
    """Returns comments and strings of a Python file at their places; everything else is blanked."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    out = list(re.sub(r"[^\s]", "\0", source))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind not in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            continue
        begin, end = starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
        text = source[begin:end]
        if kind == "COMMENT":
            text = re.sub(r"^#+", lambda match: " " * len(match[0]), text)
        elif kind == "STRING":
            prefix, mark, body = re.match(r"([a-zA-Z]*)(\"\"\"|'''|\"|')(.*)\2$", text, re.DOTALL).groups()
            if re.fullmatch(r"\s*[\w.-]*\s*", body):  # a key, not a sentence
                continue
            if "f" in prefix.lower():
                body = re.sub(r"\{[^{}]*\}", lambda match: blanked(match[0]), body)
            body = re.sub(
                r"^(\s*)(>>>|\.\.\.)(.*)$", lambda match: match[1] + blanked(match[2] + match[3]), body, flags=re.MULTILINE
            )
            text = " " * len(prefix + mark) + body + " " * len(mark)
        out[begin:end] = text
    return quoted_code_blanked("".join(out))


def prose_of_markdown(source: str) -> str:
    """Returns a page without its code; the comments inside of code blocks stay."""

    def comments_only(match: re.Match[str]) -> str:
        lines = match[0].split("\n")
        return "\n".join(
            blanked(code) + " " * len(mark) + comment for code, mark, comment in (line.partition("# ") for line in lines)
        )

    text = re.sub(r"^( *)```.*?^\1```", comments_only, source, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)\s]*\)", lambda match: blanked(match[0]), text)
    return quoted_code_blanked(text)


def offenders(path: Path) -> Iterator[Offender]:
    source = path.read_text()
    prose = prose_of_python(source) if path.suffix == ".py" else prose_of_markdown(source)
    for pattern, better in COMPILED:
        for match in pattern.finditer(prose):
            if not match["x"]:
                continue
            phrase = " ".join(match["x"].split())
            if not any(path.as_posix().endswith(end) and phrase.lower() == words.lower() for end, words, _ in ALLOWED):
                yield Offender(path, prose.count("\n", 0, match.start("x")) + 1, phrase, better)


def files(places: list[Path]) -> list[Path]:
    found: set[Path] = set()
    for place in places:
        found |= {place} if place.is_file() else {path for end in ("*.py", "*.md") for path in place.rglob(end)}
    return sorted(found)


@pytest.mark.heavy
def test_what_people_read_is_plain_english():
    places = [ROOT / name for name in PLACES if (ROOT / name).exists()]
    found = [offender for path in files(places) for offender in sorted(offenders(path), key=lambda offender: offender.line)]
    listed = "\n".join(str(offender._replace(path=offender.path.relative_to(ROOT))) for offender in found)
    assert not found, f"{len(found)} phrases that are hard to read:\n{listed}"


def test_exceptions_are_few_and_argued_for():
    assert len(ALLOWED) <= 10 and all(why for *_, why in ALLOWED)


def test_the_patterns_find_what_they_are_for_and_leave_the_right_use_alone():
    def found(text: str) -> list[str]:
        return [match["x"] for pattern, _ in COMPILED for match in pattern.finditer(prose_of_markdown(text)) if match["x"]]

    bad = [
        "`x` is no number.",
        "nobody\nwaits",
        "a member who fails",
        "so many tasks",
        "one sitting",
        "the file behind it",
        "this is said\nabove",
    ]
    good = [
        "There is\nno file.",
        "it is no longer there",
        "it falls behind",
        "`told` is a column",
        "```python\ntold = 1\n```",
        "gives a list",
    ]
    assert all(len(found(text)) == 1 for text in bad) and not any(found(text) for text in good)


if __name__ == "__main__":
    places = [Path(name) for name in sys.argv[1:]] or [ROOT / name for name in PLACES if (ROOT / name).exists()]
    count = 0
    for path in files(places):
        for offender in sorted(offenders(path), key=lambda offender: offender.line):
            print(offender)
            count += 1
    print(f"{count} phrases", file=sys.stderr)
    sys.exit(bool(count))
