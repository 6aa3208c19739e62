"""D7, D8: a wrong argument is answered in one or two sentences, before any training, and nothing is left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from pathlib import Path

import pytest
from wrong_arguments import CASES, SPACE
from wrong_command_lines import CASES as LINES

import poptrain as pt
from poptrain.cli import main
from poptrain.log.writer import Log
from poptrain.testing import quadratic

FIRST = """
import poptrain as pt
from poptrain.testing import quadratic
space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 8))
experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(10))
"""
FILES = {
    "first.py": FIRST,
    "second.py": FIRST,
    "other.py": FIRST.replace("population=4", "population=5"),
    "notes.txt": "nothing",
    "syntax.py": "x = 1\ny = (",
    "raises.py": "raise ValueError('a planted error')",
    "exits.py": "raise SystemExit(0)",
    "lines.py": "raise ValueError('a\\nb\\x1b[31m' * 10_000)",
    "unshown.py": "class Odd(Exception):\n    def __str__(self): raise SystemExit(0)\nraise Odd",
    "none.py": "import poptrain",
    "number.py": "experiment = 5",
    "twice.py": FIRST.replace("experiment = ", "experiments = "),
    "missing.py": "import no_such_module",
    "json.py": FIRST,
    "wrong.py": FIRST.replace("population=4", "population=0"),
    "loops.py": "def f(): return f()\nf()",
}


def one_or_two_sentences(text):
    return "\n" not in text and len(text) <= 450 and text.count(". ") <= 3


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A directory with files and runs; every command must leave it as it is."""
    folder = tmp_path_factory.mktemp("scene")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    algorithm = pt.pbt(SPACE, population=4, interval=5)
    pt.run(algorithm, quadratic, stop=pt.steps(10), directory=folder / "run", progress=False)
    with Log.open(folder / "run") as log:
        log.note("file", name="../first.py")
        log.note("end", reason="every member reached its last step")
    shutil.copytree(folder / "run", folder / "twin")
    shutil.copytree(folder / "run", folder / "sick")
    log = folder / "sick" / "log-000001.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"member":1', b'"member":2', 1))
    (folder / "run" / "trap.py").write_text("raise SystemError('sprung')")
    (folder / "empty").mkdir()
    shutil.copytree(folder / "twin", folder / "above" / "inner")
    return folder


def content(folder="."):
    found = {}
    for root, _, names in os.walk(folder):
        if "__pycache__" not in root:
            found[root] = sorted(names)
    return found


def test_the_tables_are_as_large_as_promised():
    assert len(CASES) >= 300 and len(LINES) >= 150 and len({line for line, _ in LINES}) == len(LINES)


def test_d8_every_wrong_argument_of_a_function(folder):
    wrong = []
    for name, call in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                call()
            except pt.PoptrainError as error:
                if not one_or_two_sentences(str(error)):
                    wrong.append(f"{name}: {error}")
            except ImportError as error:
                if "pip install" not in str(error):
                    wrong.append(f"{name}: {error!r}")
            except Exception as error:
                wrong.append(f"{name}: {error!r}")
            else:
                wrong.append(f"{name}: accepted")
        if left := os.listdir():
            wrong.append(f"{name}: left {left}")
            break
    assert not wrong, "\n".join(wrong)


@pytest.mark.heavy
def test_d7_every_wrong_command_line(scene, monkeypatch, capsys):
    monkeypatch.chdir(scene)
    before, wrong = content(), []
    for line, words in LINES:
        code = main([word.replace("\\x1b", "\x1b") for word in shlex.split(line)])
        said = capsys.readouterr()
        text = "\n".join(each for each in said.err.splitlines() if not each.startswith("note: "))
        expected = 1 if "sick" in line else 2
        if code != expected or words not in text or not text.startswith("error: ") or not one_or_two_sentences(text):
            wrong.append(f"{line}: {code}: {text[:400]}")
        if said.out or content() != before:
            left = [item for item in content().items() if item not in before.items()]
            wrong.append(f"{line}: printed {said.out[:100]!r}, or left {left}")
            break
    assert not wrong, "\n".join(wrong)
    assert Path("run/trap.py").exists()
