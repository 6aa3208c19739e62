"""The digest of a run: with it, `status` says exactly what the whole log says, and never more than the log can prove."""

from __future__ import annotations

import json

import pytest

import poptrain as pt
from poptrain import views
from poptrain.core import Lost, Result
from poptrain.core.errors import LogDamaged
from poptrain.core.fingerprint import describe
from poptrain.log.reader import read
from poptrain.log.writer import Log
from poptrain.sinks.digest import Digest
from poptrain.testing import play
from poptrain.testing.simulate import broken, noisy
from poptrain.views.digest import NAME, Following, digested
from poptrain.views.state import Incomplete

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 9), kind=pt.Choice("a", "b"))
WHEN = ("elapsed", "left", "writer", "steps_per_second_overall")
ALGORITHMS = {
    "pbt": pt.pbt(SPACE, population=6, interval=5),
    "pbt async": pt.pbt(SPACE, population=6, interval=5, sync=False, exploit=pt.truncation(0.4)),
    "pbt hparams": pt.pbt(SPACE, population=6, interval=5, copy="hparams"),
    "random": pt.random_search(SPACE, population=6, interval=7),
    "pb2": pt.pb2(pt.Space(lr=SPACE["lr"]), population=4, interval=10),
    "bg_pbt": pt.bg_pbt(
        pt.Space(lr=SPACE["lr"], width=pt.Int(1, 9, static=True)),
        population=3,
        interval=5,
        window=6,
        retune=None,
        generations=pt.Generations(distill=10, every=10, candidates=4, most=1),
    ),
    "fire": pt.fire_pbt(SPACE, (4, 4), interval=10, evals=4, exploit=pt.truncation(0.34)),
}


def lines_of(algorithm, mode="max", objective=noisy):
    history = play(algorithm, objective, budget=60, order="shuffled")
    flip = mode == "min"
    return [
        tuple(fact.flipped() if flip and isinstance(fact, Result) else fact for fact in history.line(number))
        for number in range(history.lines)
    ]


def said(status):
    """Returns what a status says, without what depends on when it is asked."""
    return {name: value for name, value in views.as_json(status).items() if name not in WHEN}


