"""A verdict on one thing that was checked: what `verify` and the preflight report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """One thing that was checked, or could not be."""

    name: str
    state: str  # "ok", "failed", or "unclear": it was not checked, or the answer is not certain
    text: str  # one sentence
