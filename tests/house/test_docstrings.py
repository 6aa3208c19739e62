"""What the docstrings show works: every `>>>` of the sources is run, and gives what is written below it."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
NEEDS = {"poptrain.algorithms.optuna_search": "optuna", "poptrain.integrations.ray_tune.configs": "ray"}


def modules():
    for path in sorted((SOURCES / "poptrain").rglob("*.py")):
        if ">>>" in path.read_text():
            name = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
            yield pytest.param(name, marks=[pytest.mark.heavy] if name in NEEDS else [])


@pytest.mark.parametrize("name", list(modules()))
def test_every_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried.attempted and not tried.failed
