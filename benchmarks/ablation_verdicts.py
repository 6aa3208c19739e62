"""Tables, sentences and figures of the ablations, from the stored runs alone; the plots are in `benchmarks/ablation_plots.py`.

A verdict never goes beyond `poptrain.statistics.verdict`: "ahead" needs an interval and a test that agree. Everything else has
"no clear difference". Every sentence is generated.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt
from benchmarks.ablation_cells import SIZES, Cells, Claim, Question, Stored, scores
from benchmarks.common import figure
from poptrain import statistics
from poptrain.core.rng import rng
from poptrain.testing.simulate import noisy, simulated

UNITS = {"drift": "θ", "greedy": "Q", "pendulum": "return"}
DOCS = Path(__file__).parent.parent / "docs"


def total(method: str, size: int) -> str:
    """Returns the cell of a population at equal total steps."""
    return f"{method}-{size}-total" if size != 20 else "pbt-20" if method == "pbt" else "first-20"


# -- sentences --------------------------------------------------------------------------------------------------------


def judged(claim: Claim, cells: Cells) -> str | None:
    """Returns the verdict of `statistics.verdict` for a claim; None while there are fewer than two runs."""
    a, b = scores(cells, claim.better), scores(cells, claim.worse)
    return statistics.verdict(a, b) if min(len(a), len(b)) > 1 else None


def decided(claim: Claim, cells: Cells) -> bool:
    """True if one of the two cells is ahead, or has too few runs to be judged."""
    return judged(claim, cells) in ("ahead", "behind", None)


def sentence(claim: Claim, stored: Stored) -> str:
    """Returns where a claim holds, where the opposite holds, and where there is no clear difference."""
    where: dict[str, list[str]] = {"yes": [], "the opposite": [], "no clear difference": []}
    for problem, cells in stored.items():
        if (word := judged(claim, cells)) is not None:
            where[{"ahead": "yes", "behind": "the opposite"}.get(word, "no clear difference")].append(problem)
    parts = where.items()
    return f"{claim.text}: " + "; ".join(f"{word} on {_listed(names)}" for word, names in parts if names) + "."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def crossing(stored: Stored, cell: Callable[[int], tuple[str, str]], what: str) -> str:
    """Returns from which population on PBT is ahead of random search, by problem."""
    parts = []
    for problem, cells in stored.items():
        ahead = [n for n in SIZES if judged(Claim("", *cell(n)), cells) == "ahead"]
        behind = [n for n in SIZES if judged(Claim("", *cell(n)), cells) == "behind"]
        said = f"at {', '.join(map(str, ahead))}" if ahead else "at no size"
        parts.append(f"{said} on {problem}" + (f" (worse at {', '.join(map(str, behind))})" if behind else ""))
    return f"PBT is ahead of random search of the same size, {what}: {'; '.join(parts)}."


def best_size(stored: Stored, cell: Callable[[int], str]) -> str:
    """Returns the population with the best interquartile mean, by problem, and which others have no clear difference from it."""
    parts = []
    for problem, cells in stored.items():
        found = {n: statistics.iqm(scores(cells, cell(n))) for n in SIZES if scores(cells, cell(n))}
        if found:
            best = max(found, key=found.__getitem__)
            level = [str(n) for n in found if n != best and not decided(Claim("", cell(best), cell(n)), cells)]
            parts.append(f"{best} on {problem}" + (f" (no clear difference from {', '.join(level)})" if level else ""))
    return f"The best population: {'; '.join(parts)}."


def diminishing(stored: Stored) -> str:
    """Returns what a doubling of the population brought, up to 20 and beyond."""
    parts = []
    for problem, cells in stored.items():
        mean = {n: statistics.iqm(scores(cells, f"pbt-{n}")) for n in (5, 20, 100) if scores(cells, f"pbt-{n}")}
        if len(mean) == 3:
            early, late = (mean[20] - mean[5]) / 2, (mean[100] - mean[20]) / np.log2(5)
            parts.append(f"{early:+.3g} up to 20 and {late:+.3g} beyond on {problem}")
    return f"A doubling of the population changes PBT's score by {'; by '.join(parts)}."


def selection(stored: Stored) -> str:
    """Returns what selection alone explains of PBT's gain over random search."""
    parts = []
    for problem, cells in stored.items():
        whole, part, base = (scores(cells, name) for name in ("pbt-20", "selection", "first-20"))
        if min(map(len, (whole, part, base))) > 1:
            share, low, high = statistics.share(whole, part, base)
            gain = judged(Claim("", "pbt-20", "first-20"), cells) == "ahead"
            said = (
                f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
                if np.isfinite([share, low, high]).all()
                else "no share"
            )
            parts.append(f"{said} on {problem}" if gain else f"nothing to explain on {problem}, where PBT is not ahead")
    return f"Selection alone explains, of PBT's gain over random search: {'; '.join(parts)}."


