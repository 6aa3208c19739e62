"""What a comparison found, as data, and in words: methods, pairs of them, and what the evidence supports."""

from __future__ import annotations

from dataclasses import dataclass, field

from poptrain.core import markup
from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.statistics import more_wins
from poptrain.views.format import clean, short, span

_VERDICTS = {"ahead": "is better than", "behind": "is worse than"}


@dataclass(frozen=True)
class Outcome:
    """One run. Scores have the user's sign."""

    directory: str | None
    seed: int
    finished: bool
    score: float  # best, at equal steps per member
    score_total: float | None  # best, at equal total steps; None: no result was reported by then
    steps: int  # the most that a member trained
    total: int  # trained by all members together
    seconds: float  # of wall time

    __repr__ = in_lines


@dataclass(frozen=True)
class Reported:
    """An interquartile mean over runs with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    __repr__ = in_lines


@dataclass(frozen=True)
class Point:
    """One point of a method's curve: interquartile mean and quartiles, over runs, of the best score so far."""

    at: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Method:
    """All runs of one algorithm with equal settings."""

    name: str
    runs: tuple[Outcome, ...]  # by seed
    score: Reported  # at equal steps per member
    score_total: Reported | None  # at equal total steps
    total: float  # mean steps of all members together, at the end
    seconds: float  # mean wall time
    by_steps: tuple[Point, ...] = field(repr=False)
    by_total: tuple[Point, ...] = field(repr=False)

    __repr__ = in_lines


@dataclass(frozen=True)
class Pair:
    """Two methods, at equal steps per member."""

    method: str
    against: str
    improvement: float  # probability that a run of `method` beats one of `against`
    low: float
    high: float
    wins: int  # on equal seeds
    losses: int
    p: float  # two-sided sign test over equal seeds
    verdict: str  # that of `statistics.verdict`

    def sentence(self) -> str:
        """Returns what the runs show of this pair. Where p of the equal seeds is above 0.05, it says so."""
        equal = self.wins + self.losses
        doubtful = equal > 0 and self.p > 0.05
        few = doubtful and equal < (least := more_wins(0, 0)) and self.verdict not in _VERDICTS
        if few:
            number = f"{counted(equal, 'seed')} {'is' if equal == 1 else 'are'}"
            text = (
                f"{self.method} cannot be distinguished from {self.against}, because {number} too few to tell (p < 0.05 needs at "
                f"least {least}): it wins on {self.wins} of {equal}, p = {self.p:.3g}."
            )
        else:
            seeds = f"; {self.wins} of {equal} equal seeds, p = {self.p:.3g}" if equal else ""
            chance = f"it wins with probability {self.improvement:.2f} ({self.low:.2f} to {self.high:.2f}{seeds})"
            text = f"{self.method} {self._verdict(doubtful)}: {chance}."
        if not doubtful or self.wins == self.losses:
            return text
        leader, more = (self.method, self.against)[self.wins < self.losses], more_wins(*sorted((self.wins, self.losses))[::-1])
        seeds = counted(more, "more seed")
        start = "For" if few else "This does not show a difference: for"
        return f"{text} {start} p < 0.05, {leader} would have to win on {seeds} without a loss."

    def _verdict(self, doubtful: bool) -> str:
        if self.verdict not in _VERDICTS:
            return f"cannot be distinguished from {self.against}"
        if doubtful:
            return f"is {self.verdict}{' of' if self.verdict == 'ahead' else ''} {self.against} in these runs"
        return f"{_VERDICTS[self.verdict]} {self.against}"

    __repr__ = in_lines


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several methods on one task."""

    metric: str
    mode: str
    steps: int  # per member, at which they are compared
    total: int  # of all members together, likewise
    reference: str  # the method that the others are compared with
    methods: tuple[Method, ...]
    pairs: tuple[Pair, ...]
    said: tuple[str, ...]  # sentences
    warnings: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """Returns what the comparison shows, one sentence each."""
        lines = []
        for pair in self.pairs:
            lines.append(pair.sentence())
        return (*lines, *self.said, *(f"warning: {clean(text)}" for text in self.warnings))

    def heading(self) -> tuple[str, ...]:
        """Returns the columns of the table of methods."""
        steps, total = f"{self.metric} at step {self.steps:,}", f"at {self.total:,} in all"
        return ("method", "runs", steps, "95 %", total, "95 %", "steps in all", "time", f"beats {self.reference}")

    def rows(self) -> list[list[object]]:
        """Returns the table of methods; `heading` names its columns."""
        beats = {pair.method: f"{100 * pair.improvement:.0f} %" for pair in self.pairs if pair.against == self.reference}
        return [_row(method, beats.get(method.name, "")) for method in self.methods]

    def __repr__(self) -> str:
        heading = f"Comparison of {self.metric} at step {self.steps:,} (mean of the middle half of the runs, 95 % interval)"
        cells = [(f"{method.name} ({len(method.runs)})", *map(str, _row(method, "")[2:4])) for method in self.methods]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = [f"  {name:{widths[0]}}  {mean:>{widths[1]}}  {interval}" for name, mean, interval in cells]
        return "\n".join([heading, *rows, *self.sentences()])

    def _repr_html_(self) -> str:
        lines = [markup.line(text) for text in self.sentences()]
        return markup.block(f"Comparison of {self.metric}", markup.table(self.heading(), self.rows()), *lines)


def _row(method: Method, beats: str) -> list[object]:
    cells: list[object] = [method.name, len(method.runs)]
    for found in (method.score, method.score_total):
        cells += ["", ""] if found is None else [short(found.mean, 4), f"{short(found.low, 4)} to {short(found.high, 4)}"]
    return [*cells, f"{method.total:,.0f}", span(method.seconds), beats]
