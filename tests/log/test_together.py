"""Several waits of the disk at the same time."""

import threading
import time

import pytest

from poptrain.log.disk import FEW, FS
from poptrain.log.together import together


def test_all_calls_are_made_and_they_overlap():
    gate, done = threading.Barrier(4, timeout=10), []

    def call(number):
        gate.wait()  # passes only if four calls wait at the same time
        done.append(number)

    together([lambda number=number: call(number) for number in range(8)], at_a_time=4)
    assert sorted(done) == list(range(8))


def test_one_at_a_time_keeps_the_order_and_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread was started"))
    done = []
    together([lambda number=number: done.append(number) for number in range(5)], at_a_time=1)
    assert done == list(range(5))


def test_where_no_thread_can_be_started_the_calls_are_made_all_the_same(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done = []
    together([lambda number=number: done.append(number) for number in range(5)], at_a_time=4)
    assert sorted(done) == list(range(5))


def test_the_first_error_is_raised_after_the_calls_that_were_begun():
    ended = []

    def slow():
        time.sleep(0.05)
        ended.append(True)

    def bad():
        raise OSError("bad disk")

    with pytest.raises(OSError, match="bad disk"):
        together([slow, bad, *[slow] * 100], at_a_time=2)
    assert 1 <= len(ended) < 100


def test_a_flush_makes_files_and_folders_durable_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(FS, "at_a_time", 4)
    gate = threading.Barrier(4, timeout=10)
    monkeypatch.setattr("os.fsync", lambda fd: gate.wait())  # passes only if four wait at the same time
    files = [tmp_path / str(number) for number in range(FEW + 3)]
    for file in files:
        file.touch()
    FS().flush(files, [tmp_path])
    assert gate.n_waiting == 0 and not gate.broken


def test_a_flush_names_the_file_that_could_not_be_made_durable(tmp_path):
    class Broken(FS):
        def _op(self, name, path):
            if path.name == "7":
                raise OSError(5, "Input/output error")

    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"x")
    with pytest.raises(Exception, match=r"Input/output error: cannot write .*/7 "):
        Broken().flush([tmp_path / str(number) for number in range(20)], [tmp_path])


def test_a_few_are_made_durable_one_after_another_without_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread was started"))
    files = [tmp_path / str(number) for number in range(FEW - 1)]
    for file in files:
        file.write_bytes(b"x")
    done = []
    monkeypatch.setattr("os.fsync", done.append)
    FS().flush(files, [tmp_path])
    assert len(done) == FEW
