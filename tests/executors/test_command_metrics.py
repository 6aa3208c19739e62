"""What a command reports: metrics are found however a program prints them, never misread, and a message names what is missing."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import os
import tempfile
from pathlib import Path

import pytest
from test_command import run, script

import poptrain as pt
from poptrain.core.errors import MetricError
from poptrain.core.fingerprint import short_hash
from poptrain.executors.command.file import PREFIX, MetricsFile
from poptrain.executors.command.form import CommandForm
from poptrain.executors.command.lines import objects_in
from poptrain.executors.command.program import Ended
from poptrain.executors.command.reported import Heard
from poptrain.trainable.command import as_json
from poptrain.trainable.pattern import Pattern

BAR = "\r 50%|#####     | 1/2 [00:00<00:00, 9it/s]"


def heard(text: str | bytes, patterns=(), is_error: bool = False, size: int = 0, metric: str = "score") -> Heard:
    """Returns what is found in an output that arrives in pieces of `size` bytes; 0: in one."""
    found, data = Heard([Pattern(each) for each in patterns], metric), text if isinstance(text, bytes) else text.encode()
    for begin in range(0, len(data), size or max(len(data), 1)):
        found.add(data[begin : begin + (size or len(data))], is_error)
    found.end()
    return found


def advice(text: str, is_error: bool = False, metric: str = "score", **options) -> str:
    """Returns the message about an output without metrics."""
    form = CommandForm(pt.command("python {checkpoint} {lr}", **options), metric=metric)
    found = heard(text, [each.text for each in form.command.patterns], is_error, metric=metric)
    assert metric not in found.metrics
    return form._nothing_found(found, Ended(0, ()))


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": nan}', math.nan),
        ('{"score": -nan}', math.nan),
        ('{"score": inf, "note": "nan"}', math.inf),
        ('{"score": -inf}\n', -math.inf),
        ('{"score": NaN}', math.nan),
        ('{"score": null}', math.nan),
        (BAR + '{"score": 2}\n', 2),
        (BAR + BAR + '\n{"score": 2}\n', 2),
        (BAR + "\r" + '{"score": 2}' + BAR, 2),
        ('{"score": 2}\r', 2),
        ('{"score": 1}\r{"score": 2}\r', 2),
        ('{"score": 2}\r\n', 2),
        ('\x1b[1;32m{"score": 2}\x1b[0m\n', 2),
        ('\x1b[2K\x1b]0;title\x07{\x1b[34m"score"\x1b[0m: 2}\n', 2),
        ('\ufeff{"score": 2}\n', 2),
        ('caf\xe9 \u4e2d\n{"score": 2, "name": "\U0001f600"}\n', 2),
        ('x\n{\n  "score": 2,\n  "more": {\n    "a": 1\n  }\n}\ny\n', 2),
        ('{\r\n"score": 2\r\n}\r\n', 2),
        ('{\n{\n"score": 2\n}\n', 2),
        ('{\n"lr": 1\n}\n{"score": 2}\n', 2),
        ('{"score": 2}\n{\n"list": [\n{"score": 3}\n]\n}\n{"a": 1}', 3),
    ],
)
def test_metrics_are_found_however_they_are_printed(text, score, size):
    found = heard(text, size=size).metrics
    assert found["score"] == score or (math.isnan(score) and math.isnan(found["score"]))
    assert found.get("note", "nan") == "nan" and found.get("name", "\U0001f600") == "\U0001f600"


@pytest.mark.parametrize(
    "text", ['INFO:root:{"score": 1}', "{'score': 1}", '{"score": 1} done', '{"a": score}', '[{"score": 1}]', "{}"]
)
def test_what_is_not_an_object_on_a_line_is_not_read(text):
    assert not heard(text).metrics and not heard('{"score": 1}', is_error=True).metrics


def test_an_object_over_several_lines_counts_only_with_the_score_so_that_settings_are_not_metrics():
    assert not heard('{\n"lr": 1,\n"steps": 1000\n}\n').metrics
    inside = heard('{\n"rows": [\n{"score": 1}\n],\n"score": 2\n}\n').metrics
    assert inside == {"rows": [{"score": 1}], "score": 2}


def test_a_pattern_reads_colours_and_the_last_state_of_a_progress_bar():
    text = "\x1b[1mepoch\x1b[0m 1 \x1b[32macc\x1b[0m \x1b[33m0.5\x1b[0m\rloss: 1.5\rloss: .25"
    assert heard(text, ["acc {acc}", "loss: {loss}"], True, 1).metrics == {"acc": 0.5, "loss": 0.25}


def test_a_long_output_without_an_end_of_line_is_not_kept():
    found = heard(b"x" * (20 << 20) + b"\r" + BAR.encode() * 20000 + b'{"score": 2}', size=1 << 16)
    assert found.metrics == {"score": 2} and len(found.tail) == 0
    deep = heard('{"a":' * 20_000 + "1" + "}" * 20_000 + "\n" + "a.b-" * 20_000 + 'score\n{"score": 2}\n')
    assert deep.metrics == {"score": 2}


@pytest.mark.parametrize(
    ("text", "patterns", "words"),
    [
        ('{"score": 1}\n{"score": tensor(0.5)}', (), "is not valid JSON (Expecting value"),
        ('{"score": 1}\n{"score": 2{"score": 2}}', (), "is not valid JSON ("),
        ('{"score": 1}\n{"score": 2}\n{"other": x}', (), None),
        ('{"score": x}\n{"score": 2}', (), None),
        ("score 0.5\nscore 1,234", ("score {score}",), "pattern='score {score}' cannot read the number in 'score 1,234'"),
        ("score 0.5 score 0,5", ("score {score}",), "cannot read the number in"),
        ("score 0,5\nscore 0.5", ("score {score}",), None),
        ("score 0.5\nscore improved", ("score {score}",), None),
        ("a 1 b 2\na 3", ("a {a} b {score}",), None),
        ('{"score": 1}\n{"score": x}', ("x {score}",), "is not valid JSON"),
    ],
)
def test_a_last_line_that_cannot_be_read_is_not_replaced_by_an_earlier_one(text, patterns, words):
    found = heard(text, patterns)
    if words is None:
        found.check()
        return
    with pytest.raises(MetricError) as error:
        found.check()
    assert words in str(error.value) and "printed metrics that cannot be read" in str(error.value)


def test_a_long_line_of_json_is_read_or_an_error_but_never_passed_over():
    curve = [[index, 0.123456789] for index in range(100_000)]
    assert len(heard(json.dumps({"score": 1, "curve": curve}), size=1 << 16).metrics["curve"]) == 100_000
    with pytest.raises(MetricError, match="a line of JSON is longer than 8,388,608 bytes"):
        heard('{"score": 1}\n{"score": 2, "x": [' + "1," * (9 << 20) + "1]}\n", size=1 << 16).check()


def test_the_tail_of_the_errors_has_the_last_state_of_a_bar_and_lines_of_windows():
    assert list(heard(BAR + BAR + "\nError: x\r\nlast", is_error=True).tail) == [BAR[1:], "Error: x", "last"]


@pytest.mark.parametrize(
    ("text", "is_error", "words"),
    [
        ('{"score": 1}', True, "on the standard error: print it on the standard output, or pass pattern='\"score\": {score}'"),
        (
            "{'score': 0.5, 'a': 1}",
            False,
            "is a Python dict, not JSON: print json.dumps(…) of it, or pass pattern=\"'score': {score}\"",
        ),
        ("{'score': np.float64(0.5)}", False, "is a Python dict, not JSON: print json.dumps(…) of it."),
        ("WARNING {'score': 1}", True, "is on the standard error, and is a Python dict"),
        (
            'INFO:root:{"score": 0.5}',
            False,
            "'INFO:root:{\"score\": 0.5}' has other text before the JSON: print the JSON alone on a line",
        ),
        ('INFO:root:{"score": 0.5}', True, "has other text before the JSON on the standard error"),
        ('{"score": 0.5,}', False, "is not valid JSON ("),
        ('[{"score": 0.5}]', False, "is a JSON list: print the object alone"),
        ('{\n"score": 0.5,\nINFO more\n}', False, "over several lines has other output inside, or does not end"),
        ('{\n"score": 0.5,\n', False, "or pass pattern='\"score\": {score}'"),
        ('{\n"loss": 0.5\n}', False, "a JSON object over several lines has no 'score'; it has 'loss'"),
        ("epoch 3 | Score = 0.5 |", False, "pass pattern='Score = {score}', which reads 'epoch 3 | Score = 0.5 |'"),
        ("best_score: 0.5 {x}", False, "pass pattern='best_score: {score}'"),
        ('{"acc": 0.5}\nscore 0.5\n', False, "printed no 'score', only 'acc': pass pattern='score {score}'"),
        (
            "Traceback (most recent call last):\nValueError: bad",
            True,
            "but a traceback, and ended with exit code 0: ValueError: bad",
        ),
        ("done", False, 'printed no metrics: print a line of JSON such as {"score": 0.9}'),
    ],
)
def test_the_message_names_the_line_that_came_nearest_and_what_to_change(text, is_error, words):
    assert words in advice(text, is_error)


def test_a_pattern_that_is_advised_reads_the_line():
    for line in ("val_acc: 0.5", "VAL ACC 0.5", "{'val_acc': 0.5}", "a {b} val-acc=0.5", "val_acc  0.5%", "best/val_acc=0.5"):
        advised = advice(line, metric="val_acc").split("pattern=")[1].split(", which")[0].rstrip(".")
        assert Pattern(ast.literal_eval(advised)).numbers(line) == {"val_acc": 0.5}
    found = advice("epoch 2 accuracy 0.75", metric="acc", pattern="acc: {acc}")
    assert "fits pattern='acc: {acc}': pass pattern='accuracy {acc}'" in found


def test_steps_among_the_settings_of_a_program_are_not_the_steps_that_it_has_trained(tmp_path):
    code = "print(json.dumps({'steps': 5000, 'lr': 1})); print(json.dumps({'score': 1}))"
    with pytest.raises(MetricError, match=r"reported 'steps' = 5000 in an object without 'score', where 1 were to be trained"):
        run(script(tmp_path, code, "{lr}"))
    for lines in ('{"steps": 1}\n{"score": 1}', '{"steps": 9}\n{"score": 1, "steps": 2}'):
        heard(lines).found.check(1)
    with pytest.raises(MetricError):
        heard('{"score": 1}\n{"steps": 2}').found.check(1)
    heard('{"score": 1}\n{"steps": 7}\nsteps 2', ["steps {steps}"]).found.check(1)


TORCHRUN = """[rank1]: Traceback (most recent call last):
[rank1]:   File "train.py", line 3, in <module>
[rank1]: RuntimeError: CUDA error: out of memory
CUDA kernel errors might be asynchronously reported at some other API call
Traceback (most recent call last):
  File "torchrun", line 7, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============
