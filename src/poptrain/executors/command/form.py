"""`CommandForm`: a command line as executors of single members use it. A member is a directory that its program fills."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from poptrain.core import Hparams, Metrics, Task
from poptrain.core.errors import MetricError, UsageError
from poptrain.executors.command.file import MetricsFile, alone_with
from poptrain.executors.command.program import Ended, TimedOut, run_program
from poptrain.executors.command.reported import Heard
from poptrain.executors.command.state import check_left, no_state, snapshot
from poptrain.executors.context import MemberStore, Start
from poptrain.executors.machine import check_space, scratch, temporary
from poptrain.executors.outcome import ProgramFailed
from poptrain.executors.output import Output
from poptrain.executors.users_code import saving
from poptrain.trainable import Command
from poptrain.trainable.command import as_json

Progress = tuple[float, float] | None  # the part of a distillation that a chunk covers

PREFIX = "poptrain-command-"  # of working directories; the number of the process that uses them follows


@dataclass
class Working:
    """The state of a member: a directory of its own, in which its program works."""

    root: Path
    start: Start = Start("")
    step: int = 0  # steps of the lineage so far

    def move(self) -> None:
        """Gives the directory another name, so that a path that was stored in a checkpoint never leads to another member."""
        root = new_name()
        self.root.rename(root)
        self.root = root

    @property
    def checkpoint(self) -> Path:
        """The directory that ``{checkpoint}`` stands for."""
        return self.root / "checkpoint"

    @property
    def member(self) -> str:
        """The name of the member's file of output, such as ``m003``."""
        return self.start.name.partition("-")[0] or "member"

    @property
    def task(self) -> str:
        """The task in words, such as ``task 12``; the names of checkpoints are ``m003-t000012-1.1``."""
        return " ".join(f"task {int(part[1:])}" for part in self.start.name.split("-") if part[:1] == "t")


