"""A sink costs training nothing: not when it raises, not when it hangs, not when it sleeps; and a later export fills the gap."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings

import pytest

import poptrain as pt
from poptrain.core import Result, Task
from poptrain.core.errors import Suspended
from poptrain.core.protocols import Sink
from poptrain.log.reader import read
from poptrain.log.writer import MemoryLog
from poptrain.sinks.adapted import as_sink
from poptrain.sinks.points import PointReader
from poptrain.testing import Faulty, quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
PBT = pt.pbt(SPACE, population=4, interval=5, sync=False)


def run(directory=None, *sinks, trainable=quadratic, stop=50):
    return pt.run(PBT, trainable, stop=pt.steps(stop), directory=directory, sinks=sinks)


class Collector:
    """Reads the record from where it left off, as trackers do."""

    def __init__(self):
        self.lines, self.calls, self.closed = 0, 0, False

    def write(self, record, history):
        self.calls, self.lines = self.calls + 1, len(record.lines)

    def close(self):
        self.closed = True


class Sleeper(Collector):
    patience = 30.0

    def write(self, record, history):
        time.sleep(0.1)
        super().write(record, history)


class Hanging(Collector):
    patience = 0.2

    def __init__(self, where):
        super().__init__()
        self.where, self.freed = where, threading.Event()

    def hint(self, record):
        return f"poptrain export {record.directory}"

    def _maybe(self, where):
        if where == self.where:
            self.freed.wait()

    def open(self, record):
        self._maybe("open")

    def write(self, record, history):
        self._maybe("write")

    def close(self):
        self._maybe("close")


@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_sink_that_hangs_neither_delays_nor_stops_a_run(where, tmp_path):
    sink = Hanging(where)
    began = time.monotonic()
    with pytest.warns(UserWarning, match=r"still busy 0.2 s after the end; .*: poptrain export "):
        done = run(tmp_path / "r", sink)
    sink.freed.set()
    assert read(tmp_path / "r").finished and done.history.n == 40
    assert time.monotonic() - began < 20  # it would wait for ever


def test_a_slow_sink_sees_everything_and_delays_nothing():
    sink = Sleeper()
    done = run(None, sink)
    lines = len(done.record.lines)
    assert sink.lines == lines and sink.closed
    assert sink.calls < lines / 2  # once for many lines
    assert done.record.elapsed < 0.1 * lines / 2


def test_a_quick_sink_sees_the_last_line_before_it_is_closed():
    for _ in range(20):
        sink = Collector()
        done = run(None, sink, stop=10)
        assert sink.lines == len(done.record.lines) and sink.closed


class Flaky(Collector):
    retries, patience = True, 30.0

    def __init__(self, failures):
        super().__init__()
        self.left = failures

    def write(self, record, history):
        if self.left:
            self.left -= 1
            raise ConnectionError("no network")
        super().write(record, history)


def test_a_sink_that_may_try_again_does_and_loses_nothing():
    def slow(*args):
        time.sleep(0.01)
        return quadratic(*args)

    sink = Flaky(failures=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = run(None, sink, trainable=slow)
    assert sink.lines == len(done.record.lines) and sink.closed
    assert not any("Fill in" in str(warning.message) for warning in caught)


def test_a_sink_that_fails_to_the_end_is_one_line_with_the_command(tmp_path):
    class Broken(Flaky):
        def hint(self, record):
            return "poptrain export RUN --to x"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(tmp_path / "r", Broken(failures=10**9))
    last = str(caught[-1].message)
    assert "failed (ConnectionError: no network)" in last and "with: poptrain export RUN --to x" in last
    assert len(caught) <= 2 and "\n" not in last
    assert read(tmp_path / "r").finished


def test_sinks_are_closed_however_a_run_ends(tmp_path):
    sink = Collector()
    with pytest.raises(pt.errors.RunFailed):
        run(None, sink, trainable=Faulty("raise"))
    assert sink.closed

    def interrupt(carry, hp, steps, seed):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGTERM)
        return quadratic(carry, hp, steps, seed)

    sink = Collector()
    with pytest.raises(Suspended):
        run(tmp_path / "r", sink, trainable=interrupt)
    assert sink.closed


def test_a_sink_that_inherits_the_protocol_needs_only_what_it_changes():
    class Counting(Sink):
        calls = 0

        def write(self, record, history):
            self.calls += 1

    sink = Counting()
    assert as_sink(sink) is sink and sink.patience == Sink.patience and sink.hint(None) is None
    run(None, sink, stop=5)
    assert sink.calls


def test_a_sink_of_version_0_1_needs_only_write_and_its_attributes_are_followed():
    class Old:
        def write(self, record, history):
            self.every = 2.5

    sink = Old()
    adapted = as_sink(sink)
    assert (adapted.every, adapted.patience, adapted.retries, adapted.hint(None)) == (0.0, 10.0, False, None)
    adapted.open(None)
    adapted.write(None, None)
    adapted.close()
    assert adapted.every == 2.5
    sink.patience, sink.retries, sink.hint = 3.0, True, lambda record: "poptrain export"
    assert as_sink(sink).hint(None) == "poptrain export" and as_sink(sink).patience == 3.0 and as_sink(sink).retries


@pytest.mark.parametrize(
    ("sink", "says"),
    [(object(), r"has no write\(record, history\)"), (Collector, r"got the class Collector; pass an object, such as Collector")],
    ids=["no write", "a class"],
)
def test_what_is_not_a_sink_is_one_sentence(sink, says):
    with pytest.raises(pt.UsageError, match=says):
        as_sink(sink)


def test_a_trial_that_ended_by_itself_is_not_a_failure():
    log = MemoryLog({})
    log.append((Task(0, 0, {"lr": 0.1}, None, 10, 0), Task(1, 1, {"lr": 0.1}, None, 10, 0)))
    nan = float("nan")
    log.append((Result(0, nan, 0, error="its trial has ended", kind="ended"), Result(1, nan, 0, error="planted")))
    failures = [point.member for point in PointReader(log.record).read_on(log.record) if point.name == "failures"]
    assert failures == [1]


def test_points_are_a_function_of_the_log_however_it_is_read(tmp_path):
    record = run(tmp_path / "r").record
    once = PointReader(record).read_on(record)
    pieces, reader = [], PointReader(record)
    whole, record.lines = record.lines, []
    for line in whole:
        record.lines = [*record.lines, line]
        pieces += reader.read_on(record)
    assert pieces == once == PointReader(read(tmp_path / "r")).read_on(read(tmp_path / "r"))
    scores = [point.value for point in once if point.name == "score"]
    assert scores == [result.score for line in whole for result in line if hasattr(result, "score")]


def test_a_members_axis_grows_where_its_lineage_goes_back():
    """Member 1 copies member 0, which has trained less: the seat goes on at 20, the lineage goes back to 10."""
    log = MemoryLog({})
    hparams = {"lr": 0.1}
    log.append((Task(0, 0, hparams, None, 10, 0), Task(1, 1, hparams, None, 20, 0)))
    log.append((Result(0, 1.0, 10, checkpoint="a:1"), Result(1, 0.5, 20, curve=((10, 0.2), (20, 0.5)), checkpoint="b:1")))
    log.append((Task(2, 1, {"lr": 0.2}, 0, 5, 0),))
    log.append((Result(2, 2.0, 15, checkpoint="c:1"),))
    of = {}
    for point in PointReader(log.record).read_on(log.record):
        if point.member == 1:
            of.setdefault(point.name, []).append((point.step, point.value))
    assert of["score"] == [(10, 0.2), (20, 0.5), (25, 2.0)]
    assert of["lineage/step"] == [(20, 20.0), (20, 10.0), (25, 15.0)]
    assert of["lineage/donor"] == [(20, 0.0)]
    assert of["hparams/lr"] == [(0, 0.1), (20, 0.2)]


def test_a_metric_with_the_name_of_another_series_is_a_series_of_its_own():
    log = MemoryLog({})
    log.append((Task(0, 0, {"lr": 0.1}, None, 10, 0),))
    metrics = {"lineage/step": 7.0, "time/seconds": 8.0, "failures": 9.0, "hparams/lr": 3.0, "_step": 2.0, "step": 1.0}
    log.append((Result(0, 1.0, 10, metrics=metrics, checkpoint="a:1"),))
    points = [point for point in PointReader(log.record).read_on(log.record) if point.member == 0]
    assert len({(point.name, point.step) for point in points}) == len(points)
    found = {point.name: point.value for point in points}
    assert found["lineage/step"] == 10.0 and found["hparams/lr"] == 0.1 and found["step"] == 1.0
    taken = [name for name in metrics if name != "step"]
    assert [found[f"metrics/{name}"] for name in taken] == [metrics[name] for name in taken]


def test_a_missing_tracker_is_one_sentence(monkeypatch):
    from poptrain.sinks import event_files, mlflow_runs

    for module in (event_files, mlflow_runs):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    for make in (lambda: pt.sinks.MLflow(), lambda: pt.sinks.TensorBoard("x")):
        with pytest.raises(ImportError, match=r"pip install 'poptrain\["):
            make()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "mlfow"], "Did you mean 'mlflow'"),
        (["--uri", "http://x"], "--uri needs --to mlflow"),
        (["--to", "tensorboard", "--run-id", "1"], "--run-id needs --to mlflow"),
        (["--to", "mlflow", "--out", "x"], "--out needs --to tensorboard"),
        (["--table", "t.csv", "--no-checkpoint"], "--no-checkpoint needs --to mlflow"),
    ],
    ids=["typo", "no tracker", "of the other", "and the other way", "of none"],
)
def test_a_wrong_export_is_one_sentence(options, words, tmp_path):
    from typer.testing import CliRunner

    from poptrain.cli import app

    run(tmp_path / "r", stop=5)
    done = CliRunner().invoke(app, ["export", str(tmp_path / "r"), *options])
    assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_end_of_the_process_waits_for_a_sink_that_is_still_busy(tmp_path):
    """Also for threads that the sink starts meanwhile, as MLflow does for uploads."""
    code = (
        "import sys, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import poptrain as pt\n"
        "from poptrain.testing import quadratic\n"
        "class Slow:\n"
        "    patience = 0.1\n"
        "    def write(self, record, history): pass\n"
        "    def close(self):\n"
        "        time.sleep(2)\n"
        "        with ThreadPoolExecutor() as pool: pool.submit(open(sys.argv[1], 'w').write, 'done').result()\n"
        "algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=2, interval=1)\n"
        "pt.run(algorithm, quadratic, stop=pt.steps(1), sinks=[Slow()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0 and "was still busy 0.1 s after the end" in done.stderr
    assert (tmp_path / "out").exists()
