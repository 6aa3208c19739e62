"""What the runs say: averages with intervals, ranks, and every pair of contenders compared over equal seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.value.cells import Row
from benchmarks.value.contenders import DERIVED
from poptrain import statistics

Values = dict[int, float]  # by seed
Found = dict[tuple[str, int], dict[str, Values]]  # by (problem, population), by contender


def found(stored: Mapping[str, Mapping[tuple[str, int, int], Row]]) -> Found:
    """Returns the values of all stored runs, those of the derived contenders included."""
    out: Found = {}
    for problem, rows in stored.items():
        for row in rows.values():
            if row.value is not None:
                cell = out.setdefault((problem, row.population), {})
                cell.setdefault(row.contender, {})[row.seed] = row.value
                for name, source in DERIVED.items():
                    if row.contender == source and row.top is not None:
                        cell.setdefault(name, {})[row.seed] = row.top
    return out


def described(cell: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Returns, for every contender of one problem and population: mean, its interval, 10 % quantile, mean rank.

    Ranks are over the seeds that all contenders share; 1 is the best, ties share.
    """
    shared = sorted(set.intersection(*(set(values) for values in cell.values()))) if cell else []
    ranks = dict(zip(cell, _ranks(np.array([[values[seed] for seed in shared] for values in cell.values()])), strict=True))
    out = []
    for name, values in cell.items():
        all = np.array([values[seed] for seed in sorted(values)])
        low, high = statistics.interval(all, np.mean) if len(all) > 1 else (float(all[0]),) * 2
        worst = statistics.interval(all, _tenth) if len(all) > 1 else (float(all[0]),) * 2
        out.append({"contender": name, "seeds": len(all), "mean": float(all.mean()), "low": low, "high": high,
                    "tenth": float(_tenth(all, axis=-1)), "tenth_low": worst[0], "tenth_high": worst[1],
                    "worst": float(all.min()), "rank": float(ranks[name])})  # fmt: skip
    return out


def _tenth(values: Any, /, *, axis: int) -> Any:
    return np.quantile(values, 0.1, axis=axis)


def _ranks(table: np.ndarray) -> np.ndarray:
    """Returns mean ranks for values of shape (contenders, seeds)."""
    return _seed_ranks(table).mean(axis=-1) if table.size else np.full(len(table), np.nan)


def _seed_ranks(table: np.ndarray) -> np.ndarray:
    """Returns the ranks of values of shape (contenders, seeds), in each seed; 1 is the best, ties share."""
    above = (table[None] > table[:, None]).sum(axis=1)
    level = (table[None] == table[:, None]).sum(axis=1)
    ranks: np.ndarray = above + (level + 1) / 2
    return ranks


