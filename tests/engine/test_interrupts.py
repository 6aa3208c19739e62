"""Interrupts: a run says what it waits for and how it is continued; at a prompt it is returned and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_run import facts

import poptrain as pt
from poptrain.core import commands
from poptrain.core.errors import Suspended
from poptrain.testing import Quadratic, quadratic

PBT = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5)
SCRIPT = """
import sys, time
import poptrain as pt

def train(carry, hp, steps, seed):
    print("training", flush=True)
    open(f"begun-{seed}", "w").close()
    time.sleep(60)
    return 0, {"score": 1.0}

if __name__ == "__main__":
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    pt.run(pt.pbt(space, population=2, interval=5), train, stop=pt.steps(10), executor="processes", directory="runs/a b")
"""


def activated():
    """Returns the variables of a shell in which the environment of this Python is active."""
    return os.environ | {"PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))}


def test_a_script_says_what_it_waits_for_and_how_it_is_continued_without_a_traceback(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "train.py", "--lr", "3"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=activated()) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("begun-*")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest = process.stderr.read()
        process.wait(timeout=30)
    assert first.startswith("interrupted: finishing running tasks (member 0 for ")
    assert first.endswith("; at most 30 s); press Ctrl-C again to stop now\n")
    assert rest == "interrupted by SIGINT; continue with the same command: python train.py --lr 3\n"
    assert process.returncode == 130 and time.monotonic() - began < 10
    assert pt.views.status(pt.open_run(tmp_path / "runs" / "a b").record).state == "suspended"


class Interrupting:
    """Trains, and presses Ctrl-C in the middle of one call."""

    def __init__(self, call, trainable=quadratic):
        self.call, self.trainable, self.calls = call, trainable, 0

    def __call__(self, carry, hp, steps, seed):
        self.calls += 1
        if self.calls == self.call:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return self.trainable(carry, hp, steps, seed)


@pytest.fixture
def prompt(monkeypatch):
    for module in ("loop", "again"):
        monkeypatch.setattr(f"poptrain.engine.{module}.interactive", lambda: True)


def run(trainable, directory=None, **options):
    return pt.run(PBT, trainable, stop=pt.steps(25), directory=directory, progress=False, **options)


@pytest.mark.parametrize("kept", [True, False], ids=["directory", "memory"])
def test_at_a_prompt_an_interrupted_run_is_returned_and_the_same_call_continues_it(prompt, kept, tmp_path, capfd):
    directory = tmp_path / "r" if kept else None
    train = Interrupting(7)
    partial = run(train, directory)
    assert len(partial.history.table()["task"]) == 8 and partial.best.score == max(partial.history.table()["score"][:7])
    assert partial.best.load()["steps"] == partial.best.step
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("interrupted: finishing running tasks (member 2 for ") and "at most 30 s" in first
    assert second == "interrupted by SIGINT; make the same call again to continue"
    whole = run(train, directory)
    assert facts(whole) == facts(run(quadratic)) and train.calls == 20, "the running task was finished, and nothing is repeated"


def test_what_is_kept_in_memory_belongs_to_one_experiment(prompt):
    partial = run(Interrupting(7))
    assert not partial.record.finished
    other = pt.run(PBT, Interrupting(0), stop=pt.steps(25), progress=False, seed=1)
    assert other.record.epoch == 1 and other.record.finished
    assert run(Interrupting(0)).record.epoch == 2, "the class and its code are the same"
    assert run(Interrupting(0)).record.epoch == 1, "a run is continued once"


def test_files_of_a_class_in_memory_are_continued_too(prompt, monkeypatch):
    calls = []

    class Pressed(Quadratic):
        def train(self, hp, steps):
            calls.append(steps)
            if len(calls) == 7:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            return super().train(hp, steps)

    assert not run(Pressed).record.finished
    assert facts(run(Pressed)) == facts(run(Quadratic))


def test_a_script_gets_the_error_and_a_run_in_memory_says_that_it_is_lost():
    with pytest.raises(Suspended, match="interrupted by SIGINT; nothing was kept, because no directory was given") as caught:
        run(Interrupting(3))
    assert caught.value.exit_code == 130 and caught.value.asked


def test_the_line_that_continues_names_resume_only_for_runs_that_it_can_continue(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", activated()["PATH"])
    from poptrain.engine.again import again
    from poptrain.log.reader import Record

    record = Record(tmp_path)
    record.run = {"file": {"name": "../experiment.py", "sha256": "0", "options": {}}}
    assert again(record, Path("runs/a b")) == "continue with: poptrain resume 'runs/a b'"
    record.run = {}
    assert "resume" not in again(record, "runs/first")


def test_c5_a_step_inline_has_the_promised_time_and_not_more(prompt, monkeypatch, capfd):
    monkeypatch.setattr("poptrain.engine.loop.GRACE_SECONDS", 0.4)
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(seed)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        return 0, {"score": 1.0}

    began = time.monotonic()
    partial = run(train)
    assert time.monotonic() - began < 10 and len(calls) == 2
    assert partial.history.result(0) is not None and partial.history.result(1) is None


HANGING = """
import hashlib
import poptrain as pt

