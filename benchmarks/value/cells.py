"""Finished runs on disk: which ones exist, which ones are missing, and making those, on several cores.

A problem has one file ``PROBLEM.jsonl``: the names of the columns, then one line a run. A run is made again if the code that it
depends on has changed since, so that no table mixes versions: the sources of the algorithms, and those of the problem. Comments
and docstrings do not count. A change that changes no value is proved by `take_over`: some runs are made again and end the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import poptrain
from benchmarks.schedule_table import table_of
from benchmarks.study import RESULTS
from benchmarks.value.contenders import contend
from benchmarks.value.registry import PROBLEMS
from benchmarks.value.tabled import TABLED

FOLDER = RESULTS / "value"
HERE = Path(__file__).parent
COLUMNS = ("contender", "population", "seed", "value", "top", "steps", "seconds", "code")


@dataclass(frozen=True, order=True)
class Cell:
    """One run to make."""

    problem: str
    contender: str  # its name, and after an "@" the label of the version that runs it
    population: int
    seed: int


class Row(NamedTuple):
    """One finished run; `value` and `top` are None if the contender could not compete."""

    contender: str
    population: int
    seed: int
    value: float | None
    top: float | None
    steps: int
    seconds: float
    code: str


def read(problem: str, folder: Path = FOLDER) -> dict[tuple[str, int, int], Row]:
    """Returns the stored runs of a problem by (contender, population, seed); of several of one, the last."""
    path = folder / f"{problem}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for line in lines[1:]:
        try:
            row = Row(*json.loads(line))
        except ValueError:  # torn by a crash; that run is made again
            continue
        found[row[:3]] = row
    return found


def work(cells: Iterable[Cell], jobs: int = 1, folder: Path = FOLDER, hours: float | None = None) -> Iterator[tuple[Cell, Row]]:
    """Makes the runs that are missing or old, and yields each when it is stored."""
    wanted = list(dict.fromkeys(cells))
    known = {problem: read(problem, folder) for problem in {cell.problem for cell in wanted}}
    missing = []
    for cell in wanted:
        row = known[cell.problem].get((cell.contender, cell.population, cell.seed))
        if row is None or _is_older(cell, row):
            missing.append(cell)
    began = time.perf_counter()
    over = lambda: hours is not None and time.perf_counter() - began > 3600 * hours
    if jobs <= 1 or len(missing) < 2:
        for cell in missing:
            if over():
                return
            yield cell, _store(cell, made(cell), folder)
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            futures = {pool.submit(made, cell): cell for cell in missing}
            for future in as_completed(futures):
                yield futures[future], _store(futures[future], future.result(), folder)
                if over():
                    pool.shutdown(cancel_futures=True)
                    break
    for problem in known:
        _tidy(problem, folder)


def take_over(cells: Iterable[Cell], samples: int, folder: Path = FOLDER) -> Iterator[tuple[Cell, bool]]:
    """Makes some runs of older code again, and marks all runs of their contender and problem as those of this code if all agree.

    Args:
        samples: the number of seeds of each problem, contender and population that are made again.

    Yields:
        The first cell of each problem, contender and population with older runs, and whether they count as of this code now.
    """
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    wanted = list(dict.fromkeys(cells))
    known = {problem: read(problem, folder) for problem in {cell.problem for cell in wanted}}
    for cell in wanted:
        row = known[cell.problem].get((cell.contender, cell.population, cell.seed))
        if row is not None and _is_older(cell, row):
            groups.setdefault((cell.problem, cell.contender, cell.population), []).append(cell)
    for (problem, name, size), group in groups.items():
        rows = {cell: known[problem][name, size, cell.seed] for cell in group}
        same = all((again := made(cell)).value == rows[cell].value and again.top == rows[cell].top for cell in group[:samples])
        if same:
            for cell in group:
                _store(cell, rows[cell]._replace(code=code(problem)), folder)
            _tidy(problem, folder)
        yield group[0], same


def made(cell: Cell) -> Row:
    """Makes one run."""
    began = time.perf_counter()
    outcome = contend(cell.contender.partition("@")[0], PROBLEMS[cell.problem](cell.seed), cell.population, cell.seed)
    seconds = round(time.perf_counter() - began, 2)
    if outcome is None:
        return Row(cell.contender, cell.population, cell.seed, None, None, 0, seconds, code(cell.problem))
    value, top = (float(f"{number:.5g}") for number in (outcome.value, outcome.top))
    return Row(cell.contender, cell.population, cell.seed, value, top, outcome.steps, seconds, code(cell.problem))


def _is_older(cell: Cell, row: Row) -> bool:
    """True if a stored run is one of other code, unless its label says so."""
    return row.code != code(cell.problem) and "@" not in cell.contender


def _store(cell: Cell, row: Row, folder: Path) -> Row:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{cell.problem}.jsonl"
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    head = "" if path.exists() else _line(COLUMNS)
    with path.open("a") as file:
        file.write(head + ("\n" if torn else "") + _line(row))
    return row


def _tidy(problem: str, folder: Path) -> None:
    """Writes the file anew, in order and without runs that were made again."""
    rows = sorted(read(problem, folder).values(), key=lambda row: row[:3])
    if rows:
        half = folder / f"{problem}.half"
        half.write_text(_line(COLUMNS) + "".join(map(_line, rows)))
        os.replace(half, folder / f"{problem}.jsonl")


def _line(values: Iterable[object]) -> str:
    return json.dumps(list(values), separators=(",", ":")) + "\n"


@cache
def code(problem: str) -> str:
    """Returns a hash of all code that a run of a problem depends on."""
    source = Path(poptrain.__file__).parent
    files = sorted([*(source / "algorithms").rglob("*.py"), *(source / "space").rglob("*.py")])
    own = ("problem.py", "contenders.py", "halving.py")
    module = PROBLEMS[problem].__module__.rpartition(".")[2]
    files += [HERE / name for name in own] + [HERE / f"{module}.py"]
    data = table_of(TABLED[problem].task).read_text() if problem in TABLED else ""
    return hashlib.sha256(("".join(_meaning(path) for path in files if path.exists()) + data).encode()).hexdigest()[:8]


@cache
def _meaning(path: Path) -> str:
    """Returns a source without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value = ast.Constant(None)
    return ast.dump(tree)
