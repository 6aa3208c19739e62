"""How views look on a terminal. User strings become `Text`, with control characters escaped: nothing interprets them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from poptrain.audit.verdict import Verdict
from poptrain.core.errors import UsageError
from poptrain.log.reader import Record, exists, read
from poptrain.views import Exploit, Member, Status, Suggestion, clean, dumps, short, span

PIPED = 200  # columns of output that no terminal limits

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TaskId = Annotated[int | None, typer.Option("--task", metavar="N", help="A task other than that of the best result.")]

_VERDICT = {"ok": "green", "failed": "bold red", "unclear": "yellow"}
_STATE = {"running": "bold green", "finished": "bold green", "suspended": "bold yellow", "interrupted": "bold yellow",
          "failed": "bold red", "training": "", "waiting": "dim"}  # fmt: skip


def console(stream: IO[str] | None = None) -> Console:
    """Returns a console that takes no text for markup."""
    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() else PIPED
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def check_run(directory: Path) -> None:
    """Raises a `UsageError` that names the runs nearby if a directory holds none itself, but some of its own do."""
    if not exists(directory) and directory.is_dir():
        inside = sorted(path for path in directory.iterdir() if path.is_dir() and exists(path))
        if inside:
            some = ", ".join(map(str, inside[-3:]))
            raise UsageError(f"no run in {str(directory)!r} itself, but in {len(inside)} of its directories: give {some}.")


def record_of(directory: Path) -> Record:
    """Returns the record of a run, read with the garbage collector off: it only gets in the way of so many facts.

    Raises:
        UsageError: there is no run; the message names those nearby.
    """
    check_run(directory)
    gc.disable()
    try:
        return read(directory)
    finally:
        gc.freeze()
        gc.enable()


def emit(view: Any) -> None:
    """Prints a view as one line of strict JSON."""
    print(dumps(view))


def say(*lines: Any, to: Console | None = None) -> None:
    """Prints lines of prose or tables; long lines are not broken."""
    out = console() if to is None else to
    for line in lines:
        out.print(Text(clean(line)) if isinstance(line, str) else line, soft_wrap=isinstance(line, (str, Text)))


def verdicts(found: Sequence[Verdict]) -> None:
    """Prints verdicts, one a line."""
    out = console()
    for verdict in found:
        line = Text(f"{verdict.state.upper() if verdict.state == 'failed' else verdict.state:8s}", _VERDICT[verdict.state])
        say(line.append(f" {clean(verdict.name)}: {clean(verdict.text)}", ""), to=out)


def settings(hparams: Mapping[str, Any]) -> str:
    """Returns hyperparameters in one line: ``lr=0.003 momentum=0.9``."""
    return " ".join(f"{clean(name)}={short(value)}" for name, value in hparams.items())


def table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Any]]) -> Table:
    """Returns a table; each column is a heading and whether it holds numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, number in columns:
        made.add_column(Text(clean(heading)), justify="right" if number else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else Text(short(value)) for value in row))
    return made


def overview(view: Status, width: int, rows: int | None = None) -> Group:
    """Returns the status of a run for a screen of `width` columns, with at most `rows` members."""
    parts: list[Any] = [_headline(view)]
    if view.best is not None:
        best = Text("best ", "bold")
        best.append(f"{clean(view.metric)} {short(view.best.score, 6)}", "bold green")
        best.append(f"  member {view.best.member}, step {view.best.step:,}, task {view.best.task}  ")
        parts.append(best.append(settings(view.best.hparams), "cyan"))
    if view.members:
        parts += ["", _members(view, width, rows)]
        if rows is not None and len(view.members) > rows:
            parts.append(Text(f"… and {len(view.members) - rows} more members", "dim"))
    if view.last_exploits:
        newest = view.last_exploits[::-1] if rows is None else view.last_exploits[:-4:-1]
        parts += ["", Text(f"last of {view.exploits:,} copies", "bold"), *map(copied, newest)]
    if rows is None and (said := view.gauges.sentences()):
        parts += ["", *map(Text, said)]
    if view.last_suggestions:
        some = view.last_suggestions if rows is None else view.last_suggestions[:3]
        parts += ["", Text("newest suggestions of the model", "bold"), *map(suggested, some)]
    parts += ["", _pace(view)]
    parts += [Text(f"warning: {clean(text)}", "yellow") for text in view.warnings[-5:]]
    return Group(*parts)


