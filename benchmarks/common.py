"""What all benchmarks share: the command line, the description of the machine, and the JSON object at the end of their output."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poptrain.core.cpus import cpus
from poptrain.statistics import sign_test

Figures = dict[str, Any]

PACKAGES = (
    "poptrain", "numpy", "scipy", "jax", "jaxlib", "envpool", "gymnasium", "torch", "ray", "scikit-learn", "stable-baselines3",
    "mlflow", "tensorboardX",
)  # fmt: skip


def figure(
    name: str, value: float, unit: str = "", target: str = "", holds: bool | None = None, n: int = 1, spread: float | None = None
) -> dict[str, Any]:
    """Returns one figure; `holds` is None without a target; `spread` is the standard deviation over `n` runs."""
    return {"name": name, "value": _plain(value), "unit": unit, "target": target,
            "holds": None if holds is None else bool(holds), "n": n, "spread": _plain(spread)}  # fmt: skip


def over(name: str, values: Sequence[float], unit: str = "", target: str = "", holds: bool | None = None) -> dict[str, Any]:
    """Returns the figure of a mean over seeds, with its standard deviation."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return figure(name, float(np.mean(values)), unit, target, holds, len(values), spread)


def report(benchmark: str, figures: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Returns the object that a benchmark prints as its last line."""
    return {
        "benchmark": benchmark,
        "machine": machine(),
        "versions": versions(),
        "seconds": round(seconds, 2),
        "figures": list(figures),
    }


def command_line(benchmark: str, doc: str | None, quick: str) -> argparse.ArgumentParser:
    """Returns the parser of a benchmark, with the options of all benchmarks; `quick` is the help of ``--quick``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark}", description=doc)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    return parser


def main(benchmark: str, measure: Callable[[bool], Iterable[dict[str, Any]]], doc: str | None = None) -> None:
    """Prints the figures of ``measure(quick)``, each as soon as it is known: for people, then one JSON object with ``--json``."""
    options = command_line(benchmark, doc, "the same figures at a size that ends within a minute").parse_args()
    began = time.perf_counter()
    figures = []
    for each in measure(options.quick):
        show([each])
        figures.append(each)
    if options.json:
        print(json.dumps(report(benchmark, figures, time.perf_counter() - began)), flush=True)


def show(figures: Sequence[dict[str, Any]]) -> None:
    """Prints figures as a table for people."""
    for each in figures:
        mark = {True: "holds", False: "MISSED", None: ""}[each["holds"]]
        spread = "" if each["spread"] is None else f" ± {each['spread']:.4g}"
        target = f"  ({each['target']})" if each["target"] else ""
        print(f"{each['name']:60s} {each['value']:>12.6g}{spread} {each['unit']}  n={each['n']}{target}  {mark}", flush=True)


def installed(package: str) -> bool:
    """True if an optional package that a figure is compared with can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def stored_runs(results: Path, cells: Mapping[str, tuple[int, Callable[[int], Figures]]], quick: bool) -> dict[str, Figures]:
    """Returns the finished runs by cell and seed, after the missing ones were made; seed 0 of every cell comes first.

    Processes that make different cells may share the file: it is read again before each run is added.

    Args:
        results: the file that holds them, which is written after each run.
        cells: by name, how many seeds are to be run, and the function of a seed that makes one.
        quick: one seed of each is made; nothing is read or stored.
    """
    found: dict[str, Figures] = json.loads(results.read_text()) if results.exists() and not quick else {}
    for seed in range(1 if quick else max(seeds for seeds, _ in cells.values())):
        for name, (seeds, make) in cells.items():
            if str(seed) in found.setdefault(name, {}) or seed >= seeds:
                continue
            made = make(seed)
            print(name, seed, made, flush=True)
            if not quick and results.exists():
                found = json.loads(results.read_text())
            found.setdefault(name, {})[str(seed)] = made
            if not quick:
                results.write_text(json.dumps(found | {"machine": machine()}, indent=1) + "\n")
    return found


def paired(name: str, about: str, first: Mapping[str, Figures], second: Mapping[str, Figures]) -> list[Figures]:
    """Returns the figures of how far the returns of some runs are above those of others with the same seeds; [] without any.

    Args:
        name: of the difference, such as ``FIRE - PBT``.
        about: what the sign test is about.
        first: runs by seed.
        second: those that they are compared with.
    """
    both = sorted(set(first) & set(second))
    if not both:
        return []
    apart = [first[seed]["return"] - second[seed]["return"] for seed in both]
    p = sign_test(sum(x > 0 for x in apart), sum(x < 0 for x in apart))
    return [over(f"{name}, same seeds", apart), figure(f"{about}: sign test, two-sided", p, "p", n=len(both))]


def machine() -> dict[str, Any]:
    """Returns what the figures depend on: cores, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {"cores": cpus(), "memory_gib": round(memory / 2**30, 1), "system": platform.system(), "machine": platform.machine(),
            "python": platform.python_version()}  # fmt: skip


def versions() -> dict[str, str]:
    """Returns the versions of the packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _plain(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return float(value)
