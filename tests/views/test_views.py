"""Views against histories made by hand, with answers known beforehand, and against simulated ones, as laws."""

from __future__ import annotations

import csv
import io
import json
import os
from time import process_time

import pytest

import poptrain as pt
from poptrain import views
from poptrain.core import Forecast, Lost, Result, Task, clock
from poptrain.core.fingerprint import describe
from poptrain.log.reader import read
from poptrain.log.writer import Log, MemoryLog
from poptrain.report import tables
from poptrain.testing import play, quadratic
from poptrain.testing.simulate import broken, noisy
from poptrain.views.curves import curves_extent
from poptrain.views.exploits import exploits_of
from poptrain.views.format import cell
from poptrain.views.index import history_of
from poptrain.views.panels.family import tree
from poptrain.views.state import RunState, state_of

NAN = float("nan")


def task(id, member, lr, parent=None, steps=10, **more):
    return Task(id, member, {"lr": lr}, parent, steps, seed=id, **more)


def result(id, score, step, **more):
    return Result(id, score, step, ((step, score),), checkpoint=f"t{id}:0", **more)


def failure(id, step, error="ValueError: boom (train.py:3)"):
    return Result(id, NAN, step, error=error)


def record_of(*lines, events=(), **run):
    """Returns a record in memory; ten seconds pass before each line."""
    with clock.use(clock.FakeClock()) as time:
        log = MemoryLog({"mode": "max", "metric": "score", "seed": 7, "budget": 30, "interval": 10, **run})
        for line in lines:
            time.advance(10.0)
            log.append(line)
        for type, fields in events:
            time.advance(10.0)
            log.note(type, **fields)
    return log.record


STORY = (
    [task(0, 0, 1.0), task(1, 1, 2.0), task(2, 2, 3.0)],
    [result(0, 1.0, 10, seconds=4.0), result(1, 2.0, 10, seconds=6.0), result(2, 3.0, 10, seconds=8.0)],
    [task(3, 0, 3.3, 2, donor=2), task(4, 1, 2.0, 1), task(5, 2, 3.0, 2)],
    [result(3, 5.0, 20), failure(4, 10), result(5, NAN, 20)],
    [task(6, 0, 3.3, 3), task(7, 1, 2.6, 3, donor=0), task(8, 2, 3.3, 3, donor=0)],
    [result(6, 4.0, 30), result(7, 9.0, 30), result(8, 6.0, 30)],
)


# -- status ---------------------------------------------------------------------------------------------------------------


def test_status_of_a_known_history():
    record = record_of(*STORY, Lost(7), algorithm={"type": "Pbt"}, trainable="a:b")
    s = views.status(record)
    assert (s.algorithm, s.trainable, s.metric, s.mode, s.seed, s.budget) == ("pbt", "a:b", "score", "max", 7, 30)
    assert (s.tasks, s.results, s.failed, s.diverged, s.lost, s.exploits) == (9, 9, 1, 1, 1, 3)
    assert s.best == views.Best(8, 2, 30, 6.0, {"lr": 3.3})  # task 7 was better, and its checkpoint is lost
    assert s.steps == 30 + 20 + 30
    assert s.generation == 3 and s.generations == 3
    zero, one, two = s.members
    assert (zero.member, zero.step, zero.score, zero.hparams, zero.tasks, zero.failures) == (0, 30, 4.0, {"lr": 3.3}, 3, 0)
    assert (zero.cloned_from, zero.cloned_at, zero.state, zero.error) == (2, 10, "finished", None)
    assert (one.state, one.failures, one.score) == ("failed", 2, 2.0)  # what is left of it is its first result
    assert one.error == "the checkpoint of task 7 was damaged"
    assert (two.failures, two.error, two.cloned_from, two.cloned_at) == (1, "the score was nan", 0, 20)
    assert any("task 7" in text for text in s.warnings)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_member_that_trains_nothing_is_shown_with_the_values_that_made_its_score(mode):
    """At every line, also after its newest task failed: then the values of that task are among the failures."""
    lines = (
        *STORY[:4],
        [task(6, 0, 3.3, 3), task(7, 1, 2.6, 1), task(8, 2, 9.9, 2)],
        [failure(8, 20)],
        [result(6, 4.0, 30)],
        [Lost(6)],
    )
    made, failed = set(), 0
    for number in range(len(lines) + 1):
        made |= {
            (each.score, lines_hparams(lines, each.task)) for line in lines[:number] for each in line if isinstance(each, Result)
        }
        view = views.status(record_of(*lines[:number], mode=mode))
        for member in view.members:
            failed += member.state == "failed"
            assert (member.score is None) == (member.score_hparams is None)
            if member.score is not None:
                assert (member.score, member.score_hparams["lr"]) in made
                assert view.values(member) == (member.hparams if member.state == "training" else member.score_hparams)
    assert failed