def pairs(stored: Stored) -> str:
    """Returns how often explored values beat those of the donor, one interval on from the same weights."""
    parts = []
    for problem, cells in stored.items():
        all, better = np.sum([kept["explored"] for kept in cells.get("pbt-20", ())] or [[0, 0]], axis=0)
        if all:
            parts.append(f"{100 * better / all:.0f} % of {all} pairs on {problem}")
    return f"Explored values beat their donor's, one interval on from the same weights, in {'; '.join(parts)}."


def overhead(stored: Stored) -> str:
    """Returns what a barrier costs when tasks take unequal time, by simulation, and what deciding costs, as measured."""
    parts = [f"{100 * np.mean([waited(True, spread, seed) for seed in range(3)]):.0f} % at a spread of {100 * spread:.0f} %"
             for spread in (0.1, 0.3, 1.0)]  # fmt: skip
    took = [kept["time"] for kept in stored.get("pendulum", {}).get("pbt-20", ())]
    said = [f"Of the time of 20 workers, waiting for the slowest of a round takes {', '.join(parts)} of the tasks' durations "
            "(simulated); asynchronously nothing."]  # fmt: skip
    if took:
        said.append(f"Deciding took {100 * np.mean([t['deciding'] / t['wall'] for t in took]):.1f} % of the time on pendulum.")
    return " ".join([*said, "No member is evaluated again after a copy: it keeps the score of its donor."])


def waited(sync: bool, spread: float, seed: int, members: int = 20, rounds: int = 20) -> float:
    """Returns the share of time that members wait between two tasks, each of which takes exp(spread · normal) units."""
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), members, interval=1, sync=sync)
    history, now, busy = pt.History(seed, rounds), 0.0, 0.0
    running: list[tuple[float, int]] = []
    last = np.zeros(members)
    while True:
        tasks = algorithm.ask(history)
        history = history.add(tasks)
        for task in tasks:
            seconds = float(np.exp(spread * rng(task.seed, "duration").normal()))
            busy += seconds
            heappush(running, (now + seconds, task.id))
        if not running:
            return 1 - busy / last.sum()
        now, id = heappop(running)
        task = history.task(id)
        last[task.member] = now
        history = history.add([simulated(history, task, noisy(history, task))])


# -- questions --------------------------------------------------------------------------------------------------------

