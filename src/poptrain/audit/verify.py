"""``verify``: is a run what its log says? Checksums, facts, every decision recomputed, every checkpoint hashed.

The log alone proves the first two and the checkpoints. The decisions need the algorithm, that is, the experiment file; a
replay carries its own. What is not verified is said.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poptrain.audit.recompute import Finding, Trace, Walk, walk
from poptrain.audit.verdict import Verdict
from poptrain.checkpoints import places
from poptrain.checkpoints.store import Ref, Store
from poptrain.core import Result
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.core.fingerprint import differences, source_name
from poptrain.engine.experiment import Experiment
from poptrain.engine.open_log import fingerprint
from poptrain.engine.replay import rebuilt
from poptrain.log.reader import segment_name
from poptrain.space.from_json import described
from poptrain.trainable import as_trainable, origin


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    directory: str
    ok: bool  # nothing failed; something may be unclear
    checks: tuple[Verdict, ...]  # log, experiment, facts, decisions, checkpoints
    first: Finding | None  # the first difference, in the order of the checks
    lines: int
    decisions: int  # recomputed
    checkpoints: int  # hashed
    notes: tuple[str, ...]


def verify(directory: str | Path, experiment: Experiment | None = None) -> Verification:
    """Returns what is true of the run in a directory: nothing is locked, written or trained.

    Args:
        experiment: what the run was started with, so that its decisions can be recomputed; None leaves them unverified,
            except for a replay.

    Raises:
        UsageError: there is no run in the directory.

    >>> import poptrain as pt, tempfile
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     run = pt.run(experiment.algorithm, experiment.trainable, stop=experiment.stop, directory=directory)
    ...     found = pt.verify(directory, experiment)
    >>> found.ok, found.decisions
    (True, 4)
    """
    trace = Trace(Path(directory).resolve())
    damage = None
    try:
        trace.refresh()
    except LogDamaged as error:
        damage = str(error)
    if not trace.seq and damage is None:
        raise UsageError(f"no log in {directory}: give the directory of a run, the one that holds {segment_name(1)}.")
    report = _Report(trace)
    report.log(damage)
    algorithm = rebuilt(trace.run.get("algorithm"))
    replayed = algorithm is not None
    if experiment is not None and not replayed:
        report.experiment(experiment)
        algorithm = experiment.algorithm
    found = walk(trace, algorithm, _space(trace), keyed=not replayed)
    report.facts(found)
    report.decisions(found, algorithm)
    report.checkpoints(found)
    return Verification(str(trace.directory), all(check.state != "failed" for check in report.checks), tuple(report.checks),
                        report.first, trace.seq, found.decisions, report.hashed, tuple(report.notes))  # fmt: skip


class _Report:
    """The checks so far."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.checks: list[Verdict] = []
        self.notes: list[str] = []
        self.first: Finding | None = None
        self.hashed = 0

    def add(self, name: str, failed: Finding | str | None, fine: str) -> None:
        if failed is None:
            self.checks.append(Verdict(name, "ok", fine))
            return
        finding = Finding(None, "", None, name, None, None, failed) if isinstance(failed, str) else failed
        self.checks.append(Verdict(name, "failed", finding.text))
        self.first = self.first or finding

    def log(self, damage: str | None) -> None:
        trace = self.trace
        self.add("log", damage, f"{trace.seq:,} lines in {trace.segment} {'file' if trace.segment == 1 else 'files'}, "
                 "every one with its checksum, and each checksum begun from the one before")  # fmt: skip
        if trace.torn and damage is None:
            self.notes.append(f"the last line is torn ({trace.torn} bytes): it was never acknowledged, and `resume` mends it")
        written = next((fields.get("versions") for type, fields, _ in reversed(trace.events) if type == "open"), None)
        for package, version in dict(written if isinstance(written, Mapping) else {}).items():
            now = _version(package)
            if now is not None and now != version:
                self.notes.append(f"it was written with {package} {version}, and is verified with {now}")

    def experiment(self, experiment: Experiment) -> None:
        now, then = fingerprint(experiment), self.trace.run
        changes = [line for key in now for line in differences(then.get(key), now[key], key)]
        failed = f"the experiment is not the one of the run: {'; '.join(changes[:3])}{' …' if len(changes) > 3 else ''}."
        code = source_name(origin(as_trainable(experiment.trainable)))
        if then.get("code") not in (None, code):
            self.notes.append(f"the code of the trainable is not what the run began with: {then['code']} -> {code}")
        self.add(
            "experiment", failed if changes else None, "algorithm, space, trainable, metric, mode and seed are those of the run"
        )

    def facts(self, found: Walk) -> None:
        self.add("facts", found.facts, f"{found.tasks:,} tasks and {found.results:,} results follow from each other: "
                 "seats, parents, steps, seeds and ranges")  # fmt: skip

    def decisions(self, found: Walk, algorithm: Any) -> None:
        if algorithm is None:
            text = "the decisions were not recomputed: that needs the experiment"
            self.checks.append(Verdict("decisions", "unclear", text))
            return
        failed = found.difference
        if failed is not None and found.differing > 1:
            failed = _more(failed, f" It is the first of {found.differing:,} lines that differ.")
        self.add("decisions", failed, f"{found.decisions:,} lines of tasks, recomputed from what was known then, are equal")

    def checkpoints(self, found: Walk) -> None:
        """Hashes every checkpoint that the log holds and has not collected; not those that another system keeps."""
        if keeper := self.trace.run.get("keeper"):
            self.checks.append(Verdict("checkpoints", "unclear", f"they are {keeper}'s, which records no hashes"))
            return
        trace = self.trace
        store = places.of(trace)
        gone = self._gone()
        lost = {entry.data[0].task for entry in trace.entries if entry.type == "" and hasattr(entry.data[0], "task")
                and not isinstance(entry.data[0], Result)}  # fmt: skip
        results = [fact for line in trace.lines for fact in line if isinstance(fact, Result) and isinstance(fact.checkpoint, str)]
        wrong: str | Finding | None = self._collected(found, gone)
        known: dict[str, str | None] = {}
        for result in results:
            name = result.checkpoint.partition(":")[0].partition("/")[0]
            if name in gone or result.task in lost:
                continue
            stem = f"{name}:{result.checkpoint.partition(':')[2]}"
            if stem not in known:
                known[stem] = _damage(store, result.checkpoint)
                self.hashed += 1
            why = known[stem] or _other(store, result)
            if why is not None and wrong is None and not self._collected_since(name):
                wrong = Finding(
                    None, "checkpoints", result.task, "checkpoint", result.checkpoint, None, f"task {result.task}: {why}"
                )
        self.add("checkpoints", wrong, f"{self.hashed:,} are there, and every byte of them is as it was committed; "
                 f"{len(gone):,} were collected")  # fmt: skip

    def _gone(self) -> set[str]:
        return {name for type, fields, _ in self.trace.events if type == "gc" for name in fields.get("ids", ())}

    def _collected_since(self, name: str) -> bool:
        """True if the run, which may be going on, collected the checkpoint while it was being verified."""
        with contextlib.suppress(LogDamaged):
            self.trace.refresh()
        return name in self._gone()

    def _collected(self, found: Walk, gone: set[str]) -> str | None:
        """Returns a sentence if a checkpoint was collected that is kept always: of the best, or of a seat's newest result."""
        history = found.history
        kept = [] if history is None else [history.best(), *history.heads().tolist()]
        for id in kept:
            result = None if id is None or id < 0 else history.result(id)
            if result is not None and result.checkpoint and result.checkpoint.partition(":")[0].partition("/")[0] in gone:
                return (
                    f"the checkpoint of task {id} was collected, and it is one that a run keeps: the best, or a member's newest."
                )
        return None


def _damage(store: Store, ref: str) -> str | None:
    try:
        return store.damage(ref)
    except UsageError as error:  # what somebody wrote is no reference, or of a newer format
        return str(error)


def _other(store: Store, result: Result) -> str | None:
    """Returns a sentence if a sound checkpoint is not that of the result."""
    told = store.about(result.checkpoint)
    for name, expected in (("task", result.task), ("step", result.step)):
        if told.get(name) not in (None, expected):
            return f"the checkpoint {Ref.parse(result.checkpoint).name} is of {name} {told[name]}, and the log has {expected}."
    return None


def _more(finding: Finding, text: str) -> Finding:
    return Finding(finding.line, finding.place, finding.task, finding.field, finding.got, finding.expected, finding.text + text)


def _space(trace: Trace) -> Any:
    algorithm = trace.run.get("algorithm")
    try:
        return described(algorithm.get("space") if isinstance(algorithm, Mapping) else None)
    except UsageError:
        return None


def _version(package: str) -> str | None:
    if package == "python":
        import platform

        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