def ranked(cells: Found, population: int, problems: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the mean rank of every contender over problems, with its interval, the best first.

    Contenders are ranked in each seed that all of them share; those that did not run on every problem are left out. The interval
    resamples seeds inside each problem; the problems are fixed, and count equally.
    """
    there = [cells[problem, population] for problem in problems if (problem, population) in cells]
    names = [name for name in (there[0] if there else {}) if all(name in cell for cell in there)]
    tables = []
    for cell in there:
        shared = sorted(set.intersection(*(set(cell[name]) for name in names)))
        tables.append(_seed_ranks(np.array([[cell[name][seed] for seed in shared] for name in names])))
    if len(names) < 2 or not all(table.size for table in tables):
        return []
    strata = [f"{index:03}" for index, table in enumerate(tables) for _ in range(table.shape[1])]  # in the order of their names
    weights = np.concatenate([np.full(table.shape[1], 1 / table.shape[1] / len(tables)) for table in tables])
    ranks = np.concatenate(tables, axis=1)
    drawn = statistics.resampled(np.arange(ranks.shape[1]), strata).astype(int)
    out = []
    for name, own in zip(names, ranks, strict=True):
        low, high = np.quantile(own[drawn] @ weights, [0.025, 0.975])
        out.append({"contender": name, "rank": float(own @ weights), "low": float(low), "high": float(high)})
    return sorted(out, key=lambda each: each["rank"])


def compared(a: Values, b: Values) -> dict[str, Any] | None:
    """Returns a against b over the seeds of both: mean gain, its interval, wins, losses, p-values; None with fewer than 2."""
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        return None
    x, y = (np.array([values[seed] for seed in seeds]) for values in (a, b))
    gains = x - y
    low, high = statistics.interval(gains, np.mean)
    wins, losses, p_sign = statistics.paired(x, y)
    return {"seeds": len(seeds), "gain": float(gains.mean()), "low": low, "high": high, "wins": wins, "losses": losses,
            "p_sign": p_sign, "p_wilcoxon": wilcoxon(gains), "worst_gain": float(x.min() - y.min())}  # fmt: skip


def wilcoxon(gains: Sequence[float] | np.ndarray) -> float:
    """Returns the two-sided p-value of the signed-rank test over pairs, exact also with ties; 1 if all pairs are equal.

    Pairs without a difference have a rank and no sign (Pratt 1959).
    """
    differences = np.asarray(gains, float)
    size = np.abs(differences)
    ordered = np.sort(size)
    doubled = np.searchsorted(ordered, size) + np.searchsorted(ordered, size, side="right") + 1  # twice the mean ranks
    signed = differences != 0
    chances = np.ones(1)  # of each sum of the doubled ranks with a positive sign
    for rank in doubled[signed].tolist():
        before, chances = chances / 2, np.zeros(len(chances) + rank)
        chances[: len(before)] += before
        chances[rank:] += before
    sum = int(doubled[differences > 0].sum())
    return float(min(1.0, 2 * min(chances[: sum + 1].sum(), chances[sum:].sum())))


def pairs(cells: Found, first: str, second: str, population: int, problems: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Returns a contender against another on every problem (of `problems`) where both ran."""
    out = []
    for (problem, size), cell in cells.items():
        wanted = size == population and (problems is None or problem in problems)
        if wanted and first in cell and second in cell and (said := compared(cell[first], cell[second])):
            out.append({"problem": problem, "population": size, "first": first, "second": second, **said})
    return out


def overall(
    cells: Found, first: str, second: str, population: int, problems: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """Returns a contender against another over all problems: the mean of the problems' mean gains, wins, the worst problem.

    The interval resamples seeds inside each problem; the problems are fixed. A problem is won or lost by the sign of its mean
    gain, and clearly so where the signed-rank test has p < 0.05.
    """
    found = pairs(cells, first, second, population, problems)
    if not found:
        return None
    gains, strata, weights = [], [], []
    for each in found:
        cell = cells[each["problem"], population]
        both = sorted(cell[first].keys() & cell[second].keys())
        gains += [cell[first][seed] - cell[second][seed] for seed in both]
        strata += [each["problem"]] * len(both)
        weights += [1 / len(both) / len(found)] * len(both)
    order = np.argsort(strata, kind="stable")  # `resampled` returns the strata in the order of their names
    drawn = statistics.resampled(np.array(gains)[order], np.array(strata)[order]) @ np.array(weights)[order]
    low, high = np.quantile(drawn, [0.025, 0.975])
    worst = min(found, key=lambda each: each["gain"])
    wins, losses = (sum(each[side] for each in found) for side in ("wins", "losses"))
    clear = [each for each in found if each["p_wilcoxon"] < 0.05]
    return {"population": population, "first": first, "second": second, "problems": len(found),
            "gain": float(np.dot(gains, weights)), "low": float(low), "high": float(high),
            "won": sum(each["gain"] > 0 for each in found), "lost": sum(each["gain"] < 0 for each in found),
            "clearly_won": sum(each["gain"] > 0 for each in clear), "clearly_lost": sum(each["gain"] < 0 for each in clear),
            "worst_problem": worst["problem"], "worst_gain": worst["gain"],
            "seed_wins": wins, "seed_losses": losses, "p_sign": statistics.sign_test(wins, losses)}  # fmt: skip
