"""``verify``: checks that a run is what its log says. Checksums, facts, all decisions recomputed, all checkpoints hashed.

The log is enough for the first two and for the checkpoints. The decisions need the algorithm, which is in the experiment file;
the log of a replay describes it completely. What is not verified is listed as unclear.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from poptrain.audit.finding import Finding, Walk
from poptrain.audit.recompute import walk
from poptrain.audit.trace import Trace
from poptrain.audit.verdict import Verdict, listed, tabled
from poptrain.checkpoints import places
from poptrain.checkpoints.store import DiskStore, Ref, stem
from poptrain.core import markup
from poptrain.core.answering import answering
from poptrain.core.arguments import check_place
from poptrain.core.counting import counted
from poptrain.core.errors import LogDamaged, UsageError
from poptrain.core.fingerprint import differences
from poptrain.core.protocols import Algorithm
from poptrain.engine.edited import edits, recorded
from poptrain.engine.experiment import Experiment
from poptrain.engine.open_log import continuing, fingerprint
from poptrain.engine.replay import rebuilt
from poptrain.log.finding import no_run, only_reading
from poptrain.space import Space
from poptrain.space.from_json import described


@dataclass(frozen=True, repr=False)
class Verification:
    """The result of `verify`."""

    directory: str
    ok: bool  # True if no check failed; some may be unclear
    checks: tuple[Verdict, ...]  # log, experiment, facts, decisions, checkpoints
    first: Finding | None  # the first difference, in the order of the checks
    lines: int
    decisions: int  # recomputed
    checkpoints: int  # hashed
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        notes = "".join(f"\n  note     {note}" for note in self.notes)
        return f"{self._title()}\n{listed(self.checks)}{notes}"

    def _repr_html_(self) -> str:
        return markup.block(self._title(), tabled(self.checks), *(markup.line(f"note: {note}") for note in self.notes))

    def _title(self) -> str:
        done = ", ".join(each.name for each in self.checks if each.state == "ok") or "nothing"
        return f"Verification of {self.directory!r}: {f'{done} verified' if self.ok else 'failed'}"


@answering
def verify(directory: str | Path, experiment: Experiment | None = None) -> Verification:
    """Returns the checks of the run in a directory. It locks, writes and trains nothing.

    Args:
        directory: of the run.
        experiment: the experiment of the run, in order to recompute its decisions. Without it they are not checked, except for
            those of a replay.

    Raises:
        UsageError: the directory does not hold a run.
        Unreadable: the system does not let us read the log.

    >>> import poptrain as pt, tempfile
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     run = pt.run(experiment.algorithm, experiment.trainable, stop=experiment.stop, directory=directory)
    ...     found = pt.verify(directory, experiment)
    >>> found.ok, found.decisions
    (True, 4)
    """
    check_place("verify: directory", directory)
    if experiment is not None and not isinstance(experiment, Experiment):
        raise UsageError(f"verify: experiment={experiment!r}, expected a pt.Experiment, or None.")
    trace = Trace(Path(directory).resolve())
    damage = None
    try:
        with only_reading():
            trace.refresh()
    except LogDamaged as error:
        damage = str(error)
    if not trace.seq and damage is None:
        raise no_run(Path(directory))
    report = _Report(trace)
    report.log(damage)
    algorithm: Algorithm | None = rebuilt(trace.run.get("algorithm"))
    replayed = algorithm is not None
    if experiment is not None and not replayed:
        experiment = continuing(experiment, trace.run)
        report.experiment(experiment)
        algorithm = experiment.algorithm
    found = walk(trace, algorithm, _space(trace), keyed=not replayed and not _seeds_of_members(trace))
    report.facts(found)
    report.decisions(found, algorithm)
    report.checkpoints(found)
    ok = all(check.state != "failed" for check in report.checks)
    checks, notes = tuple(report.checks), tuple(report.notes)
    return Verification(str(trace.directory), ok, checks, report.first, trace.seq, found.decisions, report.hashed, notes)


class _Report:
    """The checks so far."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.checks: list[Verdict] = []
        self.notes: list[str] = []
        self.first: Finding | None = None
        self.hashed = 0

    def add(self, name: str, failed: Finding | str | None, fine: str) -> None:
        """Adds a check: failed with this finding, or ok with the text `fine`."""
        if failed is None:
            self.checks.append(Verdict(name, "ok", fine))
            return
        finding = Finding(None, "", None, name, None, None, failed) if isinstance(failed, str) else failed
        self.checks.append(Verdict(name, "failed", finding.text))
        self.first = self.first or finding

    def log(self, damage: str | None) -> None:
        """Checks the checksums, and notes other versions of packages."""
        trace = self.trace
        files = counted(trace.segment, "file")
        fine = (
            f"{counted(trace.seq, 'line')} in {files}; every line matches its checksum, and each checksum continues "
            "the one before"
        )
        self.add("log", damage, fine)
        if trace.torn and damage is None:
            self.notes.append(
                f"the last line is torn ({counted(trace.torn, 'byte')}): it was never acknowledged, and `resume` repairs it"
            )
        written = next((fields.get("versions") for type, fields, _ in reversed(trace.events) if type == "open"), None)
        for package, version in dict(written if isinstance(written, Mapping) else {}).items():
            now = _version(package)
            if now is not None and now != version:
                self.notes.append(f"the run was written with {package} {version}, and is verified with {now}")

    def experiment(self, experiment: Experiment) -> None:
        """Checks that the experiment is that of the run."""
        now, then = fingerprint(experiment), self.trace.run
        changes = [line for key in now for line in differences(then.get(key), now[key], key)]
        failed = f"the experiment is not the one of the run: {'; '.join(changes[:3])}{' …' if len(changes) > 3 else ''}."
        if edited := edits(then, recorded(experiment.trainable)):
            self.notes.append(f"the code of the trainable has been edited since the run began: {edited}")
        fine = "algorithm, space, trainable, metric, mode and seed are those of the run"
        self.add("experiment", failed if changes else None, fine)

    def facts(self, found: Walk) -> None:
        """Checks that the facts are possible."""
        fine = (
            f"{counted(found.tasks, 'task')} and {counted(found.results, 'result')} are consistent: seats, parents, "
            "steps, seeds and ranges"
        )
        self.add("facts", found.facts, fine)

    def decisions(self, found: Walk, algorithm: Algorithm | None) -> None:
        """Checks that the algorithm takes the same decisions."""
        if algorithm is None:
            text = "the decisions were not recomputed, because that needs the experiment"
            self.checks.append(Verdict("decisions", "unclear", text))
            return
        failed = found.difference
        if failed is not None and found.differing > 1:
            failed = _more(failed, f" It is the first of {counted(found.differing, 'line')} that differ.")
        self.add(
            "decisions",
            failed,
            f"{counted(found.decisions, 'line')} of tasks: each is what the algorithm decides on the history before it",
        )

    def checkpoints(self, found: Walk) -> None:
        """Hashes the checkpoints in the log that were not deleted, up to the first damage, unless another system keeps them."""
        trace = self.trace
        if keeper := trace.run.get("keeper"):
            self.checks.append(Verdict("checkpoints", "unclear", f"{keeper} keeps them, and records no hashes"))
            return
        store, gone = places.stored(trace), self._gone()
        wrong: str | Finding | None = self._deleted(found, gone)
        known: dict[str, str | None] = {}  # the damage of each checkpoint; the lanes of a population share one
        for task, step, ref in _checkpoints(trace):
            if stem(ref) in gone or task in trace.lost:
                continue
            key = f"{stem(ref)}:{ref.partition(':')[2]}"
            if key not in known:
                known[key] = _damage(store, ref)
                self.hashed += 1
            why = known[key] or _other(store, ref, task, step)
            if why is not None and not self._deleted_since(stem(ref)):
                wrong = wrong or Finding(None, "checkpoints", task, "checkpoint", ref, None, f"task {task}: {why}")
                break  # a million more that are missing would take minutes, and are not reported
        fine = f"{self.hashed:,} exist, and every byte of them is as it was committed; {len(gone):,} were deleted before"
        self.add("checkpoints", wrong, fine)

    def _gone(self) -> set[str]:
        """Returns the names of the checkpoints that the run has deleted."""
        return {name for type, fields, _ in self.trace.events if type == "gc" for name in fields.get("ids", ())}

    def _deleted_since(self, name: str) -> bool:
        """True if the run, which may be going on, deleted the checkpoint while it was being verified."""
        with contextlib.suppress(LogDamaged), only_reading():
            self.trace.refresh()
        return name in self._gone()

    def _deleted(self, found: Walk, gone: set[str]) -> str | None:
        """Returns a sentence if a checkpoint was deleted that is always kept: of the best, or of a seat's newest result."""
        history = found.history
        if history is None:
            return None
        for id in (history.best(), *history.heads().tolist()):
            result = None if id is None or id < 0 else history.result(id)
            if result is not None and result.checkpoint and stem(result.checkpoint) in gone:
                return f"the checkpoint of task {id} was deleted, although it is the best or the newest of a member."
        return None


