"""What programs of users do: they start others, leave nothing or too much, and are written for a shell. Nothing is misread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_command import PYTHON, SPACE, dead, failure, run, script

import poptrain as pt
from poptrain.executors.command import form as forms
from poptrain.executors.command import leftover
from poptrain.executors.command.program import run_program

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")
SLEEPS = "[sys.executable, '-S', '-c', 'import time; time.sleep(600)']"
DAEMON = f"""
import subprocess, time
child = subprocess.Popen({SLEEPS}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    pathlib.Path(sys.argv[2]).write_text(f'{{child.pid}} {{os.getpid()}}')
    time.sleep(600)
while not (os.path.exists(sys.argv[2]) and ' ' in open(sys.argv[2]).read()):
    time.sleep(0.01)
"""


def pids(file: Path) -> list[int]:
    for _ in range(600):
        if file.exists() and len(found := file.read_text().split()) == 2:
            return [int(each) for each in found]
        time.sleep(0.05)
    raise AssertionError("the program did not start")


# -- processes --------------------------------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize("ending", ["print(json.dumps({'score': 1}))", "raise SystemExit(3)", "time.sleep(600)"])
def test_processes_in_sessions_of_their_own_end_with_the_call(tmp_path, ending):
    trainable = script(tmp_path, DAEMON + ending, f"'{tmp_path / 'pids'}' {{lr}}", timeout=1 if "sleep" in ending else None)
    pt.run(pt.pbt(SPACE, population=1, interval=1), trainable, stop=pt.steps(1)) if "score" in ending else failure(
        trainable, tmp_path
    )
    assert all(dead(pid) for pid in pids(tmp_path / "pids"))


@LINUX
def test_processes_in_sessions_of_their_own_end_when_the_driver_is_killed(tmp_path):
    script(tmp_path, DAEMON + "time.sleep(600)")
    line = f"{PYTHON} '{tmp_path / 'my script.py'}' {{checkpoint}} '{tmp_path / 'pids'}' {{lr}}"
    code = (
        "import poptrain as pt\n"
        "algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=1, interval=1)\n"
        f"pt.run(algorithm, pt.command({line!r}), stop=pt.steps(2))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    found = pids(tmp_path / "pids")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert all(dead(pid) for pid in found)


@LINUX
def test_a_program_that_goes_on_in_the_background_is_named(tmp_path):
    code = "import time\nif os.fork(): os._exit(0)\nos.setsid()\ntime.sleep(5)\nprint(json.dumps({'score': 1}))"
    with pytest.raises(pt.errors.MetricError, match=r"ended while 'python.*', which it had started, was still running"):
        run(script(tmp_path, code, "{lr}"))


@LINUX
def test_other_processes_are_left_alone():
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    try:
        mark = leftover.new_mark()
        assert leftover.running(1 << 30, mark) == {}
        leftover.end_all(1 << 30, mark)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_program_that_closes_its_output_or_ignores_the_end_is_waited_for_and_ended():
    began = time.monotonic()
    words = [sys.executable, "-S", "-c", "import os, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(7)"]
    assert run_program(words, os.environ, None, None, lambda data, is_error: None).code == 7 and time.monotonic() - began >= 0.5
    words = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(600)"]
    with pytest.raises(forms.TimedOut):
        run_program(words, os.environ, None, 0.3, lambda data, is_error: None)
    assert time.monotonic() - began < 30


def test_a_program_gets_an_empty_standard_input(tmp_path):
    error, _ = failure(script(tmp_path, "input('which one? ')", "{lr}"), tmp_path)
    assert error == "the command ended with exit code 1: EOFError: EOF when reading a line"


def test_an_interrupt_ends_the_program():
    pid: list[int] = []

    def hear(data: bytes, is_error: bool) -> None:
        pid.append(int(data))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program(
            [sys.executable, "-S", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
            os.environ, None, None, hear,
        )  # fmt: skip
    assert dead(pid[0])


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_a_worker_prints_is_kept_byte_for_byte(tmp_path, encoding, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    code = "sys.stdout.buffer.write('caf\\u00e9 \\U0001f600\\n'.encode() * 30000); print(json.dumps({'score': 1}))"
    run(script(tmp_path, code, "{lr}"), tmp_path / "run", steps=1, executor=pt.executors.Processes(slots=1))
    assert (tmp_path / "run" / "output" / "m000.log").read_bytes().count("caf\u00e9 \U0001f600\n".encode()) == 30000


# -- what is left in the directory ------------------------------------------------------------------------------------

SCORE = "print(json.dumps({'score': 1}))"


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        (SCORE, {}, "left nothing in {checkpoint}, so every call would start from scratch"),
        (SCORE + "; pathlib.Path(sys.argv[1], 'empty').mkdir()", {}, "left nothing but logs or metrics in {checkpoint}"),
        (
            SCORE + "; d = pathlib.Path(sys.argv[1], '.hydra'); d.mkdir(); (d / 'config.yaml').touch()",
            {},
            "left nothing but logs or",
        ),
        (SCORE + "; pathlib.Path(sys.argv[1], 'events.out.tfevents.1').touch()", {}, "left nothing but logs or metrics"),
        (
            "pathlib.Path(sys.argv[1], 'm.json').write_text(json.dumps({'score': 1}))",
            {"metrics": "{checkpoint}/m.json"},
            "left nothing but logs or metrics in {checkpoint}",
        ),
        (SCORE + "; os.symlink('.', sys.argv[1] + '/self')", {}, "left the link 'self' in {checkpoint}, which leads back"),
        (SCORE + "; os.rmdir(sys.argv[1])", {}, "has removed the directory {checkpoint}"),
        (SCORE + "; os.rmdir(sys.argv[1]); open(sys.argv[1], 'w')", {}, "has replaced the directory {checkpoint}"),
        (SCORE + "; os.rmdir(sys.argv[1]); os.symlink('/tmp', sys.argv[1])", {}, "has replaced the directory {checkpoint}"),
    ],
)
def test_a_program_that_leaves_nothing_to_continue_from_stops_the_run(tmp_path, code, options, words):
    with pytest.raises(pt.errors.MetricError) as error:
        run(script(tmp_path, code, "{lr}", saves="", **options))
    assert words in str(error.value)


def test_a_program_that_saves_only_now_and_then_fails(tmp_path):
    code = f"{SCORE}; s = pathlib.Path(sys.argv[1], 's'); s.exists() or s.write_text('x')"
    with pytest.raises(pt.errors.RunFailed, match=r"trained 1 step and changed nothing in \{checkpoint\}"):
        run(script(tmp_path, code, "{lr}", saves=""))
    done = run(
        script(
            tmp_path,
            code.replace("1}", "1, 'steps': int(not s.exists())}").replace("print", "s=pathlib.Path(sys.argv[1],'s');print"),
            "{lr}",
            saves="",
        ),
        steps=1,
    )
    assert done.best.score == 1


def test_a_program_that_trains_everything_in_one_call_need_not_save(tmp_path):
    done = pt.run(
        pt.random_search(SPACE, population=2, interval=3), script(tmp_path, SCORE, "{lr} {steps}", saves=""), stop=pt.steps(3)
    )
    assert done.best.score == 1 and done.history.n == 2


def test_a_path_that_a_checkpoint_holds_never_leads_to_another_member(tmp_path):
    read = "d = pathlib.Path(sys.argv[1]); p = d / 'last'; p.exists() and open(p.read_text())"
    code = f"{read}; p.write_text(str(d / 'm')); (d / 'm').touch(); {SCORE}"
    with pytest.raises(pt.errors.RunFailed, match=r"FileNotFoundError: .*the checkpoint holds a path of an earlier call"):
        run(script(tmp_path, code, "{lr}"))


def test_thousands_of_files_and_links_are_a_checkpoint(tmp_path):
    code = (
        "d = pathlib.Path(sys.argv[1]); n = len(list(d.glob('f*')))\n"
        "for i in range(n, n + 100): (d / f'f{i}').write_text(str(i))\n"
        "(d / 'latest').unlink(missing_ok=True); (d / 'latest').symlink_to(d / f'f{n}'); print(json.dumps({'score': n}))"
    )
    done = run(script(tmp_path, code, "{lr}", saves=""))
    assert done.best.score == 100 and len(list(done.best.load().iterdir())) == 201
    assert (done.best.load() / "latest").read_text() == "100"


# -- lines for a shell ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part", ["| tee log", "> log", ">log", "2>&1", "2> log", "&& echo", "|| true", "; echo", "< in", "&", "&> log"]
)
def test_what_only_a_shell_understands_is_refused_unless_it_is_quoted(part):
    with pytest.raises(pt.UsageError, match=r"command: line= has '.*', which only a shell understands, and no shell runs it"):
        pt.command(f"python train.py {{lr}} {{checkpoint}} {part}")
    with pytest.raises(pt.UsageError, match="command: resume= has"):
        pt.command("python train.py {lr} {checkpoint}", resume=f"--resume {part}")
    for quoted in (f"'{part}'", f'"{part}"', "".join(f"\\{letter}" for letter in part)):
        assert pt.command(f"python {quoted} {{lr}} {{checkpoint}}").words[1].filled({}) == part
    pt.command(["python", *part.split(), "{lr}", "{checkpoint}"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("OMP_NUM_THREADS=1 python x.py {lr} {checkpoint}", "pass env={'OMP_NUM_THREADS': '1'}"),
        ("export A=b; python x.py {lr} {checkpoint}", "pass env={'A': 'b'}"),
        ("cd sub && python x.py {lr} {checkpoint}", "pass the directory as cwd="),
        ("source venv/bin/activate && python x.py {lr} {checkpoint}", "such as venv/bin/python"),
        ("conda activate x && python x.py {lr} {checkpoint}", "use conda run -n NAME python"),
        ("nohup python x.py {lr} {checkpoint}", "leave it out"),
        ("python x.py {lr} {checkpoint} --data $HOME/data", "has $HOME, which only a shell replaces"),
        ('python x.py {lr} {checkpoint} --data "${{HOME}}/data"', "which only a shell replaces"),
        ("python x.py {lr} {checkpoint} --n $(nproc)", "which only a shell replaces"),
        ("python x.py {lr} {checkpoint} --n `nproc`", "which only a shell replaces"),
        ("python x.py {lr} {checkpoint} ~/data", "has a path that begins with ~"),
        ("python x.py {lr} {checkpoint} # a note", "has a comment"),
    ],
)
def test_a_line_that_was_copied_from_a_shell_says_what_to_pass(line, words):
    with pytest.raises(pt.UsageError) as error:
        pt.command(line)
    assert words in str(error.value)


def test_a_line_may_be_continued_as_in_a_shell():
    words = pt.command("python x.py \\\n  --lr {lr} \\\n\n  --out '{checkpoint}' \\$x a#b x~").words
    assert [word.shown() for word in words] == [
        "python",
        "x.py",
        "--lr",
        "{lr}",
        "--out",
        "{checkpoint}",
        "'$x'",
        "'a#b'",
        "'x~'",
    ]


def test_a_file_that_is_not_a_program_is_named(tmp_path):
    file = tmp_path / "train.py"
    file.write_text("print(1)")
    for line, words in (
        ("./train.py", "not executable: run chmod +x ./train.py, or write python ./train.py"),
        ("train.py", "write ./train.py"),
    ):
        with pytest.raises(pt.UsageError, match=words.replace("+", r"\+")):
            run(pt.command(f"{line} {{lr}} {{checkpoint}}", cwd=tmp_path))
    file.chmod(0o755)
    assert (
        "does not begin with a line such as '#!/usr/bin/env python3'"
        in failure(pt.command("./train.py {lr} {checkpoint}", cwd=tmp_path), tmp_path / "1")[0]
    )
    file.write_text("#!/no/such/python\n")
    assert "that the first line of" in failure(pt.command("./train.py {lr} {checkpoint}", cwd=tmp_path), tmp_path / "2")[0]


def test_programs_next_to_python_are_found_without_an_activated_environment(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "torchrun").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "torchrun").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert pt.command("torchrun {lr} {checkpoint}").program() == str(tmp_path / "bin" / "torchrun")


@pytest.mark.parametrize("option", ["--flag {flag}", "--flag={flag}", "-f {flag}"])
def test_an_option_that_reads_false_as_true_is_refused(tmp_path, option):
    (tmp_path / "x.py").write_text("import argparse\np = argparse.ArgumentParser()\np.add_argument('-f', '--flag', type=bool)\n")
    line = pt.command(f"python x.py {option} {{checkpoint}}", cwd=tmp_path)
    for values in (True, False), (0, 1), ("true", "false"):
        with pytest.raises(
            pt.UsageError, match=r"has the option -?-f(lag)? with type=bool, which reads every text but '' as True"
        ):
            line.check_space(pt.Space(flag=pt.Choice(*values)), None)
    line.check_space(pt.Space(flag=pt.Choice("True", "")), None)


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("p.add_argument('--lr-decay', type=float)", True),
        ("p.add_argument('--lr-decay'); p.parse_args()", True),
        ("p.add_argument('--lr-decay'); p.add_argument('--lr')", False),
        ("p.add_argument('--lr-decay'); p.add_argument('-l', '--lr', dest='rate')", False),
        ("p.add_argument('--lr-decay'); add_more(p)", False),
        ("p.add_argument('--lr-decay'); q = ArgumentParser(parents=[x])", False),
        ("p.add_argument('--lr-decay'); q = HfArgumentParser(Args)", False),
        ("p = made_elsewhere(); p.add_argument('--lr-decay')", False),
        ("p = argparse.ArgumentParser(allow_abbrev=False); p.add_argument('--lr-decay')", False),
        ("p.add_argument('--lr-decay')\nclass Args:\n    lr: float = 1.0", False),
        ("def main(lr): p.add_argument('--lr-decay')", False),
    ],
)
def test_an_option_that_argparse_would_complete_to_another_one_is_refused(tmp_path, source, refused):
    made = "" if "p = " in source else "p = argparse.ArgumentParser()\n"
    (tmp_path / "x.py").write_text(made + source)
    line = pt.command("python x.py --lr {lr} --out={checkpoint}", cwd=tmp_path)
    if refused:
        with pytest.raises(pt.UsageError, match="x.py has no option --lr, and would take it as --lr-decay: write the whole name"):
            line.check_space(SPACE, None)
    else:
        line.check_space(SPACE, None)


def test_a_program_in_the_current_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.sh").write_text("#!/bin/sh\ntouch $2/x && echo '{\"score\": 1}'\n")
    (tmp_path / "x.sh").chmod(0o755)
    assert run(pt.command("./x.sh {lr} {checkpoint}"), steps=1).best.score == 1
    with pytest.raises(pt.UsageError, match="a variable can be emptied"):
        pt.command("./x.sh {lr} {checkpoint}", env={"A": None})


@pytest.mark.parametrize(
    "line", [["bash", "-c", "python {lr} {checkpoint} | tee x"], "sh -ec 'python {lr} {checkpoint} | tee x'"]
)
def test_a_pipe_that_would_hide_a_failure_is_refused(line):
    with pytest.raises(pt.UsageError, match="a program that fails before the pipe would look as if it had succeeded"):
        pt.command(line)
    for fine in ("set -o pipefail; python {lr} {checkpoint} | tee x", "python {lr} '|' {checkpoint} || exit 3"):
        pt.command(["bash", "-c", fine])


def test_a_signal_that_a_shell_reports_is_named(tmp_path):
    line = ["sh", "-c", "kill -9 $$$$; : {lr} {checkpoint}".replace("$$$$", "$$")]
    assert "was ended by signal 9 (SIGKILL: out of memory?)" in failure(pt.command(line), tmp_path / "1")[0]
    line = ["sh", "-c", "exit 137; : {lr} {checkpoint}"]
    assert "ended with exit code 137 (SIGKILL: out of memory?)" in failure(pt.command(line), tmp_path / "2")[0]


def test_an_option_that_loads_at_the_first_call_says_what_to_pass(tmp_path):
    error, _ = failure(script(tmp_path, "open(sys.argv[2])", "{checkpoint}/model.pt {lr}"), tmp_path)
    assert "at the first call {checkpoint} is empty: pass options that load a file of it as resume=" in error


def test_options_for_a_resume_need_a_state_and_not_only_logs(tmp_path):
    code = "d = pathlib.Path(sys.argv[1]); (d / 'm.json').write_text(json.dumps({'score': len(sys.argv)})); (d / 'x.log').touch()"
    saves = "int(sys.argv[2]) and (d / 'x').touch()"
    line = script(tmp_path, code, "{steps} {lr}", saves, resume="--resume", metrics="{checkpoint}/m.json")
    algorithm = pt.pb2(SPACE, population=2, interval=1, evaluate_first=True)
    done = pt.run(algorithm, line, stop=pt.steps(2))
    scores = {(task.steps, done.history.result(task.id).score) for task in map(done.history.task, range(done.history.n))}
    assert {(0, 4), (1, 4), (1, 5)} <= scores


def test_sockets_and_pipes_are_not_a_part_of_a_checkpoint(tmp_path):
    code = (
        f"import socket; os.chdir(sys.argv[1]); os.mkfifo('pipe'); s = socket.socket(socket.AF_UNIX); s.bind('socket'); {SCORE}"
    )
    done = run(script(tmp_path, f"os.path.exists(sys.argv[1] + '/pipe') and os._exit(9)\n{code}", "{lr}"), steps=1)
    assert [path.name for path in done.best.load().iterdir()] == ["state"]
