"""The benchmark that decides: does an algorithm pay, against random search, Optuna and its relatives, at equal cost?

    python -m benchmarks.value --problems numeric --population 4,8,16 --seeds 20 --jobs 2 --json
    python -m benchmarks.value --problems choose --algorithms random,pbt,pb2 --seeds 20     # while an algorithm is being tuned
    python -m benchmarks.value --algorithms pbt,pb2 --label 0.1.0                           # store under pbt@0.1.0, pb2@0.1.0
    python -m benchmarks.value --report --algorithms random,pbt,pbt@0.1.0 --against pbt@0.1.0 --json

Half of the problems are there to choose on, the other half to confirm on: tune an algorithm on the first half only. Every run is
stored in ``benchmarks/results/value/``; a later call makes only the runs that are missing, or whose code has changed. After a
change that should alter no value, ``--take-over 2`` makes two seeds of each again, and keeps the others where those end the same.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import command_line, figure, report
from benchmarks.value import verdicts
from benchmarks.value.cells import FOLDER, Cell, read, take_over, work
from benchmarks.value.contenders import CONTENDERS, DEFAULT, DERIVED
from benchmarks.value.registry import named


def main() -> None:
    """The command line."""
    parser = command_line(
        "value", __doc__.splitlines()[0], "two seeds of the numeric problems, at population 4, in a temporary place"
    )
    parser.add_argument("--problems", default="numeric", help="numeric, choose, confirm, tables, training, all, or names")
    parser.add_argument("--algorithms", default=",".join(DEFAULT), help=f"out of {', '.join(CONTENDERS)}; with commas")
    parser.add_argument("--population", default="8", help="numbers of members, with commas")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--hours", type=float, help="start no further run after this many hours")
    parser.add_argument("--label", help="store as NAME@LABEL: to compare with another version of the code later")
    parser.add_argument("--against", default="random", help="the contender that the others are compared with")
    parser.add_argument("--results", type=Path, default=FOLDER, help="where runs are stored")
    parser.add_argument("--take-over", type=int, metavar="SEEDS", help="seeds that prove that older runs still hold")
    parser.add_argument("--report", action="store_true", help="run nothing; print what the stored runs say")
    parser.add_argument(
        "--write", action="store_true", help="run nothing; write docs/value.md and its picture from the stored runs"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw the gains on random search into this file")
    options = parser.parse_args()
    if options.write:
        from benchmarks.value.page import write

        return write()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        if options.quick:
            options.population, options.seeds, options.results = "4", 2, Path(scratch)
        problems, names, sizes = named(options.problems), contenders(options), [int(n) for n in options.population.split(",")]
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        if not options.report:
            cells = [Cell(p, name, n, seed) for seed in seeds for n in sizes for p in problems for name in names]
            for cell, same in take_over(cells, options.take_over, options.results) if options.take_over else ():
                found = "as before" if same else "other values"
                print(f"{cell.problem}, {cell.contender}, {cell.population}: {found}", flush=True)
            for count, (cell, row) in enumerate(work(cells, options.jobs, options.results, options.hours)):
                if count % 100 == 99:
                    print(f"{count + 1} runs, {time.perf_counter() - began:.0f} s; last: {cell} {row.value}", flush=True)
        stored = {p: {key: row for key, row in read(p, options.results).items() if key[2] in seeds} for p in problems}
    shown = [*names, *(name for name, source in DERIVED.items() if source in names)]
    if options.against not in shown:
        shown.append(options.against)
    if options.plot:
        from benchmarks.value.picture import draw

        draw(verdicts.found(stored), options.plot, sizes[0])
    result = summary(verdicts.found(stored), shown, sizes, options.against)
    print(text(result), flush=True)
    if options.json:
        print(json.dumps({**report("value", result["figures"], time.perf_counter() - began), **result}), flush=True)


def contenders(options: Any) -> list[str]:
    """Returns the contenders to run, with their label.

    Raises:
        SystemExit: one is not known.
    """
    names = options.algorithms.split(",")
    for name in names:
        if name.partition("@")[0] not in CONTENDERS or ("@" in name and not options.report):
            raise SystemExit(
                f"--algorithms {name!r}: expected names out of {', '.join(CONTENDERS)}; with @LABEL only in --report."
            )
    return [f"{name}@{options.label}" if options.label else name for name in names]


def summary(found: verdicts.Found, names: list[str], sizes: list[int], against: str) -> dict[str, Any]:
    """Returns rows (one a problem, population and contender), verdicts (one a pair), and figures."""
    found = {key: {name: cell[name] for name in names if name in cell} for key, cell in found.items() if key[1] in sizes}
    rows = [{"problem": p, "population": n, **row} for (p, n), cell in found.items() for row in verdicts.described(cell)]
    said = [each for n in sizes for i, a in enumerate(names) for b in names[:i] for each in verdicts.pairs(found, a, b, n)]
    whole = [each for n in sizes for a in names if a != against and (each := verdicts.overall(found, a, against, n))]
    figures = []
    for each in whole:
        name = (
            f"{each['first']} against {each['second']}, population {each['population']}, {each['problems']} problems "
            f"(95 % from {each['low']:.3f} to {each['high']:.3f}; won {each['won']}, lost {each['lost']}; "
            f"worst {each['worst_problem']} {each['worst_gain']:+.3f})"
        )
        figures.append(figure(name, each["gain"], "of the oracle's gain", n=each["seed_wins"] + each["seed_losses"]))
    return {"figures": figures, "rows": rows, "verdicts": said, "overall": whole}


def text(result: dict[str, Any]) -> str:
    """Returns the tables that people read."""
    lines = []
    for problem, size in dict.fromkeys((row["problem"], row["population"]) for row in result["rows"]):
        lines.append(f"\n{problem}, population {size}")
        for row in result["rows"]:
            if (row["problem"], row["population"]) == (problem, size):
                lines.append(f"  {row['contender']:16s} {row['mean']:7.3f} ({row['low']:.3f} to {row['high']:.3f})  "
                             f"10 % {row['tenth']:7.3f}  rank {row['rank']:.2f}  {row['seeds']} seeds")  # fmt: skip
    lines.append("")
    for each in result["overall"]:
        lines.append(f"{each['first']:16s} - {each['second']}, population {each['population']}: {each['gain']:+.3f} "
                     f"({each['low']:+.3f} to {each['high']:+.3f}), won {each['won']} of {each['problems']} "
                     f"(clearly {each['clearly_won']}, clearly lost {each['clearly_lost']}), "
                     f"worst {each['worst_problem']} {each['worst_gain']:+.3f}, seeds {each['seed_wins']}:{each['seed_losses']} "
                     f"p {each['p_sign']:.2g}")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
