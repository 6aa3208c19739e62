"""What the documents show works: every Python block is run as a script, and every file that they link to exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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


def test_every_algorithm_has_a_page():
    from poptrain import algorithms

    text = "\n".join(page.read_text() for page in PAGES)
    assert all(f"pt.{name}(" in text or f"`pt.{name}`" in text for name in algorithms.__all__)