def lines_hparams(lines, id):
    return next(each.hparams["lr"] for line in lines for each in line if isinstance(each, Task) and each.id == id)


def test_a_trial_that_ended_by_itself_counts_nowhere_as_a_failure():
    """Ray ends the trial of member 0; member 1 really fails; the seat of member 0 is then given to a copy of member 2."""
    ended = Result(3, NAN, 10, error="the trial was stopped", kind="ended")
    lines = (*STORY[:3], [ended, failure(4, 10), result(5, 4.0, 20)])
    record = record_of(*lines)
    view = views.status(record)
    assert (view.results, view.failed, view.diverged, view.warnings) == (6, 1, 0, ())
    assert [(member.state, member.failures, member.error is None) for member in view.members] == [
        ("finished", 0, True),
        ("failed", 1, False),
        ("waiting", 0, True),
    ]
    assert "the trial was stopped" not in tables.failures(record) and "boom" in tables.failures(record)
    assert "1 failed, 0 diverged" in tables.details(record, view)
    crosses = [item for item in tree(record).panels[0].series if item.name == "failed or diverged"]
    assert [list(item.y) for item in crosses] == [[1]]
    record = record_of(*lines, [task(6, 0, 3.3, 5, donor=2), task(7, 1, 3.3, 5, donor=2)])
    assert [exploit.failed for exploit in exploits_of(history_of(record), record.times, [6, 7])] == [False, True]
    assert [exploit.failed for exploit in list(state_of(record).last_exploits)[-2:]] == [False, True]


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ({"type": "FirePbt"}, "fire_pbt"),
        ({"type": "Pbt", "name": "pb2"}, "pb2"),
        ({"type": "MyOwnSearch"}, "my_own_search"),
        ({"type": "MyOwnSearch", "name": "mine"}, "mine"),
        ("module:function#0123", "module:function#0123"),
    ],
)
def test_an_algorithm_has_the_name_that_its_log_has_or_its_type(described, name):
    assert views.status(record_of(*STORY, algorithm=described)).algorithm == name


def test_exploits_say_who_copied_whom_where_and_what_changed():
    first, second, third = views.status(record_of(*STORY)).last_exploits
    assert (first.task, first.member, first.donor, first.parent, first.step, first.failed) == (3, 0, 2, 2, 10, False)
    assert (first.before, first.copied, first.after) == ({"lr": 1.0}, {"lr": 3.0}, {"lr": 3.3})
    assert (second.task, second.member, second.donor, second.step, second.failed) == (7, 1, 0, 20, True)
    assert (third.failed, third.weights, third.copied, third.after) == (True, True, {"lr": 3.3}, {"lr": 3.3})


def test_a_copy_of_hyperparameters_alone_is_an_exploit_without_weights():
    record = record_of(*STORY[:2], [task(3, 0, 2.9, 0, donor=2)])
    (exploit,) = views.status(record).last_exploits
    assert (exploit.weights, exploit.donor, exploit.copied, exploit.parent) == (False, 2, {"lr": 3.0}, 0)
    (ancestor,) = views.lineage(record, 3).ancestors[1:]
    assert (ancestor.came, ancestor.donor) == ("continued", 2)


@pytest.mark.parametrize(("mode", "best"), [("max", (7, 9.0)), ("min", (0, 1.0))])
def test_the_best_and_every_score_have_the_users_sign(mode, best):
    record = record_of(*STORY, mode=mode)
    s = views.status(record)
    assert (s.best.task, s.best.score) == best
    assert [member.score for member in s.members] == [4.0, 9.0, 6.0]
    assert views.curves(record).best.points[-1][1] == best[1]
    assert views.schedule(record).score == best[1]


def test_right_after_an_exploit_a_member_is_worth_what_its_donor_was():
    record = record_of(*STORY[:3])
    zero = views.status(record).members[0]
    assert (zero.state, zero.score, zero.step, zero.hparams) == ("training", 3.0, 10, {"lr": 3.3})