train.py FAILED
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Traceback (most recent call last):\n  a\nValueError: x\n" + "goes on\n" * 9 + "fatal: disk\n", "fatal: disk"),
        (TORCHRUN, "RuntimeError: CUDA error: out of memory"),
        (
            "Traceback (most recent call last):\n  a\nKeyError: 1\n\nTraceback (most recent call last):\n  b\nOSError\n",
            "OSError",
        ),
        ("Traceback (most recent call last):\n  a\nValueError: x\nlearning goes on\nlast", "ValueError: x"),
        ("Error: No such option '--lrr'.\n", "Error: No such option '--lrr'."),
        (
            "╭─ Error ────╮\n│ Invalid lr   │\n│ ──────────── │\n│ For full helptext, run x --help │\n╰──────────────╯\n",
            "Invalid lr",
        ),
        (
            "Key 'lrr' is not in struct\n    full_key: lrr\n\nSet the environment variable HYDRA_FULL_ERROR=1",
            "Key 'lrr' is not in struct",
        ),
        ("killed\n----\n", "killed"),
        ("----\n", ""),
    ],
)
def test_the_last_words_name_the_cause(text, words):
    assert heard(text, is_error=True).last_words() == words


def test_steps_that_count_from_the_beginning_are_not_those_of_one_call(tmp_path):
    code = "n = sum(1 for _ in pathlib.Path(sys.argv[1]).iterdir()) + 1; print(json.dumps({'score': 1, 'steps': n}))"
    with pytest.raises(pt.errors.RunFailed, match=r"reported 'steps' = 2, which is the count from the beginning"):
        run(script(tmp_path, code, "{lr}", saves="pathlib.Path(sys.argv[1], str(n)).touch()"))
    heard('{"score": 1, "steps": 4}').found.check(4, 4)
    heard('{"score": 1, "steps": 3}').found.check(1, 0)


