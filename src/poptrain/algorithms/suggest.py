"""The explore of PB2: proposals by a Gaussian-process bandit, for the clones of a round and for the members that go on.

The algorithm is stated in `pb2`. Read it in this order: `Suggest.propose`, and its steps `_observe` (1-3), `_choose` (4),
`_retuned` and `_explain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from poptrain.algorithms.gp.acquisition import Question, beta_of, maximise
from poptrain.algorithms.gp.kernels import Inputs, Kernel, Mixed, TimeVarying
from poptrain.algorithms.gp.round_model import MIN_ROWS, RoundModel
from poptrain.algorithms.gp.rows import ModelColumns, Rows, pending
from poptrain.algorithms.parts.explore import REDRAWN, STEP
from poptrain.core import Forecast, History, Hparams, Value, rank
from poptrain.core.errors import UsageError
from poptrain.core.protocols import Clone, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space

if TYPE_CHECKING:
    from poptrain.algorithms.gp.posterior import Posterior

SCORE_BEFORE = "score before"  # the name of the context among the columns
STANDARD_CANDIDATES = 8
COARSE = 32  # levels up to which all are tried, instead of following a gradient

Drawn = tuple[dict[str, Value], dict[str, Value]]  # the categories of a clone, and what its note states about them


# -- categories ---------------------------------------------------------------------------------------------------------


class Categories(Protocol):
    """How the categorical hyperparameters of a round's clones are chosen, and what the process learns about them."""

    @property
    def separate(self) -> bool:
        """True if each combination of categories has a process of its own; with too few rows, the rows of all are used."""
        ...

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns the categories of every clone; those without a bandit are redrawn with this probability."""
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

    def draw(self, history: History, space: Space, clones: Sequence[Clone], probability: float) -> list[Drawn]:
        """Returns the options of every clone: each redrawn uniformly with this probability, else its parent's."""
        return [(redrawn(history, space, clone, probability), {}) for clone in clones]

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the static categorical columns."""
        return tuple(i for i in ModelColumns.of(space).categorical if space[space.names[i]].static)

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        """Returns the kernel of eq. (2), or the mixed one if there are static categories."""
        return Mixed(names) if categories else TimeVarying(names)


def redrawn(history: History, space: Space, clone: Clone, probability: float) -> dict[str, Value]:
    """Returns the options of every `Choice` that is not static: a uniform draw with this probability, else the clone's own."""
    generator = rng(history.seed, clone.id, "categories")
    names = [name for name, p in space.items() if not p.numeric and not p.static]
    drawn = {name: space[name].draw(generator) for name in names}
    if probability == 1:
        return drawn
    return {name: drawn[name] if generator.random() < probability else clone.hparams[name] for name in names}


