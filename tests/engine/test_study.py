"""A study runs methods × seeds, side by side, continues where it stopped, and ends in a comparison."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import poptrain as pt
from poptrain.core import clock
from poptrain.core.errors import RunWarning
from poptrain.engine import signals
from poptrain.engine.board import Board, OnBoard
from poptrain.executors.importable import _guarded
from poptrain.log.reader import read
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
METHODS = {
    "slow": pt.pbt(SPACE, population=4, interval=5),
    "quick": pt.pbt(SPACE, population=4, interval=2),
    "random": pt.random_search(SPACE, population=4, interval=5),
}


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def study(trainable=quadratic, **options):
    return pt.study(METHODS, trainable, stop=pt.steps(20), progress=False, **options)


def scores(found):
    return {name: [run.best.score for run in runs] for name, runs in found.runs.items()}


def test_a_study_compares_methods_under_the_names_that_they_were_given():
    found = study(seeds=4)
    assert {name: len(runs) for name, runs in found.runs.items()} == {"slow": 4, "quick": 4, "random": 4}
    assert [method.name for method in found.comparison.methods] == ["random", "quick", "slow"]
    assert {(pair.method, pair.against) for pair in found.comparison.pairs} == {
        *(("slow", "random"), ("quick", "random"), ("slow", "quick"))
    }
    assert "random (4)" in repr(found) and "quick" in found._repr_html_()
    for method in found.comparison.methods:
        (line,) = [line for line in repr(found).splitlines() if line.strip().startswith(f"{method.name} (")]
        assert f"{method.score.mean:.4g}" in line and f"{method.score.low:.4g} to {method.score.high:.4g}" in line
    assert [run.record.run["seed"] for run in found.runs["slow"]] == [0, 1, 2, 3]


@pytest.mark.heavy
def test_processes_and_one_after_another_give_the_same_study_which_continues(tmp_path):
    lr = 1.0

    def local(carry, hp, steps, seed):  # no worker can import it
        return quadratic(carry, {"lr": lr * hp["lr"]}, steps, seed)

    found = study(local, seeds=2, directory=tmp_path / "s", workers=2)
    assert scores(found) == scores(study(local, seeds=[0, 1]))
    assert sorted(path.name for path in (tmp_path / "s").iterdir())[:2] == ["quick-0", "quick-1"]
    more = study(local, seeds=3, directory=tmp_path / "s", workers=1)
    assert scores(more)["slow"][:2] == scores(found)["slow"] and read(tmp_path / "s" / "slow-0").epoch == 1


def test_a_run_that_fails_is_named_and_the_others_go_on():
    def train(carry, hp, steps, seed):
        if hp["lr"] > 0.01:
            raise ValueError("too large")
        return quadratic(carry, hp, steps, seed)

    high = pt.Space(lr=pt.LogUniform(0.02, 0.1))
    low = pt.Space(lr=pt.LogUniform(1e-4, 1e-3))
    methods = {name: pt.pbt(space, population=2, interval=5) for name, space in (("high", high), ("low", low))}
    with pytest.warns(pt.errors.RunWarning, match="the run high-0 of the study failed: all 2 members failed"):
        found = pt.study(methods, train, seeds=2, stop=pt.steps(20), progress=False)
    assert set(found.failures) == {"high-0", "high-1"} and len(found.runs["low"]) == 2
    assert "high-0 failed" in repr(found)


def test_wrong_arguments_are_refused():
    for methods, options in (({}, {}), (METHODS, {"seeds": 0}), (METHODS["slow"], {})):
        with pytest.raises(pt.UsageError, match="expected methods by name and at least one seed"):
            pt.study(methods, quadratic, stop=pt.steps(20), **options)
    with pytest.raises(pt.UsageError, match="Write population=n for the members, and stop"):
        pt.study(METHODS, quadratic, n_trials=20)


def test_a_study_is_a_table_and_says_which_runs_began_with_other_code(tmp_path):
    def train(carry, hp, steps, seed):
        return 0, {"score": hp["lr"]}

    space = pt.Space(lr=pt.LogUniform(1e-3, 0.1))
    methods = {name: pt.random_search(space, population=2, interval=5) for name in ("a", "b")}
    settings = {"stop": pt.steps(5), "directory": tmp_path, "workers": 1, "progress": False}
    table = pt.study(methods, train, seeds=2, **settings).table()
    assert table["method"] == ["a", "a", "b", "b"] and table["seed"] == [0, 1, 0, 1] and len(table["score"]) == 4

    named = pt.study(
        methods, lambda *given: (0, {"seed": given[1]["lr"]}), seeds=1, metric="seed", stop=pt.steps(5), progress=False
    )
    assert list(named.table())[:3] == ["method", "seed", "metrics.seed"]

    def train(carry, hp, steps, seed):
        return 0, {"score": 2 * hp["lr"]}

    with pytest.warns(RunWarning, match="4 of 6 runs of the study began with other code") as caught:
        found = pt.study(methods, train, seeds=3, **settings)
    assert len(caught) == 1, "once for all runs"
    assert any("different versions of its code" in text for text in found.comparison.warnings)


def test_a_study_warns_of_a_doubtful_setting_once(tmp_path):
    def careless(carry, hp, steps, seed):
        return 0, {"score": hp["lr"] + seed % 7}

    space = pt.Space(lr=pt.LogUniform(1e-3, 0.1), momentum=pt.Uniform(0, 1))
    methods = {name: pt.random_search(space, population=2, interval=5) for name in ("a", "b")}
    with pytest.warns(RunWarning) as caught:
        pt.study(methods, careless, seeds=3, stop=pt.steps(10), directory=tmp_path, workers=1, progress=False)
    texts = [str(each.message) for each in caught]
    assert len(texts) == 1 and "never reads the hyperparameter 'momentum'" in texts[0]


GUARDED = """
import poptrain as pt