CONTROL = ("random search", "first-20")
QUESTIONS = (
    Question(
        "population", "Population size at equal steps per member",
        "A too small population is suboptimal; more agents improve less and less; on Pendulum it takes 100 to make a difference.",
        (*((f"PBT, {n}", f"pbt-{n}") for n in SIZES), *((f"random search, {n}", f"first-{n}") for n in SIZES)),
        (Claim("100 members beat 5", "pbt-100", "pbt-5"), Claim("20 beat 5", "pbt-20", "pbt-5"),
         Claim("100 beat 20", "pbt-100", "pbt-20")),
        lambda stored: crossing(stored, lambda n: (f"pbt-{n}", f"first-{n}"), "equal steps per member") + " "
        + diminishing(stored),
    ),
    Question(
        "total", "Population size at equal total steps",
        "More agents means more samples; populations are not compared at constant budget in the paper.",
        (*((f"PBT, {n}", total("pbt", n)) for n in SIZES), *((f"random search, {n}", total("random", n)) for n in SIZES)),
        (Claim("100 members beat 5", total("pbt", 100), total("pbt", 5)), Claim("20 beat 5", "pbt-20", total("pbt", 5))),
        lambda stored: best_size(stored, lambda n: total("pbt", n)) + " "
        + crossing(stored, lambda n: (total("pbt", n), total("random", n)), "equal total steps"),
    ),
    Question(
        "exploit", "Truncation, t-test or tournament", "Truncation works slightly better than the t-test; K is 20 or 5.",
        (("truncation, 25 %", "pbt-20"), ("truncation, 5 %", "truncation-5"), ("t-test (Welch)", "welch"),
         ("tournament", "tournament"), CONTROL),
        (Claim("Truncation beats the t-test", "pbt-20", "welch"),
         Claim("Truncation beats the tournament", "pbt-20", "tournament"),
         Claim("25 % beats 5 %", "pbt-20", "truncation-5")),
    ),
    Question(
        "explore", "Steps, factors, redraws, or neither", "They seem to only use Perturb.",
        (("steps of 0.1 of the range, redrawn with 25 %", "pbt-20"), ("steps only", "steps"),
         ("factors of 0.8 and 1.2, redrawn with 25 %", "factors"), ("redraws only", "resample"),
         ("selection alone", "selection"), CONTROL),
        (Claim("Steps beat redraws", "steps", "resample"),
         Claim("Steps alone beat steps with redraws", "steps", "pbt-20"),
         Claim("Steps beat factors, both with redraws", "pbt-20", "factors"),
         Claim("Exploring beats selection alone", "pbt-20", "selection")),
        lambda stored: selection(stored) + " " + pairs(stored),
    ),
    Question(
        "defaults", "Today's defaults, the paper's, and those of release 0.1",
        "(Not a question of the slides.)",
        (("today", "pbt-20"), ("as in the paper", "paper"), ("release 0.1", "release-0.1"), CONTROL),
        (Claim("Today's defaults beat the paper's", "pbt-20", "paper"),
         Claim("Today's defaults beat those of release 0.1", "pbt-20", "release-0.1")),
    ),
    Question(
        "copy", "Copy weights, hyperparameters, or both", "Exploiting both h and θ is better than h alone.",
        (("both", "pbt-20"), ("weights", "weights"), ("hyperparameters", "hparams"), CONTROL),
        (Claim("Both beat hyperparameters alone", "pbt-20", "hparams"), Claim("Both beat weights alone", "pbt-20", "weights")),
    ),
    Question(
        "asynchronous", "Asynchronous against synchronous", "With synchronised evolutions there is less evaluation overhead.",
        (("synchronous", "pbt-20"), ("asynchronous, fewer slots than members", "async"), CONTROL),
        (Claim("Synchronous beats asynchronous (slots for one member on the toys, for five on Pendulum)", "pbt-20", "async"),),
        overhead,
    ),
    Question(
        "schedule", "The schedule against its final values held constant",
        "Training with the fixed final h is worse: that h changes over time is beneficial.",
        (("PBT", "pbt-20"), ("its schedule, replayed by 20 fresh members", "schedule"),
         ("its final values, held by 20 fresh members", "held"), CONTROL),
        (Claim("The schedule beats its final values", "schedule", "held"), Claim("PBT beats its final values", "pbt-20", "held"),
         Claim("PBT beats its replayed schedule", "pbt-20", "schedule"),
         Claim("The final values beat random search", "held", "first-20")),
        lambda stored: "Training on the toys is deterministic: there a replay repeats PBT's score exactly.",
    ),
    Question(
        "sequential", "Sequential Bayesian optimisation",
        "The choice of h depends on information gathered before; no room for parallel search; key example: Optuna.",
        (("PBT", "pbt-20"), ("20 runs proposed by Optuna's TPE", "optuna"), CONTROL),
        (Claim("PBT beats TPE at equal total steps", "pbt-20", "optuna"),
         Claim("TPE beats random search", "optuna", "first-20")),
        lambda stored: "All three train 20 times the steps of one member. On 20 machines PBT and random search take the time of "
        "one training, TPE that of 20, one after another.",
    ),
)  # fmt: skip


# -- output -----------------------------------------------------------------------------------------------------------


def verdict(question: Question, stored: Stored) -> str:
    """Returns the verdict of a question."""
    parts = [sentence(claim, stored) for claim in question.claims]
    return " ".join([*parts, *([question.extra(stored)] if question.extra else [])])


