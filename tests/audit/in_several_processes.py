"""A program: what several processes find in a log is what one finds, and no process is left. Its argument is a directory."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import poptrain as pt
from poptrain.audit.decisions import Decisions
from poptrain.audit.possible import ordered
from poptrain.audit.several import parts_of
from poptrain.audit.trace import Trace

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), size=pt.Int(1, 9), kind=pt.Choice("a", "b", static=True))
PBT = pt.pbt(SPACE, population=6, interval=5, sync=False, exploit=pt.truncation(0.5))
PARENT = os.getpid()
trace = Trace(Path(sys.argv[1]))
trace.refresh()
history = ordered(trace)


class Edited:
    """An algorithm that decides otherwise for some tasks, and raises an error for one."""

    def __init__(self, *edited, failing=-1):
        self.edited, self.failing = edited, failing

    def ask(self, history):
        asked = PBT.ask(history)
        if any(task.id == self.failing for task in asked):
            raise RuntimeError("on purpose")
        return tuple(dataclasses.replace(task, steps=4) if task.id in self.edited else task for task in asked)


def total(parts):
    """Returns the sum over parts, up to the one in which the algorithm failed."""
    failed = next((index for index, part in enumerate(parts) if part.failed), len(parts))
    parts = parts[: failed + 1]
    first = next((part.difference for part in parts if part.difference), None)
    return sum(part.decisions for part in parts), sum(part.differing for part in parts), parts[-1].failed, first


def found(algorithm, processes, possible=lambda lines: True):
    return parts_of(Decisions(trace, history, algorithm, possible), processes)


def without(id):
    """Returns that the facts of some lines are possible, if a task is not among them."""
    return lambda lines: all(getattr(fact, "id", None) != id for line in lines for fact in line)


def no_process_is_left():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


last = history.n - 1
for algorithm in (PBT, Edited(1), Edited(9, last), Edited(last), Edited(9, failing=14), Edited(failing=0), Edited(failing=last)):
    one = found(algorithm, 1)
    for processes in (2, 3, 7):
        several = found(algorithm, processes)
        assert total(several) == total(one), (algorithm, processes)
        assert no_process_is_left()
for id in (0, 9, last):
    for processes in (1, 2, 3):
        for algorithm in (PBT, Edited(9, failing=4)):
            assert found(algorithm, processes, without(id)) is None and no_process_is_left()

part, fork = Decisions.part, os.fork


def in_children(what):
    """Does something in every child instead of its work."""
    Decisions.part = lambda self, *ends: part(self, *ends) if os.getpid() == PARENT else what()


def stop(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def interrupted(lines):
    raise KeyboardInterrupt


one = total(found(Edited(9, last), 1))
for what in (lambda: stop(signal.SIGKILL), lambda: stop(signal.SIGINT), lambda: 1 / 0, lambda: sys.exit(3)):
    in_children(what)
    assert total(found(Edited(9, last), 3)) == one and no_process_is_left()

in_children(lambda: time.sleep(60))
try:
    found(PBT, 3, interrupted)
except KeyboardInterrupt:
    assert no_process_is_left()
else:
    raise AssertionError("Ctrl-C was lost")


def full():
    raise BlockingIOError("no more processes")


Decisions.part, os.fork = part, full
assert total(found(Edited(9, last), 3)) == one and no_process_is_left()
