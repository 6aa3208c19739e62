"""Edited code is noticed: what the training function refers to is in the log by name, and a changed name is reported."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from functools import partial

import pytest

import poptrain as pt
from poptrain.engine.edited import edits, recorded
from poptrain.trainable import Trainable, as_trainable, uses_of
from poptrain.trainable.uses import changes

PBT = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=2, interval=1)
SCRIPT = """
    import sys

    import numpy as np
    import poptrain as pt

    import settings
    from helper import widened

    HIDDEN = 32
    DATA = np.arange(4)
    LAYERS = {"first": 3, "second": [1, 2]}
    seen, calls = [], 0

    def train(carry, hp, steps, seed):
        global calls
        calls += 1
        seen.append(seed)
        return carry, {"score": widened(HIDDEN) + DATA.sum() + LAYERS["first"] + settings.RATE}

    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
    run = pt.run(pt.pbt(space, population=2, interval=1), train, stop=pt.steps(2), directory="run", progress=False)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "settings.py").write_text("RATE = 1.5\nUNUSED = 1\n")
    (tmp_path / "helper.py").write_text("FACTOR = 2\n\ndef widened(n):\n    return FACTOR * n\n\ndef unused():\n    return 1\n")
    return tmp_path


def said(folder) -> str:
    # -B: Python would take the bytecode of a file of the same size that is edited within the same second
    done = subprocess.run([sys.executable, "-B", "script.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_every_edit_of_what_a_script_uses_is_named(folder):
    assert said(folder) == "" and said(folder) == "", "unchanged code is not announced"
    edits = {"script.py": ("HIDDEN = 32", "HIDDEN = 64"), "helper.py": ("* n", "* n + 1"), "settings.py": ("1.5", "2.5")}
    for file, (old, new) in edits.items():
        (folder / file).write_text((folder / file).read_text().replace(old, new))
    text = (folder / "script.py").read_text().replace("arange(4)", "arange(5)")
    (folder / "script.py").write_text(text)
    (folder / "settings.py").write_text((folder / "settings.py").read_text().replace("UNUSED = 1", "UNUSED = 2"))
    text = said(folder)
    assert "although the code of the trainable has been edited since it began" in text
    assert "HIDDEN was 32, is 64" in text and "helper.widened has changed" in text and "settings.RATE was 1.5, is 2.5" in text
    assert "DATA has changed" in text and "UNUSED" not in text and "seen" not in text and "calls" not in text


def made(width):
    def train(carry, hp, steps, seed):
        return carry, {"score": width}

    return train


def test_closures_partial_functions_and_functions_of_a_trainable_are_seen():
    assert changes(uses_of(made(3)), uses_of(made(4))) == ["width was 3, is 4"]
    one, two = (partial(lambda factor, carry, hp, steps, seed: (carry, {"score": factor}), each) for each in (1, 2))
    assert changes(uses_of(as_trainable(one)), uses_of(as_trainable(two))) == ["0 was 1, is 2"]
    first = Trainable(lambda hp, seed: 0, made(1))
    assert changes(uses_of(first), uses_of(Trainable(lambda hp, seed: 1, made(1)))) == ["init has changed"]


def test_the_settings_of_an_agent_are_seen():
    from poptrain.rl import PPO

    small, large = (PPO(env="Pendulum-v1", hidden=hidden) for hidden in ((32, 32), (64, 64)))
    assert changes(uses_of(small), uses_of(small)) == []
    assert any("hidden" in line for line in changes(uses_of(small), uses_of(large)))


def test_an_old_log_and_a_name_that_it_lacks_are_not_known(tmp_path):
    assert changes(None, {"HIDDEN": 1}) == [] and changes({"WIDTH": 1}, {"HIDDEN": 1}) == []
    pt.run(PBT, made(3), stop=pt.steps(1), directory=tmp_path / "r", progress=False)
    run = dict(pt.open_run(tmp_path / "r").record.run)
    now = recorded(made(4))
    assert edits(run, now) == "width was 3, is 4" and edits({**run, "uses": None}, now) == ""


def test_a_text_is_logged_as_a_hash_only():
    secret = "token-123"

    def train(carry, hp, steps, seed):
        return carry, {"score": len(secret)}

    assert secret not in str(uses_of(train)) and "secret" in uses_of(train)


def test_the_files_that_a_command_imports_are_seen(tmp_path):
    (tmp_path / "train.py").write_text("import net\n")
    (tmp_path / "net.py").write_text("from parts import layer\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    (tmp_path / "parts" / "layer.py").write_text("HIDDEN = 32\n")
    line = pt.command("python train.py {lr} {checkpoint}", cwd=tmp_path)
    before = uses_of(line)
    assert set(before) == {"train.py", "net.py", "parts/__init__.py", "layer.py"}
    (tmp_path / "parts" / "layer.py").write_text("HIDDEN = 64\n")
    assert changes(before, uses_of(line)) == ["layer.py has changed"]


def test_a_module_that_a_command_runs_is_seen(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "train.py").write_text("from pkg import net\nfrom .data import rows\n")
    for name in ("net", "data", "__main__"):
        (tmp_path / "pkg" / f"{name}.py").touch()
    assert set(uses_of(pt.command("python -m pkg.train {lr} {checkpoint}", cwd=tmp_path))) == {"train.py", "net.py", "data.py"}
    assert set(uses_of(pt.command("torchrun -m pkg {lr} {checkpoint}", cwd=tmp_path))) == {"__main__.py"}
