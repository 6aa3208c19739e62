"""The factories `pb2`, `pb2_mult` and `pb2_mix`: their arguments are the same, are checked here, and make a `Pbt`.

The algorithms are in `pb2` (`Suggest`, the model) and in `pb2_mix` (the categories).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from poptrain.algorithms.gp.categories import Categories, Modelled, Uniformly
from poptrain.algorithms.gp.trust_region import TrustRegion, check_trust_region
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.options import OnPlateau, PbtOptions
from poptrain.algorithms.parts.snapshot import Population
from poptrain.algorithms.pb2 import BETAS, MIN_ROWS, Suggest
from poptrain.algorithms.pb2_mix import Apart, Together, tuned
from poptrain.algorithms.pbt import Pbt, make_pbt
from poptrain.core import Value
from poptrain.core.answering import answering
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.interval import Interval
from poptrain.core.protocols import Exploit
from poptrain.core.warned import warn_user
from poptrain.space import Space

MADE_FOR = 4  # members; below, a warning is given
MOST_CANDIDATES = 10_000
MOST = 1e300  # of a weight: its products are finite


@answering
def pb2(
    space: Space,
    population: int = 4,
    *,
    interval: Interval,
    sync: bool = True,
    exploit: Exploit[Population] | None = None,
    beta: str | float = "pb2",
    window: int | None = None,
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
    starts: turns.Starts | None = None,
    candidates: int | None = None,
    retune: float | None | Literal["default"] = "default",
    plateau: OnPlateau | None = None,
    trust_region: TrustRegion | None = None,
    categories: Literal["model", "uniform"] | None = None,
    as_in: Literal["paper"] | None = None,
) -> Pbt:
    """Returns PB2: population based training whose losers get hyperparameters from a Gaussian-process bandit.

    Args:
        space: the hyperparameters and their ranges.
        population: number of members; PB2 is made for small populations, 4 or 8.
        interval: steps between decisions about one member, or `pt.seconds(s)`.
        sync: True: wait for all members before a decision; False: decide about each member when it reports.
        exploit: which members are replaced; default ``truncation(0.25)``.
        beta: weight of exploration: "pb2" (max(0.2 ln 0.4n, 0.05)), "ray" (0.2 + max(0, ln 0.4n)) or a constant.
        window: newest rows that the model learns from; None: 200 or 25 intervals, whichever is larger, at most 1000.
        warmup: steps before which no member exploits (failed members are still replaced).
        average: number of results of a lineage that the selection score is the mean of.
        evaluate_first: score every member before it trains, by tasks of 0 steps, so that the first interval counts.
        initial: known-good configurations for the first members; names left out are drawn.
        starts: the first hyperparameters: "spread" (default: together they cover the ranges) or "random".
        candidates: points near the parent's hyperparameters that the model chooses from, drawn as `pbt` draws; default 8.
            0: the maximum over the whole space, as in the paper.
        retune: a member that goes on with its own weights gets the best of such points if the model expects it to be better
            by this number of standard deviations; default 1. None: never, as in the paper.
        plateau: what members do before anybody has learned, as far as `Result.returns` tell: "search" (default: they don't copy,
            and the worst draw their hyperparameters again: `parts.plateau`) or "copy" (as later, as in the paper).
        trust_region: clones get the maximum inside this region around their parent (see `bg_pbt`), and not one of `candidates`.
        categories: how clones get the options of a `Choice`: "model" (default: they are inputs of the model, and points near the
            parent may have others, so that the bound chooses) or "uniform" (as in the paper: the model does not see them, and
            each is redrawn, here with probability 0.25). `pb2_mix` and `pb2_mult` have bandits.
        as_in: "paper": what is not named is as in the paper, also the inputs and the noise of the model (see `Suggest`).

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    shared = PbtOptions(
        interval,
        sync,
        exploit,
        warmup=warmup,
        average=average,
        initial=initial,
        evaluate_first=evaluate_first,
        starts=starts,
        as_in=as_in,
        plateau=plateau,
    )
    options = Pb2Options(shared, beta, window, candidates, retune, trust_region)
    if categories not in (None, "model", "uniform"):
        near = did_you_mean(categories, ("model", "uniform"))
        raise UsageError(f"pb2: categories={categories!r}, expected 'model' or 'uniform'.{near}")
    if categories == "model" and candidates == 0:
        raise UsageError("pb2: categories='model' compares points near the parent; with candidates=0 use 'uniform', or pb2_mix.")
    if categories == "uniform" or (categories is None and (as_in == "paper" or candidates == 0)):
        return make_pb2("pb2", space, population, options, Uniformly())
    modelled = _categories("pb2", space, Modelled())
    return make_pb2("pb2", space, population, options, modelled, Uniformly() if categories is None else modelled)


