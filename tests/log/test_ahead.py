"""A long log that several processes decode is the log that one process reads."""

import os
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_log import result, task

from poptrain.core import Lost
from poptrain.core.errors import PoptrainError
from poptrain.core.forks import Fork
from poptrain.log import ahead
from poptrain.log.ahead import MOST, Ahead, _decode, shares_of
from poptrain.log.finding import segment_name
from poptrain.log.reader import Record, read
from poptrain.log.writer import Log


def make(directory, seed, tasks=120):
    """Writes a log of many small files, with everything that makes a reader decode a line alone."""
    random_ = random.Random(seed)
    with Log.create(directory, {"seed": 0, "mode": "max"}, durable=False) as log:
        log.segment_bytes = 6_000
        for id in range(0, tasks, 2):
            odd = random_.random()
            tags = {"why": "odd"} if odd < 0.1 else {"why": "größer"} if odd < 0.2 else {}
            log.append([task(each, member=each % 4, parent=each - 4 if id > 3 else None, tags=tags) for each in (id, id + 1)])
            log.append([result(each, score=random_.random() if odd < 0.9 else float("nan")) for each in (id + 1, id)])
            if odd > 0.9:
                log.note("gc", ids=[f"t{id}"])
            if 0.8 < odd < 0.85:
                log.append(Lost(id))
    return log


@contextmanager
def forked_at_once(works):
    """Does the work of other processes here, before the reader goes on; each has a pipe that holds what was written."""
    children = []
    for work in works:
        read_end, write_end = os.pipe()
        work(write_end)
        os.close(write_end)
        children.append(Fork(0, read_end))
    yield children
    for child in children:
        os.close(child.pipe)


@pytest.fixture
def together(monkeypatch):
    """Makes every log with a second file one that several processes read, here one after another."""
    monkeypatch.setattr(ahead, "WORTH", 0)
    monkeypatch.setattr(ahead, "FEW", 0)
    monkeypatch.setattr(ahead, "cpus", lambda: 3)
    monkeypatch.setattr(ahead, "can_fork", lambda: True)
    monkeypatch.setattr(ahead, "forks", forked_at_once)


def alone(directory):
    """Returns the record that one process reads, or why there is none."""
    found = Record(directory)
    found._reading_ahead = forked_by_none
    return outcome(found)


@contextmanager
def forked_by_none():
    yield Ahead()


def outcome(record):
    try:
        record.refresh()
    except PoptrainError as error:
        return str(error)
    at = (record.seq, record.epoch, record.crc, record.segment, record.offset, record.number, record.torn, record.elapsed)
    history = record.history()
    columns = [history.column(name).tolist() for name in ("member", "parent", "prev", "step", "issued", "told", "lost")]
    return repr([at, list(record.times), record.events, columns, history.scores.tolist(), history.table(), list(record.lines)])


def taken(monkeypatch):
    """Returns a list that gets the number of lines of everything that other processes found and the reader took."""
    lines, take = [], Record._take_found

    def counted(self, data, at):
        before = self.seq
        found = take(self, data, at)
        lines.append(self.seq - before)
        return found

    monkeypatch.setattr(Record, "_take_found", counted)
    return lines


