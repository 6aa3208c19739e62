"""The catalogue of faults: what must happen, and the tests that show it. ``docs/reliability.md`` is generated from it.

    python tests/scenarios.py > docs/reliability.md

A test whose name begins with the id of a scenario (``test_c5_…``) is found by itself; older tests are named in the table.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PLACES = (HERE, HERE.parent / "src" / "poptrain" / "testing")

ROWS = (HERE / "scenarios.txt").read_text()  # id | what must happen | tests
PEERS = (HERE / "scenarios_peers.md").read_text()  # a table; its figures are those that the commands in it printed

HEAD = """# What a run survives

Five promises hold for every run with a directory. Each row below names the tests that show them; `make test` and `make
test-all` run all of them.

1. *Acknowledged is durable.* Once the log has a line, no crash, kill, power cut or full disk takes it back.
2. *Continuing is exact.* After any crash, the run is in the state that its log describes. A synchronous run with a
   deterministic step ends bit for bit as without the crash.
3. *A bad member never stops the population.* It ranks last and is replaced; its state is never copied.
4. *One writer.* A run directory has one live driver; a second one is refused.
5. *Reading is safe.* Reading a run executes nothing from it, writes nothing into it and never leaves it.

`python tests/simulation.py ALGORITHM SEED` runs a whole population in a simulated world with random faults, and checks the
five promises after every session; `--seconds 3600` tries new worlds for an hour. `python -m benchmarks.reliability --json`
counts.
"""

TAIL = """
## What is not promised

* Inline, a step that hangs or uses all memory cannot be ended: use `Processes(timeout=…)`.
* A result is bit for bit the same only if the step is deterministic: threads that sum in another order, or kernels that are
  chosen by timing, break that. `poptrain check` tests it.
* Asynchronous runs depend on the order in which results arrive. What is logged is never lost, and decisions can be verified.
* Checksums find damage, not intent: a person can edit a log and compute new checksums. `poptrain verify` finds every edit
  that changes a decision.
* An interval in seconds does not repeat bit for bit.
* On network file systems, another machine sees the log with the delay of their caches.
* Windows is not supported. Of a cluster, only what the [guide](guides/cluster.md) lists was tested.
"""


def scenarios():
    """Returns the rows: id, behaviour, names of tests; a heading has no tests."""
    return [[part.strip() for part in line.split("|")] for line in ROWS.splitlines()]


def tests():
    """Returns the place of every test by its name."""
    found = {}
    for place in PLACES:
        for path in sorted(place.rglob("*.py")):
            for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(), re.M):
                found.setdefault(name, path.relative_to(HERE.parent).as_posix())
    return found


def page():
    """Returns the page as Markdown."""
    known, lines = tests(), [HEAD]
    for id, text, *named in scenarios():
        if len(id) == 1:
            lines += [f"\n## {id}. {text}\n", "| id | what poptrain does | tests |", "|---|---|---|"]
            continue
        names = [*named[0].split(), *(name for name in known if name.startswith(f"test_{id.lower()}_"))]
        listed = "<br>".join(f"`{known[name]}::{name}`" for name in dict.fromkeys(names))
        lines.append(f"| {id} | {text} | {listed} |")
    return "\n".join(lines) + f"\n\n{PEERS}{TAIL}"


if __name__ == "__main__":
    print(page(), end="")