def train(carry, hp, steps, seed):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes in C: no handler of Python can run
    return 0, {"score": 1.0}

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
pt.run(pt.pbt(space, population=2, interval=5), train, stop=pt.steps(10), directory="r", progress=False)
"""


def test_c5_a_second_signal_ends_a_step_that_hangs_in_c_within_two_seconds(tmp_path):
    (tmp_path / "train.py").write_text(HANGING)
    command = [sys.executable, "train.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        began = time.monotonic()
        said = process.stderr.read()
        assert process.wait(timeout=30) == 143 and time.monotonic() - began < 10  # the machine may be busy
    last = said.splitlines()[-1]  # the first signal may have been answered, if it came before the step hung
    assert last.startswith("stopped at once; nothing that was logged is lost; continue with the same command")
    assert not pt.open_run(tmp_path / "r").record.finished


@pytest.mark.heavy
def test_c5_a_second_signal_ends_a_run_whose_workers_were_stopped_within_two_seconds(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    with subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        children = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == process.pid]
        workers = [int(path.name) for path in children if "spawn_main" in (path / "cmdline").read_text()]
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("interrupted: finishing running tasks (member 0 for ")
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.wait(timeout=30)
        assert process.returncode == 130 and time.monotonic() - began < 10  # the machine may be busy
    assert pt.views.status(pt.open_run(tmp_path / "runs" / "a b").record).state == "suspended"
    assert not any(_parent(Path(f"/proc/{worker}/stat")) for worker in workers), "no worker is left"


def _parent(path):
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[1])


@pytest.mark.parametrize("error", [ValueError, None], ids=["another error", "no error"])
def test_an_interrupt_that_other_code_catches_is_no_failure_of_a_member(tmp_path, error):
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(steps)
        if len(calls) == 7:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except BaseException:
                if error is not None:
                    raise error("an error of its own, as JAX makes one of what a callback raises") from None
        return quadratic(carry, hp, steps, seed)

    with pytest.raises(Suspended, match="interrupted by SIGINT"):
        run(train, tmp_path / "r")
    assert facts(run(train, tmp_path / "r")) == facts(run(quadratic))


def test_a_signal_that_is_sent_to_the_process_and_to_its_group_is_one_signal(tmp_path, monkeypatch):
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(steps)
        if len(calls) == 7:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
        return quadratic(carry, hp, steps, seed)

    with pytest.raises(Suspended, match="interrupted by SIGTERM"):
        run(train, tmp_path / "r")
    assert len(pt.open_run(tmp_path / "r").record.history().oks) >= 7 and len(calls) == 7
    assert pt.open_run(tmp_path / "r").history.result(6) is not None, "the running task was finished"


def programs(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh")
        (folder / name).chmod(0o755)
    return folder


def test_commands_that_are_printed_work_when_they_are_pasted(tmp_path, monkeypatch):
    own, other = programs(tmp_path / "my env" / "bin", "python", "poptrain"), programs(tmp_path / "other", "python", "poptrain")
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(own))
    assert (commands.python(), commands.poptrain("resume", "runs/a b")) == ("python", "poptrain resume 'runs/a b'")
    for path in (other, tmp_path / "nothing"):
        monkeypatch.setenv("PATH", str(path))
        assert commands.python() == "'my env/bin/python'", "from the working directory, because that is shorter"
        assert commands.poptrain("resume", "r") == "'my env/bin/python' -m poptrain resume r"
        assert commands.runnable("python train.py --lr 3") == "'my env/bin/python' train.py --lr 3"
        assert commands.python(elsewhere=True) == f"'{own / 'python'}'"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "python").symlink_to(own / "python")
    monkeypatch.setenv("PATH", str(tmp_path / "link"))
    assert commands.python() != "python", "a link from another environment has other packages"
