"""The verdict on one check: what `verify` and the preflight report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The result of one check."""

    name: str
    state: str  # "ok", "failed", or "unclear": not checked, or not certain
    text: str  # one sentence
