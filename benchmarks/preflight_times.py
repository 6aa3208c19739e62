"""How close the estimate of `poptrain check` is to the time of the run, on examples with shortened budgets.

    python -m benchmarks.preflight_times [--quick] --json

Each check and each run has a process of its own, as a user's would. The run's time is that of its log. A loaded machine slows one
of the two more than the other: run this on an idle one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import poptrain as pt
from benchmarks.common import figure, installed, main

EXAMPLES = Path(__file__).parent.parent / "examples"
CLOSE = 0.3  # relative, the target
CASES = {  # by example: steps of each member, and the packages that it needs
    "quickstart": (40, ()),
    "pytorch_classifier": (10, ("torch",)),
    "command_line": (16, ("sklearn",)),
    "nnx_digits": (16, ("flax", "optax", "sklearn")),
    "bipedal_pb2": (250_000, ("jax", "envpool")),
}
QUICK = ("quickstart", "pytorch_classifier")


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    figures, close = [], []
    for name, (steps, packages) in CASES.items():
        if (quick and name not in QUICK) or not all(map(installed, packages)):
            continue
        estimate, truth = estimated(name, steps), taken(name, steps)
        print(f"{name}: estimated {estimate['seconds']:.1f} s, took {truth:.1f} s", flush=True)
        ratio = estimate["seconds"] / truth
        close.append(abs(ratio - 1) <= CLOSE)
        figures.append(figure(f"estimate / run: {name}", ratio, "", "0.7 to 1.3", close[-1]))
    return [*figures, figure("estimate within 30 %", sum(close), f"of {len(close)}", f">= {len(close)}", all(close), len(close))]


def estimated(name: str, steps: int) -> dict[str, Any]:
    """Returns the estimate of an example by `poptrain check`."""
    found: dict[str, Any] = json.loads(_poptrain("check", name, steps, "--json").strip().splitlines()[-1])
    return dict(found["estimate"])


def taken(name: str, steps: int) -> float:
    """Returns the seconds that a run of an example took."""
    with tempfile.TemporaryDirectory(prefix="poptrain-times-", dir=".") as folder:
        _poptrain("run", name, steps, "--dir", f"{folder}/run", "--quiet")
        return pt.open_run(f"{folder}/run").record.elapsed


def _poptrain(verb: str, name: str, steps: int, *options: str) -> str:
    """Returns the standard output of a command; a check that finds something wrong exits with 1, and is fine here."""
    words = [sys.executable, "-m", "poptrain", verb, str(EXAMPLES / f"{name}.py"), "--steps", str(steps), *options]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main("preflight_times", measure, __doc__.splitlines()[0])