@answering
def pb2_mult(
    space: Space,
    population: int = 4,
    *,
    interval: Interval,
    sync: bool = True,
    exploit: Exploit[Population] | None = None,
    beta: str | float = "pb2",
    window: int | None = None,
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
    starts: turns.Starts | None = None,
    candidates: int | None = None,
    retune: float | None | Literal["default"] = "default",
    plateau: OnPlateau | None = None,
    as_in: Literal["paper"] | None = None,
) -> Pbt:
    """Returns PB2-Mult: categories by a bandit, numbers by a process for each category. Arguments as for `pb2`.

    Without a `Choice` to tune it is `pb2`.

    >>> import poptrain as pt
    >>> pt.pb2_mult(pt.Space(lr=pt.LogUniform(1e-4, 1e-1), aug=pt.Choice("crop", "flip")), interval=10).seats
    4
    """
    shared = PbtOptions(
        interval,
        sync,
        exploit,
        warmup=warmup,
        average=average,
        initial=initial,
        evaluate_first=evaluate_first,
        starts=starts,
        as_in=as_in,
        plateau=plateau,
    )
    options = Pb2Options(shared, beta, window, candidates, retune)
    categories = _categories("pb2_mult", space, Apart(shared.steps))
    return _named(make_pb2("pb2_mult", space, population, options, categories))


@answering
def pb2_mix(
    space: Space,
    population: int = 4,
    *,
    interval: Interval,
    sync: bool = True,
    exploit: Exploit[Population] | None = None,
    beta: str | float = "pb2",
    window: int | None = None,
    warmup: int = 0,
    average: int = 1,
    evaluate_first: bool = True,
    initial: Sequence[Mapping[str, Value]] = (),
    starts: turns.Starts | None = None,
    candidates: int | None = None,
    retune: float | None | Literal["default"] = "default",
    plateau: OnPlateau | None = None,
    as_in: Literal["paper"] | None = None,
) -> Pbt:
    """Returns PB2-Mix: categories by a bandit, numbers by one process over categories and numbers. Arguments as for `pb2`.

    Without a `Choice` to tune it is `pb2`; without numbers it is the bandit alone.

    >>> import poptrain as pt
    >>> pt.pb2_mix(pt.Space(lr=pt.LogUniform(1e-4, 1e-1), aug=pt.Choice("crop", "flip")), interval=10).seats
    4
    """
    shared = PbtOptions(
        interval,
        sync,
        exploit,
        warmup=warmup,
        average=average,
        initial=initial,
        evaluate_first=evaluate_first,
        starts=starts,
        as_in=as_in,
        plateau=plateau,
    )
    options = Pb2Options(shared, beta, window, candidates, retune)
    categories = _categories("pb2_mix", space, Together(shared.steps))
    return _named(make_pb2("pb2_mix", space, population, options, categories))


