"""B10, B11, B12, F7: what a machine may run out of, how slow it may be, and what must not be written to it."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import poptrain as pt
from poptrain.cli import main
from poptrain.core import clock
from poptrain.core.errors import RunBusy, Suspended
from poptrain.engine import watch
from poptrain.executors.command import form
from poptrain.log.disk import FS
from poptrain.log.reader import read

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


def experiment(steps, **options):
    return pt.Experiment(pt.pbt(SPACE, population=4, interval=1), pt.testing.quadratic, stop=pt.steps(steps), **options)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def few_files():
    """Returns a function that allows this process n more open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def allow(more):
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        taken = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
        free = [number for number in range(len(taken) + more + 1) if number not in taken]  # the limit is one of numbers
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], before[1]))

    yield allow
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# -- files and names --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files of a process are counted in /proc")
def test_b10_a_long_run_leaves_no_file_open(folder, few_files):
    pt.run(experiment(2), directory="first", progress=False)  # imports what it needs
    before = descriptors()
    few_files(6)
    run = pt.run(experiment(60), directory="größe ключ 'x' $y", progress=False)
    assert run.record.finished and len(run.history) == 240
    assert descriptors() <= before + 1  # the pipe of a thread that is about to end
    assert main(["verify", "größe ключ 'x' $y", "--log-only"]) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files of a process are counted in /proc")
def test_b10_too_few_files_for_workers_suspend_the_run_with_a_sentence(folder, few_files):
    workers = pt.executors.Processes(slots=2)
    pt.run(experiment(4, executor=workers), progress=False)  # imports what it needs
    open_before = descriptors()
    for begun in (False, True):
        for more in range(14):  # from none at all, through the log and its lock, to nearly all pipes of the workers
            few_files(more)
            with pytest.raises(Suspended, match=r"Too many open files: this process may not have more.*`ulimit -n` files"):
                pt.run(experiment(4, executor=workers), directory="r" if begun else f"{more}", progress=False)
    few_files(200)
    gc.collect()
    assert descriptors() <= open_before + 8  # multiprocessing leaves two of a worker whose start was refused half way
    assert pt.run(experiment(4, executor=workers), directory="r", progress=False).record.finished


def test_b10_too_few_files_to_read_a_run_name_the_limit(folder, few_files):
    pt.run(experiment(4), directory="r", progress=False)
    few_files(0)
    with pytest.raises(pt.errors.Unreadable, match=r"Too many open files\. Allow this process more open files \(`ulimit -n`\)"):
        pt.open_run("r")