def table(question: Question, stored: Stored) -> str:
    """Returns the interquartile means with their intervals as a Markdown table: a row a cell, a column a problem."""
    names = [f"{problem} ({UNITS[problem]}, {_seeds(cells)} seeds)" for problem, cells in stored.items()]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, cell in question.rows:
        values = [scores(cells, cell) for cells in stored.values()]
        lines.append(f"| {label} | " + " | ".join(map(_cell, values)) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    low, high = statistics.interval(values)
    digits = 0 if max(map(abs, values)) >= 100 else 2 if max(map(abs, values)) >= 1.5 else 3
    return f"{statistics.iqm(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _seeds(cells: Cells) -> int:
    return min((len(runs) for runs in cells.values() if runs), default=0)


def text(stored: Stored) -> str:
    """Returns all tables and verdicts."""
    stored = {problem: cells for problem, cells in stored.items() if any(cells.values())}
    parts = [f"## {each.title}\n\n{table(each, stored)}\n\n{verdict(each, stored)}" for each in QUESTIONS]
    return "\n\n".join(parts)


def figures(stored: Stored) -> list[dict[str, Any]]:
    """Returns, for every claim and problem, the probability that a run of the better cell beats one of the worse; every cell."""
    out = []
    for question in QUESTIONS:
        for claim in question.claims:
            for problem, cells in stored.items():
                if (word := judged(claim, cells)) is None:
                    continue
                a, b = scores(cells, claim.better), scores(cells, claim.worse)
                p, low, high = statistics.improvement(a, b)
                holds = {"ahead": True, "behind": False}.get(word)
                name = f"{problem}, {question.name}: {claim.text} (P, 95 % from {low:.2f} to {high:.2f})"
                out.append(figure(name, p, "", "claim", holds, min(len(a), len(b))))
    for problem, cells in stored.items():
        for name in dict.fromkeys(cell for question in QUESTIONS for _, cell in question.rows):
            if values := scores(cells, name):
                out.append(figure(f"{problem}: {name}, interquartile mean", statistics.iqm(values), UNITS[problem], n=len(values),
                                  spread=float(np.std(values))))  # fmt: skip
    return out


def write(stored: Stored) -> None:
    """Writes docs/ablations.md and its plots."""
    from benchmarks.ablation_plots import draw

    (DOCS / "ablations").mkdir(exist_ok=True)
    parts = [_HEAD.format(seeds=", ".join(f"{_seeds(cells)} on {problem}" for problem, cells in stored.items()))]
    for each in QUESTIONS:
        draw(each, stored, DOCS / "ablations" / f"{each.name}.png")
        parts.append(f"## {each.title}\n\nThe slides: *{each.slides}*\n\n{table(each, stored)}\n\n"
                     f"![{each.title}](ablations/{each.name}.png)\n\n**Verdict.** {verdict(each, stored)}")  # fmt: skip
    (DOCS / "ablations.md").write_text("\n\n".join(parts) + "\n")


_HEAD = """# Ablations

<!-- written by `python -m benchmarks.ablations --write` from benchmarks/results/ablations -->

What do the parts of population-based training contribute? The questions come from the slides on PBT by O. Sigaud, which
follow the paper of Jaderberg et al. (2017). Here they are asked on two toys and on Pendulum, with random search as control.

* **drift**: three hyperparameters have an optimum that moves while a member learns; the nearer they are, the faster it learns.
* **greedy**: a noisy quadratic on which a lower learning rate pays at once and costs later.
* **pendulum**: PPO on pure-JAX Pendulum-v1, 40,000 steps per member, five hyperparameters with wide ranges.

Twenty intervals per member, 20 members unless stated otherwise, and `pt.pbt` with its defaults (truncation 25 %, steps of 0.1
of the range, redrawn with probability 0.25, starts that cover the space), but for what a row varies; what they are worth on
other problems, and with fewer members, is in [Does it pay?](value.md). The tables report the member that scores best at the
end: without noise on the toys, and over 100 episodes of its deterministic policy on Pendulum. They show interquartile means
with 95 % bootstrap intervals over seeds ({seeds}). A "yes" needs two things that agree: the interval of the probability of
improvement excludes one half, and a Mann-Whitney test rejects equality at 5 %. There are many tests, without a correction: of
the false claims, about one in twenty may still get a "yes".

`python -m benchmarks.ablations` makes the missing runs, `--report` the tables and figures, and `--write` this page, from
the data in `benchmarks/results/ablations` alone. At a population of 5, truncation replaces one member in each round. Random
search of n is the first n members of a random search of 100; at equal total steps it is a separate run."""