def start(path, algorithm, mode="max"):
    about = {"mode": mode, "metric": "score", "seed": 0, "budget": 60, "interval": 5, "algorithm": describe(algorithm)}
    return Log.create(path, about, durable=False)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_with_a_digest_of_any_age_status_says_what_the_whole_log_says(tmp_path, name, mode):
    lines = lines_of(ALGORITHMS[name], mode, broken(0.1) if mode == "min" else noisy)
    whole = 0
    for cut in range(1, len(lines), max(1, len(lines) // 7)):
        path = tmp_path / str(cut)
        with start(path, ALGORITHMS[name], mode) as log:
            sink = Digest()
            sink.open(log.record)
            for number, line in enumerate(lines):
                log.append(line)
                if number == cut:
                    log.note("gc", ids=["x"])
                    log.note("warning", text="odd")
                    sink.write(log.record, None)
            assert digested(path)[0].seq == cut + 5  # run, open, gc, warning, and the lines: the digest was believed
            following = Following(path)
            found = following.look()
            whole += not following.state.skipped
            assert said(found) == said(views.status(read(path)))
        assert said(Following(path).look()) == said(views.status(read(path)))  # the lock is gone: interrupted
    assert whole <= 1, name


def test_a_follower_goes_on_from_a_digest(tmp_path):
    lines = lines_of(ALGORITHMS["pbt"])
    with start(tmp_path / "run", ALGORITHMS["pbt"]) as log:
        sink = Digest()
        sink.open(log.record)
        for line in lines[:8]:
            log.append(line)
        sink.write(log.record, None)
        following = Following(tmp_path / "run")
        for line in lines[8:]:
            log.append(line)
            assert said(following.look()) == said(views.status(read(tmp_path / "run")))
        assert following.state.skipped and len(following.record.lines) == len(lines) - 8


def test_what_the_digest_left_out_is_read_from_the_log(tmp_path):
    lines = lines_of(ALGORITHMS["pbt"])
    with start(tmp_path / "run", ALGORITHMS["pbt"]) as log:
        sink = Digest()
        sink.open(log.record)
        for line in lines:
            log.append(line)
        sink.write(log.record, None)
        log.append(Lost(views.status(log.record).best.task))  # which one is best then, only all results can tell
        record, state = digested(tmp_path / "run")
        record.refresh()
        with pytest.raises(Incomplete):
            state.read_on(record)
        assert said(Following(tmp_path / "run").look()) == said(views.status(read(tmp_path / "run")))


@pytest.fixture
def run(tmp_path):
    pt.run(ALGORITHMS["pbt"], pt.testing.quadratic, stop=pt.steps(20), directory=tmp_path / "run")
    return tmp_path / "run"


def test_every_run_keeps_a_digest_of_its_whole_log(run):
    record, state = digested(run)
    assert record.seq == read(run).seq and not record.lines and state.lines == len(read(run).lines)
    assert said(Following(run).look()) == said(views.status(read(run)))


def test_resuming_brings_the_digest_up_to_date(run):
    pt.run(ALGORITHMS["pbt"], pt.testing.quadratic, stop=pt.steps(40), directory=run)
    assert digested(run)[0].seq == read(run).seq and Following(run).look().best.step == views.status(read(run)).best.step


def test_a_flip_of_any_byte_of_log_or_digest_is_never_taken_for_truth(run):
    truth = said(views.status(read(run)))
    log = (run / "log-000001.jsonl").read_bytes()
    for at in range(0, log.rindex(b"\n", 0, len(log) - 1), 41):  # a bad last line is a torn one
        (run / "log-000001.jsonl").write_bytes(log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :])
        assert digested(run) is None
        with pytest.raises((LogDamaged, pt.UsageError)):
            Following(run).look()
    (run / "log-000001.jsonl").write_bytes(log)
    digest = (run / NAME).read_bytes()
    for at in range(0, len(digest) - 1, 29):
        (run / NAME).write_bytes(digest[:at] + bytes([digest[at] ^ 1]) + digest[at + 1 :])
        assert digested(run) is None
        assert said(Following(run).look()) == truth


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]", b'{"d":{"place":{"segment":9,"offset":1}}}', b"\xff", b"[" * 5000])
def test_a_digest_that_is_none_costs_nothing_but_time(run, content):
    (run / NAME).write_bytes(content)
    assert digested(run) is None and said(Following(run).look()) == said(views.status(read(run)))
    (run / NAME).unlink()
    (run / NAME).symlink_to("/etc/passwd")
    assert said(Following(run).look()) == said(views.status(read(run)))


def test_a_digest_of_another_run_or_of_a_longer_log_is_not_believed(run, tmp_path):
    pt.run(ALGORITHMS["pbt"], pt.testing.quadratic, stop=pt.steps(20), directory=tmp_path / "other", seed=1)
    (run / NAME).write_bytes((tmp_path / "other" / NAME).read_bytes())
    assert digested(run) is None
    log = (tmp_path / "other" / "log-000001.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "other" / "log-000001.jsonl").write_bytes(b"".join(log[:-1]))
    assert digested(tmp_path / "other") is None
    assert Following(tmp_path / "other").look().state == "interrupted"


def test_a_log_of_several_files_has_one_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(Log, "segment_bytes", 2_000)
    pt.run(ALGORITHMS["pbt async"], pt.testing.quadratic, stop=pt.steps(30), directory=tmp_path / "run")
    assert len(list((tmp_path / "run").glob("log-*.jsonl"))) > 3
    assert digested(tmp_path / "run")[0].seq == read(tmp_path / "run").seq
    assert said(Following(tmp_path / "run").look()) == said(views.status(read(tmp_path / "run")))


def test_the_digest_stays_small(tmp_path):
    history = play(ALGORITHMS["pbt"], noisy, budget=2500)
    with start(tmp_path / "run", ALGORITHMS["pbt"]) as log:
        sink = Digest()
        sink.open(log.record)
        for number in range(history.lines):
            log.append(history.line(number))
        sink.write(log.record, None)
    data = json.loads((tmp_path / "run" / NAME).read_text())["d"]["state"]
    assert data["tasks"] == 3000 and len(data["known"]) < 200 and len(data["speed"]) < 1100
    assert (tmp_path / "run" / NAME).stat().st_size < 250_000
