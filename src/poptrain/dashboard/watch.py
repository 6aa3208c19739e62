"""A watched run: what the page asks about it, kept up to date as the log grows.

A long log has a digest next to it, from which the status is known at once. Pictures and stories need every line, so the whole
log is read on a thread when the first of them is asked for: a page shows its cards before. Neither locks or writes anything.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from poptrain import views
from poptrain.core import clock, collector
from poptrain.core.commands import poptrain
from poptrain.core.errors import PoptrainError, UsageError
from poptrain.dashboard.recipe import recipe, start_command
from poptrain.dashboard.thin import drawable
from poptrain.log.finding import exists
from poptrain.log.reader import Record
from poptrain.views import as_json, panels
from poptrain.views.digest import Following
from poptrain.views.exploits import exploits_of
from poptrain.views.index import fault, history_of, reported, result_of, unhealthy
from poptrain.views.region import has_region
from poptrain.views.story import task_at

MOST_MEMBERS = 400  # that the page lists
MOST_ROWS = 60  # of a table: every element makes each change of the page slower
BEAT = 5.0  # seconds after which times and overdue members of a silent run are sent again
Answer = dict[str, Any]  # JSON
DRAW = {**panels.EVERY, **panels.SOME}


class Loading(Exception):
    """The log has not been read to its end yet; `share` of its lines have."""

    def __init__(self, share: float):
        super().__init__(share)
        self.share = share


class Watched:
    """One run directory, which may not hold a run yet."""

    def __init__(self, path: Path):
        self.path, self.version = path, 0
        self.beats = 0  # how often the time alone changed what is shown
        self._beat = clock.monotonic()
        self.view: views.Status | None = None
        self.error: str | None = None  # why the log cannot be read
        self.gone = False  # the run was found before, and its directory has no log now
        self._following: Following | None = None
        self._record: Record | None = None  # all lines; None until they are read
        self._reading: Record | None = None
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._drawn: dict[str, tuple[int, float, float, Answer]] = {}  # version, when, cost in seconds, picture

    def look(self) -> bool:
        """Reads what the log has gained, and returns True if something changed. Of a run that is silent, only the time does."""
        with self._lock:
            try:
                self._refresh()
                self.error = None
            except (PoptrainError, OSError) as error:
                self.error = str(error)
            mark = self._mark()
            changed, self._seen = mark != self._seen, mark
            self.version += changed
            running = self.view is not None and self.view.state == "running"
            beat = changed or (running and clock.monotonic() >= self._beat + BEAT)
            if beat:
                self._beat, self.beats = clock.monotonic(), self.beats + 1
            return beat

    def summary(self) -> Answer:
        """Returns the run in one row of a list."""
        found: Answer = {
            "name": self.path.name or str(self.path),
            "path": str(self.path),
            "commands": {"resume": poptrain("resume", self.path), "start": start_command(self.path)},
            "state": "waiting" if self._seen else "opening",
            "error": self.error,
        }
        if self.error is not None:
            found["state"] = "damaged"
        if (view := self.view) is not None:
            keep = "algorithm metric mode generation generations steps budget left results failed diverged lost elapsed reason"
            found |= {name: getattr(view, name) for name in keep.split()}
            found["generation"] = view.reached
            found |= {"best": None if view.best is None else view.best.score, "members": len(view.members)}
            found["state"] = "gone" if self.gone else found["state"] if self.error else view.state
        answer: Answer = as_json(found)
        return answer

    def status(self) -> Answer:
        """Returns everything at the top of the page; `version` changes with it."""
        found = self.summary() | {"version": self.version, "view": None}
        if (view := self.view) is not None:
            sign = -1 if view.mode == "min" else 1
            ranked = sorted(view.members, key=lambda each: (each.score is not None, sign * (each.score or 0.0)), reverse=True)
            listed = [replace(each, state=view.doing(each)) for each in ranked[:MOST_MEMBERS]]
            shown = as_json(view) | {"generation": view.reached, "members": as_json(listed), "members_in_all": len(ranked)}
            found |= {
                "view": shown | {"sentences": view.sentences(), "troubles": as_json(view.troubles)},
                "panels": self._names(view),
            }
        return found

    def picture(self, name: str) -> Answer:
        """Returns a picture as JSON, as it was at most a few times its own cost ago; only one thread may ask at a time.

        Raises:
            Loading: the log is still being read.
            UsageError: there is no such picture of this run.
        """
        record = self._needed()
        if name not in DRAW:
            raise UsageError(f"no picture {name!r}: expected one of {', '.join(DRAW)}.")
        version, when, cost, found = self._drawn.get(name, (-1, 0.0, 0.0, {}))
        if version != self.version and clock.monotonic() >= when + 5 * cost:
            began, version = clock.monotonic(), self.version
            with collector.paused():  # of a million tasks, looking for garbage takes a quarter of the time
                picture = DRAW[name](record)
                found = {"name": name, "panels": []} if picture is None else drawable(picture)
            now = clock.monotonic()
            self._drawn[name] = (version, now, now - began, found)
        again = self._drawn[name][1] + 5 * self._drawn[name][2] - clock.monotonic()
        return found | {"version": version, "again": max(again, 0.0) if version != self.version else None}

    def story(self, task: int, step: int | None = None, along: str = "ancestry") -> Answer:
        """Returns the story of a task, or of the task that trained at a step near it.

        Raises:
            Loading: the log is still being read.
            UsageError: there is no such task.
        """
        record = self._needed()
        found = views.story(record, task if step is None else task_at(record, task, step, along))
        return {**as_json(found), "changes": as_json(found.changes)}

    def newest(self, member: int) -> Answer:
        """Returns the newest task of a member.

        Raises:
            Loading: the log is still being read.
            UsageError: there is no such member.
        """
        id = history_of(self._needed()).head(member)
        if id < 0:
            raise UsageError(f"no member {member} in this run.")
        return {"task": id}

    def schedule(self) -> Answer:
        """Returns the winner's schedule, and the code that trains with it."""
        found = views.schedule(self._needed())
        rows = as_json(list(found.segments[-MOST_ROWS:]))
        return {**as_json(found), "segments": rows, "in_all": len(found.segments), "recipe": recipe(self.path, found)}

    def exploits(self) -> Answer:
        """Returns the newest exploits, newest first."""
        record = self._needed()
        history = history_of(record)
        ids = history.copies()
        found = [
            as_json(each) | {"changes": as_json(each.changes)} for each in exploits_of(history, record.times, ids[-MOST_ROWS:])
        ]
        return {"rows": found[::-1], "in_all": len(ids)}

    def failures(self) -> Answer:
        """Returns the newest failures, newest first."""
        record = self._needed()
        history = history_of(record)
        ids = unhealthy(history, reported(history))
        rows = []
        for id in ids[: -MOST_ROWS - 1 : -1]:
            task, result = history.task(id), result_of(history, id)
            about = {"task": id, "member": task.member, "step": result.step, "kind": "lost" if history.lost(id) else result.kind}
            rows.append(about | {"what": fault(record, history, id), "hparams": as_json(task.hparams)})
        return {"rows": rows, "in_all": len(ids)}

    def whole(self) -> Record | None:
        """Returns the whole log; None until it is read, which the first call begins."""
        with self._lock:
            if self._record is None and self._reading is None and self._following is not None:
                self._reading = Record(self.path.resolve())
                threading.Thread(target=self._read_all, args=(self._reading,), daemon=True).start()
            return self._record

    @property
    def reading(self) -> bool:
        """True while the whole log is being read."""
        return self._reading is not None

    # -- reading ------------------------------------------------------------------------------------------------------

    def _mark(self) -> tuple[object, ...]:
        view, record = self.view, self._following.record if self._following else None
        return record.seq if record else 0, view and (view.state, view.reason), self.error, self.gone

    def _refresh(self) -> None:
        here = exists(self.path)
        if self.gone and here:  # perhaps it is another run
            self._following = self._record = None
        self.gone = self._following is not None and not here
        if self._following is None:
            if not here:
                return
            self._following = Following(self.path)
        if self.gone:
            return
        self.view = self._following.look()
        if self._record is not None:
            self._record.refresh()
        elif not self._following.state.skipped:
            self._record = self._following.record  # it was read from its first line on

    def _read_all(self, record: Record) -> None:
        try:
            record.refresh()
            history_of(record)
        except (PoptrainError, OSError) as error:
            self.error = str(error)
            return
        with self._lock:
            record.refresh()
            self._record, self._reading = record, None

    def _needed(self) -> Record:
        if (record := self.whole()) is None:
            known, read_so_far = self._following, self._reading
            lines = known.record.seq if known else 0
            raise Loading(read_so_far.seq / lines if read_so_far and lines else 0.0)
        return record

    def _names(self, view: views.Status) -> list[str]:
        """Returns the names of the pictures that this run has."""
        run: Mapping[str, Any] = {} if self._following is None else self._following.record.run
        algorithm = run.get("algorithm")
        special = []
        if isinstance(algorithm, Mapping):
            special += ["subpopulations"] if algorithm.get("subpopulations") else []
            special += ["architectures"] if view.architectures else []
        special += ["team"] if view.best is not None and view.best.team else []
        special += ["model"] if view.last_suggestions else []
        special += ["region"] if view.last_suggestions and has_region(run) else []
        return ["score", "hparams", "tree", *special, "spread", "time"]
