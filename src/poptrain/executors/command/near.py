"""The line of an output that came nearest to metrics, and what to change: for the message when there are none."""

from __future__ import annotations

import json
import re
from collections import deque

from poptrain.core.errors import UsageError
from poptrain.executors.command.lines import object_at_the_end, object_of
from poptrain.trainable.pattern import NUMBER, Pattern

LONGEST = 1 << 16  # characters of a line that is looked at
KEPT = 30  # lines
NEAR_THE_END = 2000  # characters in which the score is looked for
SHOWN = 100  # characters of it in a message


class Near:
    """Looks at lines that have no metrics, and keeps what is wrong with the one that came nearest.

    Args:
        metric: the key of the score.
    """

    def __init__(self, metric: str = "") -> None:
        self._metric = metric
        self._begins = next(filter(None, re.split(r"[\W_]+", metric)), "").lower()
        self._exact, self._loose = _key(metric, ""), _key(metric, r"[\w/.-]{0,40}")
        self._rank = 0  # 3: an object over several lines, or 2: a line, has the score; 1: it may be meant as metrics
        self._text = ""
        self._named: deque[tuple[str, bool]] = deque(maxlen=KEPT)  # the last lines with the name of the score
        self._braced: deque[tuple[str, bool]] = deque(maxlen=KEPT)  # the last other ones with a brace

    def advice(self, score_only: bool = False) -> str:
        """Returns a sentence about the nearest line; empty if none came near. `score_only`: only about one with the score."""
        for line, is_error in (*self._braced, *self._named):
            self._judge(line, is_error)
        return self._text if self._rank > score_only else ""

    def look(self, line: str, is_error: bool) -> None:
        """Looks at a line that was not taken. There may be many, so they are judged only if a message needs them."""
        if len(line) > LONGEST:
            return
        if self._begins and self._begins in line.lower():
            self._named.append((line.strip(), is_error))
        elif "{" in line:
            self._braced.append((line.strip(), is_error))

    def _judge(self, line: str, is_error: bool) -> None:
        """Keeps what is wrong with a line, if it comes nearer than those before."""
        hint = self.pattern_for(line)
        if why := _what_is_wrong(line, is_error):
            other = f", or pass pattern={hint!r}" if hint else _other_metric(line)
            self._keep(f"{_shown(line)} {why}{other}.", hint)
        elif hint:
            self._keep(f"pass pattern={hint!r}, which reads {_shown(line)}.", hint)

    def unfinished(self, text: str) -> None:
        """Notes an object over several lines that did not end, or had other output inside."""
        hint = self.pattern_for(text)
        why = "a JSON object over several lines has other output inside, or does not end: print it on one line"
        self._keep(f"{why}{f', or pass pattern={hint!r}' if hint else ''}.", hint, whole=True)

    def of_broken(self, line: str) -> str:
        """Returns what is wrong with a line that has the score and looks like JSON; empty if it does not."""
        if "{" not in line or not self._metric or len(line) > LONGEST:
            return ""
        line = line.strip()
        if not (line[:1] == "{" and line[-1:] == "}" and f'"{self._metric}"' in line):
            return ""
        return f"{_shown(line)} is not valid JSON ({_complaint(line)})" if object_of(line) is None else ""

    def without(self, names: list[str]) -> None:
        """Notes an object over several lines that does not have the score."""
        listed = ", ".join(map(repr, names[:10])) or "nothing"
        self._keep(f"a JSON object over several lines has no {self._metric!r}; it has {listed}.", "")

    def _keep(self, text: str, hint: str, whole: bool = False) -> None:
        rank = (3 if whole else 2) if hint else 1
        if rank >= self._rank:
            self._rank, self._text = rank, text

    def pattern_for(self, line: str) -> str:
        """Returns a pattern that reads the score in a line; empty if its name with a number is not there."""
        line = line[-NEAR_THE_END:]
        fits = list(self._exact.finditer(line)) or list(self._loose.finditer(line)) if self._begins else []
        if not fits:
            return ""
        text = fits[-1][0].replace("{", "{{").replace("}", "}}") + f"{{{self._metric}}}"
        try:
            Pattern(text).check()
        except UsageError:
            return ""
        return text if Pattern(text).numbers(line) else ""


def _key(metric: str, loose: str) -> re.Pattern[str]:
    """Returns what finds the name of the score in a line, and what follows it until a number; `loose` may be around it."""
    name = r"[\W_]?".join(map(re.escape, re.split(r"[\W_]+", metric)))
    return re.compile(rf"""(["']?)(?<![\w/.-]){loose}{name}{loose}\1(?:\s*[:=]\s*|\s+)(?={NUMBER})""", re.IGNORECASE)


def _other_metric(line: str) -> str:
    """Returns how a pattern reads the first number that has a name in quotes, for a line without the score."""
    found = re.findall(rf"""((["'])([A-Za-z_][\w/.-]*)\2\s*:\s*){NUMBER}""", line[-NEAR_THE_END:], re.IGNORECASE)
    if not found:
        return ""
    text, name = found[0][0], found[0][2]
    return f", or pass a pattern such as {f'{text}{{{name}}}'!r} with metric={name!r}"


def _what_is_wrong(line: str, is_error: bool) -> str:
    """Returns why a line is not read as metrics; empty if it does not look like them."""
    where = " on the standard error" if is_error else ""
    if (found := object_of(line)) is not None:
        return "is on the standard error: print it on the standard output" if is_error and found else ""
    if re.match(r"[^{]*\{\s*'", line):
        return f"is{where}{', and is' if where else ''} a Python dict, not JSON: print json.dumps(…) of it"
    if (last := object_at_the_end(line)) is not None and last[1]:
        return f"has other text before the JSON{where}: print the JSON alone on a line of the standard output"
    if re.fullmatch(r'\{\s*".*\}', line, re.DOTALL):
        return f"is not valid JSON ({_complaint(line)}){where}: correct it"
    if re.fullmatch(r'\[\s*\{\s*".*\}\s*\]', line, re.DOTALL):
        return f"is a JSON list{where}: print the object alone"
    return ""


def _complaint(text: str) -> str:
    try:
        json.loads(text)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    return "it is not an object"


def _shown(line: str) -> str:
    line = " ".join(line.split())
    return repr(line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…")
