"""What the docstrings show works: every `>>>` of the sources is run, and gives what is written below it."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
# A package that `make test` does without: the examples of the rooms that begin with this name are heavy.
NEEDS = {
    "poptrain.algorithms.optuna_search": "optuna",
    "poptrain.integrations.keras": "keras",
    "poptrain.integrations.lightning": "lightning",
    "poptrain.integrations.ray_tune": "ray",
    "poptrain.integrations.sb3": "stable_baselines3",
    "poptrain.integrations.torch": "torch",
    "poptrain.integrations.transformers": "transformers",
}


def package_of(module: str) -> str | None:
    return next((package for room, package in NEEDS.items() if f"{module}.".startswith(f"{room}.")), None)


def modules():
    for path in sorted((SOURCES / "poptrain").rglob("*.py")):
        if ">>>" in path.read_text():
            name = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
            yield pytest.param(name, marks=[pytest.mark.heavy] if package_of(name) else [])


@pytest.mark.parametrize("name", list(modules()))
def test_every_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = package_of(name)
    if package:
        pytest.importorskip(package)
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried.attempted and not tried.failed