@pytest.mark.parametrize("seed", range(8))
def test_a_log_that_several_processes_decode_is_the_log_that_one_reads(tmp_path, together, monkeypatch, seed):
    make(tmp_path, seed)
    lines = taken(monkeypatch)
    expected = alone(tmp_path)
    assert sum(lines) == 0
    assert outcome(Record(tmp_path)) == expected
    assert sum(lines) > 50


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_found_where_one_process_finds_it(tmp_path, together, seed):
    make(tmp_path, seed)
    random_ = random.Random(seed)
    path = random_.choice(sorted(tmp_path.glob("log-*.jsonl"))[1:])
    data = bytearray(path.read_bytes())
    at = random_.randrange(len(data))
    if seed % 4 == 0:
        del data[at:]
    elif seed % 4 == 1:
        lines = bytes(data).splitlines(keepends=True)
        del lines[random_.randrange(len(lines))]
        data = b"".join(lines)
    else:
        data[at] ^= 1 << random_.randrange(7)
    path.write_bytes(data)
    assert outcome(Record(tmp_path)) == alone(tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_what_a_process_found_in_other_bytes_is_not_used(tmp_path, together, monkeypatch, seed):
    make(tmp_path, seed)
    path = sorted(tmp_path.glob("log-*.jsonl"))[-2]

    @contextmanager
    def then_changed(works):
        with forked_at_once(works) as children:
            path.write_bytes(path.read_bytes().replace(b'"member":1', b'"member":2', 1))
            yield children

    monkeypatch.setattr(ahead, "forks", then_changed)
    found = outcome(Record(tmp_path))
    assert path.name in found and found == alone(tmp_path)


def test_what_a_process_found_after_another_line_is_not_used(tmp_path, together, monkeypatch):
    make(tmp_path / "one", 1)
    make(tmp_path / "other", 2)
    expected, lines = alone(tmp_path / "one"), taken(monkeypatch)
    decode = ahead._decode
    monkeypatch.setattr(ahead, "_decode", lambda fs, home, *rest: decode(fs, tmp_path / "other", *rest))
    assert outcome(Record(tmp_path / "one")) == expected and sum(lines) == 0


@pytest.mark.parametrize("cut", [0, 1, 40, 300, 1000])
def test_a_process_that_dies_costs_only_time(tmp_path, together, monkeypatch, cut):
    make(tmp_path, 3)

    @contextmanager
    def dead(works):
        with forked_at_once(works) as children:
            shorter = []
            for child in children:
                said = os.read(child.pipe, 1 << 16)[:cut]
                read_end, write_end = os.pipe()
                os.write(write_end, said)
                os.close(write_end)
                shorter.append(Fork(0, read_end))
            yield shorter
            for child in shorter:
                os.close(child.pipe)

    monkeypatch.setattr(ahead, "forks", dead)
    assert outcome(Record(tmp_path)) == alone(tmp_path)


def test_a_memory_that_holds_less_than_was_promised_is_not_used(tmp_path, together, monkeypatch):
    make(tmp_path, 3)
    lines, decode = taken(monkeypatch), ahead._decode

    def cut(*about):
        decode(*about)
        os.ftruncate(about[-2], os.fstat(about[-2]).st_size - 8)

    monkeypatch.setattr(ahead, "_decode", cut)
    assert outcome(Record(tmp_path)) == alone(tmp_path)
    some = sum(lines)
    monkeypatch.setattr(ahead, "_decode", decode)
    outcome(Record(tmp_path))
    assert 0 < some < sum(lines) - some


def test_a_log_that_grows_while_it_is_read_is_read_on(tmp_path, together):
    make(tmp_path, 4)
    record = read(tmp_path)
    with Log.open(tmp_path) as log:
        log.segment_bytes = 6_000
        n = record.history().n
        for id in range(n, n + 60):
            log.append([task(id, member=id % 4)])
            log.append([result(id)])
    assert outcome(record) == alone(tmp_path)


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 64])
def test_each_file_is_read_once_and_the_first_by_this_process(processes):
    for files in (range(1, 2), range(3, 5), range(1, 8), range(1, 101)):
        shares = shares_of(files, processes)
        given = sorted(file for share in shares for file in share)
        assert len(shares) <= min(processes, MOST) - 1 and all(share == sorted(share) for share in shares)
        assert given == list(files)[len(files) - len(given) :] and files[0] not in given
    assert len(given) == {1: 0, 2: 63, 3: 85}.get(processes, 97)


def test_several_processes_and_none_is_left(tmp_path):
    make(tmp_path, 5)
    program = Path(__file__).with_name("in_several_processes.py")
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["ok"], done.stdout + done.stderr


def test_a_file_that_does_not_begin_after_a_line_is_left_alone(tmp_path):
    make(tmp_path, 6)
    (tmp_path / segment_name(1)).write_bytes(b"x")
    read_end, write_end = os.pipe()
    memory = os.memfd_create("test")
    _decode(ahead.default, tmp_path, 1 << 20, [2], memory, write_end)
    os.close(write_end)
    assert os.read(read_end, 100) == b"[2, null]\n"
    os.close(read_end)
    os.close(memory)