def test_states():
    assert views.status(record_of(*STORY)).state == "running"  # in memory: whoever holds the record runs it
    for type, state in (("end", "finished"), ("suspend", "suspended"), ("failed", "failed")):
        s = views.status(record_of(*STORY, events=[(type, {"reason": "because"})]))
        assert (s.state, s.reason) == (state, "because")
    reopened = record_of(*STORY, events=[("suspend", {"reason": "SIGINT"}), ("open", {})])
    assert (views.status(reopened).state, views.status(reopened).reason) == ("running", None)


def test_a_run_on_disk_is_running_while_somebody_holds_it_and_interrupted_afterwards(tmp_path):
    log = Log.create(tmp_path / "run", {"seed": 0})
    log.append(STORY[0])
    before = sorted(tmp_path.rglob("*")), (tmp_path / "run" / "log-000001.jsonl").read_bytes()
    s = views.status(read(tmp_path / "run"))
    assert (s.state, s.writer.pid) == ("running", os.getpid())
    log.close()
    s = views.status(read(tmp_path / "run"))
    assert (s.state, s.writer) == ("interrupted", None)
    assert before == (sorted(tmp_path.rglob("*")), (tmp_path / "run" / "log-000001.jsonl").read_bytes())  # only read


def test_a_lock_that_is_no_lock_file_means_nobody_writes(tmp_path):
    Log.create(tmp_path / "run", {"seed": 0}).close()
    lock = tmp_path / "run" / "lock"
    for content in (
        b"",
        b"[]",
        b'{"pid": "x"}',
        b'{"pid": 999999999999999999999, "host": "%s", "since": ""}' % os.uname().nodename.encode(),
    ):
        lock.write_bytes(content)
        assert views.status(read(tmp_path / "run")).state == "interrupted"
    lock.unlink()
    lock.symlink_to("/etc/passwd")
    assert views.status(read(tmp_path / "run")).state == "interrupted"


def test_speed_and_time_left():
    s = views.status(record_of(*STORY[:4], [task(6, 0, 3.3, 3), task(7, 1, 2.6, 3), task(8, 2, 3.3, 3)]))
    assert s.elapsed == pytest.approx(50.0, abs=1e-3)
    assert s.steps_per_second_overall == pytest.approx(50 / 50, abs=1e-3)
    assert s.steps_per_second == pytest.approx(20 / 20, abs=1e-3)  # from when every member had a result to the newest one
    assert s.left == pytest.approx(30 / 1.0, abs=1e-2)  # three members, ten steps each


def test_a_run_that_is_silent_is_not_about_to_end(tmp_path):
    story = [*STORY[:4], [task(6, 0, 3.3, 3), task(7, 1, 2.6, 3), task(8, 2, 3.3, 3)]]
    with clock.use(clock.FakeClock()) as time:
        log = Log.create(tmp_path / "run", {"mode": "max", "metric": "score", "seed": 7, "budget": 30, "interval": 10})
        for line in story:
            time.advance(10.0)
            log.append(line)
        left = []
        for seconds in (0, 8, 100, 900):
            time.advance(seconds)
            left.append(views.status(log.record).left)
        log.close()
    assert left[0] == pytest.approx(30) and left == sorted(left) and left[-1] > 900


def test_time_left_under_a_time_limit():
    stop = describe(pt.any_of(pt.steps(10**6), pt.seconds(60)))
    s = views.status(record_of(*STORY[:3], budget=10**6, stop=stop))
    assert s.left == pytest.approx(60 - s.elapsed)


def test_an_empty_run_has_a_status():
    s = views.status(record_of())
    assert (s.best, s.members, s.tasks, s.generation, s.steps_per_second, s.left) == (None, (), 0, 0, None, None)
    with pytest.raises(pt.UsageError, match="no healthy result"):
        views.schedule(record_of())
    with pytest.raises(pt.UsageError, match="task 0: this run has no tasks yet"):
        views.lineage(record_of(), 0)
    assert views.curves(record_of()).best is None
    assert views.overhead(record_of()).slots == 0


