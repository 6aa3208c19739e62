"""The log: what was acknowledged stays, what was damaged is found, and there is one writer."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from math import copysign, inf, isnan, nan
from zlib import crc32

import pytest
from faulty_fs import Crash, FaultyFS
from hypothesis import given, settings
from hypothesis import strategies as st
from often import often

from poptrain.core import Forecast, Lost, Result, Task, clock
from poptrain.core.counting import counted
from poptrain.core.errors import LogDamaged, RunBusy, Suspended, UsageError
from poptrain.log.codec import decode_facts, decode_line, encode_facts, encode_line
from poptrain.log.disk import FS, default
from poptrain.log.finding import segment_name
from poptrain.log.reader import LINE
from poptrain.log.writer import Log, MemoryLog, exists, read


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch):
    """What is kept for a full disk is small here, so that a log has a size that can be reasoned about."""
    monkeypatch.setattr("poptrain.log.writer._RESERVE", 100)


RUN = {"seed": 7, "mode": "max", "budget": 20}


def task(id: int, **other) -> Task:
    about = {"id": id, "member": id % 4, "hparams": {"lr": 0.1 / (id + 1)}, "parent": None, "steps": 5, "seed": 99 + id}
    return Task(**{**about, **other})


def result(id: int, score: float = 0.5, **other) -> Result:
    about = {"task": id, "score": score, "step": 5, "curve": ((5, score),), "checkpoint": f"t{id}:abc"}
    return Result(**{**about, **other})


def facts(pairs: int) -> list:
    return [line for id in range(pairs) for line in ([task(id)], [result(id, id / 7)])]


def make(directory, pairs: int = 4, **options) -> list:
    """Writes a log and returns its lines of facts."""
    with Log.create(directory, RUN, **options) as log:
        for line in facts(pairs):
            log.append(line)
        return list(log.record.lines)


def segment(directory, number: int = 1):
    return directory / segment_name(number)


# -- what is written comes back --------------------------------------------------------------------------------------

floats = st.floats(allow_nan=True, allow_infinity=True)
values = st.none() | st.booleans() | st.integers() | floats | st.text()
tables = st.dictionaries(st.text() | st.just("$f"), values, max_size=3)
digits = st.integers(0, 9)
forecasts = st.builds(
    Forecast,
    st.sampled_from(["model", "redraw", "bandit"]),
    *[st.none() | floats] * 3,
    rows=st.none() | digits,
    fallback=st.none() | st.text(),
)
tasks = st.builds(
    Task,
    id=digits,
    member=digits,
    hparams=tables,
    parent=st.none() | digits,
    steps=digits,
    seed=st.integers(0, 2**32),
    evals=st.integers(1, 9),
    teacher=st.none() | digits,
    progress=st.none() | st.tuples(floats, floats),
    tags=st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
    note=tables,
    seconds=st.none() | floats,
    role=st.sampled_from(["", "control", "evaluator"]),
    donor=st.none() | digits,
    forecast=st.none() | forecasts,
)
results = st.builds(
    Result,
    task=digits,
    score=floats,
    step=digits,
    curve=st.lists(st.tuples(st.integers(), floats), max_size=3).map(tuple),
    returns=st.lists(floats, max_size=3).map(tuple),
    metrics=st.dictionaries(st.text(), floats, max_size=3),
    checkpoint=st.none() | st.text(),
    error=st.none() | st.text(),
    seconds=st.floats(0, 1e9),
    saving=st.floats(0, 1e9),
    kind=st.sampled_from(["ok", "failed", "diverged", "damaged", "ended"]),
)
lines = st.lists(tasks, min_size=1, max_size=3) | st.lists(results, min_size=1, max_size=3) | st.just([Lost(3)])


@settings(max_examples=often(300), deadline=None)
@given(lines.map(tuple), st.integers(0, 2**32 - 1))
def test_facts_come_back_exactly_and_every_line_is_strict_json(line, crc):
    type, data = encode_facts(line)
    text, after = encode_line(type, data, seq=3, epoch=1, wall=clock.utc(0.0), crc=crc)
    entry = decode_line(text[:-1], crc)
    assert repr(decode_facts(entry.type, entry.data)) == repr(line)  # repr: NaN is NaN, 0.0 not -0.0, 1 not 1.0
    assert (entry.seq, entry.epoch, entry.crc) == (3, 1, after)
    assert text.isascii() and text.count(b"\n") == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551616",
        "-9223372036854775809",
        "0.1234567890123456789",
        "-0.0",
        "5e-324",
        "1e400",
        "NaN",
        '"\\ud800"',
        "[" * 500 + "]" * 500,
    ],
)
def test_the_fast_decoder_returns_what_that_of_python_returns(text, monkeypatch):
    pytest.importorskip("msgspec")
    head, crc = encode_line("x", 0, seq=0, epoch=0, wall="", crc=0)
    body = head[:-17].replace(b'"d":0', b'"d":' + text.encode()) + b"}"
    line = body[:-1] + b',"c":"%08x"}' % crc32(body)
    fast = decode_line(line, 0)
    monkeypatch.setattr("poptrain.log.codec._DECODE_FAST", None)
    assert repr(fast) == repr(decode_line(line, 0)) and repr(fast.data) == repr(json.loads(text))


def test_a_result_with_two_metrics_takes_at_most_400_bytes():
    fact = result(
        123456, -0.12345678901234567, step=10_000_000, curve=((10_000_000, -0.12345678901234567),),
        metrics={"loss": 0.12345678901234567, "accuracy": 0.98765432109876543}, seconds=123.45678901234,
        checkpoint="m003-t123456-12.1:0123456789abcdef",
    )  # fmt: skip
    text, _ = encode_line(*encode_facts((fact,)), seq=1_000_000, epoch=12, wall=clock.utc(), crc=0)
    assert len(text) <= 400


def test_numpy_scalars_are_written_as_their_exact_values():
    import numpy as np

    metrics = {"a": np.float32(0.1), "b": np.float64(nan)}
    fact = result(np.int64(1), np.float64(0.1), metrics=metrics, returns=np.array([1.0, inf]))
    text, _ = encode_line(*encode_facts((fact,)), seq=0, epoch=0, wall=clock.utc(), crc=0)
    back = decode_facts("results", decode_line(text[:-1], 0).data)[0]
    assert back.metrics["a"] == float(np.float32(0.1)) and isnan(back.metrics["b"]) and back.returns == (1.0, inf)


def test_a_log_is_read_as_it_was_written(tmp_path):
    wrote = make(tmp_path / "a" / "b", 5)
    record = read(tmp_path / "a" / "b")
    assert record.lines == wrote and record.epoch == 1 and record.run == {**RUN, "durable": True}
    assert len(record.times) == len(wrote) and not record.torn
    assert record.history().lines == 10 and record.history().budget == 20 and record.history(5).budget == 5
    assert record.events[0][0] == "open" and record.events[0][1]["pid"] == os.getpid()


@pytest.mark.parametrize("score", [nan, inf, -inf, -0.0, 5e-324, 1.7976931348623157e308])
def test_odd_scores_survive_on_disk(tmp_path, score):
    with Log.create(tmp_path, RUN, durable=False) as log:
        log.append([task(0)])
        log.append([result(0, score, returns=(score,), metrics={"x": score})])
    back = read(tmp_path).lines[1][0]
    for value in (back.score, back.curve[0][1], back.returns[0], back.metrics["x"]):
        assert repr(value) == repr(score) and copysign(1, value) == copysign(1, score)


def test_the_log_has_the_users_sign_and_the_history_maximises(tmp_path):
    for directory, mode, sign in ((tmp_path / "max", "max", 1), (tmp_path / "min", "min", -1)):
        with Log.create(directory, {"seed": 1, "mode": mode}) as log:
            for line in ([task(0), task(1)], [result(0, 3.0, returns=(2.0, 4.0)), result(1, 5.0)]):
                log.append(line)
        record = read(directory)
        assert record.lines[1][0].score == 3.0 and '"score":3.0' in segment(directory).read_text()
        history = record.history()
        assert history.score(0) == sign * 3.0 and history.result(0).returns == (sign * 2.0, sign * 4.0)
        assert history.best() == (1 if mode == "max" else 0) and history.table()["score"] == [3.0, 5.0]


def test_a_memory_log_records_the_same(tmp_path):
    memory = MemoryLog(RUN)
    for line in facts(4):
        memory.append(line)
    memory.append(Lost(0))
    memory.note("end", reason="done")
    record = memory.record
    assert record.lines == [*make(tmp_path), (Lost(0),)] and record.finished and record.refresh() == 0
    assert record.history().lines == 9 and memory.epoch == 1 and len(record.times) == 9


def test_administration_states_budget_and_elapsed_time(tmp_path):
    with clock.use(clock.FakeClock()) as fake:
        log = Log.create(tmp_path, RUN)
        fake.advance(10)
        log.append([task(0)])
        assert not log.record.finished and not log.record.suspended
        log.note("suspend", reason="disk full")
        log.close()
        assert read(tmp_path).suspended
        fake.advance(1000)
        log = Log.open(tmp_path)
        assert log.epoch == 2 and not log.record.suspended and log.record.elapsed == 10
        fake.advance(5)
        log.note("budget", budget=40)
        log.append([result(0)])
        log.note("gc", ids=["t0"])
        log.note("end", reason="done")
        log.close()
        record = read(tmp_path)
        assert record.finished and record.elapsed == 15 and record.budget == 40 and record.checkpoints() == []
        assert [type for type, _, _ in record.events] == ["open", "suspend", "open", "budget", "gc", "end"]


# -- versions --------------------------------------------------------------------------------------------------------


def raw_append(directory, entry: dict) -> None:
    record = read(directory)
    text, _ = encode_line("x", None, seq=record.seq, epoch=record.epoch, wall=clock.utc(), crc=record.crc)
    entry = {**json.loads(text), **entry}
    del entry["c"]
    body = json.dumps(entry, separators=(",", ":"))
    from zlib import crc32

    with open(record.path, "a") as file:
        file.write(f'{body[:-1]},"c":"{crc32(body.encode(), record.crc):08x}"}}\n')


def test_a_newer_major_version_is_refused_and_unknown_types_and_fields_are_kept_or_ignored(tmp_path):
    make(tmp_path, 1)
    raw_append(tmp_path, {"t": "poem", "d": {"verse": 1}})
    raw_append(tmp_path, {"t": "tasks", "d": [{**encode_facts((task(1),))[1][0], "mood": "good"}]})
    record = read(tmp_path)
    assert record.events[-1][:2] == ("poem", {"verse": 1}) and record.lines[-1] == (task(1),)
    Log.open(tmp_path).close()
    raw_append(tmp_path, {"v": 3})
    for opener in (read, Log.open):
        with pytest.raises(UsageError, match="newer poptrain.*upgrade"):
            opener(tmp_path)


# -- torn and damaged ------------------------------------------------------------------------------------------------


def test_a_torn_tail_is_cut_at_every_byte_and_nothing_before_it_is_lost(tmp_path):
    origin = tmp_path / "origin"
    wrote = make(origin, 3, durable=False)
    data = segment(origin).read_bytes()
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    tails = [data[last:cut] for cut in range(last, len(data))]
    tails += [b"\0" * 300, b"\xff\xfe garbage", data[last : last + 40] + b"\0" * 99, data[last:-1] + b"\0"]
    tails += [b"garbage\nand more\n", b"\n"]
    for number, tail in enumerate(tails):
        directory = tmp_path / str(number)
        shutil.copytree(origin, directory)
        segment(directory).write_bytes(data[:last] + tail)
        record = read(directory)
        assert record.lines == wrote[:-1] and record.torn == len(tail)
        assert segment(directory).read_bytes() == data[:last] + tail  # a reader writes nothing
        with Log.open(directory) as log:
            assert log.record.lines == wrote[:-1] and log.epoch == 2
            log.append(wrote[-1])
        record = read(directory)
        assert record.lines == wrote and not record.torn
        recovered = [fields for type, fields, _ in record.events if type == "recovered"]
        assert [fields["bytes"] for fields in recovered] == [len(tail)] * bool(tail)
        assert all((directory / fields["file"]).read_bytes() == tail for fields in recovered)


def another(directory):
    shutil.rmtree(directory)
    make(directory, 3)


MEANWHILE = {
    "nothing": lambda directory: None,
    "more": lambda directory: Log.open(directory).close(),
    "torn": lambda directory: segment(directory).open("ab").write(b'{"v":2,"q":'),
    "cut": lambda directory: segment(directory).write_bytes(b"".join(segment(directory).read_bytes().splitlines(True)[:-2])),
    "another run": another,
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_log_that_was_read_before_opens_as_if_it_was_not(tmp_path, meanwhile):
    make(tmp_path / "a", 9)
    before = read(tmp_path / "a")
    MEANWHILE[meanwhile](tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Log.open(tmp_path / "a", before=before) as log, Log.open(tmp_path / "b") as other:
        assert log.record.lines == other.record.lines and log.record.run == other.record.run and log.epoch == other.epoch
        assert (log.record is before) == (meanwhile in ("nothing", "more", "torn"))
        for each in (log, other):
            n = each.record.history().n
            each.append([task(n, member=n)])
    assert read(tmp_path / "a").lines == read(tmp_path / "b").lines == log.record.lines


def test_torn_twice_keeps_both_tails(tmp_path):
    make(tmp_path, 1)
    for tail in (b"first", b"second"):
        with open(segment(tmp_path), "ab") as file:
            file.write(tail)
        Log.open(tmp_path).close()
    assert (tmp_path / "log.torn-2").read_bytes() == b"first" and (tmp_path / "log.torn-3").read_bytes() == b"second"


class OneFile(FS):
    """A directory of one file, in memory, for reading."""

    def __init__(self, name: str):
        self.name, self.data = name, b""

    def list(self, path):
        return [self.name]

    def size(self, file):
        return len(self.data)

    def read(self, path, start=0, limit=-1):
        return self.data[start:]


def test_a_flip_of_any_byte_is_never_taken_for_truth(tmp_path):
    wrote = make(tmp_path, 4, durable=False)  # with `run` and `open`: 10 lines
    path, data = segment(tmp_path), segment(tmp_path).read_bytes()
    assert data.count(b"\n") == 10
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    refused, disk = 0, OneFile(path.name)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= (0x01, 0x20, 0x80, 0xFF)[at % 4]
        disk.data = bytes(changed)
        try:
            record = read(tmp_path, disk)
        except LogDamaged as error:
            refused += 1
            line = data[:at].count(b"\n") + 1
            assert f"line {line} (byte " in str(error) and f"{counted(line - 1, 'line')} before it can be trusted" in str(error)
        else:
            assert record.lines == wrote[:-1] and at >= last  # as good as torn: left out, and kept aside when mended
    assert refused >= last


def test_lines_dropped_doubled_or_swapped_are_found(tmp_path):
    make(tmp_path, 5, durable=False)
    path = segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines) - 1):
        dropped, doubled, swapped = lines[:], lines[:], lines[:]
        del dropped[at]
        doubled.insert(at, lines[at])
        swapped[at : at + 2] = reversed(lines[at : at + 2])
        for damaged in (dropped, doubled, swapped):
            path.write_bytes(b"".join(damaged))
            for opener in (read, Log.open):
                with pytest.raises(LogDamaged, match="can be trusted"):
                    opener(tmp_path)
            assert path.read_bytes() == b"".join(damaged)


# -- segments and followers ------------------------------------------------------------------------------------------


def test_the_chain_goes_on_over_segments_and_a_lost_one_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(Log, "segment_bytes", 700)
    wrote = make(tmp_path, 12)
    names = [name for name in os.listdir(tmp_path) if name.endswith(".jsonl")]
    assert len(names) > 4 and read(tmp_path).lines == wrote
    with Log.open(tmp_path) as log:
        log.append([task(12)])
    assert read(tmp_path).lines == [*wrote, (task(12),)]
    size = segment(tmp_path).stat().st_size
    with open(segment(tmp_path), "ab") as file:
        file.write(b"torn")  # not at the end of the log: no crash leaves that
    with pytest.raises(LogDamaged, match=segment_name(1)):
        read(tmp_path)
    os.truncate(segment(tmp_path), size)
    for number in (2, 1):
        segment(tmp_path, number).unlink()
        with pytest.raises(LogDamaged, match=segment_name(number)):
            read(tmp_path)
    assert not exists(tmp_path)


def test_a_follower_reads_only_what_is_new(tmp_path, monkeypatch):
    monkeypatch.setattr(Log, "segment_bytes", 900)
    log = Log.create(tmp_path, RUN)
    follower, seen = read(tmp_path), []
    for line in facts(10):
        log.append(line)
        seen.append(tuple(line))
        before = follower.segment, follower.offset
        assert follower.refresh() == 1 and follower.lines == seen
        assert (follower.segment, follower.offset) > before
    log.note("end")
    assert follower.refresh() == 1 and follower.finished and follower.refresh() == 0
    assert log.record.refresh() == 0
    log.close()


def test_a_follower_waits_for_the_rest_of_a_line(tmp_path):
    make(tmp_path, 2)
    data = segment(tmp_path).read_bytes()
    cut = len(data) - 20
    segment(tmp_path).write_bytes(data[:cut])
    follower = read(tmp_path)
    assert len(follower.lines) == 3 and follower.refresh() == 0
    segment(tmp_path).write_bytes(data)
    assert follower.refresh() == 1 and len(follower.lines) == 4 and not follower.torn


def test_a_copy_of_a_living_directory_is_a_run(tmp_path):
    with Log.create(tmp_path / "a", RUN) as log:
        log.append([task(0)])
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        with Log.open(tmp_path / "b") as other:
            other.append([result(0)])
        assert len(log.record.lines) == 1 and len(read(tmp_path / "b").lines) == 2


# -- one writer ------------------------------------------------------------------------------------------------------


def test_an_existing_run_is_not_started_over(tmp_path):
    make(tmp_path, 3)
    before = segment(tmp_path).read_bytes()
    with pytest.raises(UsageError, match=r"already contains a run \(3 tasks, 3 results.*poptrain resume"):
        Log.create(tmp_path, RUN)
    assert segment(tmp_path).read_bytes() == before


def test_no_log_is_said_so_and_nothing_is_made(tmp_path):
    for opener in (read, Log.open):
        with pytest.raises(UsageError, match="no log in"):
            opener(tmp_path)
        with pytest.raises(UsageError, match="no log in"):
            opener(tmp_path / "nowhere")
    assert os.listdir(tmp_path) == [] and not exists(tmp_path) and not exists(tmp_path / "nowhere")


def test_a_creation_cut_short_may_be_repeated(tmp_path):
    segment(tmp_path).write_bytes(b'{"v":1,"q":0')
    assert not exists(tmp_path)
    make(tmp_path, 1)
    assert exists(tmp_path) and len(read(tmp_path).lines) == 2


HOLD = """
import sys, time
from poptrain.log.writer import Log
log = Log.create(sys.argv[1], {"seed": 0})
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_by_name_and_a_killed_one_leaves_no_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ)
    try:
        assert holder.stdout.readline() == b"held\n"
        for attempt in (lambda: Log.open(tmp_path), lambda: Log.create(tmp_path, RUN)):
            with pytest.raises(RunBusy, match=rf"process {holder.pid} on .* since 2") as caught:
                attempt()
            assert caught.value.exit_code == 5
        assert read(tmp_path).epoch == 1  # readers never lock
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with Log.open(tmp_path) as log:
        assert log.epoch == 2
        with pytest.raises(RunBusy):
            Log.open(tmp_path)
    Log.open(tmp_path).close()


