"""The picture of the family tree: a row for each member, coloured by score; arrows point from donors to copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from poptrain.core import History
from poptrain.core.counting import counted
from poptrain.core.gathered import Ints
from poptrain.log.reader import Record
from poptrain.views.columns import begins, ends, ids_of
from poptrain.views.format import clean, short, thousands
from poptrain.views.index import about, best_id, fault, history_of, reported, score_of, unhealthy
from poptrain.views.palette import BEST, COPIES, FAILED, LESSONS
from poptrain.views.panels.model import STEPS, Axis, Item, Marker, Panel, Picture, PointSeries, Segments, Texts
from poptrain.views.panels.shades import score_shades

MOST_ROW_LABELS = 40  # labels of rows
MOST_TIPS = 400  # copies up to which the tips have their full size
COPIED = "copied by the member at the tip"
TAUGHT = "teacher and students"
_TIPS: tuple[tuple[Marker, bool], ...] = (("down", True), ("up", False))


def tree(record: Record) -> Picture:
    """Returns the family tree of a run."""
    return _Tree(record).picture()


class _Tree:
    def __init__(self, record: Record):
        self.record, self.history = record, history_of(record)
        self.seats = np.flatnonzero(self.history.heads() >= 0).tolist()
        self.row = {seat: row for row, seat in enumerate(self.seats)}
        self.best = best_id(record, self.history)
        self.path = [] if self.best is None else self.history.descent(self.best)
        parents, teachers = self.history.column("parent"), self.history.column("teacher")
        self.taught = np.flatnonzero((teachers >= 0) & (parents < 0)).tolist()  # students that begin with new weights
        self.member = self.history.column("member")
        self.rows = np.zeros(max(self.seats, default=0) + 1, int)
        self.rows[self.seats] = np.arange(len(self.seats))
        self.copies = [id for id in self.history.copies() if self.history.donor(id) in self.row]

    def picture(self) -> Picture:
        """Returns the picture."""
        ids, on_path = reported(self.history), set(self.path)
        tips = 5.0 if len(self.copies) <= MOST_TIPS else 2.5
        series: list[Item] = [self._training(ids_of(ids)[self.history.oks_of(ids_of(ids))])]
        series += self._arrows(COPIED, [id for id in self.copies if id not in on_path], COPIES, 0.9, tips)
        if self.taught:
            series += [self._lessons(), self._teachers()]
        if self.path:
            series += self._arrows("its exploits", [id for id in self.copies if id in on_path], BEST, 1.8, 7.0)
            series += self._best_path()
        if bad := unhealthy(self.history, ids):
            series.append(self._crosses(bad))
        height = min(max(2.6, 1.6 + 0.28 * len(self.seats)), 14)
        panel = Panel(tuple(series), STEPS, self._rows())
        return Picture("tree", "Family tree", (panel,), height, note=self._note(), legend="below")

    def _lessons(self) -> Segments:
        """Returns the lines from the teachers to their students, at the steps at which the lessons begin."""
        at = [self.history.begin(id) for id in self.taught]
        teachers = [
            self.row[self.history.task(source).member] for id in self.taught if (source := self.history.source(id)) is not None
        ]
        _, _, rows = self._places(self.taught)
        texts = [f"member {self.history.task(id).member} learns from task {self.history.source(id)}" for id in self.taught]
        return Segments(
            name=TAUGHT,
            colour=LESSONS,
            width=0.7,
            x=at,
            y=teachers,
            x_end=at,
            y_end=rows,
            hover="text",
            texts=texts,
            tasks=self.taught,
        )

    def _teachers(self) -> PointSeries:
        """Returns a mark on each teacher, at the step at which its lessons begin."""
        history = self.history
        lessons = Counter((history.source(id), history.begin(id)) for id in self.taught)
        known = [(source, step, students) for (source, step), students in lessons.items() if source is not None]
        return PointSeries(
            name=TAUGHT,
            legend=False,
            colour=LESSONS,
            marker="ring",
            size=7,
            x=[step for _, step, _ in known],
            y=[self.row[history.task(source).member] for source, _, _ in known],
            hover="text",
            texts=[
                f"task {source} of member {history.task(source).member} teaches {counted(count, 'student')}"
                for source, _, count in known
            ],
            tasks=[source for source, _, _ in known],
        )

    def _note(self) -> str:
        note = counted(len(self.copies), "copy")
        if self.taught:
            note += f", {counted(len(self.taught), 'student')}"
        if self.best is None:
            return note
        return f"{note}, best: member {self.history.task(self.best).member} at step {thousands(self.history.end(self.best))}"

    def _rows(self) -> Axis:
        members = set(self.history.members())
        every = max(1, -(-len(self.seats) // MOST_ROW_LABELS))
        roles = {seat: self.history.task(self.history.head(seat)).role for seat in self.seats}
        names = [(float(row), str(seat) if seat in members else f"{roles[seat]} {seat}") for seat, row in self.row.items()]
        return Axis("member", low=len(self.seats) - 0.4, high=-0.6, ticks=tuple(names[::every]), grid=False)

    def _training(self, healthy: Ints) -> Segments:
        trained = healthy[ends(self.history, healthy) > begins(self.history, healthy)]
        ids, metric = trained.tolist(), about(self.record)[0]
        scores = (self.history.sign * self.history.scores_of(trained)).tolist()
        begin, end, rows = self._places(ids)
        return Segments(
            name="training",
            legend=False,
            colour=COPIES,
            width=float(np.clip(110 / max(len(self.seats), 1), 1.5, 7)),
            x=begin,
            y=rows,
            x_end=end,
            y_end=rows,
            values=scores,
            shades=score_shades(clean(metric, 40), scores, "max" if self.history.sign > 0 else "min"),
            hover="text",
            texts=Texts(self._about, ids),
            tasks=ids,
        )

    def _places(self, ids: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Returns the steps at which tasks begin and end, and their rows."""
        rows = self.rows[self.member[ids_of(ids)]]
        return begins(self.history, ids).tolist(), ends(self.history, ids).tolist(), rows.tolist()

    def _crosses(self, ids: Sequence[int]) -> PointSeries:
        _, end, rows = self._places(ids)
        return PointSeries(
            name="failed or diverged",
            rank=1,
            colour=FAILED,
            marker="cross",
            size=5,
            x=end,
            y=rows,
            hover="text",
            texts=Texts(lambda id: _failure(self.record, self.history, id), ids),
            tasks=ids,
        )

    def _arrows(self, name: str, ids: Sequence[int], colour: str, width: float, size: float) -> Iterator[Item]:
        """Yields the lines from the donors to the copies, and their tips."""
        history = self.history
        at, member = begins(history, ids), self.rows[self.member[ids_of(ids)]]
        donor = np.array([self.row[history.donor(id)] for id in ids], int)
        yield Segments(
            name=name,
            legend=name == COPIED,
            mark="down",
            colour=colour,
            width=width,
            x=at.tolist(),
            y=donor.tolist(),
            x_end=at.tolist(),
            y_end=member.tolist(),
        )
        for marker, down in _TIPS:
            some = (member > donor) == down
            tasks = ids_of(ids)[some].tolist()
            yield PointSeries(
                name=name,
                legend=False,
                colour=colour,
                marker=marker,
                size=size,
                x=at[some].tolist(),
                y=member[some].tolist(),
                hover="text",
                texts=Texts(self._copied, tasks),
                tasks=tasks,
            )

    def _best_path(self) -> list[Item]:
        begin, end, rows = self._places(self.path)
        return [
            Segments(
                name="ancestry of the best", rank=-1, mark="star", colour=BEST, width=2.2, x=begin, y=rows, x_end=end, y_end=rows
            ),
            PointSeries(
                name="star",
                legend=False,
                colour=BEST,
                marker="star",
                size=13,
                x=end[-1:],
                y=rows[-1:],
                hover="text",
                texts=[self._about(self.path[-1])],
                tasks=self.path[-1:],
            ),
        ]

    def _copied(self, id: int) -> str:
        history = self.history
        return f"member {history.task(id).member} copied {history.donor(id)} at step {history.begin(id):,}"

    def _about(self, id: int) -> str:
        steps = f"{self.history.begin(id):,}–{self.history.end(id):,}"
        return f"member {self.history.task(id).member}, steps {steps}: {short(score_of(self.history, id), 5)}"


def _failure(record: Record, history: History, id: int) -> str:
    return f"member {history.task(id).member}, task {id}\n{clean(fault(record, history, id), 120)}"
