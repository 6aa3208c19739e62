"""Population Based Bandits. Parker-Holder, Nguyen, Roberts 2020, "Provably Efficient Online Hyperparameter Optimization with
Population-Based Bandits", NeurIPS, arXiv:2002.02518.

PBT (`pbt`) with another explore, which is `Suggest` here:

    evaluate all members before they train                                       evaluate-only tasks
    for t = 1 … N:
        train all for one interval;  y = (F_t - F_{t-1}) / steps                 (1) rows (t, score before, x, y): `gp.rows`
        bottom ← worst quarter;  parents j(b) ~ best quarter                     exploit
        fit GP on the window of rows, k = k_SE (1-ε)^(|Δt|/2)                    (2) once a round: `gp.posterior`, `gp.kernels`
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

The numbers (1) to (5) are those of this box, and stand next to the lines as well. Read `Suggest` from `propose` on: its steps
follow in this order. `pb2_family` checks the arguments of the factories.

Departures from the paper, as options of `Suggest` and `Pbt` that ``as_in="paper"`` undoes:

    context          the score before is not an input: it is a clock that is always asked about at its edge
    shared_noise     the noise of gains that share a score is shared
    candidates       (4) has eight points near the parent's values instead of the whole space
    retune           members that go on get new values if the model is sure that these are better
    categories       a `Choice` is an input, chosen with the numbers; if not, clones redraw it with `redrawn_options`
    least_signal     a model that hears only noise is not followed: clones take one step from their parent (`gp.noise`)
    anew             while that is so and every member is worse than members were at first, values are drawn anew (`parts.lost`)
    robust           a score that exploded counts as the worst of the others, so that it does not hide their gains (`gp.noise`)
    plateau          until a member has learned, as episode returns tell, members do not copy but search (`parts.plateau`)
    starts           the first values cover their ranges together

With `region`, (4) has the trust region around the parent (`gp.trust_region`): an option that is not in the paper.
Other departures from the paper: the window is the larger of the last 200 rows and the last 25 intervals (at most 1000 rows)
instead of a search over its length; scales of parameters are used (log types are modelled in the log); a static parameter is an
input that is not changed.
Departures from the reference code: √β σ instead of √β σ²; the context is that of the *next* interval; members are evaluated
before the first one, so that the first exploit has rows; noise is learned, all parameters are bounded, derivatives are right;
pending points change the variance alone, and are the survivors and, in asynchronous runs, every pending segment; whole numbers
are rounded, not cut; all randomness is keyed; too few or unusable data give a draw without a model, and the forecast says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.gp.categories import Categories, Drawn, Uniformly
from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.kernels import Inputs, TimeVarying
from poptrain.algorithms.gp.maximum import best_anywhere
from poptrain.algorithms.gp.noise import reason
from poptrain.algorithms.gp.region_search import best_inside
from poptrain.algorithms.gp.rows import Rows, pending
from poptrain.algorithms.gp.trust_region import TrustRegion, noted
from poptrain.algorithms.parts.explore import REDRAWN, STEP, by_origin, on_lattice
from poptrain.algorithms.parts.lost import hopeless, lost
from poptrain.core import Forecast, History, Hparams, Value, rank
from poptrain.core.brief import brief
from poptrain.core.counting import counted
from poptrain.core.protocols import Clone, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

CANDIDATES, MIN_ROWS = 8, 3  # points near the parent; rows, below which there is no model


@dataclass(frozen=True)
class Suggest:
    """The explore of PB2: one time-varying process a round, and its UCB for one clone after the other.

    The options from `categories` on are departures from the paper, as the head of the file names them.
    """

    interval: int | None
    beta: str | float
    window: int
    categories: Categories = Uniformly()
    context: bool = field(default=False, metadata={"absent": True})
    shared_noise: bool = field(default=True, metadata={"absent": False})
    candidates: int = field(default=CANDIDATES, metadata={"absent": 0})  # 0: the maximum over the whole space
    retune: float | None = field(default=1.0, metadata={"absent": None})
    redrawn_options: float = field(default=0.25, metadata={"absent": 1.0})  # the probability, for a `Choice` without a bandit
    least_signal: float = field(default=0.3, metadata={"absent": 0.0})  # of the variance; below, the model is not followed
    robust: bool = field(default=True, metadata={"absent": False})  # `gp.rows.without_lost`
    anew: bool = field(default=True, metadata={"absent": False})  # while all are `lost`, numbers are drawn anew: `parts.lost`
    region: TrustRegion | None = field(default=None, metadata={"absent": None})  # of the UCB: `gp.trust_region`

    __repr__ = brief

    @property
    def retunes(self) -> bool:
        """True if members that go on are asked about as well."""
        return self.retune is not None

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns one proposal for each clone: by the model if there is one, else a draw without it, with its reason.

        A clone whose parent is a task of the same member goes on with its own weights. It is retuned, or keeps its values.
        """
        new, tuned = by_origin(history, clones)
        since = 0 if self.region is None else self.region.now(history).first
        how = {"context": self.context, "shared_noise": self.shared_noise, "robust": self.robust}
        rows = Rows.of(history, space, self.interval, self.window, self.categories.seen(space), since, **how)  # (1)
        drawn = self.categories.draw(history, space, new, self.redrawn_options) if new else []
        found: dict[int, Proposal] | str
        if not ModelColumns.of(space).free:
            found = "no numeric hyperparameter"
        elif len(rows) < MIN_ROWS:
            found = f"{counted(len(rows), 'row')}, a model needs {MIN_ROWS}"
        else:
            found = self._modelled(rows, new, drawn, tuned)
        if isinstance(found, str):
            found = {clone.id: Proposal(clone.hparams) for clone in tuned} | self._unmodelled(rows, new, drawn, found)
        return [found[clone.id] for clone in clones]

    def _modelled(
        self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn], tuned: Sequence[Clone]
    ) -> dict[int, Proposal] | str:
        """Returns the proposals of one fit by id, or why there is none; members that go on first, then by the parent's score."""
        from poptrain.algorithms.gp import posterior as gp  # imports scipy, which takes 0.2 s: only the first suggestion pays

        history = rows.history
        proposals: dict[int, Proposal] = {}
        try:
            with gp.one_thread():
                model = self._observe(rows, (*clones, *tuned))  # (1) to (3)
                if model.own.signal < self.least_signal:
                    return self._unheard(model, clones, drawn, tuned)
                for clone in tuned:
                    proposals[clone.id], row = self._retuned(model, clone)
                    model = model.with_pending(row)  # (5)
                scores = np.array([history.score(clone.parent) for clone in clones])
                for index in rank(scores, rng(history.seed, history.n, "order"))[::-1].tolist():
                    clone, (options, known) = clones[index], drawn[index]
                    start, process, source = model.begun(clone, options)
                    hparams = self._choose(model, process, clone, start)  # (4)
                    row = model.at(clone, hparams)
                    proposals[clone.id] = self._explain(model, process, row, hparams, {**source, **known})
                    model = model.with_pending(row)  # (5)
        except gp.LinAlgError as error:
            return str(error)
        return proposals

    # the steps of a round whose model is followed

    def _observe(self, rows: Rows, clones: Sequence[Clone]) -> Model:
        """Returns the model of this round: fitted to the rows, with the pending segments of all other members."""
        from poptrain.algorithms.gp import posterior as gp

        history, inputs, y = rows.history, rows.inputs(rows.ids), rows.targets  # (1)
        kernel = self.categories.kernel(rows.names, inputs.categories.shape[1])
        own = gp.fit(kernel, inputs, y, rows.noise, gp.QUICK if self.candidates else gp.THOROUGH)  # (2)
        pooled = gp.condition(TimeVarying(rows.names), own.theta, inputs, y, rows.noise) if self.categories.separate else None
        parents, tasks = pending(history, frozenset(clone.member for clone in clones))
        waiting = rows.at(parents, history.encoded(rows.space)[tasks])
        model = Model(rows, inputs, beta_of(self.beta, len(y)), own, pooled, waiting.rows(slice(0)))
        return model.with_pending(waiting)  # (3)

    def _choose(self, model: Model, process: Posterior, clone: Clone, start: Hparams) -> Hparams:
        """Returns the hyperparameters of one clone: of `start` and what it may become, those with the highest UCB."""
        begun = replace(clone, hparams=start)
        if self.region is not None:
            region = self.region.now(model.rows.history)
            return best_inside(model.rows, process, model.beta, begun, region, self.categories.chosen)
        if not self.candidates:
            return best_anywhere(model.rows, process, model.beta, begun, model.waiting)
        points = self._near(model, clone, start)
        mean, sd = process.ask(model.at(clone, *points))
        return points[int(np.argmax(mean + np.sqrt(model.beta) * sd))]

    def _near(self, model: Model, clone: Clone, start: Hparams, count: int | None = None, anew: bool = False) -> list[Hparams]:
        """Returns `count` points (None: `candidates`) near `start`, drawn as `pbt` draws, with the categories of `start`.

        With `anew` they are drawn from the whole space.
        """
        space, generator = model.rows.space, rng(model.rows.history.seed, clone.id, "explore")
        goes_on = model.rows.history.task(clone.parent).member == clone.member
        chosen = self.categories.chosen and (anew or not goes_on)
        kept = {} if chosen else {name: start[name] for name, p in space.items() if not p.numeric}
        resample = 1.0 if anew else REDRAWN
        drawn = (space.add(start, generator, STEP, resample) for _ in range(count or self.candidates or CANDIDATES))
        return [on_lattice(space, clone, {**point, **kept}) for point in drawn]

    def _retuned(self, model: Model, clone: Clone) -> tuple[Proposal, Inputs]:
        """Returns the proposal for a member that goes on, and the inputs of its next segment.

        Its values change if the process expects a point near them to gain more, by `retune` standard deviations of the
        difference. The point with the highest such bound is taken.
        """
        points = [clone.hparams, *self._near(model, clone, clone.hparams)]
        at = model.at(clone, *points)
        process, source = model.process_for(at.rows(slice(0, 1)))
        more, sd = process.against_first(at)
        bounds = more - (self.retune or 0.0) * sd
        best = int(np.argmax(bounds))
        if not bounds[best] > 0:
            return Proposal(clone.hparams), at.rows(slice(0, 1))
        row = at.rows(slice(best + 1, best + 2))
        sure = {"retuned": True, "sure by": float(more[best] / sd[best])}
        return self._explain(model, process, row, points[best + 1], {**source, **sure}), row

    def _explain(self, model: Model, process: Posterior, row: Inputs, hparams: Hparams, known: Mapping[str, Value]) -> Proposal:
        """Returns a proposal with its note, and with the gain over the next interval that the process expects at `row`."""
        rows = model.rows
        if self.region is not None:
            known = {**known, **noted(self.region.now(rows.history))}
        mean, sd = process.ask(row)
        center, scale = rows.scale  # a scale of 0: all gains are equal, and their spread is not known
        steps = self.interval or float(np.median(rows.steps))
        gain, gain_sd = (center + scale * float(mean[0])) * steps, scale * float(sd[0]) * steps
        return Proposal(hparams, model.note(process, known), Forecast("model", gain, gain_sd, model.beta, len(rows)))

    # rounds without a model, or with one that is not followed

    def _unheard(self, model: Model, clones: Sequence[Clone], drawn: list[Drawn], tuned: Sequence[Clone]) -> dict[int, Proposal]:
        """Returns the proposals of a round whose model hears only noise, by id: clones take a step, the others keep their values.

        With `anew`, while all members are lost, clones draw anew instead, and so do all but the best of those that go on.
        """
        history = model.rows.history
        anew = self.anew and lost(history)
        dropped = hopeless(history, [clone.parent for clone in tuned]) if anew else set()

        def moved(clone: Clone, start: Hparams, process: Posterior, known: Mapping[str, Value]) -> Proposal:
            forecast = Forecast("redraw", rows=len(model.rows), fallback=reason(model.own.signal))
            note = model.note(process, {**known, "anew": True} if anew else known)
            return Proposal(self._near(model, clone, start, 1, anew)[0], note, forecast)

        proposals = {clone.id: Proposal(clone.hparams) for clone in tuned}
        proposals |= {clone.id: moved(clone, clone.hparams, model.own, {}) for clone in tuned if clone.parent in dropped}
        for clone, (options, known) in zip(clones, drawn, strict=True):
            start, process, source = model.begun(clone, options)
            proposals[clone.id] = moved(clone, start, process, {**source, **known})
        return proposals

    def _unmodelled(self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn], why: str) -> dict[int, Proposal]:
        """Returns draws without a model, by the id of each clone, and why no model made them."""
        space, proposals = rows.space, {}
        for clone, (options, chances) in zip(clones, drawn, strict=True):
            generator = rng(rows.history.seed, clone.id, "explore")
            near = (
                space.add(clone.hparams, generator, STEP, REDRAWN) if self.candidates else space.redraw(clone.hparams, generator)
            )
            bandit_alone = bool(chances) and not ModelColumns.of(space).free
            forecast = Forecast("bandit" if bandit_alone else "redraw", rows=len(rows), fallback=why)
            proposals[clone.id] = Proposal(on_lattice(space, clone, {**near, **options}), chances, forecast)
        return proposals


