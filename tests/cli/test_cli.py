"""The command line: what it prints, what it creates, and with which code it exits."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poptrain as pt
from poptrain import views
from poptrain.checkpoints.store import DiskStore
from poptrain.cli import app, main
from poptrain.cli.live import Live
from poptrain.cli.overview import overview
from poptrain.core import Forecast
from poptrain.core.errors import Suspended
from poptrain.engine.started import remember
from poptrain.log import disk
from poptrain.log.finding import exists
from poptrain.log.reader import read
from poptrain.log.writer import Log, MemoryLog
from poptrain.views import short

SRC = str(Path(pt.__file__).parents[1])

EXPERIMENT = """
import poptrain as pt
from poptrain.core import Forecast
from poptrain.testing import quadratic

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(20))
"""
CLASS = EXPERIMENT.replace("quadratic", "Quadratic")
SLOW = """
import time
import poptrain as pt
from poptrain.core import Forecast
from poptrain.testing import quadratic

def train(carry, hp, steps, seed):
    time.sleep(0.03)
    return quadratic(carry, hp, steps, seed)

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), train, stop=pt.steps(50))
"""
FAILING = EXPERIMENT.replace("import quadratic", "import Faulty").replace("quadratic, stop", 'Faulty("raise"), stop')
HOSTILE = "\\x1b[31mred[bold]<b>=1+1"
HOSTILE_NAME = HOSTILE.removeprefix("\\x1b")  # names have no control characters
HOSTILE_EXPERIMENT = f"""
import poptrain as pt
from poptrain.core import Forecast

def train(carry, hp, steps, seed):
    n = 0 if carry is None else carry
    if seed % 4 == 0:
        raise ValueError("{HOSTILE}\\n[red]second line")
    return n + steps, {{"{HOSTILE_NAME}": float(n + seed % 100)}}

space = pt.Space({{"[red]x": pt.Uniform(0.0, 1.0), "kind": pt.Choice("{HOSTILE}", "@b")}})
experiment = pt.Experiment(pt.pbt(space, population=5, interval=1), train, metric="{HOSTILE_NAME}", stop=pt.steps(8))
"""


@pytest.fixture
def here(folder, monkeypatch):
    """An empty working directory with experiment files."""
    monkeypatch.delenv("POPTRAIN_DEBUG", raising=False)
    for name, text in (
        ("simple", EXPERIMENT),
        ("klass", CLASS),
        ("slow", SLOW),
        ("failing", FAILING),
        ("hostile", HOSTILE_EXPERIMENT),
    ):
        Path(f"{name}_experiment.py").write_text(text)
    return folder


def cli(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory with a finished run and its experiment file, as the command leaves them; it must not be changed."""
    directory = tmp_path_factory.mktemp("finished")
    (directory / "simple_experiment.py").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "path", list(sys.path))
        assert cli("run", "simple_experiment.py", "--dir", "run", "--quiet").exit_code == 0
    return directory


@pytest.fixture
def run(here, finished):
    """A copy of that run in the directory `run`; its log names the experiment file next to it."""
    shutil.copytree(finished / "run", "run")
    remember("run", read("run").file)
    return Path("run")


def strict(text):
    """Returns the one JSON object that a command printed."""
    assert text.endswith("\n") and text.count("\n") == 1
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))
    assert isinstance(found, dict)
    return found


def tree(directory="."):
    return sorted(path for path in Path(directory).rglob("*") if "__pycache__" not in path.parts)