def test_a_writer_that_was_taken_over_stops_before_it_writes(tmp_path):
    log = Log.create(tmp_path, RUN)
    with open(segment(tmp_path), "ab") as file:
        file.write(b"somebody else, under a lock that lies\n")
    before = segment(tmp_path).read_bytes()
    for _ in range(2):
        with pytest.raises(RunBusy, match="another process wrote"):
            log.append([task(0)])
    log.close()
    assert segment(tmp_path).read_bytes() == before


# -- a disk that fails -----------------------------------------------------------------------------------------------


def scenario(directory, fs, acknowledged: list) -> None:
    """Creates, writes, opens, writes; every acknowledged line is put into `acknowledged`."""
    for session in (facts(3), facts(6)[6:]):
        log = Log.open(directory, fs=fs) if acknowledged else Log.create(directory, RUN, fs=fs)
        try:
            for line in session:
                log.append(line)
                acknowledged.append(tuple(line))
        finally:
            log.close()


def every_fault():
    for code in (errno.ENOSPC, errno.EROFS, errno.EIO, None):
        for stays in (False, True):
            for half in (False, True):
                yield code, stays, half


@pytest.mark.parametrize(("code", "stays", "half"), list(every_fault()))
def test_a_fault_at_any_operation_suspends_and_loses_nothing(tmp_path, code, stays, half):
    plan = FaultyFS()
    scenario(tmp_path / "sound", plan, [])
    for at in range(len(plan.operations)):
        directory, acknowledged = tmp_path / str(at), []
        fs = FaultyFS(at, code, stays, half)
        try:
            scenario(directory, fs, acknowledged)
        except (Suspended, UsageError, Crash) as error:
            assert not isinstance(error, UsageError) or "cannot start a run" in str(error) and not acknowledged
        else:
            assert fs.operations[at][1] in ("log.reserve", "lock")  # nothing that was acknowledged
        if not exists(directory):
            assert not acknowledged
            Log.create(directory, RUN).close()
        with Log.open(directory) as log:
            assert log.record.lines[: len(acknowledged)] == acknowledged and len(log.record.lines) <= len(acknowledged) + 1
            log.append([task(len([line for line in log.record.lines if isinstance(line[0], Task)]))])
        assert read(directory).torn == 0