# -- a file of metrics ------------------------------------------------------------------------------------------------


def written(tmp_path, before: str | None, change) -> dict[str, object]:
    """Returns the metrics of a file after a program has changed it."""
    path = tmp_path / "m.json"
    if before is not None:
        path.write_text(before)
        os.utime(path, ns=(1, 1))
    file = MetricsFile.at(path)
    change(path)
    return file.read("score").metrics


def append(text: str):
    return lambda path: path.open("a").write(text)


def write(text: str):
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        (None, write('{"score": 2}'), 2),
        ("", append('{"score": 2}\n'), 2),
        ('{"score": 1}\n', append('{"score": 2}\n'), 2),
        ('{"score": 1}', append('{"score": 2}'), 2),
        ('{"score": 1}', append('\n{"score": 2}'), 2),
        ('{"score": 1, "old": 1}\n', append('x\n{\n "score": 2\n}\n'), 2),
        ('{"score": 2}', write('{"score": 2}'), 2),
        ('{"score": 1}\n{"score": 1}\n', write('{"score": 2}\n'), 2),
        ('[\n{"score": 1}\n]', write('[\n{"score": 1},\n{"score": 2}\n]'), 2),
        (None, write('\ufeff{"score": 2, "x": nan}'), 2),
    ],
)
def test_only_what_a_call_has_added_to_a_file_counts(tmp_path, before, change, expected):
    found = written(tmp_path, before, change)
    assert found["score"] == expected and "old" not in found


