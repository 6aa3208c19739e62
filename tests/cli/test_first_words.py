"""The first second of a command: what it loads before it says something, and an interrupt in it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import ModuleType

import poptrain as pt
import poptrain.__main__
from poptrain.cli import main
from poptrain.cli.app import VERBS
from poptrain.testing import quadratic


def test_the_help_of_all_verbs_has_their_first_sentences():
    for verb, sentence in VERBS.items():
        text = getattr(import_module(f"poptrain.cli.{verb}"), verb).__doc__
        assert " ".join(text.partition("\n\n")[0].split()) == sentence, verb


def test_the_help_of_all_verbs_loads_none_of_them():
    code = "import sys; from poptrain.cli import main; main(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"poptrain.engine", "poptrain.views", *(f"poptrain.cli.{verb}" for verb in VERBS)} & set(loaded)


def test_an_interrupt_while_the_command_line_is_loaded_is_no_traceback(monkeypatch, capsys):
    class Interrupted(ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "poptrain.cli", Interrupted("poptrain.cli"))
    assert poptrain.__main__.main() == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_every_verb_that_executes_the_experiment_takes_the_same_word_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5)
    pt.run(algorithm, quadratic, stop=pt.steps(5), directory="run", progress=False)
    for verb in ("resume run", "verify run", "replay run", "export run --video v.gif"):
        for option in ("--experiment", "--source"):
            assert main([*verb.split(), option, "gone.py"]) == 2
            assert "'gone.py'" in capsys.readouterr().err, (verb, option)
