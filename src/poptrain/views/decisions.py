"""Why a population never exploited: a run without any copy was a random search, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poptrain.core.counting import counted
from poptrain.log.reader import Record


def no_decision(record: Record, copies: int, ended: bool, without_returns: bool) -> str | None:
    """Returns why no member has copied another one; None if one did, may still do so, or the algorithm never copies.

    Args:
        copies: number of copies so far.
        ended: the run is finished. Before that, only what can't change any more is stated.
        without_returns: there are results, and none has episode returns.
    """
    algorithm = record.run.get("algorithm")
    if copies or not isinstance(algorithm, Mapping) or "exploit" not in algorithm:
        return None
    why = settled(algorithm, record.budget)
    if why is None and ended:
        why = _found(algorithm, without_returns)
    return None if why is None else f"No member copied another one: {why}."


def settled(algorithm: Mapping[str, Any], budget: int | None) -> str | None:
    """Returns why the options of a described algorithm allow no copy; None if they allow one."""
    members = algorithm.get("population")
    if isinstance(members, int) and members - int(algorithm.get("controls") or 0) < 2:
        return f"the population is {members}, and a copy needs two members"
    exploit = algorithm.get("exploit")
    if isinstance(exploit, Mapping) and exploit.get("fraction") == 0:
        return "truncation(0) replaces no member"
    interval, warmup = algorithm.get("interval"), algorithm.get("warmup") or 0
    warmup = warmup if isinstance(warmup, int) else 0  # FIRE PBT has one for each sub-population
    if budget is None or not isinstance(interval, int) or isinstance(interval, bool) or interval < 1:
        return None
    if interval >= budget:
        return (
            f"the interval is {counted(interval, 'step')} and the budget {budget:,}, so that no decision was due before the end"
        )
    last = (budget - 1) // interval * interval
    if warmup > last:
        return (
            f"the warmup is {counted(warmup, 'step')}, and the last decision before the budget of {budget:,} is at step {last:,}"
        )
    return None


def _found(algorithm: Mapping[str, Any], without_returns: bool) -> str:
    """Returns why a finished run has no copy although its options allow one."""
    exploit = algorithm.get("exploit")
    if isinstance(exploit, Mapping) and exploit.get("type") == "Welch" and without_returns:
        return 'welch() compares episode returns, and no result has any; let train return a list of them as "returns"'
    return "at every decision, the exploit found no member that was worth copying"
