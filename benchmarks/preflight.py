"""The preflight checks: how many planted bugs they catch, how many false alarms they raise, how well they estimate the time.

    python -m benchmarks.preflight [--quick] --json

The bugs are those of `preflight_bugs.py`, each in every form of a trainable that can have it. A bug is caught if its own check
fails. A false alarm is a check that fails on a trainable without a bug, or on an example of the repository. The estimates of the
time are compared by `preflight_times.py`.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import poptrain as pt
from benchmarks import preflight_times
from benchmarks.common import figure, installed, main
from benchmarks.preflight_bugs import BUGS, Case, cases
from poptrain.core.errors import UsageError
from poptrain.engine.experiment import load
from poptrain.preflight import Preflight

EXAMPLES = Path(__file__).parent.parent / "examples"
PACKAGES = ("torch", "ray", "sklearn", "envpool", "gymnasium", "jax", "stable_baselines3", "optuna")


def tried(case: Case) -> tuple[Preflight, float]:
    """Returns the preflight of one case, and its seconds."""
    began = time.perf_counter()
    found = pt.check(case.experiment, seconds=60)
    return found, time.perf_counter() - began


def failed(found: Preflight) -> list[str]:
    """Returns the names of the checks that failed."""
    return [verdict.name for verdict in found.checks if verdict.state == "failed"]


def examples() -> dict[str, Path]:
    """Returns the examples that expose an experiment and whose packages are installed."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.py")):
        text = path.read_text()
        missing = [
            name for name in PACKAGES if re.search(rf"^(import|from) {name}\b", text, re.MULTILINE) and not installed(name)
        ]
        if re.search(r"^experiment\b", text, re.MULTILINE) and not missing:
            found[path.stem] = path
    return found


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    caught: dict[str, list[bool]] = {}
    alarms: list[str] = []
    longest = 0.0
    for case in cases():
        found, seconds = tried(case)
        longest = max(longest, seconds)
        if case.check is None:
            alarms += [f"{case.form} {case.bug or 'sound'}: {name}" for name in failed(found)]
        else:
            caught.setdefault(case.bug, []).append(case.check in failed(found))
            also = [name for name in failed(found) if name != case.check]
            outcome = f"caught{f', and {also} too' if also else ''}" if caught[case.bug][-1] else "MISSED"
            print(f"{case.form}, {case.bug}: {outcome}", flush=True)
    figures = [_share(f"caught: {bug}", caught[bug]) for bug in BUGS]
    others = [hit for bug, hits in caught.items() if bug not in BUGS for hit in hits]
    figures.append(_share("caught: variants of them", others))
    every = [hit for hits in caught.values() for hit in hits]
    figures.append(figure("planted bugs caught", sum(every), f"of {len(every)}", f">= {len(every)}", all(every), len(every)))
    figures.append(figure("false alarms on the forms without a bug", len(alarms), "checks", "0", not alarms))
    figures.append(figure("longest preflight of a toy", longest, "s", "<= 60", longest <= 60))
    return figures + _on_examples(10.0 if quick else 60.0) + preflight_times.measure(quick)


def _on_examples(limit: float) -> list[dict[str, Any]]:
    alarms, unclear, figures = 0, 0, []
    for name, path in examples().items():
        began = time.perf_counter()
        try:
            found = pt.check(load(path), seconds=limit)
        except UsageError as error:
            if "pip install" in str(error):
                continue
            raise
        seconds = time.perf_counter() - began
        for verdict in found.checks:
            if verdict.state != "ok":
                print(f"{name}: {verdict.state}: {verdict.name}: {verdict.text}", flush=True)
        alarms += len(failed(found))
        unclear += sum(verdict.state == "unclear" for verdict in found.checks)
        figures.append(figure(f"examples/{name}.py", seconds, "s", "no check fails", found.ok, len(found.checks)))
    figures.append(figure("false alarms on the examples", alarms, "checks", "0", not alarms, len(figures)))
    figures.append(figure("unclear on the examples", unclear, "checks", n=len(figures) - 1))
    return figures


def _share(name: str, hits: list[bool]) -> dict[str, Any]:
    return figure(name, sum(hits), f"of {len(hits)}", f">= {len(hits)}", all(hits), len(hits))


if __name__ == "__main__":
    main("preflight", measure, __doc__.splitlines()[0])