def subprocess_cli(*words, **options):
    environment = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.Popen([sys.executable, "-m", "poptrain", *map(str, words)], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip


# -- run and resume -------------------------------------------------------------------------------------------------------


def test_run_says_what_was_best_where_it_is_and_what_comes_next(here):
    done = cli("run", "simple_experiment.py")
    assert done.exit_code == 0
    (directory,) = Path("runs").iterdir()
    assert directory.name.startswith("simple_experiment-2")
    view = views.status(read(directory))
    assert view.state == "finished" and view.results == 16
    assert f"best score {views.short(view.best.score, 6)}" in done.stdout and "lr=" in done.stdout
    assert f"poptrain plot {directory}" in done.stdout and f"poptrain schedule {directory}" in done.stdout
    assert "generation 4 of 4" in done.stderr and "\x1b" not in done.stderr


def test_two_runs_in_one_second_get_two_directories(here):
    for _ in range(2):
        assert cli("run", "simple_experiment.py", "--quiet").exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_run_and_resume_print_one_object_with_json(here):
    first = strict(cli("run", "simple_experiment.py", "--dir", "run", "--json").stdout)
    assert first["state"] == "finished" and first["best"]["step"] == 20
    again = strict(cli("resume", "run", "--steps", 30, "--json").stdout)
    assert again["budget"] == 30 and again["best"]["step"] == 30


def test_the_arguments_of_a_file_are_recorded_and_given_again_by_resume(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["poptrain"])
    text = Path("simple_experiment.py").read_text()
    Path("members_experiment.py").write_text(f"import sys\nassert sys.argv[1:] == ['--lr', 'a b'], sys.argv\n{text}")
    assert cli("run", "members_experiment.py", "--dir", "run", "-q", "--args", "--lr 'a b'").exit_code == 0
    assert read("run").file["argv"] == ["--lr", "a b"]
    assert cli("resume", "run", "-q", "--steps", 30).exit_code == 0 and read("run").budget == 30
    assert cli("run", "members_experiment.py", "--dir", "other", "-q").exit_code == 2
    Path("members_experiment.py").write_text(f"import sys\nlr = float(sys.argv[1])\n{text}")
    assert '--args "A B"' in cli("check", "members_experiment.py").stderr.replace("\n", " ")


def test_options_override_the_file_and_resume_remembers_them(here):
    assert (
        cli("run", "simple_experiment.py", "--dir", "run", "--seed", 5, "--steps", 10, "--executor", "inline", "-q").exit_code
        == 0
    )
    record = read("run")
    assert (record.run["seed"], record.budget) == (5, 10)
    assert record.file["options"] == {"steps": 10, "executor": "inline"}
    assert cli("resume", "run", "-q").exit_code == 0
    assert read("run").budget == 10 and len(read("run").lines) == len(record.lines)
    assert cli("resume", "run", "-q", "--steps", 20).exit_code == 0
    assert cli("resume", "run", "-q").exit_code == 0
    assert read("run").budget == 20 and views.status(read("run")).results == 16


def test_run_refuses_a_directory_with_a_run_and_names_resume(run):
    before = read(run).seq
    again = cli("run", "simple_experiment.py", "--dir", "run")
    assert again.exit_code == 2 and "poptrain resume run" in again.stderr and "16 results" in again.stderr
    assert read(run).seq == before


def test_a_run_that_moved_with_its_file_executes_it_only_if_it_is_named(run, here):
    (here / "elsewhere").mkdir()
    for name in ("run", "simple_experiment.py"):
        Path(name).rename(here / "elsewhere" / name)
    there = here / "elsewhere" / "simple_experiment.py"
    refused = cli("resume", here / "elsewhere" / "run", "--steps", 25, "-q")
    assert refused.exit_code == 2 and f"--experiment {there}" in refused.stderr
    assert cli("resume", here / "elsewhere" / "run", "--experiment", there, "--steps", 25, "-q").exit_code == 0
    again = cli("resume", here / "elsewhere" / "run", "--steps", 26, "-q")
    assert again.exit_code == 0 and again.stderr.startswith(f"executing {there}")
    Path("elsewhere/simple_experiment.py").rename("simple_experiment.py")
    lost = cli("resume", "elsewhere/run")
    assert lost.exit_code == 2 and "--experiment FILE" in lost.stderr
    assert cli("resume", "elsewhere/run", "--experiment", "simple_experiment.py", "--steps", 30, "-q").exit_code == 0


def test_a_changed_file_is_a_warning_and_is_recorded(run):
    Path("simple_experiment.py").write_text(EXPERIMENT + "# more\n")
    refused = cli("resume", "run", "--steps", 25, "-q")
    assert refused.exit_code == 2 and "has changed since" in refused.stderr
    first = cli("resume", "run", "--experiment", "simple_experiment.py", "--steps", 25, "-q")
    assert first.exit_code == 0 and "has changed since" in first.stderr
    second = cli("resume", "run", "--steps", 30, "-q")
    assert second.exit_code == 0 and "has changed" not in second.stderr


def test_a_changed_experiment_is_refused_with_the_difference(run):
    Path("simple_experiment.py").write_text(EXPERIMENT.replace("population=4", "population=5"))
    refused = cli("resume", "run", "--experiment", "simple_experiment.py", "-q")
    assert refused.exit_code == 2 and "population was 4, is 5" in refused.stderr


@pytest.mark.parametrize("how", ["recorded", "given", "link"])
def test_nothing_inside_a_run_directory_is_executed(run, how):
    trap = Path("run/trap.py")
    trap.write_text("raise SystemError('sprung')")
    if how == "recorded":
        record = read(run)
        with Log.open(run) as log:
            log.note("file", **{**record.file, "name": "trap.py"})
        refused = cli("resume", "run")
    elif how == "given":
        refused = cli("resume", "run", "--experiment", trap)
    else:
        Path("link.py").symlink_to(trap.resolve())
        refused = cli("resume", "run", "--experiment", "link.py")
    assert refused.exit_code == 2 and "inside the run directory" in refused.stderr
    assert "sprung" not in refused.stderr


@pytest.mark.parametrize("name", ["../missing.py", "../simple_experiment", "\0", "", "/etc/passwd", 5, None])
def test_a_recorded_name_that_is_no_experiment_is_refused(run, name):
    with Log.open(run) as log:
        log.note("file", name=name, sha256="", options=[])
    refused = cli("resume", "run")
    assert refused.exit_code == 2 and "--experiment FILE" in refused.stderr and refused.stderr.count("\n") == 1


def test_a_run_from_python_needs_the_file_to_be_given(here):
    experiment = {}
    exec(EXPERIMENT, experiment)
    e = experiment["experiment"]
    pt.run(e.algorithm, e.trainable, stop=pt.steps(10), directory="run")
    refused = cli("resume", "run")
    assert refused.exit_code == 2 and "pt.run" in refused.stderr
    assert cli("resume", "run", "--experiment", "simple_experiment.py", "-q").exit_code == 0


def test_an_interrupt_exits_with_130_and_resume_continues_exactly(here):
    process = subprocess_cli("run", "slow_experiment.py", "--dir", "run", cwd=here)
    deadline = time.monotonic() + 30
    while not (exists("run") and len(read("run").lines) > 6) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "poptrain resume run" in err and "Traceback" not in err
    assert views.status(read("run")).state == "suspended"
    resumed = cli("resume", "run", "--json", "--quiet")
    assert resumed.exit_code == 0 and strict(resumed.stdout)["state"] == "finished"
    assert cli("run", "slow_experiment.py", "--dir", "straight", "-q").exit_code == 0
    resumed, straight = (views.schedule(read(name)) for name in ("run", "straight"))
    assert resumed == straight


# -- exit codes -----------------------------------------------------------------------------------------------------------


def test_all_members_failing_is_4(here):
    failed = cli("run", "failing_experiment.py", "--dir", "run", "-q")
    assert failed.exit_code == 4 and "all 4 members failed" in failed.stderr.splitlines()[-1]
    assert [line.partition(" ")[0] for line in failed.stderr.splitlines()[:-1]] == ["warning:"]
    assert strict(cli("status", "run", "--json").stdout)["state"] == "failed"


def test_a_run_that_another_process_writes_is_5(run):
    with Log.open(run):
        busy = cli("resume", "run", "-q")
    said = busy.stderr.splitlines()
    assert busy.exit_code == 5 and f"process {os.getpid()}" in said[-1] and len(said) == 2 and said[0].startswith("executing ")


@pytest.mark.parametrize(("error", "code"), [
    (Suspended("disk full: cannot write x"), 3), (Suspended("interrupted by SIGTERM", 143), 143), (KeyboardInterrupt(), 130),
    (ZeroDivisionError("a bug"), 1), (pt.errors.LogDamaged("line 3"), 1),
    (ImportError("x needs Ray: pip install 'poptrain[ray]'"), 2),
])  # fmt: skip
def test_every_error_is_one_line_and_a_code(here, monkeypatch, error, code):
    def execute(*_, **__):
        raise error

    monkeypatch.setattr("poptrain.cli.start.execute", execute)
    got = cli("run", "simple_experiment.py", "--dir", "run", "-q")
    assert got.exit_code == code and got.stderr.count("\n") == 1 and "Traceback" not in got.stderr
    if isinstance(error, ZeroDivisionError):
        assert "--debug" in got.stderr
        for words in (("--debug", "run", "simple_experiment.py"), ("run", "simple_experiment.py", "--debug")):
            assert "Traceback" in cli(*words, "-q").stderr
        monkeypatch.setenv("POPTRAIN_DEBUG", "1")
        assert "Traceback" in cli("run", "simple_experiment.py", "-q").stderr


def test_a_damaged_log_is_1_and_says_where(run):
    path = Path("run/log-000001.jsonl")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for verb in ("status", "lineage", "schedule", "plot"):
        damaged = cli(verb, "run")
        assert damaged.exit_code == 1 and "log-000001.jsonl line" in damaged.stderr and damaged.stderr.count("\n") == 1


def test_main_returns_the_code_and_prints_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"poptrain {pt.__version__}\n"
    assert main([]) == 2 and "Usage" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0 and "--steps" in capsys.readouterr().out


# -- reading verbs --------------------------------------------------------------------------------------------------------


def test_every_reading_verb_prints_one_strict_object_and_writes_nothing_into_the_run(run):
    before = [(path, path.lstat().st_mtime_ns) for path in tree("run")]
    assert strict(cli("status", "run", "--json").stdout)["generation"] == 4
    assert strict(cli("lineage", "run", "--json").stdout)["ancestors"][0]["start"] == 0
    assert strict(cli("schedule", "run", "--json").stdout)["segments"][0]["start"] == 0
    assert len(strict(cli("plot", "run", "--out", "p", "--json").stdout)["files"]) == len(list(Path("p").iterdir())) == 5
    assert strict(cli("export", "run", "--table", "t.csv", "--json").stdout)["files"] == ["t.csv"]
    for verb in ("status", "lineage", "schedule"):
        assert cli(verb, "run").exit_code == 0
    assert before == [(path, path.lstat().st_mtime_ns) for path in tree("run")]


def test_status_shows_members_best_and_copies(run):
    shown = cli("status", "run").stdout
    view = views.status(read(run))
    assert "run  finished" in shown and "generation 4 of 4" in shown
    assert len([line for line in shown.splitlines() if "finished  " in line and "generation" not in line]) == len(view.members)
    newest = view.last_exploits[-1]
    assert f"member {newest.member} copied {newest.donor} at step {newest.step}" in shown


def test_status_shows_what_the_model_expected(here):
    text = EXPERIMENT.replace("pt.pbt(space, population=4, interval=5)", "pt.pb2(space, population=4, interval=5)")
    Path("model_experiment.py").write_text(text)
    assert cli("run", "model_experiment.py", "--dir", "model", "--quiet").exit_code == 0
    newest = views.status(read("model")).last_suggestions
    assert newest and newest[-1].gain is not None and newest[-1].observed is not None
    shown = cli("status", "model").stdout
    for each in newest:
        expected = f"gain {short(each.gain)} ± {short(each.gain_sd)} expected, {short(each.observed)} observed"
        assert f"member {each.member} from step {each.step}: {expected}" in shown
    assert strict(cli("status", "model", "--json").stdout)["last_suggestions"][-1]["gain"] == newest[-1].gain


def test_a_suggestion_without_a_model_says_why():
    log = MemoryLog({})
    log.append([pt.Task(0, 0, {"lr": 0.1}, None, 10, 0, forecast=Forecast("redraw", rows=2, fallback="2 rows\x1b"))])
    screen = io.StringIO()
    Console(file=screen, width=150).print(overview(views.status(log.record), 150))
    assert "member 0 from step 0: no model: 2 rows\\x1b; drawn at random" in screen.getvalue()


@pytest.mark.parametrize(("note", "how"), [({}, "drawn at random"), ({"anew": True}, "drawn from the whole ranges")], ids=str)
def test_values_that_no_model_chose_are_said_to_come_from_where_they_were_drawn(note, how):
    """A clone of PB2 stays near its parent when the model sees only noise, unless all members are worse than at first."""
    log = MemoryLog({})
    log.append([pt.Task(0, 0, {"lr": 0.1}, None, 10, 0, note=note, forecast=Forecast("redraw", rows=9, fallback="noise"))])
    screen = io.StringIO()
    Console(file=screen, width=150).print(overview(views.status(log.record), 150))
    assert f"no model: noise; {how}" in screen.getvalue()


def test_categories_without_numbers_are_said_to_be_the_bandits():
    log = MemoryLog({})
    forecast = Forecast("bandit", rows=9, fallback="no numeric hyperparameter")
    log.append([pt.Task(0, 0, {"c": "a"}, None, 10, 0, note={"chance c": 0.5}, forecast=forecast)])
    screen = io.StringIO()
    Console(file=screen, width=150).print(overview(views.status(log.record), 150))
    assert "no model: no numeric hyperparameter; drawn by the bandit" in screen.getvalue()


def test_status_watch_ends_with_the_run(run):
    assert cli("status", "run", "--watch").stdout.count("finished (") == 1


def test_schedule_and_lineage_of_a_task(run):
    rows = list(csv.DictReader(io.StringIO(cli("schedule", "run", "--task", 9, "--csv").stdout)))
    expected = views.schedule(read(run), 9)
    assert [(int(r["start"]), int(r["end"]), float(r["lr"])) for r in rows] == [
        (s.start, s.end, s.hparams["lr"]) for s in expected.segments
    ]
    assert strict(cli("lineage", "run", "--task", 9, "--json").stdout)["task"] == 9
    assert "task 9 of member" in cli("lineage", "run", "--task", 9).stdout


def test_a_directory_of_runs_names_them(run):
    Path("runs").mkdir()
    run.rename("runs/one")
    missed = cli("status", "runs")
    assert missed.exit_code == 2 and "runs/one" in missed.stderr


def test_plots_lie_next_to_the_run_or_where_out_says(run):
    assert cli("plot", "run").stdout.split() == [
        str(Path("run-plots").resolve() / f"{n}.png") for n in ("score", "hparams", "lineage", "spread", "time")
    ]
    Path("file").write_text("")
    refused = cli("plot", "run", "--out", "file")
    assert refused.exit_code == 2 and "file" in refused.stderr


@pytest.mark.parametrize("final", [False, True])
def test_export_of_a_carry(run, final):
    done = cli("export", "run", "--best", "out", *(["--final"] if final else []))
    assert done.exit_code == 0
    about = json.loads(Path("out/best.json").read_text())
    whole = pt.open_run("run")
    standing = whole.final_best if final else whole.best
    assert (about["task"], about["score"], about["step"], about["hparams"]) == (
        standing.task.id,
        standing.score,
        standing.step,
        standing.hparams,
    )
    assert DiskStore("out").read(about["checkpoint"])["theta"] == standing.load()["theta"]
    assert json.loads(Path("out/schedule.json").read_text())["task"] == standing.task.id
    assert Path("out/schedule.csv").read_text() == views.schedule(whole.record, standing.task.id).to_csv()
    rows = list(csv.DictReader(io.StringIO(Path("out/table.csv").read_text())))
    assert [float(row["score"]) for row in rows] == whole.history.table()["score"]
    again = cli("export", "run", "--best", "out")
    assert again.exit_code == 2 and "exists already" in again.stderr


def test_export_of_a_classs_files(here):
    assert cli("run", "klass_experiment.py", "--dir", "run", "-q").exit_code == 0
    assert cli("export", "run", "--best", "out").exit_code == 0
    copied = Path("out/checkpoints/best/user/state.json").read_text()
    Path("again").mkdir()
    pt.open_run("run").best.load().save(Path("again"))
    assert copied == Path("again/state.json").read_text()
    assert DiskStore("out").path(json.loads(Path("out/best.json").read_text())["checkpoint"]).is_dir()


def test_reading_loads_no_heavy_package_and_is_quick(run):
    code = (
        "import sys, time; began = time.process_time()\n"
        "from poptrain.cli import main\n"
        "assert main(['status', 'run']) == 0 and main(['schedule', 'run', '--json']) == 0\n"
        "heavy = {'jax', 'matplotlib', 'scipy', 'torch', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert time.process_time() - began < 2, time.process_time() - began"  # 0.35 s on an idle machine
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": SRC}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_hostile_strings_reach_no_terminal_and_no_spreadsheet(here):
    assert cli("run", "hostile_experiment.py", "--dir", "run").exit_code == 0
    out = [
        cli("run", "hostile_experiment.py", "--dir", "run2"),
        *(cli(verb, "run") for verb in ("status", "lineage", "schedule", "plot")),
    ]
    for done in out:
        assert done.exit_code == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
    assert "[bold]" in out[0].stdout and "[red]x" in out[1].stdout  # shown as they are, not obeyed
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, color_system=None, width=150).print(overview(views.status(read("run")), 150))
    assert "\x1b" not in screen.getvalue()
    cells = [value for row in csv.reader(io.StringIO(cli("schedule", "run", "--csv").stdout)) for value in row]
    assert not any(value.startswith(("=", "+", "@")) for value in cells)
    for verb in ("status", "lineage", "schedule"):
        strict(cli(verb, "run", "--json").stdout)


def test_a_closed_pipe_is_no_traceback(run, here):
    process = subprocess_cli("lineage", "run", "--json", cwd=here)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=30)
    process.stderr.close()


