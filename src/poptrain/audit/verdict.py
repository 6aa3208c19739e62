"""The verdict on one check: what `verify` and the preflight report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poptrain.core import markup


@dataclass(frozen=True)
class Verdict:
    """The result of one check."""

    name: str
    state: str  # "ok", "failed", or "unclear": not checked, or not certain
    text: str  # one sentence


def listed(checks: Sequence[Verdict]) -> str:
    """Returns one line for each check, for a prompt."""
    return "\n".join(f"  {each.state:<8} {each.name}: {each.text}" for each in checks)


def tabled(checks: Sequence[Verdict]) -> str:
    """Returns the checks as a table for a notebook."""
    return markup.table(("", "check", "what was found"), [(each.state, each.name, each.text) for each in checks])
