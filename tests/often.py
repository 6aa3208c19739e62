"""How often laws are tried with drawn cases: every day a third of the cases, and all of them in `make test-all`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("POPTRAIN_TEST_LONG"))


def often(cases: int) -> int:
    """Returns how many of the drawn cases are tried."""
    return cases if LONG else -(-cases // 3)
