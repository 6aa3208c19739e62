"""The fast reader of usual lines returns what the other one returns, or leaves the line to it."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from often import often
from test_log import digits, lines, make, result, task

from poptrain.core import Lost, clock, results_of
from poptrain.core.gathered import gathered
from poptrain.core.order import Order
from poptrain.core.wellformed import malformed
from poptrain.log import blocks, reader
from poptrain.log.codec import decode_facts, decode_line, encode_facts, encode_line
from poptrain.log.finding import segment_name
from poptrain.log.reader import read
from poptrain.log.usual import UsualLines
from poptrain.log.writer import Log

pytest.importorskip("msgspec")

odd = st.sampled_from(
    [None, True, 0, 1, -1, 0.5, 1 << 53, 1 << 70, "", "ok", "{", [], [1], [[1, 2]], [[1, 2.5]], {}, {"a": 1}, {"a": [1]}]
)


def text_of(type: str, data: object) -> bytes:
    return encode_line(type, data, seq=3, epoch=1, wall="2026-11-29T00:00:00.000Z", crc=0)[0][:-1]


def one(usual: UsualLines, text: bytes) -> tuple | None:
    """Returns the fields and the facts of one line; None if it is left to `codec`."""
    texts = blocks.Blocks().next(text + b"\n", 0)
    return next(((entry, line) for entry in usual.entries(texts) if (line := usual.facts(entry)) is not None), None)


def agrees(text: bytes, expected: tuple | None) -> bool:
    """True if both fast ways return the expected facts of a line, or leave it to `codec`."""
    usual, later = one(UsualLines(), text), UsualLines()
    at_once = usual is None or repr(usual[1]) == repr(expected)
    return at_once and (not later.checked([text]) or repr(later.made(text)) == repr(expected))


def slow(type: str, data: list) -> tuple | None:
    """Returns the facts as `codec` reads them; None if they are not well-formed."""
    with suppress(ValueError, TypeError, LookupError, ArithmeticError):
        line = decode_facts(type, json.loads(json.dumps(data)))
        return line if line and all(malformed(fact) is None for fact in line) else None
    return None


@settings(max_examples=often(300), deadline=None)
@given(lines.map(tuple))
def test_every_line_is_read_as_codec_reads_it_or_left_to_it(line):
    type, data = encode_facts(line)
    assert agrees(text_of(type, data), line)


@settings(max_examples=often(500), deadline=None)
@given(st.sampled_from([("tasks", task(0, note={"why": "x"})), ("results", result(0, metrics={"loss": 0.5}))]), st.data())
def test_a_field_of_any_type_is_taken_for_a_fact_only_where_codec_does(kind, draw):
    type, fact = kind
    _, (data,) = encode_facts((fact,))
    names = st.sampled_from(
        [*data, "kind", "role", "tags", "teacher", "progress", "forecast", "seconds", "returns", "curve", "x"]
    )
    data |= draw.draw(st.dictionaries(names, odd, max_size=2))
    for name in draw.draw(st.sets(st.sampled_from(sorted(data)), max_size=1)):
        del data[name]
    assert agrees(text_of(type, [data]), slow(type, [data]))


PLAIN = [task(1), task(2, parent=0, donor=3, note={"why": "copied"}, role="control", evals=2)]
PLAIN += [result(1), result(2, score=float("nan")), result(3, score=1, error="it broke", kind="failed", checkpoint=None)]
PLAIN += [result(4, metrics={"loss": 0.25, "n": 3}, returns=(1.0, 2), curve=((2, 0.1), (5, 0.5)), seconds=1, saving=0.5)]


@pytest.mark.parametrize("fact", PLAIN)
def test_what_nearly_all_lines_hold_is_made_when_it_is_needed(fact):
    usual, text = UsualLines(), text_of(*encode_facts((fact,)))
    assert len(usual.checked([text, text])) == 2 and repr(usual.made(text)) == repr((fact,))


@pytest.mark.parametrize(
    "fact",
    [
        task(1),
        task(2, parent=0, donor=3, note={"why": "copied", "rank": 3}),
        task(3, seconds=1.5, tags={"turn": 1}, role="evaluator"),
        result(1),
        result(2, metrics={"loss": 0.25}, returns=(1.0, 2.0), curve=((2, 0.1), (5, 0.5))),
        result(3, score=1, error="it broke", kind="failed"),
    ],
)
def test_what_runs_write_is_read_the_fast_way(fact):
    usual = one(UsualLines(), text_of(*encode_facts((fact,))))
    assert usual is not None and repr(usual[1]) == repr((fact,)) and (usual[0].q, usual[0].e) == (3, 1)


VALUES = ['{"$f":"nan"}', '{"$f":"-inf"}', '{"$f":"x"}', '{"$f":1}', '{"$f":null}', '{"$f":[["a",1]]}', '{"$f":"1.5"}', '{"a":1}']
VALUES += [
    '{"\\u0024f":"nan"}',
    '{"$\\u0066":"nan"}',
    '{"$f":"nan","a":1}',
    '{"$f":"nan","a":{"$f":"inf"}}',
    '{"a":{"$f":"nan"}}',
    '"$f"',
    "1.5",
    "5",
    "[]",
]
PLACES = ["score", "step", "metrics", '"metrics":{"loss":', "returns", "error", "curve", "new"]


@settings(max_examples=often(500), deadline=None)
@given(
    st.dictionaries(st.sampled_from(PLACES), st.sampled_from(VALUES), max_size=3),
    st.one_of(st.none(), st.sampled_from(VALUES)),
    st.booleans(),
)
def test_a_tag_anywhere_means_what_codec_says_or_is_left_to_it(values, top, second):
    fields = {"task": "1", "score": "0.5", "step": "5", "checkpoint": '"t1:0"'} | values
    fact = ",".join([f"{name}{value}}}" if name.endswith(":") else f'"{name}":{value}' for name, value in fields.items()])
    facts = f'{{{fact}}},{{"task":2,"score":{{"$f":"nan"}},"step":5}}' if second else f"{{{fact}}}"
    more = "" if top is None else f'"new":{top},'
    body = f'{{"v":2,"q":3,"e":1,{more}"w":"2026-11-29T00:00:00.000Z","t":"results","d":[{facts}]}}'.encode()
    text = body[:-1] + b',"c":"%08x"}' % crc32(body)
    expected = None
    with suppress(ValueError, TypeError, LookupError, ArithmeticError):
        line = decode_facts("results", decode_line(text, 0).data)
        expected = line if all(malformed(fact) is None for fact in line) else None
    assert agrees(text, expected)


def test_failures_are_read_the_fast_way():
    nan = float("nan")
    line = (
        result(1, score=nan, curve=(), checkpoint=None, error="it broke"),
        result(2, score=nan),
        result(3, metrics={"a": 1.5}),
    )
    usual = one(UsualLines(), text_of(*encode_facts(line)))
    assert usual is not None and repr(usual[1]) == repr(line) and [each.kind for each in line] == ["failed", "diverged", "ok"]


def test_what_is_packed_is_a_mapping_as_before():
    line = (result(1, metrics={"a": 0.5, "b": -0.0}), result(2, metrics={"b": 1.0, "a": 2.0}), result(3))
    found = one(UsualLines(), text_of(*encode_facts(line)))[1]
    assert found == line and all(type(each.metrics) is dict for each in found)
    assert repr(pickle.loads(pickle.dumps(found))) == repr(copy.deepcopy(found)) == repr(line)
    assert replace(found[0], step=7).metrics == line[0].metrics


def test_a_result_takes_little_memory(tmp_path):
    with Log.create(tmp_path, {"seed": 0}, durable=False) as log:
        for turn in range(120):
            ids = range(16 * turn, 16 * turn + 16)
            hparams = {"lr": 0.1 / (1 + turn // 4), "act": "relu"}
            log.append([task(id, member=id % 16, hparams=hparams, parent=id - 16 if turn else None) for id in ids])
            log.append(
                [result(id, id / 3, metrics={"loss": id / 7, "speed": id / 9}, seconds=id / 8, saving=0.001) for id in ids]
            )
    read(tmp_path).history()  # what is made once
    tracemalloc.start()
    try:
        history = read(tmp_path).history()
        before = tracemalloc.get_traced_memory()[0] / history.n
        assert all(history.result(id) and history.task(id) for id in range(history.n))
        after = tracemalloc.get_traced_memory()[0] / history.n
    finally:
        tracemalloc.stop()
    assert before < 650 and after < 800, (before, after)


def test_equal_hyperparameters_of_a_seat_are_one_object_and_1_is_not_1_0():
    usual = UsualLines()
    texts = [text_of(*encode_facts((task(id, member=0, hparams={"n": value}),))) for id, value in enumerate((1, 1, 1.0, True))]
    hparams = [one(usual, text)[1][0].hparams for text in texts]
    assert hparams[0] is hparams[1] and [repr(each["n"]) for each in hparams] == ["1", "1", "1.0", "True"]


ODD = {
    "none": lambda text: text,
    "flip": lambda text: text.replace(b'"step":5', b'"step":6'),
    "upper": lambda text: text[:-12] + text[-12:].upper(),
    "space": lambda text: text[:-17] + b" " + text[-17:],
    "unicode": lambda text: text.replace(b'"step":5', b'"st\xc3\xa9p":5'),
    "newline": lambda text: text.replace(b'"d":', b'"d":\n', 1),
    "empty": lambda text: b"\n" + text,
}


@pytest.mark.parametrize("change", [*ODD, "swap", "cut"])
def test_a_log_is_read_the_same_with_and_without_it(tmp_path, monkeypatch, change):
    make(tmp_path, 12)
    path = tmp_path / segment_name(1)
    parts = path.read_bytes().splitlines(keepends=True)
    if change in ODD:
        parts[9] = ODD[change](parts[9])
    elif change == "swap":
        parts[9], parts[10] = parts[10], parts[9]
    elif change == "cut":
        parts[-1] = parts[-1][:-5]
    path.write_bytes(b"".join(parts))

    def outcome() -> str:
        try:
            record = read(tmp_path)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return repr((record.lines, record.times, record.seq, record.crc, record.offset, record.number, record.torn))

    latest = outcome()
    monkeypatch.setattr(UsualLines, "checked", lambda self, texts, tagged: [])
    at_once = outcome()
    monkeypatch.setattr(UsualLines, "entries", lambda self, texts, tagged: [])
    assert outcome() == at_once == latest


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_history_of_facts_that_were_not_made_is_that_of_facts(tmp_path, monkeypatch, mode):
    with Log.create(tmp_path, {"seed": 0, "mode": mode}, durable=False) as log:
        for id in range(0, 40, 2):
            tags = {"why": "odd"} if id == 8 else {}
            log.append([task(each, member=each % 4, parent=each - 4 if id > 3 else None, tags=tags) for each in (id, id + 1)])
            log.append([result(each, score=(each * 7 % 11) / 3 if each % 5 else float("nan")) for each in (id + 1, id)])
        log.append(Lost(20))
        log.append([task(40, member=0)])
    record = read(tmp_path)
    history = record.history()
    assert record.checkpoints() == [result.checkpoint for line in log.record.lines for result in results_of(line)]
    assert record.summary() == log.record.summary() and history.best() is not None
    monkeypatch.setattr(UsualLines, "checked", lambda self, texts, tagged: [])
    eager = read(tmp_path).history()
    columns = ("member", "parent", "teacher", "prev", "steps", "step", "spent", "issued", "told", "lost")
    assert all((history.column(name) == eager.column(name)).all() for name in columns)
    assert repr(history.scores) == repr(eager.scores) and history.best() == eager.best()
    assert repr([history.result(id) for id in range(41)]) == repr([eager.result(id) for id in range(41)])
    assert repr(history.table()) == repr(eager.table()) and history.pending() == eager.pending() == (task(40, member=0),)
    more = (result(40, score=2.0),)
    assert repr(history.add(more).at(30).add((task(history.at(30).n, member=9),)).table()) == repr(
        eager.add(more).at(30).add((task(eager.at(30).n, member=9),)).table()
    )


def test_a_log_that_is_followed_line_by_line_keeps_facts_and_no_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MANY", 16 << 10)
    with Log.create(tmp_path, {"seed": 0}, durable=False) as log:
        follower = read(tmp_path)
        for id in range(200):
            log.append([task(id, member=id % 4)])
            log.append([result(id)])
            assert follower.refresh() == 2
    assert not follower._gathered and follower.lines == log.record.lines
    assert len(read(tmp_path)._gathered) == 1  # read at once, from the block on that is large enough


def test_opening_a_log_makes_no_facts(tmp_path, monkeypatch):
    wrote = make(tmp_path, 12)
    made = UsualLines.made
    monkeypatch.setattr(UsualLines, "made", lambda *_: pytest.fail("no fact was needed"))
    record = read(tmp_path)
    record.history().scores, record.checkpoints(), record.summary()
    monkeypatch.setattr(UsualLines, "made", made)
    assert list(read(tmp_path).lines) == [line for line in wrote]


@settings(max_examples=often(300), deadline=None)
@example([(True, [(0, 0, None), (0, 1, None)]), (False, [(0, 0, None), (1, 0, None)]), (False, [(0, 0, None), (1, 0, None)])])
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.tuples(digits, digits, st.none() | digits), min_size=1, max_size=3)), max_size=12
    )
)
def test_the_order_of_a_line_is_checked_as_before(moves):
    one, other = Order(), Order()
    for is_task, facts in moves:
        ids = [len(one._told) + at + id // 9 for at, (id, _, _) in enumerate(facts)]  # mostly the next ones
        tasks = [task(id, member=seat % 4, parent=parent) for id, (_, seat, parent) in zip(ids, facts, strict=True)]
        line = tuple(tasks if is_task else [result(id % 4) for id, _, _ in facts])
        before = after = ""
        try:
            one.check(line)
            one.take(line)
        except ValueError as error:
            before = str(error)
        try:
            other.follow(line)
        except ValueError as error:
            after = str(error)
        assert before == after


@settings(max_examples=often(500), deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.tuples(digits, digits, digits), min_size=1, max_size=3)), max_size=16),
    st.integers(0, 16),
)
def test_lines_together_can_follow_if_each_of_them_can(moves, cut):
    lines, busy, told, n = [], {}, [], 0
    for is_task, facts in moves:  # mostly what can follow
        free = [seat for seat in range(9) if seat not in busy]
        if is_task and len(free) >= len(facts):
            parents = [None if id == 9 or not told else told[id % len(told)] if id else n for id, _, _ in facts]
            seats = [free[at] if seat else 0 for at, (_, seat, _) in enumerate(facts)]
            line = [task(n + at, member=seat, parent=parents[at]) for at, seat in enumerate(seats)]
            busy |= {each.member: each.id for each in line}
            n += len(line)
        elif len(busy) >= len(facts):
            pending = list(busy.values())
            line = [result(pending[at] if which else id) for at, (id, which, _) in enumerate(facts)]
            told += [each.task for each in line]
            busy = {seat: id for seat, id in busy.items() if id not in told}
        else:
            continue
        lines.append(tuple(line))
    one, other = Order(), Order()
    for part in (lines[:cut], lines[cut:]):
        fits = True
        for line in part:
            try:
                one.follow(line)
            except ValueError:
                fits = False
                break
        assert other.follow_all(gathered(part)) is fits
        if not fits:
            return
        assert (one._told, one._busy, one._seat) == (other._told, other._busy, other._seat)


@pytest.mark.parametrize("size", [1, 300, 1 << 20])
def test_a_log_is_read_the_same_in_blocks_of_any_size(tmp_path, monkeypatch, size):
    with Log.create(tmp_path, {"seed": 0}) as log:
        for id in range(12):
            log.append([task(id, member=id)])
            log.append([result(id)])
        log.append([task(12, member=0)])
        log.append([result(12, score=float("inf"))])  # a tagged number
        log.note("warning", text="zähe")
        log.append([task(13, member=0)])
    monkeypatch.setattr(blocks, "FIRST", size)
    monkeypatch.setattr(blocks, "MOST", size)
    assert repr(read(tmp_path).lines) == repr(log.record.lines)


@settings(max_examples=often(200), deadline=None)
@given(st.lists(st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z"), min_size=1))
def test_times_are_read_as_the_clock_reads_them(texts):
    time_of = blocks.time_reader()
    assert [time_of(text) for text in texts] == [clock.parse_utc(text) for text in texts]