@pytest.mark.parametrize(
    ("before", "change", "words"),
    [
        (None, lambda path: None, "did not write the file 'm.json', which metrics= names: looked for"),
        (None, lambda path: path.mkdir(), "which metrics= names: it is a directory"),
        ('{"score": 1}\n', lambda path: None, "in this call: it was not touched, and holds the metrics of an earlier call"),
        ('{"score": 1}\n{"score": 2}\n', write('{"score": 1}\n{"score": 2}\n'), "without adding a line"),
        ('{"score": 1}\n', append("done\n"), 'holds no JSON object such as {"score": 0.9} among what this call has added'),
        (None, write("score: 1"), "holds no JSON object such as"),
    ],
)
def test_metrics_of_an_earlier_call_are_never_read_again(tmp_path, before, change, words):
    with pytest.raises(MetricError) as error:
        written(tmp_path, before, change)
    assert words in str(error.value)


def test_an_interval_without_a_score_does_not_get_an_earlier_one(tmp_path):
    text = (
        "p = pathlib.Path(sys.argv[1], 'm.jsonl'); n = p.exists(); p.open('a').write('x\\n' if n else json.dumps({'score': 4}))"
    )
    with pytest.raises(pt.errors.RunFailed, match="among what this call has added"):
        run(script(tmp_path, text, "{lr}", metrics="{checkpoint}/m.jsonl"))


def test_objects_in_a_hostile_file_take_no_long_time():
    assert list(objects_in("{\n" * 5_000 + '{"a": 1}')) == [{"a": 1}]
    assert list(objects_in('{"a":' * 10_000)) == []


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_members_that_would_write_one_file_at_the_same_time_stop_the_run(tmp_path, executor):
    code = "import time; time.sleep(0.3); p = pathlib.Path(sys.argv[2]); p.write_text(json.dumps({'score': 1}))"
    trainable = script(tmp_path, code, f"'{tmp_path / 'm.json'}' {{lr}}", metrics=str(tmp_path / "m.json"))
    if executor == "inline":
        assert run(trainable, steps=1).best.score == 1
        name = short_hash(os.fsencode(os.path.realpath(tmp_path / "m.json")))
        assert not list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*-{name}"))
        return
    with pytest.raises(
        pt.UsageError, match=r"another program is running that writes .*m\.json.* Put \{checkpoint\} into the path"
    ):
        run(trainable, steps=1, executor=pt.executors.Processes(slots=2))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_refuses_a_file_that_all_members_share_before_it_starts():
    with pytest.raises(pt.UsageError, match=r"would write the same file 'm.json', which metrics= names: put \{checkpoint\} into"):
        pt.executors.Ray().check(pt.command("python {lr} {checkpoint}", metrics="m.json"))
    for metrics in ("{checkpoint}/m.json", "m-{seed}.json", None):
        pt.executors.Ray().check(pt.command("python {lr} {checkpoint} {seed}", metrics=metrics))


# -- hyperparameters that are written ---------------------------------------------------------------------------------


def test_numbers_are_exact_and_numbers_also_for_yaml(tmp_path):
    yaml = pytest.importorskip("yaml")
    values = {
        "lr": 1e-05,
        "eps": 1.5e-300,
        "big": 1e22,
        "n": 3,
        "on": True,
        "off": False,
        "none": None,
        "text": "caf\xe9 \U0001f600 1e-05",
    }
    text = as_json(values)
    assert json.loads(text) == values == yaml.safe_load(text)
    code = (
        "print(json.dumps({'score': float(sys.argv[2]), 'same': float(open(sys.argv[3]).read().split()[1][:-1] == sys.argv[2])}))"
    )
    space = pt.Space(lr=pt.Choice(1e-05))
    done = run(script(tmp_path, code, "{lr} {hparams}"), space=space, steps=1)
    assert done.best.score == 1e-05 and done.best.metrics["same"] == 1