def _checkpoints(trace: Trace) -> Iterator[tuple[int, int, str]]:
    """Yields task, step and checkpoint of every result that has a checkpoint."""
    for result in trace.results():
        if isinstance(result.checkpoint, str):
            yield result.task, result.step, result.checkpoint


def _damage(store: DiskStore, ref: str) -> str | None:
    try:
        return store.damage(ref)
    except UsageError as error:  # a malformed reference, or a newer format
        return str(error)


def _other(store: DiskStore, ref: str, task: int, step: int) -> str | None:
    """Returns a sentence if a sound checkpoint belongs to another result."""
    about = store.about(ref)
    for name, expected in (("task", task), ("step", step)):
        if about.get(name) not in (None, expected):
            return f"the checkpoint {Ref.parse(ref).name} is of {name} {about[name]}, and the log has {expected}."
    return None


def _more(finding: Finding, text: str) -> Finding:
    return Finding(finding.line, finding.place, finding.task, finding.field, finding.got, finding.expected, finding.text + text)


def _space(trace: Trace) -> Space | None:
    """Returns the space that the log describes; None if it has a parameter of the user's own kind."""
    algorithm = trace.run.get("algorithm")
    try:
        return described(algorithm.get("space") if isinstance(algorithm, Mapping) else None)
    except UsageError:
        return None


def _seeds_of_members(trace: Trace) -> bool:
    """True if the seed of a task follows from its member, and not from its id."""
    algorithm = trace.run.get("algorithm")
    return isinstance(algorithm, Mapping) and algorithm.get("seeds") == "member"


def _version(package: str) -> str | None:
    if package == "python":
        import platform

        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
