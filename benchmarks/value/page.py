"""The page of the docs: its tables are made from the stored runs alone, so that no figure of it can be out of date.

    python -m benchmarks.value --write        # docs/value.md and its pictures in docs/value

What is written by hand stays; everything between ``<!-- tables -->`` and the end of the page is made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.value import verdicts
from benchmarks.value.cells import FOLDER, read
from benchmarks.value.contenders import DEFAULT
from benchmarks.value.registry import NUMERIC, PROBLEMS

DOCS = Path(__file__).parents[2] / "docs"
MARK = "<!-- tables -->\n"
SHOWN = ("random", "best_of", "pbt_paper", *DEFAULT[1:])
SEEDS = 20  # the first ones of a numeric problem: all contenders have them, and defaults were chosen on them


def stored(folder: Path = FOLDER) -> verdicts.Found:
    """Returns the values of all stored runs of the contenders that the page shows."""
    found = verdicts.found({problem: read(problem, folder) for problem in PROBLEMS})
    return {key: shown for key, cell in found.items() if (shown := {n: cell[n] for n in SHOWN if n in cell})}


def _seeds(found: verdicts.Found, fresh: bool) -> verdicts.Found:
    """Returns the runs of the numeric problems with the seeds that all contenders have, or those with the others; of the other
    problems, all runs or none."""
    out: verdicts.Found = {}
    for key, cell in found.items():
        few = key[0] in NUMERIC
        kept = {name: {s: v for s, v in values.items() if fresh == (few and s >= SEEDS)} for name, values in cell.items()}
        if kept := {name: values for name, values in kept.items() if values}:
            out[key] = kept
    return out


def _halves() -> dict[str, list[str]]:
    """Returns the names of the numeric problems: of all, and of each half."""
    halves = ("all numeric", "choose", "confirm")
    return {half: [name for name, each in NUMERIC.items() if half in ("all numeric", each.half)] for half in halves}


def _pictured(found: verdicts.Found) -> list[int]:
    """Returns the populations in which something is compared with random search on the numeric problems."""
    return sorted({n for (problem, n), cell in found.items() if problem in NUMERIC and "random" in cell and len(cell) > 1})


def problems() -> str:
    """Returns what every problem is, as a Markdown table."""
    lines = ["| problem | half | what it is | how |", "|---|---|---|---|"]
    for name, each in PROBLEMS.items():
        what: Any = each
        about = (what.__doc__ or "").splitlines()[0]
        lines.append(f"| `{name}` | {what.half} | {about} | {what.formula} |")
    return "\n".join(lines)


def results(found: verdicts.Found, size: int) -> str:
    """Returns the means of a population with their intervals as a Markdown table; in bold: the best mean."""

    def said(row: dict[str, Any], best: float) -> str:
        mean = f"{row['mean']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        return f"**{mean}**" if row["mean"] == best else mean

    return _by_problem(found, size, "mean", said)


def worst(found: verdicts.Found, size: int) -> str:
    """Returns the 10 % quantiles of a population with their intervals, and the worst seeds; in bold: the best quantile."""

    def said(row: dict[str, Any], best: float) -> str:
        low = f"{row['tenth']:.2f} ({row['tenth_low']:.2f} to {row['tenth_high']:.2f})"
        return f"{f'**{low}**' if row['tenth'] == best else low}; {row['worst']:.2f}"

    return _by_problem(found, size, "tenth", said)


def _by_problem(found: verdicts.Found, size: int, key: str, said: Callable[[dict[str, Any], float], str]) -> str:
    """Returns a Markdown table with a row a problem and a column a contender; `said` also gets the best value of `key`."""
    names = [name for name in SHOWN if any(name in cell for (_, n), cell in found.items() if n == size)]
    lines = ["| problem (seeds) | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for problem in PROBLEMS:
        if cell := found.get((problem, size)):
            rows = {row["contender"]: row for row in verdicts.described(cell)}
            best = max(row[key] for row in rows.values())
            counts = sorted({row["seeds"] for row in rows.values()})
            seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
            cells = [said(rows[name], best) if name in rows else "" for name in names]
            lines.append(f"| {problem} ({seeds}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ranks(found: verdicts.Found, size: int) -> str:
    """Returns the mean ranks of a population on the numeric problems as a Markdown table, the best first; "" without any."""
    halves = _halves()
    lines = ["| | " + " | ".join(halves) + " |", "|---" * (1 + len(halves)) + "|"]
    columns = [{row["contender"]: row for row in verdicts.ranked(found, size, chosen)} for chosen in halves.values()]
    for name in columns[0]:
        said = [f"{c[name]['rank']:.2f} ({c[name]['low']:.2f} to {c[name]['high']:.2f})" if name in c else "" for c in columns]
        lines.append(f"| {name} | " + " | ".join(said) + " |")
    return "\n".join(lines) if columns[0] else ""


def against(found: verdicts.Found, size: int, second: str = "random") -> str:
    """Returns every contender against another one over the numeric problems as a Markdown table."""
    lines = [
        "| | problems | mean gain (95 %) | won, clearly | lost, clearly | worst problem | seeds won and lost | p |",
        "|---" * 8 + "|",
    ]
    for half, chosen in _halves().items():
        for name in SHOWN:
            if name != second and (said := verdicts.overall(found, name, second, size, chosen)):
                lines.append(
                    f"| {name} | {said['problems']}, {half} | {said['gain']:+.3f} ({said['low']:+.3f} to {said['high']:+.3f}) "
                    f"| {said['won']}, {said['clearly_won']} | {said['lost']}, {said['clearly_lost']} "
                    f"| {said['worst_problem']} {said['worst_gain']:+.3f} | {said['seed_wins']}, {said['seed_losses']} "
                    f"| {said['p_sign']:.2g} |"
                )
    return "\n".join(lines)


def one_by_one(found: verdicts.Found, size: int, first: str, second: str) -> str:
    """Returns one contender against another on every problem as a Markdown table."""
    lines = ["| problem | half | seeds | mean gain (95 %) | seeds won and lost | p |", "|---" * 6 + "|"]
    for each in verdicts.pairs(found, first, second, size):
        lines.append(
            f"| {each['problem']} | {NUMERIC[each['problem']].half} | {each['seeds']} "
            f"| {each['gain']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f}) "
            f"| {each['wins']}, {each['losses']} | {each['p_wilcoxon']:.2g} |"
        )
    return "\n".join(lines)


def since_01(found: verdicts.Found, size: int) -> str:
    """Returns the defaults of today against those of release 0.1 as a Markdown table, next to their aims; "" without runs."""
    lines = ["| | problems | mean gain (95 %) | aim | worst problem | seeds won and lost |", "|---" * 6 + "|"]
    for name, before, aim in (("pbt", "pbt_01", 0.15), ("pb2", "pb2_paper", 0.12)):
        for half, chosen in _halves().items():
            if said := verdicts.overall(found, name, before, size, chosen):
                lines.append(
                    f"| {name} − {before} | {said['problems']}, {half} "
                    f"| {said['gain']:+.3f} ({said['low']:+.3f} to {said['high']:+.3f}) | {aim:+.2f} "
                    f"| {said['worst_problem']} {said['worst_gain']:+.3f} | {said['seed_wins']}, {said['seed_losses']} |"
                )
    return "\n".join(lines) if len(lines) > 2 else ""


def made(every: verdicts.Found) -> str:
    """Returns the part of the page that is made."""
    found, fresh = _seeds(every, fresh=False), _seeds(every, fresh=True)
    parts = ["## The problems", problems()]
    for size in sorted({n for _, n in found}):
        parts += [f"## Population {size}"]
        if size in _pictured(found):
            parts += [f"![Gain of every contender on random search, with {size} members](value/gain_{size}.png)"]
        parts += ["Mean over seeds (95 % interval). The best one is bold.", results(found, size)]
        parts += ["10 % quantile over seeds (95 % interval); the worst seed. The best quantile is bold.", worst(found, size)]
        if table := ranks(found, size):
            parts += [
                "Mean rank on the numeric problems (95 % interval), over the seeds that all of these contenders have:",
                table,
            ]
        for name, second in (("random search", "random"), ("PBT", "pbt")):
            if any(second in cell and len(cell) > 1 for (_, n), cell in found.items() if n == size):
                parts += [f"### Against {name}, population {size}", against(found, size, second)]
        if table := since_01(found, size):
            parts += [f"### Against release 0.1, population {size}", table]
        if any(n == size for _, n in fresh):
            parts += [
                f"### On fresh seeds, population {size}",
                f"Seeds from {SEEDS} on, which were not looked at while the defaults were chosen.",
                against(fresh, size),
                "PB2 against PBT; p is that of Wilcoxon's signed-rank test:",
                one_by_one(fresh, size, "pb2", "pbt"),
                against(fresh, size, "pbt"),
            ]
            if table := since_01(fresh, size):
                parts += ["Against release 0.1, on these seeds:", table]
    return "\n\n".join(parts) + "\n"


def write(docs: Path = DOCS) -> None:
    """Writes the page and its picture."""
    from benchmarks.value.picture import draw

    found, path = stored(), docs / "value.md"
    head = path.read_text().partition(MARK)[0]
    path.write_text(head + MARK + "\n" + made(found))
    if found:
        (docs / "value").mkdir(exist_ok=True)
        first = _seeds(found, fresh=False)
        for size in _pictured(first):
            draw(first, docs / "value" / f"gain_{size}.png", size)