def rows(screen: Console) -> int:
    """Returns how many members fit on a screen, beside the rest of the overview."""
    return max(screen.height - 16, 3)


def copied(exploit: Exploit) -> Text:
    """Returns one line about an exploit."""
    text = Text(f"  member {exploit.member} copied {exploit.donor} at step {exploit.step:,}")
    if not exploit.weights:
        text.append(", hyperparameters only")
    if exploit.failed:
        text.append(", having failed", "red")
    changes = [
        f"{clean(name)} {short(value)} → {short(exploit.after[name])}"
        for name, value in exploit.copied.items()
        if name in exploit.after and exploit.after[name] != value
    ]
    return text.append(": " + (", ".join(changes) or "nothing changed"), "dim")


def suggested(suggestion: Suggestion) -> Text:
    """Returns one line about what a model expected of the hyperparameters that it gave."""
    text = Text(f"  member {suggestion.member} from step {suggestion.step:,}: ")
    if suggestion.gain is None:
        how = "by the bandit" if suggestion.by_bandit else "uniformly"
        return text.append(f"no model: {clean(suggestion.fallback or '–', 120)}; drawn {how}", "yellow")
    text.append(f"gain {short(suggestion.gain)} ± {short(suggestion.gain_sd)} expected")
    if suggestion.observed is not None:
        text.append(f", {short(suggestion.observed)} came")
    text.append(f"  (β {short(suggestion.beta)}, {short(suggestion.rows)} rows)", "dim")
    return text.append(f"  {settings(suggestion.hparams)}", "cyan")


def _headline(view: Status) -> Text:
    text = Text(clean(Path(view.directory).name) if view.directory else "in memory", "bold")
    text.append("  ").append(view.state, _STATE.get(view.state, ""))
    if view.reason:
        text.append(f" ({clean(view.reason, 120)})")
    rounds = f"{view.generation:,}" + (f" of {view.generations:,}" if view.generations else "")
    seats = f"{len(view.members)} members" + (f" and {view.evaluators} evaluators" if view.evaluators else "")
    text.append(f"  {clean(view.algorithm)}, {seats}, generation {rounds}, {view.results:,} results")
    for count, what in ((view.failed, "failed"), (view.diverged, "diverged"), (view.lost, "lost")):
        if count:
            text.append(f", {count:,} {what}", "red")
    return text


def _members(view: Status, width: int, rows: int | None) -> Table:
    sign = -1 if view.mode == "min" else 1

    def place(member: Member) -> tuple[bool, float, int]:
        known = member.score is not None and isfinite(member.score)
        return not known, -sign * member.score if known else 0.0, member.member

    ranked = sorted(view.members, key=place)[:rows]
    names, room = [], width - 46
    for name in ranked[0].hparams if ranked else ():
        room -= max([len(clean(name)), *(len(short(member.hparams.get(name))) for member in ranked)]) + 2
        if room < 0 and names:
            break
        names.append(name)
    more = len(ranked[0].hparams) - len(names) if ranked else 0
    columns = [("member", True), (view.metric, True), ("step", True), ("state", False), *((name, True) for name in names),
               *([(f"+{more}", False)] if more else []), ("copied", True), ("failures", True)]  # fmt: skip
    body = []
    for member in ranked:
        hparams = [member.hparams.get(name) for name in names]
        body.append([
            member.member, Text(short(member.score, 6)), f"{member.step:,}", Text(member.state, _STATE.get(member.state, "")),
            *hparams, *(["…"] if more else []), member.cloned_from, member.failures or Text(""),
        ])  # fmt: skip
    return table(columns, body)


def _pace(view: Status) -> Text:
    parts = [f"{view.steps:,} steps"]
    if view.steps_per_second_overall:
        recent = view.steps_per_second or view.steps_per_second_overall
        parts.append(f"{rate(recent)} steps/s" + (f" ({rate(view.steps_per_second_overall)} overall)"))
    parts.append(f"elapsed {span(view.elapsed)}")
    if view.left is not None:
        parts.append(f"about {span(view.left)} left")
    return Text(" · ".join(parts), "dim")


def rate(value: float | None) -> str:
    """Returns a number of steps per second."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
