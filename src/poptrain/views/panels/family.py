"""The picture of the family tree: a row for each member, coloured by score; arrows point from donors to copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from poptrain.core import History
from poptrain.log.reader import Record
from poptrain.views.format import clean, short, thousands
from poptrain.views.index import about, best_id, history_of, reported, result_of, score_of, unhealthy
from poptrain.views.palette import BEST, COPIES, FAILED, LESSONS
from poptrain.views.panels.model import STEPS, Axis, Item, Marker, Panel, Picture, PointSeries, Segments
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
        self.taught = [id for id in range(self.history.n) if self.history.task(id).teacher is not None and self._starts(id)]
        self.copies = [id for id in self.history.copies() if self.history.donor(id) in self.row]

    def picture(self) -> Picture:
        """Returns the picture."""
        ids, on_path = reported(self.history), set(self.path)
        tips = 5.0 if len(self.copies) <= MOST_TIPS else 2.5
        series: list[Item] = [self._training([id for id in ids if self.history.ok(id)])]
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

    def _starts(self, id: int) -> bool:
        """True if a student begins with new weights."""
        return self.history.task(id).parent is None

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
                f"task {source} of member {history.task(source).member} teaches {count} students" for source, _, count in known
            ],
            tasks=[source for source, _, _ in known],
        )

    def _note(self) -> str:
        note = f"{len(self.copies)} cop{'ies' if len(self.copies) != 1 else 'y'}"
        if self.taught:
            note += f", {len(self.taught)} students"
        if self.best is None:
            return note
        return f"{note}, best: member {self.history.task(self.best).member} at step {thousands(self.history.end(self.best))}"

    def _rows(self) -> Axis:
        members = set(self.history.members())
        every = max(1, -(-len(self.seats) // MOST_ROW_LABELS))
        roles = {seat: self.history.task(self.history.head(seat)).role for seat in self.seats}
        names = [(float(row), str(seat) if seat in members else f"{roles[seat]} {seat}") for seat, row in self.row.items()]
        return Axis("member", low=len(self.seats) - 0.4, high=-0.6, ticks=tuple(names[::every]), grid=False)

    def _training(self, ids: Sequence[int]) -> Segments:
        ids = [id for id in ids if self.history.end(id) > self.history.begin(id)]
        scores, metric = [score_of(self.history, id) for id in ids], about(self.record)[0]
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
            texts=[self._about(id) for id in ids],
            tasks=ids,
        )

    def _places(self, ids: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Returns the steps at which tasks begin and end, and their rows."""
        rows = [self.row[self.history.task(id).member] for id in ids]
        return [self.history.begin(id) for id in ids], [self.history.end(id) for id in ids], rows

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
            texts=[_failure(self.history, id) for id in ids],
            tasks=ids,
        )

    def _arrows(self, name: str, ids: Sequence[int], colour: str, width: float, size: float) -> Iterator[Item]:
        """Yields the lines from the donors to the copies, and their tips."""
        history = self.history
        ends = {id: (self.row[history.donor(id)], self.row[history.task(id).member]) for id in ids}
        yield Segments(
            name=name,
            legend=name == COPIED,
            mark="down",
            colour=colour,
            width=width,
            x=[history.begin(id) for id in ids],
            y=[begin for begin, _ in ends.values()],
            x_end=[history.begin(id) for id in ids],
            y_end=[end for _, end in ends.values()],
        )
        for marker, down in _TIPS:
            some = [id for id in ids if (ends[id][1] > ends[id][0]) == down]
            texts = [f"member {history.task(id).member} copied {history.donor(id)} at step {history.begin(id):,}" for id in some]
            x, y = [history.begin(id) for id in some], [ends[id][1] for id in some]
            yield PointSeries(
                name=name, legend=False, colour=colour, marker=marker, size=size, x=x, y=y, hover="text", texts=texts, tasks=some
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

    def _about(self, id: int) -> str:
        steps = f"{self.history.begin(id):,}–{self.history.end(id):,}"
        return f"member {self.history.task(id).member}, steps {steps}: {short(score_of(self.history, id), 5)}"


def _failure(history: History, id: int) -> str:
    result = result_of(history, id)
    why = "the checkpoint was damaged" if history.lost(id) else f"the score was {result.score}"
    return f"member {history.task(id).member}, task {id}\n{clean(result.error or why, 120)}"