def test_warnings_come_from_the_log_and_cannot_control_a_terminal():
    events = [("warning", {"text": "the code changed\x1b[31m"}), ("recovered", {"file": "log.torn-2", "bytes": 17})]
    s = views.status(record_of(*STORY, events=events))
    assert s.warnings == ("the code changed\\x1b[31m", "a torn last line of 17 B was cut off and kept in log.torn-2")
    bad = views.status(record_of([task(0, 0, 1.0)], [failure(0, 0)]))
    assert "boom" in bad.warnings[0]


# -- schedule -------------------------------------------------------------------------------------------------------------


def test_schedule_of_a_known_history():
    s = views.schedule(record_of(*STORY))
    assert (s.task, s.member, s.step, s.score) == (7, 1, 30, 9.0)
    assert [(x.start, x.end, x.hparams, x.task, x.member) for x in s.segments] == [
        (0, 10, {"lr": 3.0}, 2, 2),
        (10, 20, {"lr": 3.3}, 3, 0),
        (20, 30, {"lr": 2.6}, 7, 1),
    ]
    assert [s.at(step)["lr"] for step in (0, 9, 10, 19, 20, 29, 30, 10**9)] == [3.0, 3.0, 3.3, 3.3, 2.6, 2.6, 2.6, 2.6]
    assert s.to_csv() == "start,end,task,member,lr\n0,10,2,2,3.0\n10,20,3,0,3.3\n20,30,7,1,2.6\n"
    assert [segment["hparams"]["lr"] for segment in json.loads(s.to_json())["segments"]] == [3.0, 3.3, 2.6]


def test_equal_hyperparameters_are_one_segment_whoever_trained_with_them():
    s = views.schedule(record_of(*STORY), task=8)
    assert [(x.start, x.end, x.task, x.member) for x in s.segments] == [(0, 10, 2, 2), (10, 30, 3, 0)]


def test_values_of_another_type_are_another_value():
    lines = [
        [task(0, 0, 1)],
        [result(0, 1.0, 10)],
        [task(1, 0, 1.0, 0)],
        [result(1, 2.0, 20)],
        [task(2, 0, True, 1)],
        [result(2, 3.0, 30)],
    ]
    assert len(views.schedule(record_of(*lines)).segments) == 3


def test_schedule_of_failed_and_pending_tasks_and_of_students():
    record = record_of(*STORY[:5])
    failed, pending = views.schedule(record, 4), views.schedule(record, 7)
    assert (failed.step, failed.score, failed.segments[-1].end) == (20, None, 20)
    assert (pending.step, pending.score) == (30, None)
    taught = record_of(STORY[0], STORY[1], [task(3, 0, 9.0, None, teacher=2)], [result(3, 1.0, 20)])
    assert [(x.start, x.end, x.hparams["lr"]) for x in views.schedule(taught, 3).segments] == [(0, 10, 3.0), (10, 20, 9.0)]
    assert views.lineage(taught, 3).ancestors[-1].came == "distilled"


@pytest.mark.parametrize("step", [-1, 1.5, True, "3"])
def test_a_wrong_step_is_refused(step):
    with pytest.raises(pt.UsageError, match="at\\("):
        views.schedule(record_of(*STORY)).at(step)


@pytest.mark.parametrize("id", [-1, 9, True, 1.0, "1"])
def test_a_task_that_is_not_there_is_refused(id):
    with pytest.raises(pt.UsageError, match="this run has tasks 0 to 8"):
        views.schedule(record_of(*STORY), id)


def test_names_that_clash_or_look_like_formulas_survive_a_csv():
    hparams = {"start": "=1+1", "+x": -2.5, "b": None}
    record = record_of([Task(0, 0, hparams, None, 10, 0)], [result(0, 1.0, 10)])
    rows = list(csv.reader(io.StringIO(views.schedule(record).to_csv())))
    assert rows == [["start", "end", "task", "member", "hparams.start", "'+x", "b"], ["0", "10", "0", "0", "'=1+1", "-2.5", ""]]
    assert [cell(x) for x in ("=a", "+a", "-a", "@a", "a", "", -1, None)] == ["'=a", "'+a", "'-a", "'@a", "a", "", -1, ""]


# -- lineage, curves, overhead --------------------------------------------------------------------------------------------


