"""The schedule that is found from the end of a log, with a digest, is the one that the whole log has."""

from __future__ import annotations

import json

import pytest
from test_digest import ALGORITHMS, lines_of, run, start  # noqa: F401  (a fixture)

from poptrain.core import Lost, Result, Task
from poptrain.core.errors import PoptrainError
from poptrain.log.backwards import Unusual
from poptrain.log.codec import encode_line
from poptrain.log.disk import default
from poptrain.log.finding import segment_name
from poptrain.log.reader import read
from poptrain.sinks.digest import Digest
from poptrain.testing.simulate import broken, noisy
from poptrain.views.digest import NAME, prefix_crc
from poptrain.views.index import history_of
from poptrain.views.schedule import _from_the_end, schedule, schedule_in

pytest.importorskip("msgspec")


def outcome(made, *args) -> str:
    try:
        found = made(*args)
    except PoptrainError as error:
        return f"{type(error).__name__}: {error}"
    return f"{found!r} {found.to_json()}"


def logged(path, lines, name="pbt", mode="max"):
    """Writes a log with a digest of all of it."""
    with start(path, ALGORITHMS[name], mode) as log:
        for line in lines:
            log.append(line)
        sink = Digest()
        sink.open(log.record)
        sink.write(log.record, None)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_schedule_of_every_task_is_that_of_the_whole_log(tmp_path, name, mode):
    lines = lines_of(ALGORITHMS[name], mode, broken(0.1) if mode == "min" else noisy)
    logged(tmp_path, [*lines, Lost(3)], name, mode)
    record = read(tmp_path)
    history = history_of(record)
    for id in [None, *range(-1, history.n + 1)]:
        whole = outcome(schedule, record, id)
        assert outcome(schedule_in, tmp_path, id) == whole, id
        if id is None or (0 <= id < history.n and history.result(id) is not None):
            assert outcome(_from_the_end, tmp_path, id, default) == whole, id
        else:
            with pytest.raises(Unusual):
                _from_the_end(tmp_path, id, default)


def test_texts_and_names_that_look_like_another_task_are_not_taken_for_it(tmp_path):
    lookalike = '}],"c":"},{"id":0,"member":1,"hparams":{},"steps":5}],"c":"},{"task":0,"step":5}'
    lines = []
    for seat in range(2):
        for id in (2 * seat, 2 * seat + 1):
            hparams = {"id": 0, "task": 1, "name": lookalike, "lr": float(id)}
            parent = id - 1 if id % 2 else None
            lines.append(
                (Task(id=id, member=seat, hparams=hparams, parent=parent, steps=5, seed=id, note={"id": 1, "x": lookalike}),)
            )
            result = Result(
                task=id, score=float(id), step=5 * (1 + id % 2), metrics={"task": 0.0, "id": 1.0}, checkpoint=f"t{id}:0"
            )
            lines.append((result,))
    logged(tmp_path, lines)
    for id in range(4):
        found = outcome(_from_the_end, tmp_path, id, default)
        assert found == outcome(schedule, read(tmp_path), id) and f'"lr": {id}.0' in found


def test_lists_of_mappings_and_names_of_other_lines_are_not_taken_for_facts(tmp_path):
    like = [
        {"id": 0, "member": 7, "hparams": {"lr": 9.0}, "steps": 5, "seed": 1},
        {"id": 5},
        {"task": 0, "score": 7.0, "step": 50},
        {"task": 1},
    ]
    lost = {"t": "lost", "d": 0, "lr": 0.1}
    lines = [
        (Task(0, 0, lost, None, 5, 0),),
        (Task(1, 1, lost, None, 5, 0, note={"x": like}),),
        (Result(0, 1.0, 5, checkpoint="a:0"),),
        (Task(2, 0, {**lost, "lr": 0.2}, 0, 5, 0, note={"x": like}),),
        (Result(2, 2.0, 10, checkpoint="b:0"),),
    ]
    logged(tmp_path, lines)
    for id in (0, 2, None):
        assert outcome(_from_the_end, tmp_path, id, default) == outcome(schedule, read(tmp_path), id)


def test_without_a_digest_of_the_whole_log_it_is_read(run, tmp_path):  # noqa: F811
    whole = outcome(schedule, read(run))
    assert outcome(_from_the_end, run, None, default) == whole
    digest = (run / NAME).read_bytes()
    with (run / segment_name(1)).open("ab") as file:
        file.write(b'{"v":2,"q":')  # torn
    with pytest.raises(Unusual):
        _from_the_end(run, None, default)
    assert outcome(schedule_in, run) == whole
    (run / NAME).unlink()
    assert outcome(schedule_in, run) == whole
    (run / NAME).write_bytes(digest[: len(digest) // 2])
    assert outcome(schedule_in, run) == whole
    assert outcome(schedule_in, tmp_path / "none") == outcome(read, tmp_path / "none")


def test_a_flip_of_any_byte_of_log_or_digest_changes_no_schedule(run):  # noqa: F811
    for path in (run / segment_name(1), run / NAME):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert outcome(schedule_in, run) == outcome(lambda: schedule(read(run)))
        path.write_bytes(whole)


@pytest.mark.parametrize("field", ["best", "tasks"])
@pytest.mark.parametrize("value", ["x", None, -1, 1e9, 10**9, [], {}])
def test_a_crafted_digest_is_not_an_internal_error(run, field, value):  # noqa: F811
    data = json.loads((run / NAME).read_bytes())["d"]
    data["state"][field] = value
    place = data["place"]
    crc = prefix_crc(run, place["segment"], place["offset"], default)
    text = encode_line("digest", data, seq=place["seq"], epoch=place["epoch"], wall="", crc=crc)[0]
    (run / NAME).write_bytes(text)
    assert outcome(schedule_in, run) == outcome(schedule, read(run))