# -- the live display -----------------------------------------------------------------------------------------------------


def live_record():
    log = MemoryLog({"mode": "max", "metric": "[red]s\x1b", "budget": 30, "interval": 10})
    log.append([pt.Task(k, k, {"lr": 0.1 * k}, None, 10, 0) for k in range(40)])
    log.append([pt.Result(k, float(k), 10, ((10, float(k)),), checkpoint="c:0") for k in range(40)])
    return log


def test_live_display_on_a_terminal():
    screen, log = io.StringIO(), live_record()
    live = Live(Console(file=screen, force_terminal=True, width=120, height=30, markup=False, highlight=False))
    live.open(log.record)
    log.append([pt.Task(40, 0, {"lr": 3.9}, 39, 10, 0)])
    live.write(log.record, None)
    live.close()
    live.close()
    text = screen.getvalue()
    assert "member 0 copied 39 at step 10" in text and "and 26 more members" in text and "[red]s\\x1b" in text


def test_live_display_elsewhere_is_lines(capsys):
    live, log = Live(), live_record()
    live.open(log.record)
    live.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert "generation 1 of 3" in line and "(member 39, step 10)" in line


def test_live_display_never_stops_a_run():
    live = Live(Console(file=io.StringIO(), force_terminal=True))
    live.open(MemoryLog({"stop": {"type": "Seconds", "seconds": "no number"}}).record)
    live.close()
    Live().close()  # never opened: the run was refused