def test_lineage_of_a_known_history():
    line = views.lineage(record_of(*STORY))
    assert [(a.task, a.member, a.start, a.end, a.score, a.came, a.donor) for a in line.ancestors] == [
        (2, 2, 0, 10, 3.0, "fresh", None),
        (3, 0, 10, 20, 5.0, "cloned", 2),
        (7, 1, 20, 30, 9.0, "cloned", 0),
    ]
    assert line.finals == {0: 6, 1: 7, 2: 8}
    assert line.common == views.Common(3, 0, 20) and line.founders == (2,)
    assert line.children == {1: (4,), 2: (3, 5), 3: (6, 7, 8)}
    assert [exploit.task for exploit in line.exploits] == [3, 7, 8]


def test_members_that_never_met_have_no_common_ancestor():
    line = views.lineage(record_of(*STORY[:2]))
    assert line.common is None and line.founders == (0, 1, 2)


def test_curves_of_a_known_history():
    c = views.curves(record_of(*STORY))
    assert c.best.points == ((10, 3.0), (20, 5.0), (30, 9.0))
    assert [(m.step, m.score, m.task, m.member, m.donor) for m in c.best.marks] == [(10, 3.0, 3, 0, 2), (20, 5.0, 7, 1, 0)]
    assert {curve.member: curve.points[-1] for curve in c.members} == {0: (30, 4.0), 1: (30, 9.0), 2: (30, 6.0)}
    zero, one, two = c.seats
    assert zero.pieces == (((10, 1.0),), ((10, 3.0), (20, 5.0), (30, 4.0)))
    assert one.pieces == (((10, 2.0),), ((20, 5.0), (30, 9.0)))  # the failed task left no point
    assert [len(piece) for piece in two.pieces] == [2, 2]


def test_overhead_of_a_known_history():
    o = views.overhead(record_of(*STORY[:3]))
    assert (o.wall, o.members, o.slots, o.training) == (pytest.approx(30, abs=1e-3), 3, 3, 18.0)
    assert o.queued == pytest.approx(6 + 4 + 2, abs=1e-3)
    assert o.waiting == pytest.approx(30, abs=1e-3) and o.deciding == pytest.approx(10, abs=1e-3)
    assert o.share == pytest.approx(18 / 90, abs=1e-4)
    assert [(line.kind, line.facts, round(line.seconds)) for line in o.lines] == [
        ("tasks", 3, 10),
        ("results", 3, 10),
        ("tasks", 3, 10),
    ]


def test_time_between_two_sittings_is_nobodys():
    with clock.use(clock.FakeClock()) as time:
        log = MemoryLog({"budget": 100})
        log.append([task(0, 0, 1.0)])
        time.advance(5.0)
        log.append([result(0, 1.0, 10, seconds=5.0)])
        log.note("suspend", reason="SIGINT")
        time.advance(1000.0)
        log.note("open")
        time.advance(1.0)
        log.append([task(1, 0, 1.0, 0)])
        time.advance(4.0)
        log.append([result(1, 1.0, 20, seconds=4.0)])
    o, s = views.overhead(log.record), views.status(log.record)
    assert o.waiting == pytest.approx(1.0, abs=1e-3) and o.wall == pytest.approx(10.0, abs=1e-3)
    assert s.steps_per_second == pytest.approx(10 / 5, abs=1e-3)


def test_saving_is_a_part_of_the_seconds_and_a_batch_shares_them():
    def batch(ids, step, **more):
        return [result(id, 1.0, step, **more) for id in ids]

    o = views.overhead(record_of(STORY[0], batch((0, 1, 2), 10, seconds=3.0, saving=1.0)))  # 9 s in one program, of the 10
    assert (o.training, o.saving, o.slots) == (pytest.approx(18.0), pytest.approx(9.0), 3)
    assert o.queued == pytest.approx(3.0, abs=1e-2)
    one = views.overhead(record_of(STORY[0], batch((0, 1, 2), 10, seconds=8.0, saving=1.0)))  # 24 s do not fit in: processes
    assert (one.training, one.saving) == (pytest.approx(21.0), pytest.approx(3.0))


def test_the_time_of_every_member_adds_up():
    o = views.overhead(record_of(*STORY[:3]))
    assert sum(each.training for each in o.by_member) == pytest.approx(o.training)
    assert sum(each.queued for each in o.by_member) == pytest.approx(o.queued)
    assert sum(each.waiting + each.deciding for each in o.by_member) == pytest.approx(o.waiting)
    assert [each.deciding for each in o.by_member] == [pytest.approx(10, abs=1e-3)] * 3


