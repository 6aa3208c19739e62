"""A command line as a trainable: what is filled in, what is read, and what becomes of calls that go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_toy import __file__ as TOY

import poptrain as pt
from poptrain.executors.command import form as forms
from poptrain.testing import check_trainable
from poptrain.trainable.pattern import Pattern

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
PYTHON = "python -S"


def toy(fault: str = "", **options) -> object:
    return pt.command([*PYTHON.split(), TOY, "{lr}", "{steps}", "{checkpoint}", fault, "-1"], **options)


SAVES = "pathlib.Path(sys.argv[1], 'state').write_text('trained')"


def script(tmp_path: Path, text: str, options: str = "", saves: str = SAVES, **more) -> object:
    """Returns the command of a script that also saves something; the directory is its first argument."""
    file = tmp_path / "my script.py"
    file.write_text(f"import json, os, pathlib, sys\n{text}\n{saves}\n")
    return pt.command(f"{PYTHON} '{file}' {{checkpoint}} {options}", **more)


def run(trainable, directory=None, space=SPACE, steps=2, **options):
    return pt.run(pt.pbt(space, population=2, interval=1), trainable, stop=pt.steps(steps), directory=directory, **options)


def dead(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_a_run_trains_checkpoints_and_keeps_what_members_print(tmp_path):
    done = run(toy(), tmp_path / "run")
    assert done.best.score > 0.39 and done.history.n == 4
    kept = done.best.load()
    assert json.loads((kept / "state.json").read_text()) == pytest.approx((1.2 - done.best.score) ** 0.5)
    text = (tmp_path / "run" / "output" / "m001.log").read_text()
    assert "-- task 1, from step 0\n" in text and "-- task 3, from step 1\n" in text and text.count("trained") == 2
    assert not list(forms.Path(forms.tempfile.gettempdir()).glob(f"{forms.PREFIX}{os.getpid()}-*")), "nothing is left behind"
    assert pt.verify(tmp_path / "run", pt.Experiment(pt.pbt(SPACE, population=2, interval=1), toy(), stop=pt.steps(2))).ok


def test_a_member_that_is_loaded_continues_as_if_it_had_stayed():
    check_trainable(toy(), {"lr": 0.05})


def test_every_placeholder_is_filled_in_exactly(tmp_path):
    code = "print(json.dumps({'score': 1.0})); print(sys.argv[2:], os.environ['RATE'], file=sys.stderr)"
    options = "{lr} {steps} {step} {until} {budget} {seed} 'a b' '$HOME; rm' {{x}} {opt} -o{lr}={steps}"
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), opt=pt.Choice("two words", True, None))
    trainable = script(tmp_path, code, options, env={"RATE": "r{lr}"})
    done = run(trainable, tmp_path / "run", space)
    lines = (tmp_path / "run" / "output" / "m000.log").read_text().splitlines()
    for id, line in ((0, lines[2]), (2, lines[5])):
        task = done.history.task(id)
        lr, step = task.hparams["lr"], id // 2
        argv = [repr(lr), "1", str(step), str(step + 1), "2", str(task.seed % 2**31), "a b", "$HOME; rm", "{x}"]
        assert line == f"{[*argv, str(task.hparams['opt']), f'-o{lr!r}=1']} r{lr!r}"
        assert float(argv[0]) == lr


def test_metrics_come_from_lines_of_json_of_which_later_ones_win(tmp_path):
    lines = ['{"score": 1, "a": 2}', "epoch 1 {}", "{broken}", "[1]", '{"score": 3, "b": null}']
    code = f"print(*{lines!r}, sep=chr(10), end='')"
    done = run(script(tmp_path, code, "{lr}"), steps=1)
    assert done.best.score == 3 and done.history.result(0).metrics["a"] == 2 and done.history.result(0).metrics["b"] != 0


@pytest.mark.parametrize("lines", ['{"score": 4}', '{\n "score": 4\n}', '{"score": 1}\nx\n{"score": 4}\n'])
def test_metrics_come_from_a_file(tmp_path, lines):
    code = f"pathlib.Path(sys.argv[1], 'm.json').write_text({lines!r}.replace('4', '4.' + '0' * len(sys.argv[2])))"
    assert run(script(tmp_path, code, "{lr}", metrics="{checkpoint}/m.json")).best.score == 4


def test_a_file_of_metrics_that_was_not_written_again_is_an_error(tmp_path):
    code = "p = pathlib.Path(sys.argv[1], 'm.json'); p.exists() or p.write_text('{\"score\": 4}')"
    with pytest.raises(pt.errors.RunFailed, match=r"did not write the file 'm.json', which metrics= names"):
        run(script(tmp_path, code, "{lr}", metrics="{checkpoint}/m.json"))


def test_a_program_without_metrics_stops_the_run_with_a_sentence(tmp_path):
    with pytest.raises(pt.errors.MetricError, match=r"printed no metrics: print a line of JSON such as"):
        run(script(tmp_path, "print('done')", "{lr}"))


def test_metrics_come_from_lines_of_text(tmp_path):
    text = "print('epoch 1 acc 0.5'); print('epoch 2  acc 0.75, best'); print('loss=1e-3\\rloss=nan', file=sys.stderr)"
    done = run(script(tmp_path, text, "{lr}", pattern=["epoch {epoch} acc {acc}", "loss={loss}"]), metric="acc")
    metrics = done.best.metrics
    assert (metrics["acc"], metrics["epoch"]) == (0.75, 2) and metrics["loss"] != metrics["loss"]
    with pytest.raises(pt.errors.MetricError, match=r"no line that the command printed fits pattern='accuracy \{acc\}'"):
        run(script(tmp_path, text, "{lr}", pattern="accuracy {acc}"), metric="acc")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("acc 1", 1.0),
        ("ACC -.5e-3.", -5e-4),
        ("acc 91%", 91.0),
        ("acc 1.2.3", None),
        ("acc 0x1f", None),
        ("accuracy 1", None),
        ("val_acc 1", None),
        ("val/acc 1", None),
        ("acc 1,234", None),
        ("acc 0,91", None),
        ("acc 1, b", 1.0),
        ("acc 0.5,0.6", 0.5),
        ("(acc 1)", 1.0),
        ("acc 12e2", 1200.0),
    ],
)
def test_only_whole_numbers_of_a_line_are_read(line, expected):
    assert Pattern("acc {acc}").numbers(line).get("acc") == expected


@pytest.mark.parametrize("pattern", ["acc", "acc {}", "acc {acc:f}", "{a} {a}", "acc {acc", 3])
def test_a_malformed_pattern_is_refused(pattern):
    with pytest.raises(pt.errors.UsageError, match="command: pattern="):
        pt.command("python train.py {lr} {checkpoint}", pattern=[pattern])


def test_options_for_a_resume_are_added_when_there_is_a_checkpoint(tmp_path):
    code = "d = pathlib.Path(sys.argv[1]); (d / 'x').touch(); print(json.dumps({'score': len(sys.argv)}))"
    done = run(script(tmp_path, code, "{lr}", resume="--resume {checkpoint}/x"))
    assert [done.history.result(id).score for id in range(4)] == [3, 3, 5, 5]


def test_all_hyperparameters_can_come_in_one_file(tmp_path):
    code = "h = json.load(open(sys.argv[2])); print(json.dumps({'score': h['lr'], 'width': h['net.width']}))"
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), **{"net.width": pt.Choice(8, 16)})
    done = run(script(tmp_path, code, "{hparams}"), space=space, steps=1)
    assert done.best.score == done.best.hparams["lr"] and done.history.result(0).metrics["width"] in (8, 16)


def test_python_is_the_python_that_runs_poptrain_and_cwd_is_where_a_program_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "here.py").write_text(
        "import sys, json; open(sys.argv[1] + '/x', 'w'); print(json.dumps({'score': float(sys.executable == sys.argv[2])}))"
    )
    done = run(pt.command(["python", "here.py", "{checkpoint}", sys.executable, "{lr}"], cwd=tmp_path), steps=1)
    assert done.best.score == 1


# -- calls that go wrong ----------------------------------------------------------------------------------------------


def failure(trainable, tmp_path) -> tuple[str, str]:
    """Returns the error of the first task, and what is kept of it."""
    with pytest.raises(pt.errors.RunFailed):
        run(trainable, tmp_path / "run")
    kept = (tmp_path / "run" / "errors" / "m000-t000000.txt").read_text()
    return pt.open_run(tmp_path / "run").history.result(0).error, kept


def test_a_failure_is_a_result_with_the_exit_code_and_the_last_words(tmp_path):
    error, kept = failure(toy("raise"), tmp_path)
    assert error == "the command ended with exit code 1: ValueError: a planted fault"
    assert "member 0, task 0, from step 0, lr=" in kept and ", in main" in kept and "Traceback" in kept


def test_a_signal_is_named(tmp_path):
    assert failure(toy("kill"), tmp_path)[0].startswith("the command was ended by signal 9 (SIGKILL: out of memory?)")


def test_a_call_that_takes_too_long_ends_with_its_children(tmp_path):
    error, _ = failure(toy("hang", timeout=0.5), tmp_path)
    assert error.startswith("the command took longer than 0.5 s and was ended with everything that it had started")
    pids = [line.split()[1:] for line in (tmp_path / "run" / "output" / "m000.log").read_text().splitlines() if "pids" in line]
    assert len(pids) == 1 and all(dead(int(pid)) for pid in pids[0])


def test_children_that_a_program_leaves_are_ended_and_do_not_keep_the_member_waiting(tmp_path):
    began = time.monotonic()
    run(toy("leave"), tmp_path / "run", steps=1)
    assert time.monotonic() - began < 60
    assert dead(int((tmp_path / "run" / "output" / "m000.log").read_text().split("child ")[1].split()[0]))


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_killed_driver_takes_its_programs_with_it(tmp_path, executor):
    code = (
        "import poptrain as pt, sys\n"
        "if __name__ == '__main__':\n"
        f"    command = pt.command([*'{PYTHON}'.split(), {TOY!r}, '{{lr}}', '{{steps}}', '{{checkpoint}}', 'hang', '-1'])\n"
        "    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=1, interval=1)\n"
        f"    pt.run(algorithm, command, stop=pt.steps(2), directory=sys.argv[1], executor={executor!r})\n"
    )
    (tmp_path / "drive.py").write_text(code)
    driver = subprocess.Popen([sys.executable, str(tmp_path / "drive.py"), str(tmp_path / "run")], start_new_session=True)
    log = tmp_path / "run" / "output" / "m000.log"
    for _ in range(600):
        if log.exists() and "pids" in log.read_text():
            break
        time.sleep(0.1)
    pids = [int(pid) for pid in log.read_text().split("pids ")[1].split()[:2]]
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert all(dead(pid) for pid in pids)
    left = list(Path(forms.tempfile.gettempdir()).glob(f"{forms.PREFIX}{driver.pid}-*")) if executor == "inline" else []
    forms.new_directory().rmdir()  # the next one removes what was left
    assert not any(path.exists() for path in left)


# -- mistakes that are found before anything is started ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "options", "words"),
    [
        ("", {}, "the command line is empty"),
        ("python x.py --lr {lr", {}, "braces do not match"),
        ("python x.py --lr {lr:.3f} {checkpoint}", {}, "{lr} has a format, which would change the value"),
        ("python x.py --lr {} {checkpoint}", {}, "a placeholder has no name"),
        ("python 'x.py --lr {lr}", {}, "cannot be split into words: No closing quotation"),
        ("python x.py --lr {lr}", {}, "{checkpoint} is missing"),
        ("python x.py --lr {lr} {checkpoint}", {"timeout": 0}, "timeout=0, expected more than 0 seconds"),
        ("python x.py --lr {lr} {checkpoint}", {"cwd": "/nowhere"}, "cwd='/nowhere' is not a directory"),
        (["python", 3], {}, "line contains 3, expected text"),
    ],
)
def test_a_malformed_command_is_refused(line, options, words):
    with pytest.raises(pt.UsageError) as error:
        pt.command(line, **options)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("line", "space", "words"),
    [
        ("python {checkpoint} {lrr}", SPACE, "{lrr} is unknown; the placeholders are the hyperparameters {lr} and {checkpoint}"),
        ("python {checkpoint} {lrr}", SPACE, "Did you mean 'lr'?"),
        ("python {checkpoint}", SPACE, "the space tunes 'lr', but the command has no {lr}, so it would have no effect"),
        ("python {checkpoint} {seed}", pt.Space(seed=pt.Int(1, 3)), "{seed} is poptrain's own: rename it"),
        ("no-such-program {checkpoint} {lr}", SPACE, "there is no program 'no-such-program' to run"),
        ("./no/such {checkpoint} {lr}", SPACE, "there is no program './no/such' to run"),
    ],
)
def test_a_command_that_does_not_fit_its_space_is_refused(tmp_path, line, space, words):
    with pytest.raises(pt.UsageError) as error:
        run(pt.command(line), tmp_path / "run", space)
    assert words in str(error.value) and not (tmp_path / "run").exists()


def test_a_budget_must_be_known():
    with pytest.raises(pt.UsageError, match=r"\{budget\} needs a run that ends after a number of steps"):
        pt.run(pt.pbt(SPACE, population=2, interval=1), pt.command("python {checkpoint} {lr} {budget}"), stop=pt.seconds(1))


def test_another_command_is_another_run_and_a_changed_script_is_noted(tmp_path):
    code = "print(json.dumps({'score': 1.0}))"
    run(script(tmp_path, code, "{lr}"), tmp_path / "run", steps=1)
    with pytest.raises(pt.UsageError, match="holds another run: trainable was .command:python -S"):
        run(script(tmp_path, code, "{lr} --more"), tmp_path / "run")
    run(script(tmp_path, code + "  # changed", "{lr}"), tmp_path / "run", steps=2)
    log = (tmp_path / "run" / "log-000001.jsonl").read_text()
    assert "the code of the trainable has been edited: my script.py has changed" in log


def test_a_task_is_named_by_its_checkpoint():
    assert forms.Working(Path(), forms.Start("m003-t000012-1.2")).task == "task 12"


def test_the_first_failure_names_files_that_exist(tmp_path):
    with pytest.warns(pt.errors.RunWarning) as caught, pytest.raises(pt.errors.RunFailed):
        run(toy("raise"), tmp_path / "run")
    text = str(caught[0].message)
    assert f"What the member printed is in {tmp_path / 'run' / 'output' / 'm000.log'}." in text
    assert f"The traceback is in {tmp_path / 'run' / 'errors' / 'm000-t000000.txt'}." in text


@pytest.mark.parametrize(
    "line, says",
    [
        ("python trian.py {lr} {checkpoint}", "no script 'trian.py'"),
        ("python -u -W error trian.py {lr} {checkpoint}", "no script 'trian.py'"),
        ("python -m trian {lr} {checkpoint}", "no module 'trian'"),
        ("sh trian.sh {lr} {checkpoint}", "no script 'trian.sh'"),
    ],
)
def test_a_script_that_does_not_exist_is_named_before_training(tmp_path, line, says):
    (tmp_path / "train.py").touch()
    with pytest.raises(pt.errors.UsageError) as raised:
        run(pt.command(line, cwd=tmp_path), tmp_path / "run")
    assert says in str(raised.value) and str(tmp_path) in str(raised.value) and not (tmp_path / "run").exists()
    assert line.split()[-3] != "trian.py" or "Did you mean 'train.py'?" in str(raised.value)


@pytest.mark.parametrize(
    "line", ["python -c pass {lr} {checkpoint}", "python -m json.tool {lr} {checkpoint}", "echo --to x.py {lr} {checkpoint}"]
)
def test_what_is_not_a_script_is_not_looked_for(tmp_path, line):
    pt.command(line, cwd=tmp_path).check_space(SPACE, None)
