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

Read it in this order: `pb2`, `Suggest.propose`, and its three steps `_observe` (1-3), `_choose` (4) and `_explain`.

Departures from the paper: the window is the larger of the last 200 rows and the last 25 intervals (at most 1000 rows) instead
of a search over its length; scales of parameters are used (log types are modelled in the log); a `Choice` is redrawn uniformly,
as in PBT, and a static parameter is an input that is not changed.
Departures from the reference code: √β σ instead of √β σ²; the context is that of the *next* interval; members are evaluated
before the first one, so that the first exploit has rows; noise is learned, all parameters are bounded, derivatives are right;
pending points change the variance alone, and are the survivors and, in asynchronous runs, every pending segment; whole numbers
are rounded, not cut; all randomness is keyed; too few or unusable data give a uniform draw, with its reason in the forecast.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from poptrain.algorithms.gp.acquisition import BETAS, Question, beta_of, maximise
from poptrain.algorithms.gp.kernels import Inputs, Kernel, Mixed, TimeVarying
from poptrain.algorithms.gp.round_model import MIN_ROWS, RoundModel
from poptrain.algorithms.gp.rows import ModelColumns, Rows, pending
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.snapshot import Population
from poptrain.algorithms.pbt import Pbt, PbtOptions, make_pbt
from poptrain.core import Forecast, History, Hparams, Value, rank
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.interval import Interval
from poptrain.core.protocols import Clone, Exploit, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

MADE_FOR = 4  # members; below, a warning is given
SCORE_BEFORE = "score before"  # the name of the context among the columns
COARSE = 32  # levels up to which all are tried, instead of following a gradient

Drawn = tuple[dict[str, Value], dict[str, Value]]  # the categories of a clone, and what its note states about them


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

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    options = Pb2Options(interval, sync, exploit, beta, window, warmup, average, evaluate_first, initial)
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

    def shared(self) -> PbtOptions:
        """Returns the arguments of PBT among them."""
        shared = PbtOptions(self.interval, self.sync, self.exploit, warmup=self.warmup, average=self.average)
        return replace(shared, initial=self.initial, evaluate_first=self.evaluate_first)


def make_pb2(what: str, space: Space, population: int, options: Pb2Options, categories: Categories) -> Pbt:
    """Returns the algorithm with the name `what`: PB2 with these `categories`.

    Raises:
        UsageError: an argument is out of range.
    """
    options.check(what, population)
    rows = min(max(200, 25 * population), 1000) if options.window is None else options.window
    beta = options.beta if isinstance(options.beta, str) else float(options.beta)
    return make_pbt(what, space, population, Suggest(options.steps, beta, rows, categories), options.shared(), fraction=0.25)


# -- categories ---------------------------------------------------------------------------------------------------------


class Categories(Protocol):
    """How the categorical hyperparameters of a round's clones are chosen, and what the process learns about them."""

    @property
    def separate(self) -> bool:
        """True if each combination of categories has a process of its own; with too few rows, the rows of all are used."""
        ...

    def draw(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Drawn]:
        """Returns the categories of every clone."""
        ...

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the columns of the space that are categorical inputs of the process."""
        ...

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the covariance over numeric columns with these names, and this number of categorical columns."""
        ...


@dataclass(frozen=True)
class Uniformly:
    """PB2: every `Choice` is redrawn uniformly, and the process does not see it; a static one is an input."""

    @property
    def separate(self) -> bool:
        """False: one process for all rows."""
        return False

    def draw(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Drawn]:
        """Returns a uniform draw for every clone."""
        return [(redrawn(history, space, clone), {}) for clone in clones]

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the static categorical columns."""
        return tuple(i for i in ModelColumns.of(space).categorical if space[space.names[i]].static)

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the kernel of eq. (2), or the mixed one if there are static categories."""
        return Mixed(names) if categories else TimeVarying(names)


def redrawn(history: History, space: Space, clone: Clone) -> dict[str, Value]:
    """Returns a uniform draw of every `Choice` that is not static."""
    generator = rng(history.seed, clone.id, "categories")
    names = [name for name, p in space.items() if not p.numeric and not p.static]
    return {name: space[name].draw(generator) for name in names}