SPACED = {
    "algorithm": {
        "type": "Pbt",
        "space": {
            "parameters": {
                "lr": {"type": "LogUniform", "low": 0.01, "high": 1.0},
                "act": {"type": "Choice", "options": ["a", "b"]},
                "eps": {"type": "Complement", "low": 0.9, "high": 0.999},
            }
        },
    },
}


def test_spread_of_a_known_history():
    hparams = [{"lr": lr, "act": act, "eps": eps} for lr, act, eps in ((0.01, "a", 0.9), (0.1, "a", 0.99), (1.0, "b", 0.999))]
    first = [Task(id, id, values, None, 10, 0) for id, values in enumerate(hparams)]
    second = [Task(3 + id, id, hparams[0], 2, 10, 0) for id in range(3)]
    lines = [
        first,
        [result(id, float(id), 10) for id in range(3)],
        second,
        [result(3, 5.0, 20), failure(4, 10), result(5, 7.0, 20)],
    ]
    s = views.spread(record_of(*lines, **SPACED))
    one, two = s.generations
    assert (one.generation, one.step, one.members, one.scores, one.founders) == (1, 10, 3, (0.0, 0.5, 1.0, 1.5, 2.0), 3)
    assert (two.generation, two.step, two.members, two.scores, two.founders) == (2, 20, 2, (5.0, 5.5, 6.0, 6.5, 7.0), 1)
    assert one.hparams["lr"] == pytest.approx(0.5 * 12**0.5) == one.hparams["eps"]  # 0, ½, 1: each on its own scale
    assert one.hparams["act"] == pytest.approx((2 / 3) / 0.5)  # two of three pairs differ, of uniform draws every other
    assert two.hparams == {"lr": 0.0, "act": 0.0, "eps": 0.0}


def test_uniform_draws_have_a_spread_of_about_one():
    algorithm = pt.random_search(
        pt.Space(lr=pt.LogUniform(1e-5, 1e-1), n=pt.Int(1, 99), kind=pt.Choice(*"abcd")), 200, interval=1
    )
    history = play(algorithm, noisy, budget=1)
    log = MemoryLog({"algorithm": describe(algorithm)})
    for number in range(history.lines):
        log.append(history.line(number))
    (generation,) = views.spread(log.record).generations
    assert all(abs(value - 1) < 0.1 for value in generation.hparams.values()), generation.hparams


def test_a_suggestion_says_what_was_expected_and_what_came():
    note = {"own": 1.0, "donor": 3.0, "length lr": 0.3}
    model, redraw = Forecast("model", 1.5, 0.5, 0.2, 9), Forecast("redraw", rows=2, fallback="2 rows")
    lines = [
        *STORY[:2],
        [task(3, 0, 3.3, 2, note=note, donor=2, forecast=model), task(4, 1, 2.0, 1, forecast=redraw), task(5, 2, 3.0, 2)],
    ]
    record = record_of(*lines, [result(3, 5.0, 20), failure(4, 10), result(5, 4.0, 20)])
    first, second = views.suggestions(record)
    assert (first.task, first.member, first.step, first.gain, first.gain_sd, first.beta, first.rows) == (
        3,
        0,
        10,
        1.5,
        0.5,
        0.2,
        9,
    )
    assert (first.observed, first.fallback, first.model) == (2.0, None, {"length lr": 0.3})
    assert (second.gain, second.observed, second.fallback, second.rows) == (None, None, "2 rows", 2)
    assert views.status(record).last_suggestions == (first, second)
    assert views.suggestions(record_of(*lines, [result(3, 5.0, 20)], mode="min"))[0].observed == -2.0  # up is better


def evaluation(id, seat, parent, lr):
    return task(id, seat, lr, parent, role="evaluator", tags={"evaluates": 1, "target": 0, "since": 10})


