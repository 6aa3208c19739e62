"""``poptrain lineage``: where the weights of a result come from."""

from __future__ import annotations

from rich.text import Text

from poptrain.cli.show import Directory, JsonOption, TaskOption, console, emit, say, table
from poptrain.core.counting import counted
from poptrain.log.reader import read
from poptrain.views import Lineage, short
from poptrain.views import lineage as view


def lineage(directory: Directory, task: TaskOption = None, json: JsonOption = False) -> None:
    """Show the ancestors of the best result, or of a task."""
    found = view(read(directory), task)
    if json:
        return emit(found)
    columns = [("task", True), ("member", True), ("steps", True), ("score", True), ("origin", False)]
    names = list(found.ancestors[0].hparams)
    rows: list[list[object]] = []
    for ancestor in found.ancestors:
        origin = ancestor.came if ancestor.donor is None else f"{ancestor.came} from {ancestor.donor}"
        steps, score = f"{ancestor.start:,}–{ancestor.end:,}", Text(short(ancestor.score, 6))
        rows.append([ancestor.task, ancestor.member, steps, score, origin, *(ancestor.hparams.get(name) for name in names)])
    out = console()
    say(f"task {found.task} of member {found.member} descends from", to=out)
    say(table([*columns, *((name, True) for name in names)], rows), "", to=out)
    say(*forest_sentences(found), to=out)
    return None


def forest_sentences(found: Lineage) -> list[str]:
    """Returns sentences about the whole forest."""
    lines = [
        f"{counted(len(found.exploits), 'copy')} in the run; the members descend from {len(found.founders)} of the first ones."
    ]
    if tied := sum(exploit.tied for exploit in found.exploits):
        lines.append(f"{tied} of the copies were between equal scores: chance decided, and they show nothing about the donor.")
    if found.common is not None and len(found.finals) > 1:
        task, member, step = found.common.task, found.common.member, found.common.step
        lines.append(
            f"All {counted(len(found.finals), 'member')} descend from task {task} (member {member}), since step {step:,}."
        )
    return lines