@dataclass(frozen=True, eq=False)
class Model:
    """What one round has learned: the fitted process, and the pending points so far."""

    rows: Rows
    inputs: Inputs  # of the rows
    beta: float
    own: Posterior  # the process; in PB2-Mult, rows of different categories are independent in it
    pooled: Posterior | None  # PB2-Mult: the same parameters, with the rows of all categories together
    waiting: Inputs  # the pending points

    def at(self, clone: Clone, *points: Hparams) -> Inputs:
        """Returns the inputs of the clone's next segment with each of some hyperparameters."""
        codes = np.array([self.rows.space.encode(point) for point in points])
        return self.rows.at(np.full(len(points), clone.parent), codes)

    def begun(self, clone: Clone, options: Mapping[str, Value]) -> tuple[Hparams, Posterior, dict[str, Value]]:
        """Returns where a clone begins: its parent's values with some options, and what `process_for` returns for these."""
        start = on_lattice(self.rows.space, clone, {**clone.hparams, **options})
        return start, *self.process_for(self.at(clone, start))

    def with_pending(self, more: Inputs) -> Model:
        """Returns the model after more points are pending: the mean stays, the spread shrinks around them."""
        own, pooled = self.own.with_pending(more), self.pooled and self.pooled.with_pending(more)
        return replace(self, own=own, pooled=pooled, waiting=self.waiting.join(more))

    def process_for(self, row: Inputs) -> tuple[Posterior, dict[str, Value]]:
        """Returns the process that is asked about a row, and what the note of PB2-Mult states about it.

        It is the pooled one if the category of the row has too few rows of its own.
        """
        if self.pooled is None:
            return self.own, {}
        count = int((self.inputs.categories == row.categories).all(1).sum())
        few = count < MIN_ROWS
        return self.pooled if few else self.own, {"rows of the category": count, "learned from all": few}

    def note(self, process: Posterior, known: Mapping[str, Value]) -> dict[str, Value]:
        """Returns what the note of a proposal says: the fitted parameters, and what else is `known`."""
        equal = {} if self.rows.scale[1] else {"nothing to learn": True}
        return {**equal, **process.parameters(), **known}


BETAS: dict[str, Callable[[int], float]] = {
    "pb2": lambda n: max(0.2 * float(np.log(0.4 * n)), 0.05),
    "ray": lambda n: 0.2 + max(0.0, float(np.log(0.4 * n))),
}


def beta_of(mode: str | float, rows: int) -> float:
    """Returns the weight β of exploration: a constant, or the formula of the paper ("pb2") or of Ray Tune ("ray")."""
    return BETAS[mode](max(rows, 1)) if isinstance(mode, str) else float(mode)