def test_evaluators_are_no_members_and_no_copies():
    lines = [
        [task(0, 0, 1.0), task(1, 1, 2.0)],
        [result(0, 1.0, 10), result(1, 2.0, 10)],
        [task(2, 0, 1.0, 0), task(3, 1, 2.0, 1), evaluation(4, 2, 1, 1.0)],
        [result(2, 3.0, 20), result(3, 4.0, 20), result(4, 9.0, 20)],
        [task(5, 0, 1.0, 4, donor=2), task(6, 1, 2.0, 3)],
        [result(5, 8.0, 30), result(6, 5.0, 30)],
    ]
    record = record_of(*lines)
    s = views.status(record)
    assert [member.member for member in s.members] == [0, 1] and s.evaluators == 1
    assert (s.best.task, record.history().best()) == (5, 5)  # the evaluator's 9.0 is nobody's
    assert (s.exploits, s.last_exploits[0].donor) == (1, 2)  # taking over an evaluator's weights is one, lending is none
    assert [a.came for a in views.lineage(record).ancestors] == ["fresh", "borrowed", "cloned"]
    assert views.lineage(record).finals == {0: 5, 1: 6}
    c = views.curves(record)
    assert len(c.members) == len(c.seats) == 2 and [mark.donor for mark in c.best.marks] == [2]
    assert c.best.points == ((10, 2.0), (20, 9.0), (30, 8.0))
    assert [(each.member, each.role) for each in views.overhead(record).by_member] == [
        (0, "member"),
        (1, "member"),
        (2, "evaluator"),
    ]
    lost = record_of(*lines, Lost(5))
    assert (views.status(lost).best.task, lost.history().best()) == (6, 6)


# -- laws -----------------------------------------------------------------------------------------------------------------

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 9), kind=pt.Choice("a", "b"))
ALGORITHMS = {
    "pbt": pt.pbt(SPACE, population=6, interval=5),
    "pbt async": pt.pbt(SPACE, population=6, interval=5, sync=False, exploit=pt.truncation(0.4)),
    "pbt hparams": pt.pbt(SPACE, population=6, interval=5, copy="hparams"),
    "pbt selection only": pt.pbt(SPACE, population=6, interval=5, explore=None, exploit=pt.tournament()),
    "random": pt.random_search(SPACE, population=6, interval=7),
}


def played(algorithm, mode, objective, order="shuffled"):
    """Returns the record of a simulated run, with the history that its algorithm saw."""
    history = play(algorithm, objective, budget=60, order=order)
    log = MemoryLog({"mode": mode, "seed": 0, "budget": 60, "interval": 5})
    for number in range(history.lines):
        line = history.line(number)
        flip = mode == "min" and isinstance(line[0], Result)
        log.append(tuple(fact.flipped() for fact in line) if flip else line)
    return log.record, history


@pytest.fixture(params=[(name, mode, bad) for name in ALGORITHMS for mode in ("max", "min") for bad in (False, True)], ids=str)
def run(request):
    name, mode, bad = request.param
    return played(ALGORITHMS[name], mode, broken(0.15) if bad else noisy)


def test_views_agree_with_the_history(run):
    record, history = run
    s, sign = views.status(record), -1 if record.run["mode"] == "min" else 1
    assert s.best.task == history.best() and s.best.score == sign * history.score(history.best())
    assert s.results == history.n and s.lost == 0
    assert s.failed + s.diverged == int((~history.oks).sum())
    for member in s.members:
        head = history.head(member.member)
        assert member.hparams == history.task(head).hparams
        if history.ok(head):
            assert (member.step, member.score) == (history.step(head), sign * history.score(head))


def test_a_schedule_starts_at_zero_increases_strictly_and_replays_the_ancestry(run):
    record, history = run
    for id in range(0, history.n, 7):
        s = views.schedule(record, id)
        starts = [segment.start for segment in s.segments]
        assert starts[0] == 0 and starts == sorted(set(starts))
        assert [segment.end for segment in s.segments] == [*starts[1:], s.step]
        assert all(a.hparams != b.hparams for a, b in zip(s.segments, s.segments[1:], strict=False))
        for ancestor in history.ancestry(id):
            told = history.task(ancestor)
            begin = history.step(told.parent)
            assert s.at(begin) == s.at(begin + told.steps - 1) == told.hparams
        rows = list(csv.DictReader(io.StringIO(s.to_csv())))
        assert [float(row["lr"]) for row in rows] == [segment.hparams["lr"] for segment in s.segments]


def test_curves_follow_the_ancestry(run):
    record, history = run
    for curve in (views.curves(record).best, *views.curves(record).members):
        ancestry = history.ancestry(curve.task)
        assert [step for step, _ in curve.points] == [history.step(id) for id in ancestry]
        moved = [id for id in ancestry[1:] if history.task(history.task(id).parent).member != history.task(id).member]
        assert [mark.task for mark in curve.marks] == moved


