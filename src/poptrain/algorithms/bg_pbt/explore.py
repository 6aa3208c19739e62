"""The explore of BG-PBT: time-varying local Bayesian optimisation, for the clones of a round and for members that go on.

The algorithm is stated in `bg_pbt`. Read it in this order: `LocalSearch.propose`, and its steps `_observe` (2-4), `_choose` (5),
`_retuned`, `_explain`, and `_drawn` (1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from poptrain.algorithms.bg_pbt.restart import restart_centre
from poptrain.algorithms.gp.columns import ModelColumns
from poptrain.algorithms.gp.copula import copula
from poptrain.algorithms.gp.kernels import Inputs
from poptrain.algorithms.gp.matern import MaternOverlap
from poptrain.algorithms.gp.noise import reason
from poptrain.algorithms.gp.region_search import best_inside, decoded, neighbourhood
from poptrain.algorithms.gp.rows import ROUND_DIGITS, Rows, pending
from poptrain.algorithms.gp.trust_region import MIN_ROWS, Region, TrustRegion, noted
from poptrain.algorithms.parts.explore import REDRAWN, STEP, by_origin, on_lattice
from poptrain.algorithms.parts.lost import hopeless, lost
from poptrain.algorithms.pb2 import Model, beta_of
from poptrain.core import Forecast, History, Hparams, Value, rank
from poptrain.core.brief import brief
from poptrain.core.counting import counted
from poptrain.core.protocols import Clone, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space


@dataclass(frozen=True)
class LocalSearch:
    """The explore of BG-PBT; the options after `region` are departures from the paper.

    Args:
        interval: in steps; None if it is a length of time.
        window: newest rows that the model learns from.
        beta: the square of the weight of the standard deviation in the bound.
        region: the trust region.
        retune: members that go on are retuned if the model is sure by this number of standard deviations; None: never.
        context: the score before a segment is an input of the model.
        shared_noise: neighbouring gains share the noise of a score.
        relevance: see `MaternOverlap`.
        learned_mixing: see `MaternOverlap`.
        redrawn: without a model, every parameter of a clone is redrawn; else as `pbt` draws, near its parent.
        least_signal: share of the variance that the model must take for signal; below, it is not followed.
        anew: then all values are drawn again while all members are `lost`.
        robust: gains that are much smaller than a few huge ones keep their order.
    """

    interval: int | None
    window: int
    beta: str | float
    region: TrustRegion = TrustRegion()
    retune: float | None = None
    context: bool = False
    shared_noise: bool = True
    relevance: float = 1.0
    learned_mixing: bool = True
    redrawn: bool = False
    least_signal: float = field(default=0.3, metadata={"absent": 0.0})  # of the variance; below, the model is not followed
    anew: bool = field(default=True, metadata={"absent": False})
    robust: bool = field(default=True, metadata={"absent": False})

    __repr__ = brief

    @property
    def retunes(self) -> bool:
        """True if members that go on are asked about as well."""
        return self.retune is not None

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns one proposal for each clone: by the model if there is one, else a draw without it, with its reason."""
        new, tuned = by_origin(history, clones)
        region = self.region.now(history)
        how = {"context": self.context, "shared_noise": self.shared_noise, "robust": self.robust}
        rows = Rows.of(history, space, self.interval, self.window, ModelColumns.of(space).categorical, region.first, **how)
        anew = False
        found: dict[int, Proposal] | str = f"{counted(len(rows), 'row')}, a model needs {MIN_ROWS}"
        if len(rows) >= MIN_ROWS:
            found = self._modelled(rows, region, new, tuned)
            anew = self.anew and isinstance(found, str) and lost(history)
        if isinstance(found, str):
            drop = hopeless(history, [clone.parent for clone in tuned]) if anew else set()
            going = {clone.id: Proposal(clone.hparams) for clone in tuned if clone.parent not in drop}
            again = [*new, *(clone for clone in tuned if clone.parent in drop)]
            found = {**going, **self._drawn(rows, region, again, found, anew)}
        return [found[clone.id] for clone in clones]

    def _modelled(self, rows: Rows, region: Region, clones: Sequence[Clone], tuned: Sequence[Clone]) -> dict[int, Proposal] | str:
        """Returns the proposals of one fit by the id of each clone, or why there is none.

        Members that go on come first, then the clone with the best parent; each one sees those before it.
        """
        from poptrain.algorithms.gp import posterior as gp  # imports scipy, which takes 0.2 s: only the first suggestion pays

        history = rows.history
        proposals: dict[int, Proposal] = {}
        try:
            with gp.one_thread():
                model = self._observe(rows, (*clones, *tuned))
                if model.own.signal < self.least_signal:
                    return reason(model.own.signal)
                scores = np.array([history.score(clone.parent) for clone in clones])
                order = rank(scores, rng(history.seed, history.n, "order"))[::-1]
                for clone in (*tuned, *(clones[index] for index in order.tolist())):
                    point = self._choose(model, region, clone)
                    if clone in tuned:
                        proposals[clone.id], row = self._retuned(model, region, clone, point)
                    else:
                        row = model.at(clone, point)
                        proposals[clone.id] = self._explain(model, region, row, point)
                    model = model.with_pending(row)
        except gp.LinAlgError as error:
            return str(error)
        return proposals

    def _observe(self, rows: Rows, clones: Sequence[Clone]) -> Model:
        """Returns the model of this round: fitted to the rows, with the pending segments of all other members."""
        from poptrain.algorithms.gp import posterior as gp

        history, space = rows.history, rows.space
        inputs, y = rows.inputs(rows.ids), copula(_standardised(rows))  # (2)
        kernel = MaternOverlap(rows.names, inputs.categories.shape[1], self.relevance, self.learned_mixing)
        own = gp.fit(kernel, inputs, y, rows.noise, gp.QUICK)  # (3)
        parents, tasks = pending(history, frozenset(clone.member for clone in clones))
        waiting = rows.at(parents, history.encoded(space)[tasks])
        model = Model(rows, inputs, beta_of(self.beta, len(y)), own, None, waiting.rows(slice(0)))
        return model.with_pending(waiting)  # (4)

    def _choose(self, model: Model, region: Region, clone: Clone) -> Hparams:
        """Returns the configuration with the highest upper bound near that of the clone's parent, eq. (5)."""
        return best_inside(model.rows, model.own, model.beta, clone, region)

    def _retuned(self, model: Model, region: Region, clone: Clone, point: Hparams) -> tuple[Proposal, Inputs]:
        """Returns the proposal for a member that goes on, and the inputs of its next segment.

        It gets the point if the model expects it to gain more, by `retune` standard deviations of the difference.
        """
        at = model.at(clone, clone.hparams, point)
        more, sd = model.own.against_first(at)
        if point == clone.hparams or not more[0] > (self.retune or 0.0) * sd[0]:
            return Proposal(clone.hparams), at.rows(slice(0, 1))
        row = at.rows(slice(1, 2))
        reason = {"retuned": True, "sure by": float(more[0] / sd[0])}
        return self._explain(model, region, row, point, reason), row

    def _explain(
        self, model: Model, region: Region, row: Inputs, point: Hparams, known: Mapping[str, Value] | None = None
    ) -> Proposal:
        """Returns a proposal with its note, and with the gain over the next interval that the model expects."""
        rows = model.rows
        mean, sd = (float(value[0]) for value in model.own.ask(row))
        steps = self.interval or float(np.median(rows.steps))
        low, middle, high = (_gain_at(rows.gains, z) * steps for z in (mean - sd, mean, mean + sd))
        equal = {} if rows.scale[1] else {"nothing to learn": True}
        note = {**equal, **noted(region), **model.own.parameters(), **(known or {})}
        return Proposal(point, note, Forecast("model", middle, (high - low) / 2, model.beta, len(rows)))

    def _drawn(self, rows: Rows, region: Region, clones: Sequence[Clone], why: str, anew: bool = False) -> dict[int, Proposal]:
        """Returns draws without a model, by the id of each clone (1): after a restart, in a region around its new centre.

        With `anew` every value is drawn from its whole range.
        """
        history, space = rows.history, rows.space
        proposals = {}
        for clone in clones:
            generator = rng(history.seed, clone.id, "explore")
            if region.summits and not anew:
                centre = restart_centre(rows, region, clone)
                near = neighbourhood(space, centre, region, None)
                point = decoded(space, clone, near, near.anywhere(generator))
            else:
                drawn = (
                    space.redraw(clone.hparams, generator)
                    if self.redrawn or anew
                    else space.add(clone.hparams, generator, STEP, REDRAWN)
                )
                point = on_lattice(space, clone, drawn)
            proposals[clone.id] = Proposal(point, noted(region), Forecast("redraw", rows=len(rows), fallback=why))
        return proposals


# -- parts --------------------------------------------------------------------------------------------------------------


def _standardised(rows: Rows) -> np.ndarray:
    """Returns the gains in units of their spread, rounded, so that an affine transform of the scores gives the same ranks."""
    centre, unit = rows.scale
    with np.errstate(over="ignore", invalid="ignore"):
        return ((rows.gains - centre) / unit).round(ROUND_DIGITS) if unit else np.zeros(len(rows))


def _gain_at(gains: np.ndarray, z: float) -> float:
    """Returns the gain whose copula is z: the quantile Φ(z) of the rows."""
    finite = gains[np.isfinite(gains)]
    return float(np.quantile(finite, NormalDist().cdf(z))) if len(finite) else 0.0