if __name__ == "__main__":
    factor = 0.5

    def train(carry, hp, steps, seed):
        x = (1.0 if carry is None else carry) * (1 - factor * hp["lr"]) ** steps
        return x, {"score": -x * x}

    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    found = pt.study({"a": pt.pbt(space, population=2, interval=5), "b": pt.random_search(space, population=2, interval=5)},
                     train, stop=pt.steps(10), seeds=1, directory="s", workers=2, progress=False)
    print("finished", sum(map(len, found.runs.values())))
"""


@pytest.mark.heavy
def test_functions_under_the_guard_of_a_script_are_sent_to_the_workers_of_a_study(tmp_path):
    (tmp_path / "script.py").write_text(GUARDED)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert "finished 2" in done.stdout, done.stderr
    assert "other code" not in done.stderr


def test_a_study_without_a_guard_is_answered_in_its_own_words(tmp_path):
    (tmp_path / "script.py").write_text(GUARDED.replace('if __name__ == "__main__"', "if True"))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert "study: workers=2: every worker process imports script.py" in done.stderr and "or use workers=1." in done.stderr


def test_what_a_script_defines_only_under_its_guard_is_known(tmp_path):
    lines = [
        "def outside(): pass",
        "if __name__ == '__main__':",
        "    def inside(): pass",
        "    class Also: pass",
        "    def outside(): pass",
    ]
    tree = ast.parse("\n".join(lines))
    assert _guarded(tree) == {"inside", "Also"} and _guarded(None) == set()


class Shown:
    """A screen that keeps its lines."""

    wait = 0.0

    def __init__(self):
        self.lines = []

    def show(self, line, share):
        self.lines.append((line(200), line(40), share))

    def end(self, line):
        self.last = line


def test_the_board_of_a_study_shows_from_the_start_what_runs_and_how_far_it_is():
    with clock.use(clock.FakeClock()) as fake:
        screen = Shown()
        board = Board(4, screen)
        board.starts("starting 2 worker processes")
        assert screen.lines[-1][0] == "0.0 s · 0 of 4 runs finished · starting 2 worker processes"
        for title in ("a-0", "b-0"):
            board.begun(title)
            OnBoard(board, title).show(None, 0.0)
        fake.advance(10.0)
        OnBoard(board, "a-0").show(None, 0.5)
        assert screen.lines[-1][0] == "10.0 s · 0 of 4 runs finished · a-0 50 %, b-0 0 % · about 1 min 10 s left"
        assert screen.lines[-1][2] == 0.5 / 4 and len(screen.lines[-1][1]) <= 40
        board.ended("a-0")
        assert board.line().startswith("10.0 s · 1 of 4 runs finished · b-0 0 %") and board.share == 0.25
        board.begun("c"), board.reached("c", None)
        assert "b-0 0 %, c · about" in board.line(), "a share that is not known in advance is not shown"


def test_the_board_keeps_the_cadence_of_its_screen():
    with clock.use(clock.FakeClock()) as fake:
        screen = Shown()
        screen.wait = 10.0
        board = Board(1000, screen)
        for n in range(300):
            board.begun(f"a-{n}")
            fake.advance(0.5)
            board.ended(f"a-{n}")
        assert len(screen.lines) == 15


@pytest.mark.parametrize("directory", [True, False], ids=["directory", "memory"])
def test_after_an_interrupt_at_a_prompt_no_other_run_begins(directory, tmp_path, monkeypatch, capfd):
    for module in ("loop", "again", "study"):
        monkeypatch.setattr(f"poptrain.engine.{module}.interactive", lambda: True)
    seen = []

    def train(carry, hp, steps, seed):
        seen.append(seed)
        if len(seen) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return quadratic(carry, hp, steps, seed)

    where = tmp_path / "s" if directory else None
    found = pt.study(METHODS, train, seeds=2, stop=pt.steps(20), directory=where, workers=1)
    assert {name: len(runs) for name, runs in found.runs.items()} == {"slow": 1, "quick": 0, "random": 0} and len(seen) < 24
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == "study interrupted; 1 of 6 runs are finished; make the same call again to continue"


def test_a_worker_of_a_study_obeys_its_parent_alone(monkeypatch):
    monkeypatch.setattr(signals, "_orders", [])
    with signals.Signals() as handlers:
        with handlers.interruptible():
            for number in signals.Signals.NUMBERS:
                os.kill(os.getpid(), number)
        with pytest.raises(signals.Interrupted), handlers.interruptible():
            signals.obey(signal.SIGTERM)
            time.sleep(5)
    with signals.Signals() as handlers, pytest.raises(signals.Interrupted), handlers.interruptible():
        pytest.fail("an order that came before the run was ready is obeyed")


def test_what_a_run_of_a_study_reports_names_the_run():
    def train(carry, hp, steps, seed):
        if carry and hp["lr"] > 0.03:
            raise ValueError("too large")
        return quadratic(carry, hp, steps, seed)

    with pytest.warns(RunWarning) as caught:
        study(train, seeds=1)
    texts = [str(each.message) for each in caught]
    assert texts and all(text.startswith(("run slow-0: ", "run quick-0: ", "run random-0: ")) for text in texts)


INTERRUPTED = """
import time
from pathlib import Path
import poptrain as pt