def test_after_a_full_disk_there_is_room_for_the_reason(tmp_path):
    class Full(FaultyFS):
        def _op(self, name, path):
            if name == "remove" and path.name == "log.reserve":
                self.at = -1  # a megabyte was given back
            super()._op(name, path)

    fs = Full(only=("append", "remove"))
    log = Log.create(tmp_path, RUN, fs=fs)
    log.append([task(0)])
    fs.at, fs.stays, fs.half = len(fs.operations), True, True
    with pytest.raises(Suspended, match="disk full"):
        log.append([result(0)])
    log.note("suspend", reason="disk full")
    log.close()
    record = read(tmp_path)
    assert record.suspended and record.lines == [(task(0),)] and not (tmp_path / "log.reserve").exists()
    Log.open(tmp_path).close()
    assert (tmp_path / "log.reserve").exists()


def test_a_failed_fsync_is_never_tried_again(tmp_path):
    fs = FaultyFS(only=("sync",))
    log = Log.create(tmp_path, RUN, fs=fs)
    fs.at, fs.error = len(fs.operations), errno.EIO
    for _ in range(3):
        with pytest.raises(Suspended):
            log.append([task(0)])
    assert len(fs.operations) == fs.at + 1
    log.close()


def test_an_interrupt_between_write_and_fsync_leaves_the_log_whole(tmp_path):
    class Interrupted(FaultyFS):
        def sync(self, fd, path):
            if self.at == 0:
                self.at = -1
                raise KeyboardInterrupt
            super().sync(fd, path)

    fs = Interrupted()
    log = Log.create(tmp_path, RUN, fs=fs)
    fs.at = 0
    with pytest.raises(KeyboardInterrupt):
        log.append([task(0)])
    log.note("suspend", reason="SIGINT")
    log.close()
    assert read(tmp_path).lines == [] and read(tmp_path).suspended


