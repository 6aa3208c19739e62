"""A run in one line and in a notebook: its state, its best result, its members, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from poptrain.core import markup
from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views.format import clean, short, span
from poptrain.views.status import Status, status

MOST_MEMBERS = 20  # that a notebook shows


@dataclass(frozen=True)
class Described:
    """Shows a status."""

    status: Status

    def text(self) -> str:
        """Returns one line."""
        return f"<Run {', '.join([self._state(), *self._best(), *self._where()])}>"

    def markup(self) -> str:
        """Returns HTML for a notebook."""
        view = self.status
        ranked = sorted(view.members, key=lambda member: self._rank(member.score))
        names = list(view.members[0].hparams) if view.members else []
        rows = [
            (
                each.member,
                short(each.score, 6),
                f"{each.step:,}",
                view.doing(each),
                *(short(view.values(each).get(name)) for name in names),
            )
            for each in ranked[:MOST_MEMBERS]
        ]
        table = markup.table(("member", view.metric, "step", "state", *names), rows)
        lines = [f"… and {counted(len(ranked) - MOST_MEMBERS, 'more member')}"] if len(ranked) > MOST_MEMBERS else []
        lines += [f"newest failure of {len(each.members)} of the members: {each.error}" for each in view.troubles[:3]]
        if view.best is not None and view.best.evidence:
            lines.append(f"why the best: {view.best.evidence}")
        lines += [text for text in (view.no_decision, *view.warnings) if text]
        title = ", ".join([self._state(), *self._best(), *self._where()])
        return markup.block(f"Run: {title}", table, *map(markup.line, lines))

    def _state(self) -> str:
        view = self.status
        failed = f", {view.failed + view.diverged:,} failed" if view.failed + view.diverged else ""
        what = f"{view.algorithm} with {counted(len(view.members), 'member')} {view.state}"
        return f"{what} after {counted(view.results, 'result')}{failed} in {span(view.elapsed)}"

    def _best(self) -> list[str]:
        best = self.status.best
        if best is None:
            return ["no healthy result yet"]
        return [f"best {clean(self.status.metric)} {short(best.score, 6)} (member {best.member}, step {best.step:,})"]

    def _where(self) -> list[str]:
        return [] if self.status.directory is None else [f"in {self.status.directory}"]

    def _rank(self, score: float | None) -> tuple[bool, float]:
        if score is None or score != score:
            return True, 0.0
        return False, score if self.status.mode == "min" else -score


def described(record: Record) -> Described:
    """Returns the description of a run as its record was read."""
    return Described(status(record))