if __name__ == "__mp_main__":
    Path("importing").touch()
    time.sleep({importing})

def train(carry, hp, steps, seed):
    Path("begun").open("a").write("x")
    time.sleep({step})
    return 0, {{"score": 1.0}}

if __name__ == "__main__":
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    methods = {{"a": pt.pbt(space, population=2, interval=5), "b": pt.random_search(space, population=2, interval=5)}}
    pt.study(methods, train, stop=pt.steps(500), seeds=3, directory="s", workers=2)
"""


def pressed(tmp_path, times, until, **settings):
    """Returns what a terminal shows of a study in which Ctrl-C is pressed so many times, and its exit code."""
    import pty

    (tmp_path / "study.py").write_text(INTERRUPTED.format(**settings))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "study.py"], environment())
    limit = time.monotonic() + 60
    while not until() and time.monotonic() < limit:
        time.sleep(0.02)
    text = b""
    for _ in range(times):
        os.write(terminal, b"\x03")
        while times > 1 and b"suspending 2 runs (at most 30 s)" not in text:
            text += os.read(terminal, 1 << 16)
    began = time.monotonic()
    with suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            text += data
    assert time.monotonic() - began < 15
    return text.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.heavy
@pytest.mark.parametrize("importing", [True, False], ids=["while workers import", "while runs train"])
def test_ctrl_c_suspends_the_runs_of_a_study_begins_no_other_and_prints_no_traceback(importing, tmp_path):
    if importing:
        text, code = pressed(tmp_path, 1, (tmp_path / "importing").exists, importing=3, step=0.1)
    else:
        begun = tmp_path / "begun"
        text, code = pressed(tmp_path, 1, lambda: begun.exists() and len(begun.read_text()) > 9, importing=0, step=0.2)
    assert code == 130 and "Traceback" not in text, text
    assert text.count("interrupted; 0 of 6 runs are finished; continue with the same command: ") == 1
    assert "0 of 6 runs finished · starting 2 worker processes" in text or not importing
    runs = sorted(path.name for path in (tmp_path / "s").glob("*"))
    assert runs == ([] if importing else ["a-0", "b-0"])
    for name in runs:
        assert pt.views.status(pt.open_run(tmp_path / "s" / name).record).state == "suspended"


@pytest.mark.heavy
def test_a_second_ctrl_c_ends_a_study_at_once(tmp_path):
    begun = tmp_path / "begun"
    text, code = pressed(tmp_path, 2, lambda: begun.exists() and len(begun.read_text()) > 1, importing=0, step=600)
    assert code == 130 and "Traceback" not in text, text
    assert not pt.open_run(tmp_path / "s" / "a-0").record.finished


def test_compare_names_and_orders_the_methods_of_a_study_as_the_study_does(tmp_path):
    """The names are the user's, also where the settings would give others."""
    from poptrain.cli.compare import records

    methods = {
        "slow": pt.pbt(SPACE, population=3, interval=5),
        "random": pt.random_search(SPACE, population=3, interval=5),
        "fast": pt.pbt(SPACE, population=3, interval=2),
    }
    study = pt.study(methods, quadratic, seeds=2, stop=pt.steps(10), directory=tmp_path, progress=False)
    found = pt.views.compare(records([tmp_path])[0])
    assert [each.name for each in found.methods] == [each.name for each in study.comparison.methods] == ["random", "fast", "slow"]