# -- wrong command lines and experiment files -----------------------------------------------------------------------------

WRONG_LINES = {
    "unknown verb": (["stats", "run"], "Did you mean 'status'"),
    "unknown option": (["run", "simple_experiment.py", "--sed", "1"], "Did you mean '--seed'"),
    "no file": (["run"], "EXPERIMENT.py is missing"),
    "one seat to compare": (["plot", "done", "--faster", "1"], "--faster needs 2 values"),
    "seats by name": (["plot", "done", "--faster", "a", "b"], "--faster: expected 2 whole numbers, got 'a' 'b'"),
    "a flag with a value": (["export", "done", "--final=1"], "--final takes no value"),
    "seconds by name": (["check", "simple_experiment.py", "--seconds", "ten"], "--seconds: expected a number, got 'ten'"),
    "missing file": (["run", "simple_experimnt.py"], "Did you mean 'simple_experiment.py'"),
    "a directory as file": (["run", "."], "expected a Python file"),
    "not a Python file": (["run", "notes.txt"], "expected a Python file"),
    "too many words": (["run", "simple_experiment.py", "b.py"], "unexpected extra argument"),
    "seed is no number": (["run", "simple_experiment.py", "--seed", "x"], "--seed: expected a whole number, got 'x'"),
    "seed without a value": (["run", "simple_experiment.py", "--seed"], "--seed needs a value"),
    "seed is negative": (["run", "simple_experiment.py", "--seed", "-1"], "seed=-1"),
    "no steps": (["run", "simple_experiment.py", "--steps", "0"], "steps(0)"),
    "half a step": (["run", "simple_experiment.py", "--steps=1.5"], "--steps: expected a whole number, got '1.5'"),
    "unknown executor": (["run", "simple_experiment.py", "--executor", "inlin"], "Did you mean 'inline'"),
    "the file is in the run": (["run", "simple_experiment.py", "--dir", "."], "inside the run directory"),
    "a file as directory": (["run", "simple_experiment.py", "--dir", "notes.txt"], "is a file"),
    "a directory under a file": (["run", "simple_experiment.py", "--dir", "notes.txt/run"], "notes.txt"),
    "no such run": (["status", "nothing"], "no log in nothing"),
    "a file as run": (["status", "notes.txt"], "no log in notes.txt"),
    "resume nothing": (["resume", "nothing"], "no log in nothing"),
    "no such task": (["schedule", "done", "--task", "99"], "tasks 0 to 15"),
    "a negative task": (["lineage", "done", "--task", "-1"], "task -1"),
    "task is no number": (["lineage", "done", "--task", "x"], "--task: expected a whole number, got 'x'"),
    "csv and json": (["schedule", "done", "--csv", "--json"], "exclude each other"),
    "watch and json": (["status", "done", "--watch", "--json"], "exclude each other"),
    "export nothing": (["export", "done"], "--best OUT"),
    "final without best": (["export", "done", "--final", "--table", "t.csv"], "pass one of them too"),
    "export over a file": (["export", "done", "--best", "notes.txt"], "exists already"),
    "export over a directory": (["export", "done", "--best", "done"], "exists already"),
    "table into a missing directory": (["export", "done", "--table", "no/t.csv"], "cannot export"),
    "a NUL": (["status", "a\0b"], ""),
    "name of a module": (["run", "random.py"], "rename it"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_wrong_command_line_is_one_sentence_and_nothing_happens(here, finished, case):
    words, expected = WRONG_LINES[case]
    Path("notes.txt").write_text("")
    Path("random.py").write_text(EXPERIMENT)
    Path("done").symlink_to(finished / "run")
    before = tree()
    refused = cli(*words)
    assert refused.exit_code == 2, refused.stderr
    assert refused.stderr.count("\n") == 1 and "Traceback" not in refused.stderr and refused.stdout == ""
    assert expected in refused.stderr
    assert tree() == before


TAIL = "experiment = pt.Experiment(pt.pbt(space, interval=1), "
HEAD = (
    "import poptrain as pt\nspace = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))\n"
    "train = lambda carry, hp, steps, seed: (0, {'score': 0})\n"
)
WRONG_FILES = {
    "empty": ("", "has no `experiment`"),
    "misnamed": (HEAD + TAIL.replace("iment ", "imnt ") + "train, stop=pt.steps(1))", "Did you mean 'experimnt'"),
    "not an experiment": ("experiment = 3", "that is int"),
    "syntax": ("import poptrain as pt\nexperiment = pt.Experiment(", "wrong.py:2"),
    "indentation": ("if True:\nx = 1", "wrong.py:2"),
    "import": ("import no_such_module_at_all", "wrong.py:1: ModuleNotFoundError"),
    "exception": ("\n\n1 / 0", "wrong.py:3: ZeroDivisionError"),
    "exit": ("import sys\nsys.exit(0)", "wrong.py:2: SystemExit"),
    "name": ("import poptrain as pt\npt.pbtt", "wrong.py:2"),
    "reversed bounds": ("import poptrain as pt\npt.Space(lr=pt.Uniform(1.0, 0.0))", "wrong.py:2"),
    "NaN bound": ("import poptrain as pt\npt.Space(lr=pt.Uniform(0.0, float('nan')))", "wrong.py:2"),
    "no space": ("import poptrain as pt\npt.Space()", "wrong.py:2"),
    "population": (HEAD + "pt.pbt(space, population=0, interval=1)", "population=0"),
    "interval": (HEAD + "pt.pbt(space, interval=0)", "interval=0"),
    "quantile": (HEAD + "pt.pbt(space, interval=1, exploit=pt.truncation(0.9))", "truncation(fraction=0.9)"),
    "copy": (HEAD + "pt.pbt(space, interval=1, copy='weight')", "Did you mean 'weights'"),
    "stop": (HEAD + TAIL + "train)", "stop is missing"),
    "stop type": (HEAD + TAIL + "train, stop=10)", "stop=10"),
    "mode": (HEAD + TAIL + "train, mode='maxx', stop=pt.steps(1))", "Did you mean 'max'"),
    "metric": (HEAD + TAIL + "train, metric=3, stop=pt.steps(1))", "metric=3"),
    "algorithm": (HEAD + "experiment = pt.Experiment(space, train, stop=pt.steps(1))", "algorithm="),
    "trainable": (HEAD + TAIL + "3, stop=pt.steps(1))", "wrong.py:4"),
    "executor": (HEAD + TAIL + "train, stop=pt.steps(1), executor='gpu')", "executor='gpu'"),
    "argument": (HEAD + TAIL + "train, stopp=pt.steps(1))", "stopp"),
    "control characters": ("raise ValueError('\\x1b[2J\\nsecond')", "\\x1b[2J second"),
    "bytes": ("\udcff\udcfe", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_experiment_file_is_one_sentence_with_its_place(here, case):
    text, expected = WRONG_FILES[case]
    Path("wrong.py").write_bytes(text.encode(errors="surrogateescape"))
    before = tree()
    refused = cli("run", "wrong.py")
    assert refused.exit_code == 2, refused.stderr
    assert refused.stderr.count("\n") == 1 and "Traceback" not in refused.stderr and "\x1b" not in refused.stderr
    assert expected in refused.stderr
    assert tree() == before


def test_a_lock_is_seen_without_being_taken(tmp_path):
    path = tmp_path / "lock"
    fd = disk.default.lock(path)
    assert disk.default.locked(path)
    disk.default.close(fd)
    assert not disk.default.locked(path)


def test_b7_status_names_the_checkpoint_that_a_member_went_back_to(tmp_path, monkeypatch):
    def begin():
        algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5)
        pt.run(algorithm, pt.testing.quadratic, stop=pt.steps(25), directory=tmp_path / "run", progress=False)

    class Dies(BaseException):
        pass

    def dies(self, line, **how):
        append(self, line, **how)
        if getattr(line[0], "id", 0) == 4:  # the third round was decided, and nothing of it was reported
            raise Dies

    append = Log.append
    with monkeypatch.context() as patch, pytest.raises(Dies):
        patch.setattr(Log, "append", dies)
        begin()
    history = pt.open_run(tmp_path / "run").history
    newest = max(task.parent for task in history.pending())
    name = history.result(newest).checkpoint.partition(":")[0]
    next((tmp_path / "run" / "checkpoints" / name).glob("*.safetensors")).write_bytes(b"rot")
    begin()
    said = f"went back to its checkpoint of step {history.step(newest) - 5} "
    for _ in range(2):
        shown = cli("status", tmp_path / "run")
        assert shown.exit_code == 0 and said in " ".join(shown.stdout.split()), shown.stdout
        warnings = json.loads(cli("status", tmp_path / "run", "--json").stdout)["warnings"]
        assert any(said in text and f"that of task {newest} was damaged" in text for text in warnings)
        (tmp_path / "run" / "digest.json").unlink(missing_ok=True)  # then the log alone


def test_a_run_that_is_not_there_is_looked_for_nearby(here):
    cli("run", "simple_experiment.py", "--dir", "runs/first", "-q")
    for wrong in ("first", "runs/frist", "elsewhere/first"):
        done = cli("status", wrong)
        assert done.exit_code == 2 and f"no directory '{wrong}'. Did you mean 'runs/first'?" in done.stderr
    assert "no log in other" in cli("status", "other").stderr
