"""Bayesian Generational Population Based Training. Wan, Lu, Parker-Holder, Ball, Nguyen, Ru, Osborne 2022, AutoML-Conf,
arXiv:2207.09405.

Here: the search for hyperparameters within a generation (section 3.1 of the paper). Architectures and distillation (section
3.2) are in `generational.py`.

PBT with another explore (exploit is truncation selection, as in `pbt`):

    evaluate all members before they train                                            evaluate-only tasks
    for t = 1 … N:
        train all for one interval;  y = (F_t - F_{t-1}) / steps                      rows (t, z, y)
        adjust the trust region, or restart it                                        (1) success: a suggestion had the best score
        bottom ← worst quarter;  parents ~ best quarter                               exploit
        y ← copula(y);  fit a process on the window, k = Matérn × overlap × time      (2) (3) once a round
        pending ← survivors' next segments                                            (4)
        for b in bottom:  z_b ← argmax μ(t+1, z) + √β σ_pending(t+1, z)               (5) numbers, ordinals, categories together,
            inside the trust region around its parent;  pending ← pending + z_b           inside the box and the Hamming ball
        too few rows:  z_b ← a draw; after a restart, around a new centre             (6) `restart.py`

    paper        here                                              shape
    z            encoded hyperparameters: numbers, categories      (D,)
    y            score gained per step, as a Gaussian copula       (n,)
    L, L_c       `TrustRegion.length`, `share`                     scalars
    succ, fail   counters of the region: a fold over the log       scalars
    B            `population`                                      scalar

Read it in this order: `bg_pbt`, then `explore.LocalSearch.propose` with its steps; `gp/trust_region.py` (1), `gp/copula.py` (2),
`gp/matern.py` (3), `gp/region_search.py` and `gp/local_search.py` (5), `restart.py` (6).

Departures from the paper, undone by ``as_in="paper"``: members that go on are retuned, if the model is sure of a gain
(`retune`); a quarter is replaced, not an eighth (`exploit`); the score before is not an input (`context`); the noise of
neighbouring gains is shared (`shared_noise`); λ is learned (`learned_mixing`), and lengths may differ more (`relevance`); a
clone without a model takes a step from its parent, instead of a draw from the whole space (`redrawn`); a model that hears only
noise is not followed (`least_signal`), and while all members are lost as well, values are drawn anew (`anew`); starts are
spread (`starts`).
Other departures from the paper: see `gp/trust_region.py`; a score that exploded counts as the worst of the others (`robust`); ε
is at most ½; there are no candidates before the first generation (n_init = B), and the interval is constant (in two of the
reference's settings it falls during the run). A round in which all members had suggestions, or none had, does not change the
region.
Departures from the reference code: the lengths of the kernel are trained; the Hamming ball is enforced; the search starts in the
region and on the lattice, tries all neighbours, and returns the best point that it saw; pending points are the survivors', at
their own next context, and change the variance alone; a clone keeps the weights of its parent (no return to the best checkpoint
ever); both lengths are reset at a restart, and the new centre is chosen by the auxiliary process, which the reference cannot run;
changes of hyperparameters are compared one by one; failed members are replaced and never counted; all randomness is keyed, and
every task has a seed of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from poptrain.algorithms.bg_pbt.explore import LocalSearch
from poptrain.algorithms.bg_pbt.generational import Generational
from poptrain.algorithms.bg_pbt.generations import Generations
from poptrain.algorithms.gp.trust_region import MIN_ROWS, TrustRegion, check_trust_region
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import truncation
from poptrain.algorithms.parts.options import PbtOptions
from poptrain.algorithms.parts.snapshot import Population
from poptrain.algorithms.pb2_family import checked_beta, checked_retune
from poptrain.algorithms.pbt import FRACTION, Pbt, make_pbt
from poptrain.core import Value
from poptrain.core.answering import answering
from poptrain.core.errors import UsageError
from poptrain.core.interval import Interval
from poptrain.core.protocols import Exploit
from poptrain.space import Space

WINDOW = 100  # rows
PAPER_FRACTION = 0.125  # of the members are replaced
RETUNE = 1.0  # members that go on get a suggestion if the model is sure by a standard deviation that it is better
FORMER_RETUNE = 0.0  # if it expected it to be better at all: runs that began with that go on with it
BETA = 9.0  # the bound is three standard deviations above the mean


@answering
def bg_pbt(
    space: Space,
    population: int = 8,
    *,
    interval: Interval,
    sync: bool = True,
    exploit: Exploit[Population] | None = None,
    beta: str | float = BETA,
    window: int = WINDOW,
    trust_region: TrustRegion | None = None,
    retune: float | None | Literal["default"] = "default",
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
    starts: turns.Starts | None = None,
    generations: Generations | None = None,
    as_in: Literal["paper"] | None = None,
) -> Pbt | Generational:
    """Returns BG-PBT: population based training that searches near each parent with a process over numbers and categories.

    It is made for many hyperparameters, most of which may not matter, and for categories among them. With `generations` it
    also searches for an architecture: the static hyperparameters of the space.

    Args:
        space: the hyperparameters and their ranges.
        population: number of members.
        interval: steps between decisions about one member, or `pt.seconds(s)`.
        sync: True: wait for all members before a decision; False: decide about each member when it reports.
        exploit: which members are replaced; default ``truncation(0.25)``.
        beta: square of the weight of the standard deviation in the bound: a number (default 9, three standard deviations), or
            "pb2" or "ray", as for `pb2`.
        window: newest rows that the model learns from.
        trust_region: how far from a parent suggestions may be, and how that changes; default ``TrustRegion()``.
        retune: a member that goes on with its own weights gets a suggestion too, if the model expects it to be better by this
            number of standard deviations; default 1, as for `pb2`. None: never, as in the paper.
        warmup: steps before which no member exploits (failed members are still replaced).
        average: number of results of a lineage that the selection score is the mean of.
        evaluate_first: score every member before it trains, by tasks of 0 steps, so that the first interval counts.
        initial: known-good configurations for the first members; names left out are drawn.
        starts: the first hyperparameters: "spread" (default: together they cover the ranges) or "random".
        generations: when new architectures are tried, and how; the trainable needs `distill`. None: members and their copies keep
            their static hyperparameters.
        as_in: "paper": what is not named is as in the paper.

    Raises:
        UsageError: an argument is out of range, or `generations` is given for a space without static hyperparameters.

    >>> import poptrain as pt
    >>> pt.bg_pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1), aug=pt.Choice("crop", "flip")), interval=10).seats
    8
    """
    paper = as_in == "paper"
    turns.check_population("bg_pbt", population)
    turns.check_count("bg_pbt", "window", window, MIN_ROWS)
    region = check_trust_region("bg_pbt", TrustRegion() if trust_region is None else trust_region)
    options = PbtOptions(
        interval,
        sync,
        truncation(PAPER_FRACTION if paper else FRACTION) if exploit is None else exploit,
        warmup=warmup,
        average=average,
        initial=initial,
        evaluate_first=evaluate_first,
        starts=("random" if paper else "spread") if starts is None else starts,
        as_in=as_in,
    )
    search = LocalSearch(options.steps, window, checked_beta("bg_pbt", beta), region, RETUNE)
    if paper:
        search = replace(search, retune=None, context=True, shared_noise=False)
        search = replace(search, relevance=0.25, learned_mixing=False, redrawn=True, least_signal=0.0, anew=False)
    if retune != "default":
        search = replace(search, retune=checked_retune("bg_pbt", retune))
    # how earlier releases searched, the newest first: their runs go on with it
    rounded = replace(search, region=replace(region, exact=False))
    fragile = replace(rounded, robust=False)
    near = replace(fragile, anew=False)
    heedless = replace(near, least_signal=0.0)
    former = (rounded, fragile, near, heedless, replace(heedless, retune=FORMER_RETUNE))[: 5 if retune == "default" else 4]
    earlier = {} if paper else {"explore": former}
    within = make_pbt("bg_pbt", space, population, search, options, earlier)
    return within if generations is None else _generational(within, generations, paper)


def _generational(within: Pbt, generations: object, paper: bool) -> Generational:
    """Returns the algorithm with generations, after the arguments were checked."""
    if not isinstance(generations, Generations):
        raise UsageError(f"bg_pbt: generations={generations!r}, expected pt.Generations(distill=…, every=…, …) or None.")
    if not within.space.static_names:
        raise UsageError(
            "bg_pbt: generations need an architecture to search for, and the space has no static hyperparameter: "
            "declare one, for example width=pt.Ordinal(32, 64, 128, static=True)."
        )
    if not isinstance(within.interval, int):
        raise UsageError("bg_pbt: generations need an interval in steps, not in seconds.")
    generations.check("bg_pbt", within.population)
    if paper:
        generations = generations.as_in_paper(within.interval)
    return Generational(within.space, within, generations)