@pytest.mark.parametrize("executor", ["inline", pt.executors.Processes(slots=2)])
@pytest.mark.parametrize("granted", range(3))
def test_b10_no_more_threads_suspend_a_run_and_leave_nothing_behind(folder, monkeypatch, executor, granted):
    expected = pt.run(experiment(4, executor=executor), progress=False).best.score
    threads, handler = threading.active_count(), signal.getsignal(signal.SIGINT)
    left = iter(range(granted))

    def start(thread, before=threading.Thread.start):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")  # in the words of Python
        before(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        try:
            pt.run(experiment(4, executor=executor), directory="r", progress=False)
        except Suspended as error:
            assert "No more threads: this process may not have more" in str(error)
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:  # those that are about to end
        time.sleep(0.01)
    assert threading.active_count() <= threads and signal.getsignal(signal.SIGINT) is handler
    assert not multiprocessing.active_children()
    assert pt.run(experiment(4, executor=executor), directory="r", progress=False).best.score == expected


PROGRAM = """import json, os, sys
if os.path.exists("full"): sys.exit("cannot write")
open(sys.argv[1] + "/state", "a").write(".")
print(json.dumps({"score": float(sys.argv[2])}))"""


@pytest.fixture
def by_command(folder):
    """An experiment whose members are trained by a command."""
    (folder / "train.py").write_text(PROGRAM)
    trainable = pt.command(f"{sys.executable} -S train.py {{checkpoint}} {{lr}}")
    return pt.Experiment(pt.pbt(SPACE, population=4, interval=1), trainable, stop=pt.steps(3))


def nothing_failed_or_left(run):
    left = list(Path(tempfile.gettempdir()).glob(f"{form.PREFIX}{os.getpid()}-*"))
    return all(run.history.result(task).healthy for task in range(12)) and not left


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files of a process are counted in /proc")
def test_b10_too_few_files_for_a_command_suspend_the_run_and_no_member_fails(by_command, few_files):
    expected = pt.run(by_command, progress=False).best.score
    for more in range(0, 10, 3):
        few_files(more)
        with pytest.raises(Suspended, match="Too many open files"):
            pt.run(by_command, directory="r", progress=False)
    few_files(200)
    run = pt.run(by_command, directory="r", progress=False)
    assert run.best.score == expected and nothing_failed_or_left(run)


def test_b10_a_full_temporary_directory_suspends_a_run_of_commands_and_no_member_fails(by_command, monkeypatch):
    expected = pt.run(by_command, progress=False).best.score
    for granted in (0, 1, 2):  # working directories, before the disk is full
        left = iter(range(granted))

        def new_directory(left=left, before=form.new_directory):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp")
            return before()

        with monkeypatch.context() as patched, pytest.raises(Suspended, match="No space left on device: .* set TMPDIR"):
            patched.setattr(form, "new_directory", new_directory)
            pt.run(by_command, directory="r", progress=False)
    Path("full").write_text("")
    with monkeypatch.context() as patched, pytest.raises(Suspended, match="0 bytes free; free some space"):
        patched.setattr(FS, "free", lambda self, path: 0)  # the program fails, and there is no room
        pt.run(by_command, directory="r", progress=False)
    Path("full").unlink()
    run = pt.run(by_command, directory="r", progress=False)
    assert run.best.score == expected and nothing_failed_or_left(run)


@pytest.mark.parametrize("name", ["x" * 256, "runs/" + "ж" * 128, "x" * 300 + "/r"])
def test_b10_a_name_that_no_disk_takes_is_refused_in_a_sentence(folder, name):
    with pytest.raises(pt.UsageError, match=r"has \d{3} bytes, but a name has at most 255"):
        pt.run(experiment(4), directory=name, progress=False)
    assert list(folder.iterdir()) == []
    pt.run(experiment(1), directory=name.replace("/r", "")[:5] + "y" * 250, progress=False)


# -- a slow disk --------------------------------------------------------------------------------------------------------


def test_b11_a_disk_that_is_slow_is_announced_while_the_run_waits_for_it():
    said = watch.Watch(lambda text: None)
    with clock.use(clock.FakeClock()) as time:
        assert said.disk() == ""
        with said.writing:
            time.advance(4.9)
            assert said.disk() == ""
            time.advance(1.1)
            assert said.disk().startswith("the disk has been storing a line of the log for 6 s, and the run waits")
            assert said.disk() == ""  # once, and again after twice the time
            time.advance(7)
            assert "for 13 s" in said.disk()
        assert said.disk() == ""
        with said.writing:
            time.advance(1)
            assert said.disk() == ""


def test_b11_a_run_on_a_slow_disk_says_so_and_ends_the_same(folder, monkeypatch, capsys):
    expected = pt.run(experiment(5), progress=False).best.score
    monkeypatch.setattr(watch, "PERIOD", 0.02)
    monkeypatch.setattr(watch, "SLOW", 0.1)
    sync, slow = FS.sync, []

    def sluggish(self, fd, path):
        if len(read(path.parent).lines) == 4 and not slow:
            slow.append(path)
            time.sleep(0.3)
        sync(self, fd, path)

    monkeypatch.setattr(FS, "sync", sluggish)
    assert pt.run(experiment(5), directory="r", progress=False).best.score == expected
    assert slow and "the disk has been storing a line of the log" in capsys.readouterr().err


# -- network disks --------------------------------------------------------------------------------------------------------


def test_b12_under_a_lock_that_lies_the_run_that_was_taken_over_stops_and_the_other_ends(folder, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda fd, how: None)  # as on some network disks
    second = []

    def train(carry, hparams, steps, seed):
        if (carry or 0) == 2 and not second:
            second.append(None)
            second[0] = pt.run(theirs, directory="r", progress=False)
        return (carry or 0) + steps, {"score": hparams["lr"] + (carry or 0)}

    theirs = pt.Experiment(pt.pbt(SPACE, population=4, interval=1), train, stop=pt.steps(4))
    with pytest.raises(RunBusy, match="another process wrote to .*, and this one stops"):
        pt.run(theirs, directory="r", progress=False)
    assert second[0].record.finished and pt.verify("r", theirs).ok
    assert len(read(Path("r")).history().finals()) == 4


def test_b12_a_stale_handle_suspends_and_the_run_goes_on(folder, monkeypatch):
    expected = pt.run(experiment(4), progress=False).best.score

    def stale(self, name, path):
        if name == "append" and path.suffix == ".jsonl" and path.stat().st_size > 3000:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as network:
        network.setattr(FS, "_op", stale)
        with pytest.raises(Suspended, match=f"{os.strerror(errno.ESTALE)}: cannot write .*log-000001.jsonl"):
            pt.run(experiment(4), directory="r", progress=False)
    assert pt.run(experiment(4), directory="r", progress=False).best.score == expected


# -- secrets ---------------------------------------------------------------------------------------------------------------

SCRIPT = """
import os

import poptrain as pt

API_KEY = os.environ["THE_API_KEY"]
SETTINGS = {"token": API_KEY}


def key(default="CANARY-default"):
    return API_KEY + SETTINGS["token"] + default


def train(carry, hparams, steps, seed):
    return (carry or 0) + steps, {"score": hparams["lr"] + len(key())}


experiment = pt.Experiment(pt.pbt(pt.Space(lr=pt.Uniform(0, 1)), population=3, interval=2), train, stop=pt.steps(4))
if __name__ == "__main__":
    pt.run(EXPERIMENT, directory="r", progress=False)
"""


def leaked(directory):
    return [path for path in Path(directory).rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]


@pytest.mark.parametrize("call", ["experiment", "experiment.algorithm, train, stop=pt.steps(4)"])
def test_f7_no_secret_of_the_environment_the_code_or_the_command_line_is_in_the_run_directory(folder, call):
    Path("script.py").write_text(SCRIPT.replace("EXPERIMENT", call))
    words = ["--api-key", "CANARY-1", "--password=CANARY-2", "wandb.api_key=CANARY-3", "--hf-token", "CANARY-0123456789abcd"]
    environment = {**os.environ, "THE_API_KEY": "CANARY-environment"}
    subprocess.run([sys.executable, "script.py", *words, "--lr", "1"], env=environment, check=True)
    assert leaked("r") == []
    assert read(Path("r")).run["command"]["line"].endswith("--hf-token '…' --lr 1")


def test_f7_a_secret_in_args_is_refused_and_one_in_the_line_of_a_command_is_warned_of(folder, capsys):
    Path("script.py").write_text(SCRIPT)
    assert main(["run", "script.py", "--args", "--lr 1 --api-key CANARY-1", "--dir", "r"]) == 2
    said = capsys.readouterr().err
    assert "--api-key holds a secret, which the log would keep" in said and "CANARY" not in said and not Path("r").exists()
    with pytest.warns(UserWarning, match="--password holds a secret") as found:
        pt.command("python train.py --lr {lr} --password CANARY-2 --out {checkpoint}")
    assert "CANARY" not in str(found[0].message)


def test_f7_the_environment_of_a_command_is_not_in_the_run_directory(folder):
    Path("train.py").write_text(
        "import os, sys\n"
        "open(os.path.join(sys.argv[2], 'state'), 'a').write('.')\n"
        "print('{\"score\": %d}' % (len(os.environ['API_KEY']) * float(sys.argv[1])))\n"
    )
    program = pt.command("python train.py {lr} {checkpoint}", env={"API_KEY": "CANARY-1"})
    pt.run(pt.pbt(SPACE, population=2, interval=1), program, stop=pt.steps(2), directory="r", progress=False)
    assert leaked("r") == []
