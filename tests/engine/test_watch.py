"""C5: a task that takes far longer than usual is announced, in the run and in `status`."""

from __future__ import annotations

import re
import sys

import pytest

import poptrain as pt
from poptrain.core import History, Result, Task, clock
from poptrain.engine.watch import ADVICE, Watch
from poptrain.log.writer import Log
from poptrain.views.digest import Following, encoded, prefix_crc
from poptrain.views.lock_holder import Writer


def task(id, member=None):
    return Task(id, id if member is None else member, {"lr": 0.1}, None, 5, 0)


def result(id, seconds):
    return Result(id, 1.0, 5, checkpoint="a:0", seconds=seconds)


@pytest.fixture
def time():
    with clock.use(clock.FakeClock()) as fake:
        yield fake


def test_c5_a_task_that_takes_ten_times_as_long_as_usual_is_announced_once_and_then_seldom(time):
    watch = Watch(print)
    for id in range(9):
        watch.begun([task(id, id % 3)])
        time.advance(30.0)
        watch.ended([result(id, 30.0)])
    watch.begun([task(9, 0), task(10, 1), task(11, 2)])
    time.advance(30.0)
    watch.ended([result(9, 30.0), result(10, 30.0)])
    time.advance(269.0)
    assert watch.look() == [] and watch.longest() == "member 2 for 299 s"
    time.advance(13.0)
    assert watch.look() == ["member 2: no result for 312 s, 10 times its usual 30 s"]
    time.advance(60.0)
    assert watch.look() == [], "again only when it has waited twice as long"
    time.advance(300.0)
    assert len(watch.look()) == 1
    watch.ended([result(11, 600.0)])
    assert watch.look() == [] and watch.longest() == ""


def test_c5_when_nothing_comes_back_the_oldest_task_is_announced_however_long_the_queue_is(time):
    watch = Watch(print)
    watch.begun([task(id) for id in range(100)])
    for id in range(50):
        time.advance(10.0)
        watch.ended([result(id, 10.0)])
    time.advance(101.0)  # in the queue, tasks usually wait 255 s
    (text,) = watch.look()
    assert text == "member 50: no result for 101 s, 10 times its usual 10 s"


def test_c5_the_results_of_a_batch_came_back_after_the_time_of_all_of_them(time):
    watch = Watch(print)
    for id in range(0, 24, 8):  # eight members in one program, 20 s a batch: each has an eighth of it
        watch.begun([task(id + lane, lane) for lane in range(8)])
        time.advance(20.0)
        watch.ended([result(id + lane, 2.5) for lane in range(8)])
    watch.begun([task(24 + lane, lane) for lane in range(8)])
    time.advance(190.0)
    assert watch.look() == []
    time.advance(11.0)
    assert watch.look() == ["member 0: no result for 201 s, 10 times its usual 20 s"]


@pytest.mark.parametrize(
    ("executor", "advice"),
    [
        (pt.executors.Inline(), r"Processes\(timeout=…\)"),
        (pt.executors.Vectorized(), "compiles"),
        (pt.executors.Processes(slots=1), "timeout= of the executor"),
    ],
)
def test_c5_the_advice_is_one_that_the_executor_can_follow(executor, advice):
    assert re.search(advice, getattr(executor, "overdue", ADVICE))
    assert hasattr(executor, "timeout") == (advice == "timeout= of the executor")


def test_c5_short_tasks_have_a_minute_and_the_first_ones_ten(time):
    watch = Watch(print)
    watch.begun([task(0)])
    time.advance(599.0)
    assert watch.look() == []
    time.advance(2.0)
    assert watch.look() == ["member 0: no result for 601 s, and none before"]
    watch.ended([result(0, 0.1)])
    for id in range(1, 300):
        watch.begun([task(id)])
        watch.ended([result(id, 0.0)])
    watch.begun([task(300)])
    time.advance(59.0)
    assert watch.look() == []
    time.advance(2.0)
    assert len(watch.look()) == 1


def test_c5_the_thread_of_a_run_announces_it(monkeypatch, capfd):
    monkeypatch.setattr("poptrain.engine.watch.PERIOD", 0.05)
    monkeypatch.setattr("poptrain.core.waiting.LEAST", 0.2)
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(seed)
        if len(calls) == 7:
            clock.sleep(0.6)
        return 0, {"score": hp["lr"]}

    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    pt.run(pt.pbt(space, population=4, interval=5), train, stop=pt.steps(15), progress=False)
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith("member 2: no result for ") and "timeout=" in said[0]


def test_c5_status_announces_it_from_the_log_and_from_its_digest(tmp_path, time, monkeypatch):
    monkeypatch.setattr(sys.modules["poptrain.views.status"], "writer_of", lambda record: Writer("here", 1, clock.now()))
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    algorithm = pt.pbt(space, population=2, interval=5)
    described = {"seed": 0, "mode": "max", "metric": "score", "budget": 100}
    with Log.create(tmp_path / "r", described) as log:
        history = History(0, 100)
        for _ in range(4):
            tasks = algorithm.ask(history)
            log.append(tasks)
            history = history.add(tasks)
            time.advance(20.0)
            for each in tasks if len(history) < 8 else tasks[:1]:
                told = [Result(each.id, 1.0, each.steps * (len(history) // 2), checkpoint=f"c{each.id}:0", seconds=20.0)]
                log.append(told)
                history = history.add(told)
    following = Following(tmp_path / "r")
    assert following.look().warnings == ()
    time.advance(200.0)
    late = "member 1: no result for 220 s, 11 times its usual 20 s"
    assert following.look().warnings == (late,)
    record, state = following.record, following.state
    prefix = prefix_crc(record.home, record.segment, record.offset, record.fs)
    (tmp_path / "r" / "digest.json").write_bytes(encoded(record, state, prefix))
    assert Following(tmp_path / "r").look().warnings == (late,)
