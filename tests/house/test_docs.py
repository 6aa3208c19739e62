"""What the documents show works: every Python block is run as a script, and every file that they link to exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEAVY = {
    "README.md": "torch",
    "optuna_search.md": "Optuna",
    "tracking.md": "mlflow and tensorboardX",
    "torch.md": "torch",
    "sb3.md": "Stable-Baselines3",
    "ray_tune.md": "Ray",
    "rllib.md": "RLlib",
}  # pages whose blocks need an optional package of `make test-all`


def blocks(page: Path) -> str:
    return "\n".join(BLOCK.findall(page.read_text()))


def pages():
    for page in PAGES:
        if blocks(page):
            marks = [pytest.mark.heavy] if page.name in HEAVY else []
            yield pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", list(pages()))
def test_every_python_block_runs(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text(blocks(page))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    for name in re.findall(r"`((?:src|tests|examples|benchmarks|docs)/[\w./-]+\.(?:py|md|json))`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_algorithm_is_shown_in_a_page_of_its_own_or_of_its_relatives():
    from poptrain import algorithms

    text = "\n".join(page.read_text() for page in PAGES if page.name != "api.md")
    assert all(f"pt.{name}(" in text or f"`pt.{name}`" in text for name in algorithms.__all__)


def public(module: str) -> list[str]:
    """Returns the public names of a module: those that it lists, else those that it defines."""
    import importlib

    made = importlib.import_module(module)
    own = [name for name, value in vars(made).items() if name[0] != "_" and getattr(value, "__module__", "") == module]
    return list(getattr(made, "__all__", own))


ROOMS = ("executors", "plots", "report", "rl", "sinks", "statistics", "testing", "views")


@pytest.mark.parametrize("room", ["", *ROOMS], ids=lambda room: room or "poptrain")
def test_every_public_name_is_in_the_list(room):
    """The list is docs/api.md: a name that is not there is either undocumented or not meant to be public."""
    listed = (ROOT / "docs" / "api.md").read_text()
    prefix = f"pt.{room}." if room else "pt."
    missing = [name for name in public(f"poptrain.{room}".rstrip(".")) if f"| `{prefix}{name}` | " not in listed]
    assert not missing, f"docs/api.md lacks {', '.join(prefix + name for name in missing)}"


def test_the_list_names_nothing_that_is_gone_and_leaves_nothing_blank():
    rows = re.findall(r"^\| `pt\.([\w.]+)` \| (.*) \|$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(rows) > 100 and all(text.strip() for _, text in rows)
    for name, _ in rows:
        room, _, own = name.rpartition(".")
        assert own in public(f"poptrain.{room}".rstrip(".")), f"docs/api.md lists pt.{name}"


def test_every_room_that_the_package_opens_is_in_the_list():
    import poptrain

    assert set(poptrain._MODULES) == set(ROOMS)


def test_every_verb_is_documented():
    from poptrain.cli.app import VERBS

    text = (ROOT / "docs" / "cli.md").read_text()
    assert len(VERBS) > 8 and not [verb for verb in VERBS if f"`poptrain {verb}" not in text]