def test_lineage_is_one_forest(run):
    record, history = run
    line = views.lineage(record)
    children = {child for group in line.children.values() for child in group}
    roots = {id for id in range(history.n) if history.task(id).parent is None}
    assert children | roots == set(range(history.n)) and not children & roots
    if line.common is not None:
        assert all(line.common.task in history.ancestry(final) for final in line.finals.values())


def test_following_a_record_line_by_line_gives_the_same_views(run):
    record, history = run
    log = MemoryLog(record.run)
    for number, line in enumerate(record.lines):
        log.append(line)
        log.record.times[-1] = record.times[number]
        if number % 9 == 0:
            views.status(log.record)
    assert state_of(log.record) == RunState.begin(record).read_on(record)
    kept = history_of(log.record)
    assert kept.lines == history.lines and kept.at(5).pending() == history.at(5).pending()
    for view in (views.curves, views.lineage):  # as text: NaN equals itself
        assert views.dumps(view(log.record)) == views.dumps(view(record))


def test_every_view_is_strict_json(run):
    record, _ = run
    for view in (views.status, views.curves, views.schedule, views.lineage, views.overhead, views.spread, views.suggestions):
        text = views.dumps(view(record))
        json.loads(text, parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))


def test_non_finite_numbers_are_strings_in_json():
    found = views.as_json({"a": [NAN, float("inf"), -float("inf"), None, True, 1.5]})
    assert found == {"a": ["nan", "inf", "-inf", None, True, 1.5]}


def test_outcome_hands_out_these_views():
    run = pt.run(ALGORITHMS["pbt"], lambda carry, hp, steps, seed: (0, {"score": hp["lr"]}), stop=pt.steps(10))
    assert run.schedule() == views.schedule(run.record) and run.lineage(3) == views.lineage(run.record, 3)
    assert views.status(run.record).state == "finished"


def test_status_of_a_hundred_thousand_tasks_is_quick():
    log = MemoryLog({"mode": "max", "budget": None})
    hparams = {"lr": 0.1}
    for id in range(0, 100_000, 100):
        tasks = [Task(id + k, k, hparams, id + k - 100 if id else None, 1, 0) for k in range(100)]
        log.append(tasks)
        log.append([simulated_result(task) for task in tasks])
    began = process_time()
    assert views.status(log.record).results == 100_000
    first, began = process_time() - began, process_time()
    views.status(log.record)
    assert first < 3.0 and process_time() - began < 0.2  # 0.3 s and 0.002 s on an idle machine


def simulated_result(task):
    step = task.id // 100 + 1
    return Result(task.id, float(task.id % 97), step, ((step, 0.0),), checkpoint="c:0")


def test_the_axis_of_scores_is_not_ruled_by_the_first_evaluation():
    def extent(scores, mode):
        lines = []
        for k, score in enumerate(scores):
            lines += [
                [task(k, 0, 0.1, k - 1 if k else None)],
                [pt.Result(k, score, 10 * (k + 1), ((10 * (k + 1), score),), checkpoint="c:0")],
            ]
        return curves_extent(views.curves(record_of(*lines, mode=mode)))

    low, high, log = extent([-1000.0, 0.5, 0.6, 0.7], "max")
    assert not log and 0.4 < low < 0.5 and 0.7 < high < 0.8
    low, high, log = extent([0.4, 0.5, 0.6, 0.7], "max")
    assert low < 0.4 and high > 0.7
    assert extent([3.0, 0.4, 0.2, 0.1], "min")[2] and not extent([3.0, 2.0, 1.5, 1.0], "min")[2]


def test_a_copy_between_equal_scores_is_called_chance():
    def level(carry, hp, steps, seed):
        return carry, {"score": 1.0}

    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    record = pt.run(pt.pbt(space, population=4, interval=1), level, stop=pt.steps(4), progress=False).record
    found = views.lineage(record)
    assert found.exploits and all(exploit.tied for exploit in found.exploits)
    assert views.status(record).last_exploits == found.exploits[-len(views.status(record).last_exploits) :]
    assert any("chance decided" in why for why in views.story(record, found.exploits[0].task).why)
    learning = pt.run(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(20), progress=False).record
    assert not any(exploit.tied for exploit in views.lineage(learning).exploits)