@dataclass(frozen=True)
class CommandForm:
    """Runs a command once for every interval (or part of one, if there are several evaluations).

    Args:
        output: keeps what programs print; None: they print where this process prints, as in a worker, whose output is kept.
        metric: the key of the score; "": nothing is trained.
    """

    command: Command
    output: Output | None = None
    metric: str = ""

    def fresh(self, hparams: Hparams, seed: int) -> Working:
        with _begun() as working:
            working.checkpoint.mkdir()
        return working

    def train(self, state: Working, hparams: Hparams, steps: int, seed: int) -> tuple[Working, Metrics]:
        values = self._moved(state, hparams, steps, seed)
        path = None if self.command.metrics is None else Path(self.command.cwd or ".", self.command.metrics.filled(values))
        before = snapshot(state.checkpoint, path)
        began = bool(before)  # logs and metrics alone are nothing to continue from
        words = [word.filled(values) for word in (*self.command.words, *(self.command.resume if began else ()))]
        words[0] = self.command.program() or words[0]
        with nullcontext() if path is None or self.command.shared_file is None else alone_with(path):
            file = None if path is None else MetricsFile.at(path)
            heard, ended = self._run(state, words, {name: word.filled(values) for name, word in self.command.env})
            found = heard.found if file is None else file.read(self.metric)
        if file is None:
            heard.check()
        if not found.metrics or (self.metric not in found.metrics and heard.near.advice(score_only=True) and file is None):
            raise MetricError(self._nothing_found(heard, ended))
        found.check(steps, state.step)
        trained = steps if found.metrics.get("steps") != 0 else 0
        check_left(state.checkpoint, path, before, trained, state.step == 0 and steps == state.start.budget)
        state.step += steps
        return state, found.metrics

    def distill(
        self, state: Working, teacher: Working, hparams: Hparams, steps: int, seed: int, progress: Progress
    ) -> tuple[Working, Metrics]:
        raise UsageError("this task distils from a teacher, which a command cannot do.")

    def save(self, store: MemberStore, name: str, state: Working, task: Task, step: int) -> str:
        directory = store.stage(name)
        with saving(directory):
            shutil.copytree(state.checkpoint, directory, ignore=no_state, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        return store.commit_staged(name, task=task.id, member=task.member, step=step)

    def load(self, store: MemberStore, ref: str, hparams: Hparams, seed: int) -> Working:
        with _begun() as working:
            shutil.copytree(store.path(ref), working.checkpoint)
        return working

    def opened(self, store: MemberStore, ref: str, task: Task) -> Path:
        """Returns the directory that the command left: its files may be read."""
        return store.path(ref)

    def expect(self, state: Working, start: Start) -> None:
        state.start, state.step = start, start.step

    def close(self, state: Working) -> None:
        _remove(state.root)

    def _moved(self, state: Working, hparams: Hparams, steps: int, seed: int) -> Mapping[str, object]:
        """Returns the values of all placeholders, in a directory that no earlier call was in."""
        with scratch():
            state.move()
            values = self._values(state, hparams, steps, seed)
            (state.root / "hparams.json").write_text(as_json(hparams), "utf-8")
        return values

    def _values(self, state: Working, hparams: Hparams, steps: int, seed: int) -> Mapping[str, object]:
        """Returns the values of all placeholders."""
        own: dict[str, object] = {"checkpoint": state.checkpoint, "hparams": state.root / "hparams.json"}
        own |= {"steps": steps, "step": state.step, "until": state.step + steps, "seed": seed % 2**31}
        if state.start.budget is not None:
            own["budget"] = state.start.budget
        return {**hparams, **own}

    def _run(self, state: Working, words: list[str], extra: Mapping[str, str]) -> tuple[Heard, Ended]:
        """Returns what a program reported, and how it ended.

        Raises:
            ProgramFailed: it could not be started, took too long, or ended with an error.
            Suspended: the machine allows no more processes or open files, or the disk is full.
        """
        heard = Heard(self.command.patterns, self.metric)
        heading = f"{state.task}, from step {state.step}"

        def hear(data: bytes, is_error: bool) -> None:
            heard.add(data, is_error)
            if self.output is None:
                stream = sys.stderr if is_error else sys.stdout
                stream.flush()
                if (raw := getattr(stream, "buffer", None)) is not None:
                    raw.write(data)  # a piece may end inside a character
                else:
                    stream.write(data.decode(errors="replace"))
                stream.flush()
            else:
                self.output.write(state.member, data, heading)

        command = self.command
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, **extra}
        try:
            ended = run_program(words, environment, command.cwd, command.timeout, hear)
            how = "" if ended.code == 0 else _how(ended.code)
        except TimedOut:
            how = f"took longer than {command.timeout:g} s and was ended with everything that it had started"
        except OSError as error:
            how = f"could not be started: {error.strerror or error}{_remedy(error, words[0])}"
        heard.end()
        if how:
            check_space()
            raise self._failure(state, words, how, heard)
        return heard, ended

    def _failure(self, state: Working, words: list[str], how: str, heard: Heard) -> ProgramFailed:
        last = heard.last_words()
        tail = "\n".join(heard.tail)
        text = f"the command {how}{f': {last}' if last else ''}"
        if "expected one argument" in last and any(re.match(r"-\.?\d", word) for word in words):
            text += " (a negative value looks like an option: write --name={name} as one word)"
        if str(state.checkpoint) in last and "FileNotFound" in last and not any(state.checkpoint.iterdir()):
            text += " (at the first call {checkpoint} is empty: pass options that load a file of it as resume=)"
        if any(PREFIX in line and str(state.root) not in line for line in heard.tail):
            text += (
                " (the checkpoint holds a path of an earlier call: {checkpoint} is another one in each call, keep relative paths)"
            )
        return ProgramFailed(text, f"the command {how}\n\n{' '.join(words)}\n\nThe end of its standard error:\n{tail}\n")

    def _nothing_found(self, heard: Heard, ended: Ended) -> str:
        """Returns why a call has no metrics, and what to change."""
        near, last = heard.near.advice(), heard.last_words()
        if self.command.patterns:
            patterns = " or ".join(repr(each.text) for each in self.command.patterns)
            what = f"no line that the command printed fits pattern={patterns}"
            return f"{what}: {near}" if near else f"{what}."
        names = ", ".join(map(repr, list(heard.metrics)[:10]))
        what = f"the command printed no {self.metric!r}, only {names}" if names else "the command printed no metrics"
        if near:
            return f"{what}: {near}"
        if any("Traceback (most recent call last)" in line for line in heard.tail) and last:
            return f"{what}, but a traceback, and ended with exit code 0: {last[:200]}"
        if ended.left:
            return (
                f"{what}, and it ended while {ended.left[0]!r}, which it had started, was still running and was ended: let the "
                "program wait for it."
            )
        return (
            f'{what}: print a line of JSON such as {{"score": 0.9}}, pass pattern="acc {{acc}}" for a line that it prints, or '
            "metrics= for a file that it writes."
        )


@contextmanager
def _begun() -> Iterator[Working]:
    """Gives a new state to a block that fills its directory; if that fails, nothing is left of it."""
    with scratch():
        working = Working(new_directory())
        try:
            yield working
        except BaseException:
            _remove(working.root)
            raise


def _remedy(error: OSError, program: str) -> str:
    """Returns what to do about a program that cannot be started; empty if that is not known."""
    if error.errno == errno.ENOEXEC:
        return (
            f": {program!r} does not begin with a line such as '#!/usr/bin/env python3'; add it, or name the program that runs it"
        )
    if error.errno == errno.ENOENT and os.path.exists(program):
        return (
            f": the program that the first line of {program!r} names does not exist; correct it, or name the program that runs it"
        )
    if error.errno == errno.E2BIG:
        return ": pass {hparams}, a file, instead of one option for each hyperparameter"
    return ""


def new_directory() -> Path:
    """Returns a new working directory, and removes those whose process was killed, and what could not be removed before."""
    base = temporary()
    for root in list(_unremoved):
        _remove(root)
    for left in base.glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


_unremoved: set[Path] = set()  # directories of closed states: without one more open file, none can be removed


def _remove(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    if os.path.lexists(root):
        _unremoved.add(root)
    else:
        _unremoved.discard(root)


def new_name() -> Path:
    """Returns a path for a working directory that never existed."""
    return temporary() / f"{PREFIX}{os.getpid()}-{os.urandom(8).hex()}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _how(code: int) -> str:
    number = -code if code < 0 else code - 128  # as a shell reports a signal
    name = signal.Signals(number).name if number in signal.Signals.__members__.values() else ""
    named = f" ({name}{': out of memory?' if name == 'SIGKILL' else ''})" if name else ""
    return f"was ended by signal {number}{named}" if code < 0 else f"ended with exit code {code}{named}"
