"""Tables, plots, sentences and figures of the ablations, from the stored runs alone."""

from __future__ import annotations

from typing import Any


def text(stored: dict[str, Any]) -> str:
    return ""


def figures(stored: dict[str, Any]) -> list[dict[str, Any]]:
    return []