# -- numbers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suggest:
    """The explore of PB2: one time-varying process a round, and its UCB for one clone after the other.

    In the paper the score before a segment is an input of the process, the noise of all gains is independent, the UCB is
    maximised over the whole space, and members that go on keep their hyperparameters. These are the last six options here.
    """

    interval: int | None
    beta: str | float
    window: int
    categories: Categories = Uniformly()
    context: bool = field(default=False, metadata={"absent": True})
    shared_noise: bool = field(default=True, metadata={"absent": False})
    candidates: int = field(default=STANDARD_CANDIDATES, metadata={"absent": 0})
    retune: float | None = field(default=1.0, metadata={"absent": None})
    redrawn_options: float = field(default=0.25, metadata={"absent": 1.0})  # the probability, for a `Choice` without a bandit
    least_signal: float = field(default=0.3, metadata={"absent": 0.0})  # of the variance; below, the model is not followed

    @property
    def retunes(self) -> bool:
        """True if members that go on are asked about as well."""
        return self.retune is not None

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns one proposal for each clone: by the model if there is one, else a draw without it, with its reason.

        A clone whose parent is a task of the same member goes on with its own weights. It is retuned, or keeps its values.
        """
        going = [history.task(clone.parent).member == clone.member for clone in clones]
        new = [clone for clone, goes in zip(clones, going, strict=True) if not goes]
        tuned = [clone for clone, goes in zip(clones, going, strict=True) if goes]
        rows = Rows.of(
            history,
            space,
            self.interval,
            self.window,
            self.categories.seen(space),
            context=self.context,
            shared_noise=self.shared_noise,
        )  # eq. (1)
        drawn = self.categories.draw(history, space, new, self.redrawn_options) if new else []
        why = None
        if not ModelColumns.of(space).free:
            why = "no numeric hyperparameter"
        elif len(rows) < MIN_ROWS:
            why = f"{len(rows)} rows, a model needs {MIN_ROWS}"
        found = self._modelled(rows, new, drawn, tuned) if why is None else why
        if isinstance(found, str):
            found = {**{clone.id: Proposal(clone.hparams) for clone in tuned}, **self._unmodelled(rows, new, drawn, found)}
        return [found[clone.id] for clone in clones]

    def _unmodelled(self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn], why: str) -> dict[int, Proposal]:
        """Returns draws without a model, by the id of each clone, and why no model made them."""
        history, space = rows.history, rows.space
        proposals = {}
        for clone, (options, chances) in zip(clones, drawn, strict=True):
            generator = rng(history.seed, clone.id, "explore")
            if self.candidates:
                numbers = space.add(clone.hparams, generator, STEP, REDRAWN)
            else:
                numbers = space.redraw(clone.hparams, generator)
            bandit_alone = bool(chances) and not ModelColumns.of(space).free
            forecast = Forecast("bandit" if bandit_alone else "redraw", rows=len(rows), fallback=why)
            proposals[clone.id] = Proposal(on_lattice(space, clone, {**numbers, **options}), chances, forecast)
        return proposals

    def _modelled(
        self, rows: Rows, clones: Sequence[Clone], drawn: list[Drawn], tuned: Sequence[Clone]
    ) -> dict[int, Proposal] | str:
        """Returns the proposals of one fit by the id of each clone, or why there is none.

        Members that go on come first, then the clone with the best parent; each one sees those before it.
        """
        from poptrain.algorithms.gp import posterior as gp  # imports scipy, which takes 0.2 s: only the first suggestion pays

        history = rows.history
        proposals: dict[int, Proposal] = {}
        try:
            with gp.one_thread():
                model = self._observe(rows, (*clones, *tuned))
                heard = model.own.signal >= self.least_signal
                for clone in tuned:
                    if not heard:  # no bound is asked for in this round, so pending points do not matter
                        proposals[clone.id] = Proposal(clone.hparams)
                        continue
                    proposals[clone.id], row = self._retuned(model, clone)
                    model = model.with_pending(row)  # eq. (5)
                scores = np.array([history.score(clone.parent) for clone in clones])
                order = rank(scores, rng(history.seed, history.n, "order"))[::-1]
                for index in order.tolist():
                    clone, (options, chances) = clones[index], drawn[index]
                    start = on_lattice(rows.space, clone, {**clone.hparams, **options})
                    process, source = model.process_for(model.row(clone, start))
                    if not heard:
                        proposals[clone.id] = self._unheard(model, process, clone, start, {**source, **chances})
                        continue
                    hparams = self._choose(model, process, clone, start)
                    row = model.row(clone, hparams)
                    proposals[clone.id] = Proposal(hparams, *self._explain(model, process, row, {**source, **chances}))
                    model = model.with_pending(row)  # eq. (5)
        except gp.LinAlgError as error:
            return str(error)
        return proposals

    def _observe(self, rows: Rows, clones: Sequence[Clone]) -> RoundModel:
        """Returns the model of this round: fitted to the rows, with the pending segments of all other members."""
        from poptrain.algorithms.gp import posterior as gp

        history, space = rows.history, rows.space
        inputs, y = rows.inputs(rows.ids), rows.targets  # eq. (1)
        before = (SCORE_BEFORE,) if self.context else ()
        names = (*before, *(space.names[i] for i in ModelColumns.of(space).numeric))
        effort = gp.QUICK if self.candidates else gp.THOROUGH
        own = gp.fit(self.categories.kernel(names, inputs.categories.shape[1]), inputs, y, rows.noise, effort)  # eq. (2)
        pooled = gp.condition(TimeVarying(names), own.theta, inputs, y, rows.noise) if self.categories.separate else None
        parents, tasks = pending(history, frozenset(clone.member for clone in clones))
        waiting = rows.at(parents, history.encoded(space)[tasks])
        model = RoundModel(rows, inputs, beta_of(self.beta, len(y)), own, pooled, waiting.rows(slice(0)))
        return model.with_pending(waiting)  # eq. (3)

    def _choose(self, model: RoundModel, process: Posterior, clone: Clone, start: Hparams) -> Hparams:
        """Returns the hyperparameters of one clone: `start`, with the numbers that have the highest UCB."""
        space = model.rows.space
        if self.candidates:
            points = self._near(model, clone, start)
            mean, sd = process.ask(model.rows_of(clone, points))
            return points[int(np.argmax(mean + np.sqrt(model.beta) * sd))]  # eq. (4)
        question = asked(space, model.row(clone, start), model.waiting, int(self.context))
        codes = maximise(process, question, model.beta, rng(model.rows.history.seed, clone.id, "acquisition"))  # eq. (4)
        free = [space.names[i] for i in ModelColumns.of(space).free]
        numbers = {name: space[name].decode(u) for name, u in zip(free, codes.tolist(), strict=True)}
        return on_lattice(space, clone, {**start, **numbers})

    def _near(self, model: RoundModel, clone: Clone, start: Hparams, count: int | None = None) -> list[Hparams]:
        """Returns points near `start`, drawn as `pbt` draws its clones' hyperparameters, with the categories of `start`.

        Args:
            count: number of points; None: `candidates`.
        """
        space, generator = model.rows.space, rng(model.rows.history.seed, clone.id, "explore")
        kept = {name: start[name] for name, p in space.items() if not p.numeric}
        drawn = (space.add(start, generator, STEP, REDRAWN) for _ in range(count or self.candidates or STANDARD_CANDIDATES))
        return [on_lattice(space, clone, {**point, **kept}) for point in drawn]

    def _unheard(
        self, model: RoundModel, process: Posterior, clone: Clone, start: Hparams, known: Mapping[str, Value]
    ) -> Proposal:
        """Returns the proposal for a clone in a round whose model hears only noise: one step from `start`."""
        why = f"the gains look like noise: {model.own.signal:.0%} of their variance is signal to the model"
        forecast = Forecast("redraw", rows=len(model.rows), fallback=why)
        return Proposal(self._near(model, clone, start, 1)[0], self._note(model, process, known), forecast)

    def _retuned(self, model: RoundModel, clone: Clone) -> tuple[Proposal, Inputs]:
        """Returns the proposal for a member that goes on, and the inputs of its next segment.

        Its values change if the process expects a point near them to gain more, by `retune` standard deviations of the
        difference. The point with the highest such bound is taken.
        """
        points = [clone.hparams, *self._near(model, clone, clone.hparams)]
        at = model.rows_of(clone, points)
        process, source = model.process_for(at.rows(slice(0, 1)))
        more, sd = process.against_first(at)
        bounds = more - (self.retune or 0.0) * sd
        best = int(np.argmax(bounds))
        if not bounds[best] > 0:
            return Proposal(clone.hparams), at.rows(slice(0, 1))
        row = at.rows(slice(best + 1, best + 2))
        reason = {"retuned": True, "sure by": float(more[best] / sd[best])}
        return Proposal(points[best + 1], *self._explain(model, process, row, {**source, **reason})), row

    def _explain(
        self, model: RoundModel, process: Posterior, row: Inputs, known: Mapping[str, Value]
    ) -> tuple[dict[str, Value], Forecast]:
        """Returns the note, with the fitted parameters, and the gain over the next interval that the process expects at `row`."""
        rows = model.rows
        mean, sd = process.ask(row)
        center, scale = rows.scale  # a scale of 0: all gains are equal, and their spread is not known
        steps = self.interval or float(np.median(rows.steps))
        gain, gain_sd = (center + scale * float(mean[0])) * steps, scale * float(sd[0]) * steps
        return self._note(model, process, known), Forecast("model", gain, gain_sd, model.beta, len(rows))

    def _note(self, model: RoundModel, process: Posterior, known: Mapping[str, Value]) -> dict[str, Value]:
        """Returns what the note of a proposal says: the fitted parameters, and what else is `known`."""
        equal = {} if model.rows.scale[1] else {"nothing to learn": True}
        return {**equal, **process.parameters(), **known}


def asked(space: Space, row: Inputs, waiting: Inputs, contexts: int) -> Question:
    """Returns the question for the numbers of one clone, whose `contexts` (0 or 1) and categories are those of `row`."""
    columns = ModelColumns.of(space)
    free = [space[space.names[i]] for i in columns.free]
    places = np.array([contexts + columns.numeric.index(i) for i in columns.free])  # the context comes first
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
