"""Progress: a person who waits for a run sees how far it is, how good, what failed, and how long it still takes."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

import poptrain as pt
from poptrain.core import History, clock
from poptrain.engine import screens
from poptrain.engine.glance import Watch
from poptrain.engine.progress import Progress, pause
from poptrain.engine.screens import PlainLines, TerminalLine
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
PBT = pt.pbt(SPACE, population=4, interval=5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_run_reports_its_result_and_progress_false_silences_it(capfd):
    pt.run(PBT, quadratic, stop=pt.steps(20))
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("finished: 16 results in ") and "; highest score 1.0" in err and err.count("\n") == 1
    pt.run(PBT, quadratic, stop=pt.steps(20), progress=False)
    assert capfd.readouterr() == ("", "")


def test_an_experiment_is_shown_too_and_what_is_not_asked_for_by_a_person_is_not(capfd):
    experiment = pt.Experiment(PBT, quadratic, stop=pt.steps(10))
    run = pt.run(experiment)
    assert "finished: 8 results" in capfd.readouterr().err
    pt.replay(run)
    assert "finished: 2 results" in capfd.readouterr().err
    pt.replay(run, progress=False)
    pt.schedule_worth(run, seeds=6, progress=False)
    assert capfd.readouterr().err == ""


def test_a_comparison_of_a_schedule_with_constants_shows_how_many_trainings_are_finished(monkeypatch):
    run = pt.run(pt.Experiment(PBT, quadratic, stop=pt.steps(10)), progress=False)
    seen = []

    class Every(PlainLines):
        wait = 0.0

        def __init__(self):
            pass

        def show(self, line, share):
            seen.append((line(None), share))

        def end(self, line):
            assert line is None

    monkeypatch.setattr("poptrain.engine.worth.screen", Every)
    pt.schedule_worth(run, seeds=6)
    shares = [share for _, share in seen]
    assert shares == sorted(shares) and shares[0] == 0.0 and 0.6 < shares[-1] <= 1.0
    assert any("0 of " in text and "seed 10" in text for text, _ in seen[:3])


def glances(experiment, looks=lambda results: True):
    """Returns what a look after every result shows, and notes the beginning at results after which nothing is shown."""
    from poptrain.engine.loop import _Session
    from poptrain.engine.open_log import open_log
    from poptrain.executors import Inline

    found, session = [], _Session(experiment, Inline(), open_log(experiment, None, None), None, ())
    watch, tell = Watch(experiment, 0.0), session._tell

    def telling(executor, results, draining=False):
        tell(executor, results, draining)
        if looks(int((session.history.column("told") < session.history.lines).sum())):
            found.append(watch.look(session.history, session.observed.failures.count))
        else:
            watch.note(session.history)

    session._tell = telling
    session.go()
    return found


def test_a_glance_tells_score_best_steps_share_decisions_and_failures():
    def train(carry, hp, steps, seed):
        if seed % 5 == 0:
            raise ValueError("a planted fault")
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"loss": -metrics["score"]}

    with pytest.warns(pt.errors.RunWarning):
        found = glances(pt.Experiment(PBT, train, metric="loss", mode="min", stop=pt.steps(40)))
    last = found[-1]
    assert (last.share, last.step, last.budget, last.results) == (1.0, 40, 40, 32)
    assert last.best <= last.now < 0 and last.copies > 3 and last.failures > 0
    assert [each.share for each in found] == sorted(each.share for each in found)
    line = last.line()
    for part in ("100 %", "step 40 of 40", "loss -1.1", "lowest -1.1", "copies, the last: member ", f"{last.failures} failed"):
        assert part in line, line
    assert all(len(last.line(width)) <= width for width in (10, 40, 79, 200)) and "loss -1.1" in last.line(40)


@pytest.mark.parametrize(("mode", "extreme"), [("max", "highest"), ("min", "lowest")])
def test_the_last_line_names_the_extreme_score_and_the_run_its_best_by_evidence(mode, extreme, capfd):
    sign = 1 if mode == "max" else -1

    def train(carry, hp, steps, seed):
        carry = (carry or 0) + steps
        lucky = hp["lr"] < 2e-4 and carry == 100  # one score of a poor member
        return carry, {"score": sign * (15 if lucky else 100 * hp["lr"] + float(pt.rng(seed, "noise").normal()))}

    search = pt.grid_search(SPACE, levels=4, interval=5)
    run = pt.run(search, train, mode=mode, stop=pt.steps(200))
    assert run.highest.score == sign * 15 and 5 < sign * run.best.score < 14
    assert f"; {extreme} score {run.highest.score:.5g} (member {run.highest.task.member})" in capfd.readouterr().err
    assert f"best score {run.best.score:.6g}" in repr(run)


def test_the_time_left_ignores_how_long_the_start_took():
    with clock.use(clock.FakeClock()) as fake:

        def train(carry, hp, steps, seed):
            fake.advance(100.0 if carry is None else 2.0)  # the first calls compile
            return quadratic(carry, hp, steps, seed)

        found = glances(pt.Experiment(PBT, train, stop=pt.steps(50)))
    assert [each.left for each in found[:4]] == [None] * 4
    assert found[5].left == pytest.approx(2.0 * 34) and found[-1].left == 0.0


def test_the_time_left_ignores_what_compiles_after_an_evaluation_before_training():
    with clock.use(clock.FakeClock()) as fake:

        def train(carry, hp, steps, seed):
            fake.advance(0.5 if carry is not None or not steps else 5.0)  # the first training compiles
            return quadratic(carry, hp, steps, seed) if steps else (carry, {"score": 0.0})

        experiment = pt.Experiment(pt.pb2(SPACE, population=4, interval=5), train, stop=pt.steps(50))
        found = glances(experiment)
        run = pt.run(replace(experiment, stop=pt.steps(15)), progress=False)
    assert [each.left for each in found[:8]] == [None] * 8
    assert found[9].left == pytest.approx(0.5 * 34) and found[-1].left == 0.0
    assert pt.views.status(run.record).steps_per_second == pytest.approx(5 / 0.5, rel=1e-3)


def test_the_time_left_of_a_resumed_run_ignores_how_long_its_start_took():
    with clock.use(clock.FakeClock()) as fake:
        experiment = pt.Experiment(PBT, quadratic, stop=pt.steps(50))
        history = pt.run(experiment, progress=False).history
        watch = Watch(experiment, before=10.0)
        times = []
        for lines in range(history.lines + 1)[9:]:  # two rounds were trained before
            fake.advance(100.0 if lines < 14 else 2.0)
            times.append(watch.look(history.at(lines), 0).left)
    first = next(each for each in times if each is not None)
    assert first < 2.0 * history.n, times


def test_the_time_left_is_known_at_the_first_line_after_the_first_round_however_rare_the_lines_are():
    with clock.use(clock.FakeClock()) as fake:

        def train(carry, hp, steps, seed):
            fake.advance(1.0)
            return quadratic(carry, hp, steps, seed)

        found = glances(pt.Experiment(PBT, train, stop=pt.steps(50)), looks=lambda results: results % 6 == 0)
    assert found[0].results == 6 and found[0].left == pytest.approx(34.0)


def test_before_the_first_result_the_line_says_what_the_run_waits_for():
    history = History(seed=0, budget=5)
    for executor, words in (
        ("vectorized", "is compiled"),
        (pt.executors.Processes(slots=2), "worker processes start"),
        ("ray", "Ray"),
    ):
        experiment = pt.Experiment(PBT, quadratic, stop=pt.steps(5), executor=executor)
        assert words in Watch(experiment, 0.0).look(history, 0).line()


def test_a_time_limit_is_the_time_left():
    with clock.use(clock.FakeClock()) as fake:

        def train(carry, hp, steps, seed):
            fake.advance(10.0)
            return quadratic(carry, hp, steps, seed)

        found = glances(pt.Experiment(PBT, train, stop=pt.any_of(pt.seconds(100), pt.score(99.0))))
    assert found[2].left == pytest.approx(70.0) and found[2].share == pytest.approx(0.3)


def test_lines_in_a_file_become_more_seldom(capsys):
    lines = PlainLines()
    waits = []
    for _ in range(9):
        waits.append(lines.wait)
        lines.show(lambda columns: "a line", 0.5)
    assert waits[0] == 10.0 and waits == sorted(waits) and waits[-1] == 60.0
    assert capsys.readouterr().err == 9 * "a line\n"


def test_looks_that_take_long_become_more_seldom():
    """They take at most half a percent of the time."""
    assert pause(0.5, 0.0) == pause(0.5, 0.0004) == 0.5
    for cost in (0.01, 0.1, 3.0):
        assert cost / pause(0.5, cost) < 0.005


def test_what_the_program_prints_is_above_the_line_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    line = screens.screen()
    assert isinstance(line, TerminalLine)
    line.show(lambda columns: "50 %", 0.5)
    print("epoch 3")
    line.show(lambda columns: "60 %", 0.6)
    print("a bar of its own", end="")
    line.show(lambda columns: "70 %", 0.7)
    line.end("finished")
    assert sys.stdout is terminal and sys.stderr is terminal
    clear = "\r\x1b[K"
    assert terminal.getvalue() == f"{clear}50 %{clear}epoch 3\n{clear}60 %{clear}a bar of its own\nfinished\n"


def test_a_display_that_fails_never_stops_a_run(monkeypatch, capfd):
    class Broken(PlainLines):
        wait = 0.001

        def show(self, line, share):
            raise RuntimeError("no display")

        def end(self, line):
            raise RuntimeError("no display")

    monkeypatch.setattr("poptrain.engine.progress.screen", Broken)
    assert pt.run(PBT, quadratic, stop=pt.steps(200)).history.n == 160


def test_the_thread_ends_with_the_run_also_after_an_error(monkeypatch):
    ended = []
    monkeypatch.setattr(Progress, "end", lambda self, last, end=Progress.end: (ended.append(last is None), end(self, last)))

    def train(carry, hp, steps, seed):
        return carry, {"other": 1.0}

    with pytest.raises(pt.errors.MetricError):
        pt.run(PBT, train, stop=pt.steps(20))
    pt.run(PBT, quadratic, stop=pt.steps(20))
    assert ended == [True, False]
