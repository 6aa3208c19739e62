"""An algorithm is read from top to bottom: few lines, its steps numbered next to them, and its departures named in its head."""

from __future__ import annotations

import importlib
import io
import re
import tokenize
from dataclasses import fields
from pathlib import Path

import pytest

from poptrain.algorithms.bg_pbt.explore import LocalSearch
from poptrain.algorithms.fire.evaluations import FireSettings
from poptrain.algorithms.parts.options import PbtOptions
from poptrain.algorithms.pb2 import Suggest
from poptrain.algorithms.pb2_family import Pb2Options

ROOT = Path(__file__).parents[2]
ALGORITHMS = ROOT / "src" / "poptrain" / "algorithms"
MOST = 900  # lines, to understand PB2 or FIRE
READ = {
    "pb2": ("pb2.py", "gp/rows.py", "gp/kernels.py", "gp/posterior.py"),
    "fire_pbt": ("fire/fire_pbt.py", "fire/round.py", "fire/curves.py", "fire/evaluations.py"),
}
DEPARTURES = {  # the options that may differ from the paper: all that an old log may lack, and those of `Pbt`
    "pb2": (*(each.name for each in fields(Suggest) if "absent" in each.metadata), "categories", "plateau", "starts"),
    "fire.fire_pbt": (*(each.name for each in fields(FireSettings) if "absent" in each.metadata), "explore"),
    "bg_pbt.bg_pbt": (*(each.name for each in fields(LocalSearch)[4:]), "exploit", "starts"),
}
SECTIONS = {  # of the paper of FIRE, and what stands next to a line of the code
    "3": ("step 1", "step 2", "step 3", "step 4"),
    "3.1.1": ("step 1", "step 2", "step 3", "step 4", "Assumption 2"),
    "3.1.2": (),
    "3.2": ("binom_test", "stop", "success", "min_steps_before_eval"),
    "4": (),
    "4.1.1": ("explore", "exploit"),
}


def comments(names: tuple[str, ...]) -> list[str]:
    """Returns the comments of some files, without the #."""
    texts = ((ALGORITHMS / name).read_text() for name in names)
    tokens = (token for text in texts for token in tokenize.generate_tokens(io.StringIO(text).readline))
    return [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize("name", READ)
def test_an_algorithm_is_understood_from_four_files_and_its_page_names_them(name):
    lines = {file: len((ALGORITHMS / file).read_text().splitlines()) for file in READ[name]}
    assert sum(lines.values()) <= MOST, lines
    page = (ROOT / "docs" / "algorithms" / f"{name}.md").read_text()
    (found,) = re.findall(rf"can be read in four files of at most {MOST} lines together.*?\n\n", page, re.DOTALL)
    assert all(f"{file}`" in found for file in READ[name])


@pytest.mark.parametrize("module", DEPARTURES)
def test_the_head_of_an_algorithm_names_every_option_that_departs_from_its_paper(module):
    head = importlib.import_module(f"poptrain.algorithms.{module}").__doc__
    departures = head[head.index("Departures from the paper") :]
    missing = [option for option in DEPARTURES[module] if not re.search(rf"`{option}`|^    {option} ", departures, re.MULTILINE)]
    assert not missing


def test_every_step_of_pb2_is_numbered_beside_a_line_of_its_file():
    head = importlib.import_module("poptrain.algorithms.pb2").__doc__
    steps = set(re.findall(r"\((\d)\)", head[: head.index("Departures")]))
    beside = {step for comment in comments(("pb2.py",)) for step in re.findall(r"^\((\d)\)", comment)}
    assert steps == beside == {"1", "2", "3", "4", "5"}


def test_every_section_of_the_paper_of_fire_is_beside_a_line():
    found = [re.match(r"(\d(?:\.\d)*)(?:, ([\w ]+?))?(?=$|[:;,.])", comment) for comment in comments(READ["fire_pbt"])]
    beside = {match.groups() for match in found if match}
    assert {section for section, _ in beside} == set(SECTIONS)
    assert not {(section, part) for section, parts in SECTIONS.items() for part in parts} - beside


def test_the_factories_share_one_class_of_arguments():
    shared = {each.name for each in fields(PbtOptions)}
    assert not shared & {each.name for each in fields(Pb2Options)}
    for file, factories in {"pbt.py": 1, "pb2_family.py": 3, "bg_pbt/bg_pbt.py": 1, "fire/fire_pbt.py": 1}.items():
        assert (ALGORITHMS / file).read_text().count(" = PbtOptions(") == factories, file
