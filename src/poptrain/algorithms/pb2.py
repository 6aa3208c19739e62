"""Population Based Bandits. Parker-Holder, Nguyen, Roberts 2020, "Provably Efficient Online Hyperparameter Optimization with
Population-Based Bandits", NeurIPS, arXiv:2002.02518.

PBT with another explore (exploit is truncation selection, as in `pbt`):

    evaluate all members before they train                                       evaluate-only tasks
    for t = 1 … N:
        train all for one interval;  y = (F_t - F_{t-1}) / steps                 (1) rows (t, score before, x, y)
        bottom ← worst quarter;  parents j(b) ~ best quarter                     exploit
        fit GP on the window of rows, k = k_SE (1-ε)^(|Δt|/2)                    (2) once a round
        pending ← survivors' next segments                                       (3)
        for b in bottom:  x_b ← argmax μ(t+1, F_{j(b)}, x) + √β σ_pending(…)     (4)
            pending ← pending + x_b                                              (5)

    paper        here                                              shape
    x            encoded numeric hyperparameters, in [0, 1]        (d,)
    t            lineage steps before a segment / interval         scalar
    R_before     the parent's score, min-max scaled: context       scalar
    y            score gained per step, winsorised, standardised   (n,)
    β            `beta`: max(0.2 ln(0.4 n), 0.05)                  scalar
    ω (ε)        learned, at most ½                                scalar

Read it in this order: `pb2`, then `suggest.Suggest.propose` with its steps `_observe` (1-3), `_choose` (4) and `_explain`.

Departures from the paper, undone by ``as_in="paper"``: the score before is not an input; the noise of neighbouring gains is
shared; (4) has eight points near the parent's values instead of the whole space; members that go on are retuned if the model is
sure; a `Choice` is redrawn with probability 0.25, not always; a model that hears only noise is not followed; starts are spread.
Other departures from the paper: the window is the larger of the last 200 rows and the last 25 intervals (at most 1000 rows)
instead of a search over its length; scales of parameters are used (log types are modelled in the log); a static parameter is an
input that is not changed.
Departures from the reference code: √β σ instead of √β σ²; the context is that of the *next* interval; members are evaluated
before the first one, so that the first exploit has rows; noise is learned, all parameters are bounded, derivatives are right;
pending points change the variance alone, and are the survivors and, in asynchronous runs, every pending segment; whole numbers
are rounded, not cut; all randomness is keyed; too few or unusable data give a draw without a model, and the forecast says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from poptrain.algorithms.gp.acquisition import BETAS
from poptrain.algorithms.gp.round_model import MIN_ROWS
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.snapshot import Population
from poptrain.algorithms.pbt import Pbt, PbtOptions, make_pbt
from poptrain.algorithms.suggest import Categories, Suggest, Uniformly
from poptrain.core import Value
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.interval import Interval
from poptrain.core.other_names import named_as_here
from poptrain.core.protocols import Exploit
from poptrain.space import Space

MADE_FOR = 4  # members; below, a warning is given


@named_as_here
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
    as_in: Literal["paper"] | None = None,
) -> Pbt:
    """Returns PB2: population based training whose losers get hyperparameters from a Gaussian-process bandit.

    Args:
        space: the hyperparameters and their ranges; a `Choice` is redrawn uniformly (see `pb2_mix`).
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
        as_in: "paper": what is not named is as in the paper, also the inputs and the noise of the model (see `Suggest`).

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    options = Pb2Options(
        interval, sync, exploit, beta, window, warmup, average, evaluate_first, initial, starts, candidates, retune, as_in
    )
    return make_pb2("pb2", space, population, options, Uniformly())


@dataclass(frozen=True)
class Pb2Options:
    """The arguments that `pb2`, `pb2_mult` and `pb2_mix` share, as the user passed them."""

    interval: Interval
    sync: bool
    exploit: Exploit[Population] | None
    beta: str | float
    window: int | None
    warmup: int
    average: int
    evaluate_first: bool
    initial: Sequence[Mapping[str, Value]]
    starts: turns.Starts | None
    candidates: int | None
    retune: float | None | Literal["default"]
    as_in: Literal["paper"] | None

    @property
    def steps(self) -> int | None:
        """The interval in steps; None if it is a length of time."""
        return self.interval if isinstance(self.interval, int) else None

    def check(self, what: str, population: int) -> None:
        """Raises a `UsageError` if an argument of the model is out of range; warns of a population that is too small."""
        turns.check_population(what, population)
        if population < MADE_FOR:
            text = f"{what}: population={population} gives the model {population} rows a round; it was made for 4 or 8 members."
            warnings.warn(text, stacklevel=4)
        if isinstance(self.beta, str):
            if self.beta not in BETAS:
                near = did_you_mean(self.beta, BETAS)
                raise UsageError(f"{what}: beta={self.beta!r}, expected 'pb2', 'ray' or a number from 0.{near}")
        elif isinstance(self.beta, bool) or not isinstance(self.beta, (int, float)) or not 0 <= self.beta < float("inf"):
            raise UsageError(f"{what}: beta={self.beta!r}, expected 'pb2', 'ray' or a finite number from 0.")
        if self.window is not None:
            turns.check_count(what, "window", self.window, MIN_ROWS)
        if self.candidates is not None:
            turns.check_count(what, "candidates", self.candidates, 0)
        retune = 0.0 if self.retune in (None, "default") else self.retune
        if isinstance(retune, bool) or not isinstance(retune, (int, float)) or not 0 <= retune < float("inf"):
            raise UsageError(f"{what}: retune={self.retune!r}, expected a number of standard deviations from 0, or None.")

    def shared(self) -> PbtOptions:
        """Returns the arguments of PBT among them."""
        shared = PbtOptions(self.interval, self.sync, self.exploit, warmup=self.warmup, average=self.average)
        return replace(shared, initial=self.initial, evaluate_first=self.evaluate_first, starts=self.starts, as_in=self.as_in)


def make_pb2(what: str, space: Space, population: int, options: Pb2Options, categories: Categories) -> Pbt:
    """Returns the algorithm with the name `what`: PB2 with these `categories`.

    Raises:
        UsageError: an argument is out of range.
    """
    options.check(what, population)
    rows = min(max(200, 25 * population), 1000) if options.window is None else options.window
    beta = options.beta if isinstance(options.beta, str) else float(options.beta)
    paper = Suggest(
        options.steps,
        beta,
        rows,
        categories,
        context=True,
        shared_noise=False,
        candidates=0,
        retune=None,
        redrawn_options=1.0,
        least_signal=0.0,
    )
    now = paper if options.as_in == "paper" else Suggest(options.steps, beta, rows, categories)
    suggest = now if options.candidates is None else replace(now, candidates=options.candidates)
    if options.retune != "default":
        suggest = replace(suggest, retune=None if options.retune is None else float(options.retune))
    earlier = {"explore": (paper,)} if suggest == now and options.as_in is None else {}
    return make_pbt(what, space, population, suggest, options.shared(), earlier, fraction=0.25)