def test_a_directory_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    tmp_path.chmod(0o500)
    for code in (errno.EROFS, errno.EACCES):
        with pytest.raises(UsageError, match=r"cannot start a run in .*you are user \d+, .* has mode 0500") as caught:
            Log.create(tmp_path / "run", RUN, fs=FaultyFS(0, code, stays=True))
        assert "\n" not in str(caught.value) and "resume" not in str(caught.value)
    tmp_path.chmod(0o700)


def test_a_line_over_the_limit_is_refused_and_the_log_goes_on(tmp_path):
    with Log.create(tmp_path, RUN) as log:
        with pytest.raises(UsageError, match=rf"{LINE:,} are allowed"):
            log.append([task(0, note={"text": "x" * LINE})])
        log.append([task(0)])
    assert read(tmp_path).lines == [(task(0),)]


def test_what_json_cannot_say_is_refused_and_the_log_goes_on(tmp_path):
    with Log.create(tmp_path, RUN) as log:
        with pytest.raises(UsageError, match="the result of task 0 has metrics="):
            log.append([result(0, metrics={"a": object()})])
        with pytest.raises(UsageError, match="the log cannot hold"):
            log.note("warning", text=object())
        log.append([task(0)])
    assert read(tmp_path).lines == [(task(0),)]


def test_links_in_place_of_the_log_are_not_followed(tmp_path):
    make(tmp_path / "a", 1)
    (tmp_path / "b").mkdir()
    segment(tmp_path / "b").symlink_to(segment(tmp_path / "a"))
    for opener in (read, Log.open):
        with pytest.raises(UsageError, match="does not follow"):
            opener(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "lock").symlink_to(segment(tmp_path / "a"))
    before = segment(tmp_path / "a").read_bytes()
    with pytest.raises((UsageError, OSError)):
        Log.create(tmp_path / "c", RUN)
    assert segment(tmp_path / "a").read_bytes() == before


def test_reading_changes_nothing(tmp_path):
    make(tmp_path, 3)

    def picture():
        paths = [tmp_path / name for name in os.listdir(tmp_path)]
        return {path: (os.stat(path).st_mtime_ns, default.read(path)) for path in paths}

    before = picture()
    read(tmp_path).history()
    exists(tmp_path)
    assert picture() == before