@dataclass(frozen=True)
class Pb2Options:
    """The arguments that `pb2`, `pb2_mult` and `pb2_mix` share: those of PBT, and those of the model, as the user passed them."""

    shared: PbtOptions
    beta: str | float
    window: int | None
    candidates: int | None
    retune: float | None | Literal["default"]
    trust_region: TrustRegion | None = None

    def check(self, what: str, population: int) -> None:
        """Raises a `UsageError` if an argument of the model is out of range; warns of a population that is too small."""
        turns.check_population(what, population)
        if population < MADE_FOR:
            text = (
                f"{what}: population={population} gives the model {counted(population, 'row')} a round; it was made "
                "for 4 or 8 members."
            )
            warn_user(text)
        checked_beta(what, self.beta)
        if self.window is not None:
            turns.check_count(what, "window", self.window, MIN_ROWS)
        if self.candidates is not None:
            turns.check_count(what, "candidates", self.candidates, 0)
            if self.candidates > MOST_CANDIDATES:
                raise UsageError(f"{what}: candidates={self.candidates!r}, expected at most {MOST_CANDIDATES:,}.")
        if self.trust_region is not None:
            check_trust_region(what, self.trust_region)
        if self.retune != "default":
            checked_retune(what, self.retune)


def checked_beta(what: str, beta: object) -> str | float:
    """Returns the weight of exploration: the name of a formula, or a number.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(beta, str) and beta in BETAS:
        return beta
    if isinstance(beta, (int, float)) and not isinstance(beta, bool) and 0 <= beta <= MOST:
        return float(beta)
    near = did_you_mean(beta, BETAS) if isinstance(beta, str) else ""
    raise UsageError(f"{what}: beta={beta!r:.60}, expected 'pb2', 'ray' or a finite number from 0.{near}")


def checked_retune(what: str, retune: object) -> float | None:
    """Returns the number of standard deviations by which the model must be sure to retune a member; None: it never does.

    Raises:
        UsageError: it is not a number from 0.
    """
    if retune is None:
        return None
    if isinstance(retune, bool) or not isinstance(retune, (int, float)) or not 0 <= retune <= MOST:
        raise UsageError(f"{what}: retune={retune!r:.60}, expected a number of standard deviations from 0, or None.")
    return float(retune)


def make_pb2(
    what: str, space: Space, population: int, options: Pb2Options, categories: Categories, former: Categories | None = None
) -> Pbt:
    """Returns the algorithm with the name `what`: PB2 with these `categories`.

    Args:
        former: the categories of earlier releases, if the user left them open; default: the same.

    Raises:
        UsageError: an argument is out of range.
    """
    options.check(what, population)
    rows = min(max(200, 25 * population), 1000) if options.window is None else options.window
    shared, beta = options.shared, checked_beta(what, options.beta)
    paper = Suggest(
        shared.steps,
        beta,
        rows,
        former or categories,
        context=True,
        shared_noise=False,
        candidates=0,
        retune=None,
        redrawn_options=1.0,
        least_signal=0.0,
        robust=False,
        anew=False,
    )
    now = paper if shared.paper else Suggest(shared.steps, beta, rows, categories)
    suggest = now if options.candidates is None else replace(now, candidates=options.candidates)
    if options.retune != "default":
        suggest = replace(suggest, retune=checked_retune(what, options.retune))
    suggest = replace(suggest, region=options.trust_region)
    fragile = replace(suggest, robust=False)  # how earlier releases suggested: their runs go on with it
    led = replace(fragile, categories=former or categories, anew=False)
    earlier = (fragile, led, paper) if suggest == now else (fragile, led)
    open = {} if shared.as_in else {"explore": earlier}
    return make_pbt(what, space, population, suggest, shared, open, 0.25, "search")


def _categories(what: str, space: Space, others: Categories) -> Categories:
    """Returns the others if the space has a `Choice` to tune; else what `pb2` has."""
    turns.check_space(what, space)
    return others if tuned(space) else Uniformly()


def _named(algorithm: Pbt) -> Pbt:
    """Returns the algorithm, under the name `pb2` if there is no `Choice` to tune."""
    return algorithm if tuned(algorithm.space) else replace(algorithm, name="pb2")
