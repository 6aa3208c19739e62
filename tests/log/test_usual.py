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

from poptrain.core import clock
from poptrain.core.order import Order
from poptrain.core.wellformed import malformed
from poptrain.log import blocks
from poptrain.log.codec import decode_facts, decode_line, encode_facts, encode_line
from poptrain.log.reader import read, segment_name
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
    usual = one(UsualLines(), text_of(type, data))
    assert usual is None or repr(usual[1]) == repr(line)


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
    usual = one(UsualLines(), text_of(type, [data]))
    assert usual is None or repr(usual[1]) == repr(slow(type, [data]))


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
    usual = one(UsualLines(), text)
    assert usual is None or repr(usual[1]) == repr(expected)


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
        size = tracemalloc.get_traced_memory()[0] / history.n
    finally:
        tracemalloc.stop()
    assert size < 720, size


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

    fast = outcome()
    monkeypatch.setattr(UsualLines, "entries", lambda self, texts, tagged: [])
    assert outcome() == fast


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
