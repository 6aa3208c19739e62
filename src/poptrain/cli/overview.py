"""The status of a run on a screen: the headline, the best result, the members, the newest copies and suggestions."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from poptrain.cli.long_table import LongTable
from poptrain.cli.show import hparams_line, steps_per_second, table
from poptrain.core import Hparams
from poptrain.core.counting import counted
from poptrain.views import Exploit, Member, Status, Suggestion, Trouble, clean, short, span

OTHER_LINES = 16  # lines of the overview that are not members
MOST_TROUBLES = 3  # different errors that are listed
OTHER_COLUMNS = 46  # columns of the members' table that are not hyperparameters

_STYLE = {  # of a state
    "running": "bold green",
    "finished": "bold green",
    "suspended": "bold yellow",
    "interrupted": "bold yellow",
    "failed": "bold red",
    "training": "",
    "waiting": "dim",
}


def overview(view: Status, width: int, rows: int | None = None) -> Group:
    """Returns the status of a run for a screen of `width` columns, with at most `rows` members."""
    parts: list[RenderableType] = [_headline(view)]
    if view.best is not None:
        best = Text("best ", "bold")
        best.append(f"{clean(view.metric)} {short(view.best.score, 6)}", "bold green")
        best.append(f"  member {view.best.member}, step {view.best.step:,}, task {view.best.task}  ")
        parts.append(best.append(hparams_line(view.best.hparams), "cyan"))
        if rows is None:
            parts.append(Text(f"why the best: {clean(view.best.evidence, 160)}", "dim"))
    if view.members:
        parts += ["", _members(view, width, rows)]
        if rows is not None and len(view.members) > rows:
            parts.append(Text(f"… and {counted(len(view.members) - rows, 'more member')}", "dim"))
    if view.troubles:
        parts += ["", *map(trouble_line, view.troubles[: MOST_TROUBLES if rows is None else 1])]
    if view.last_exploits:
        newest = view.last_exploits[::-1] if rows is None else view.last_exploits[:-4:-1]
        parts += ["", Text(f"last of {counted(view.exploits, 'copy')}", "bold"), *map(copy_line, newest)]
    if view.no_decision is not None:
        parts += ["", Text(view.no_decision, "yellow")]
    if rows is None and (about := view.sentences()):
        parts += ["", *map(Text, about)]
    if view.last_suggestions:
        some = view.last_suggestions if rows is None else view.last_suggestions[:3]
        parts += ["", Text("newest suggestions of the model", "bold"), *map(suggestion_line, some)]
    parts += ["", _pace(view)]
    parts += [Text(f"warning: {clean(text)}", "yellow") for text in view.warnings[-5:]]
    return Group(*parts)


def rows_that_fit(screen: Console) -> int:
    """Returns the number of members that fit on a screen together with the rest of the overview."""
    return max(screen.height - OTHER_LINES, 3)


def trouble_line(trouble: Trouble) -> Text:
    """Returns one line about the newest failure of some members."""
    seats = ", ".join(map(str, trouble.members[:6])) + (" …" if len(trouble.members) > 6 else "")
    who = f"members {seats}" if len(trouble.members) > 1 else f"member {seats}"
    return Text(f"newest failure of {who}: ", "red").append(clean(trouble.error, 200), "")


def copy_line(exploit: Exploit) -> Text:
    """Returns one line about an exploit."""
    text = Text(f"  member {exploit.member} copied {exploit.donor} at step {exploit.step:,}")
    if not exploit.weights:
        text.append(", hyperparameters only")
    if exploit.failed:
        text.append(", having failed", "red")
    if exploit.tied:
        text.append(", with an equal score", "yellow")
    changes = [
        f"{clean(name)} {short(value)} → {short(exploit.after[name])}"
        for name, value in exploit.copied.items()
        if name in exploit.after and exploit.after[name] != value
    ]
    return text.append(": " + (", ".join(changes) or "nothing changed"), "dim")


def suggestion_line(suggestion: Suggestion) -> Text:
    """Returns one line about what a model expected of the hyperparameters that it chose."""
    text = Text(f"  member {suggestion.member} from step {suggestion.step:,}: ")
    if suggestion.gain is None:
        anew = "from the whole ranges" if suggestion.model.get("anew") else "at random"  # near the parent, or as the form says
        how = "by the bandit" if suggestion.by_bandit else anew
        return text.append(f"no model: {clean(suggestion.fallback or '–', 120)}; drawn {how}", "yellow")
    text.append(f"gain {short(suggestion.gain)} ± {short(suggestion.gain_sd)} expected")
    if suggestion.observed is not None:
        text.append(f", {short(suggestion.observed)} observed")
    text.append(f"  (β {short(suggestion.beta)}, {counted(suggestion.rows or 0, 'row')})", "dim")
    return text.append(f"  {hparams_line(suggestion.hparams)}", "cyan")


def _headline(view: Status) -> Text:
    text = Text(clean(Path(view.directory).name) if view.directory else "in memory", "bold")
    text.append("  ").append(view.state, _STYLE.get(view.state, ""))
    if view.reason:
        text.append(f" ({clean(view.reason, 120)})")
    seats = counted(len(view.members), "member") + (f" and {counted(view.evaluators, 'evaluator')}" if view.evaluators else "")
    text.append(f"  {clean(view.algorithm)}, {seats}, generation {view.rounds}, {counted(view.results, 'result')}")
    if view.architectures or view.distilling:
        text.append(f", architecture generation {view.architectures}")
    if view.distilling:
        rung = "" if view.rung is None else f", rung {view.rung.number}"
        text.append(f" (distilling {counted(view.distilling, 'candidate')} for the next one{rung})")
    for count, what in ((view.failed, "failed"), (view.diverged, "diverged"), (view.lost, "lost")):
        if count:
            text.append(f", {count:,} {what}", "red")
    return text


def _members(view: Status, width: int, rows: int | None) -> LongTable:
    """Returns the table of members, best first, with as many hyperparameters as the width allows."""
    ranked = _ranked(view)[:rows]
    names = _names_that_fit([view.values(member) for member in ranked], width - OTHER_COLUMNS)
    more = len(ranked[0].hparams) - len(names) if ranked else 0
    columns = [("member", True), (view.metric, True), ("step", True), ("state", False), *((name, True) for name in names)]
    if more:
        columns.append((f"+{more}", False))
    columns += [("copied", True), ("failures", True)]
    body: list[list[object]] = []
    for member in ranked:
        state = Text(view.doing(member), _STYLE.get(view.doing(member), ""))
        row: list[object] = [member.member, Text(short(member.score, 6)), f"{member.step:,}", state]
        row += [view.values(member).get(name) for name in names] + (["…"] if more else [])
        body.append([*row, member.cloned_from, member.failures or Text("")])
    return table(columns, body)


def _ranked(view: Status) -> list[Member]:
    sign = -1 if view.mode == "min" else 1

    def place(member: Member) -> tuple[bool, float, int]:
        if member.score is None or not isfinite(member.score):
            return True, 0.0, member.member
        return False, -sign * member.score, member.member

    return sorted(view.members, key=place)


def _names_that_fit(members: list[Hparams], room: int) -> list[str]:
    """Returns the first hyperparameters whose columns fit into `room` characters, at least one."""
    names: list[str] = []
    for name in members[0] if members else ():
        room -= max([len(clean(name)), *(len(short(member.get(name))) for member in members)]) + 2
        if room < 0 and names:
            break
        names.append(name)
    return names


def _pace(view: Status) -> Text:
    parts = [counted(view.steps, "step")]
    if view.steps_per_second_overall:
        recent = view.steps_per_second or view.steps_per_second_overall
        parts.append(f"{steps_per_second(recent)} steps/s" + (f" ({steps_per_second(view.steps_per_second_overall)} overall)"))
    parts.append(f"elapsed {span(view.elapsed)}")
    if view.left is not None:
        parts.append(f"about {span(view.left)} left")
    return Text(" · ".join(parts), "dim")