# -- numbers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suggest:
    """The explore of PB2: one time-varying process a round, and the maximum of its UCB for one clone after the other."""

    interval: int | None
    beta: str | float
    window: int
    categories: Categories = Uniformly()

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns one proposal for each clone: by the model if there is one, else a uniform draw with its reason."""
        rows = Rows.of(history, space, self.interval, self.window, self.categories.seen(space))  # eq. (1)
        drawn = self.categories.draw(history, space, clones)
        if not ModelColumns.of(space).free:
            return self._uniform(rows, clones, drawn, "no numeric hyperparameter")
        if len(rows) < MIN_ROWS:
            return self._uniform(rows, clones, drawn, f"{len(rows)} rows, a model needs {MIN_ROWS}")
        from poptrain.algorithms.gp import posterior as gp  # imports scipy, which takes 0.2 s: only the first suggestion pays

        try:
            with gp.one_thread():
                return self._modelled(rows, clones, drawn)
        except gp.LinAlgError as error:
            return self._uniform(rows, clones, drawn, str(error))

    def _uniform(self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn], why: str) -> list[Proposal]:
        """Returns uniform draws, and why no model made them."""
        history, space = rows.history, rows.space
        proposals = []
        for clone, (options, chances) in zip(clones, drawn, strict=True):
            redrawn = space.redraw(clone.hparams, rng(history.seed, clone.id, "explore"))
            bandit_alone = bool(chances) and not ModelColumns.of(space).free
            forecast = Forecast("bandit" if bandit_alone else "redraw", rows=len(rows), fallback=why)
            proposals.append(Proposal(on_lattice(space, clone, {**redrawn, **options}), chances, forecast))
        return proposals

    def _modelled(self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn]) -> list[Proposal]:
        """Returns the proposals of one fit. The clone with the best parent comes first; each one sees those before it.

        Raises:
            LinAlgError: the covariance cannot be factored.
        """
        history = rows.history
        model = self._observe(rows, clones)
        scores = np.array([history.score(clone.parent) for clone in clones])
        order = rank(scores, rng(history.seed, history.n, "order"))[::-1]
        proposals: dict[int, Proposal] = {}
        for index in order.tolist():
            clone, (options, chances) = clones[index], drawn[index]
            start = on_lattice(rows.space, clone, {**clone.hparams, **options})
            process, source = model.process_for(model.row(clone, start))
            hparams = self._choose(model, process, clone, start)
            row = model.row(clone, hparams)
            proposals[index] = Proposal(hparams, *self._explain(model, process, row, {**source, **chances}))
            model = model.with_pending(row)  # eq. (5)
        return [proposals[index] for index in range(len(clones))]

    def _observe(self, rows: Rows, clones: Sequence[Clone]) -> RoundModel:
        """Returns the model of this round: fitted to the rows, with the pending segments of all other members."""
        from poptrain.algorithms.gp import posterior as gp

        history, space = rows.history, rows.space
        inputs, y = rows.inputs(rows.ids), rows.targets  # eq. (1)
        names = (SCORE_BEFORE, *(space.names[i] for i in ModelColumns.of(space).numeric))
        own = gp.fit(self.categories.kernel(names, inputs.categories.shape[1]), inputs, y)  # eq. (2)
        pooled = gp.condition(TimeVarying(names), own.theta, inputs, y) if self.categories.separate else None
        parents, tasks = pending(history, frozenset(clone.member for clone in clones))
        waiting = rows.at(parents, history.encoded(space)[tasks])
        model = RoundModel(rows, inputs, beta_of(self.beta, len(y)), own, pooled, waiting.rows(slice(0)))
        return model.with_pending(waiting)  # eq. (3)

    def _choose(self, model: RoundModel, process: Posterior, clone: Clone, start: Hparams) -> Hparams:
        """Returns the hyperparameters of one clone: `start`, with the numbers that have the highest UCB."""
        space = model.rows.space
        question = asked(space, model.row(clone, start), model.waiting)
        codes = maximise(process, question, model.beta, rng(model.rows.history.seed, clone.id, "acquisition"))  # eq. (4)
        free = [space.names[i] for i in ModelColumns.of(space).free]
        numbers = {name: space[name].decode(u) for name, u in zip(free, codes.tolist(), strict=True)}
        return on_lattice(space, clone, {**start, **numbers})

    def _explain(
        self, model: RoundModel, process: Posterior, row: Inputs, known: Mapping[str, Value]
    ) -> tuple[dict[str, Value], Forecast]:
        """Returns the note, with the fitted parameters, and the gain over the next interval that the process expects at `row`."""
        rows = model.rows
        mean, sd = process.ask(row)
        center, scale = rows.scale  # a scale of 0: all gains are equal, and their spread is not known
        steps = self.interval or float(np.median(rows.steps))
        gain, gain_sd = (center + scale * float(mean[0])) * steps, scale * float(sd[0]) * steps
        equal = {} if scale else {"nothing to learn": True}
        return {**equal, **process.parameters(), **known}, Forecast("model", gain, gain_sd, model.beta, len(rows))


def asked(space: Space, row: Inputs, waiting: Inputs) -> Question:
    """Returns the question for the numbers of one clone, whose context and categories are those of `row`."""
    columns = ModelColumns.of(space)
    free = [space[space.names[i]] for i in columns.free]
    places = np.array([1 + columns.numeric.index(i) for i in columns.free])  # column 0 is the context
    coarse = np.array([p.levels is not None and p.levels <= COARSE for p in free])

    def snap(points: np.ndarray) -> np.ndarray:
        out = points.copy()
        for column, p in enumerate(free):
            if p.levels is not None:
                out[:, column] = [p.encode(p.decode(u)) for u in points[:, column].tolist()]
        return out

    return Question(row, places, coarse, snap, waiting.units[:, places])


def on_lattice(space: Space, clone: Clone, hparams: Mapping[str, Value]) -> Hparams:
    """Returns hyperparameters rounded to the lattice and repaired, with the static values of the clone's weights.

    Raises:
        UsageError: the space's repair changed a static value.
    """
    made = space.finish({**hparams, **{name: clone.hparams[name] for name in space.static_names}})
    changed = [name for name in space.static_names if made[name] != clone.hparams[name]]
    if changed:
        raise UsageError(f"repair changed the static hyperparameter {changed[0]!r}; clones must keep it.")
    return made
