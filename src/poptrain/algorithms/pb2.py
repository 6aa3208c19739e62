"""Population Based Bandits. Parker-Holder, Nguyen, Roberts 2020, "Provably Efficient Online Hyperparameter Optimization with
Population-Based Bandits", NeurIPS, arXiv:2002.02518.

PBT with another explore (exploit is truncation selection, as in `pbt`):

    evaluate all members before they train                                       evaluate-only tasks
    for t = 1 … N:
        train all for one interval;  y = (F_t - F_{t-1}) / steps                  rows (t, score before, x, y)
        bottom ← worst quarter;  parents j(b) ~ best quarter                      exploit
        fit GP on the window of rows, k = k_SE (1-ε)^(|Δt|/2)                     once a round
        pending ← survivors' next segments
        for b in bottom:  x_b ← argmax μ(t+1, F_{j(b)}, x) + √β σ_pending(…);  pending ← pending + x_b

    paper        here                                              shape
    x            encoded numeric hyperparameters, in [0, 1]        (d,)
    t            lineage steps before a segment / interval         scalar
    R_before     the parent's score, min-max scaled: context       scalar
    y            score gained per step, winsorised, standardised   (n,)
    β            `beta`: max(0.2 ln(0.4 n), 0.05)                  scalar
    ω (ε)        learned, at most ½                                scalar

Departures from the paper: the window is the larger of the last 200 rows and the last 25 intervals (at most 1000 rows) instead
of a search over its length; scales of parameters are used (log types are modelled in the log); a `Choice` is redrawn uniformly,
as in PBT, and a static parameter is an input that is not changed.
Departures from the reference code: √β σ instead of √β σ²; the context is that of the *next* interval; members are evaluated
before the first one, so that the first exploit has rows; noise is learned, all parameters are bounded, derivatives are right;
pending points change the variance alone, and are the survivors and, in asynchronous runs, every open segment; whole numbers
are rounded, not cut; nothing is random but by key; too few or unusable data give a uniform draw with its reason in the note.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from poptrain.algorithms.gp.acquisition import BETAS, Question, beta_of, maximise
from poptrain.algorithms.gp.kernels import Kernel, Mixed, TimeVarying
from poptrain.algorithms.gp.rows import Columns, Segments, pending
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import truncation
from poptrain.algorithms.pbt import Pbt, make
from poptrain.core import Forecast, History, Hparams, Value, rank
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.protocols import Clone, Exploit, Proposal
from poptrain.core.rng import rng
from poptrain.space import Space

LEAST = 3  # rows below which there is no model
FEW = 4  # members below which a warning says so
BEFORE = "score before"  # the name of the context among the columns
COARSE = 32  # levels up to which all are tried, instead of a gradient

Drawn = tuple[dict[str, Value], dict[str, Value]]  # the categories of a clone, and what its note says of them


def pb2(
    space: Space,
    population: int = 4,
    *,
    interval: int | turns.Seconds,
    sync: bool = True,
    exploit: Exploit | None = None,
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
        population: number of members; made for small ones, 4 or 8.
        interval: steps between decisions of one member.
        sync: wait for all members before deciding, or decide for each as it reports.
        exploit: who is replaced; default ``truncation(0.25)``.
        beta: weight of exploration: "pb2" (max(0.2 ln 0.4n, 0.05)), "ray" (0.2 + max(0, ln 0.4n)) or a constant.
        window: newest rows that the model learns from; None: 200 or 25 intervals, whichever is larger, at most 1000.
        warmup: steps before which nobody exploits (failed members are still replaced).
        average: how many results of a lineage the selection score is averaged over.
        evaluate_first: score every member before it trains, by tasks of 0 steps, so that the first interval counts.
        initial: known-good configurations for the first members; names left out are drawn.

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> pt.pb2(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=10).seats
    4
    """
    explore = Suggest(*settings("pb2", population, interval, beta, window))
    return make("pb2", space, population, interval=interval, sync=sync, exploit=truncation(0.25) if exploit is None else exploit,
                explore=explore, warmup=warmup, average=average, initial=initial, evaluate_first=evaluate_first)  # fmt: skip


def settings(what: str, population: Any, interval: Any, beta: Any, window: Any) -> tuple[int | None, str | float, int]:
    """Returns interval, β and window as `Suggest` wants them.

    Raises:
        UsageError: an argument is out of range.
    """
    turns.check_population(what, population)
    if population < FEW:
        text = f"{what}: population={population} gives the model {population} rows a round; it was made for 4 or 8 members."
        warnings.warn(text, stacklevel=3)
    if isinstance(beta, str):
        if beta not in BETAS:
            raise UsageError(f"{what}: beta={beta!r}, expected 'pb2', 'ray' or a number from 0.{did_you_mean(beta, BETAS)}")
    elif isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta < float("inf"):
        raise UsageError(f"{what}: beta={beta!r}, expected 'pb2', 'ray' or a finite number from 0.")
    if window is not None:
        turns.check_count(what, "window", window, LEAST)
    rows = min(max(200, 25 * population), 1000) if window is None else window
    return interval if isinstance(interval, int) else None, beta if isinstance(beta, str) else float(beta), rows


class Categories(Protocol):
    """How the categorical hyperparameters of a round's clones are chosen, and what the process knows of them."""

    def draw(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Drawn]: ...

    def seen(self, space: Space) -> tuple[int, ...]:
        """Returns the columns of the space that are categorical inputs of the process."""
        ...

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel: ...

    def pooled(self, rows: int) -> bool:
        """True if a category with so few rows of its own is to learn from the rows of all."""
        ...


@dataclass(frozen=True)
class Uniformly:
    """PB2: every `Choice` is redrawn uniformly, and the process does not see it; a static one is an input."""

    def draw(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Drawn]:
        return [(redrawn(history, space, clone), {}) for clone in clones]

    def seen(self, space: Space) -> tuple[int, ...]:
        return tuple(i for i in Columns.of(space).categorical if space[space.names[i]].static)

    def kernel(self, names: tuple[str, ...], categories: int) -> Kernel:
        return Mixed(names) if categories else TimeVarying(names)

    def pooled(self, rows: int) -> bool:
        return False


def redrawn(history: History, space: Space, clone: Clone) -> dict[str, Value]:
    """Returns a uniform draw of every `Choice` that is not static."""
    generator = rng(history.seed, clone.id, "categories")
    names = [name for name, p in space.items() if not p.numeric and not p.static]
    return {name: space[name].draw(generator) for name in names}


@dataclass(frozen=True)
class Suggest:
    """The explore of PB2: one time-varying process a round, UCB for one clone after the other."""

    interval: int | None
    beta: str | float
    window: int
    categories: Categories = Uniformly()

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns hyperparameters and a note for every clone; best parent first, each sees the ones before."""
        segments = Segments.of(history, space, self.interval, self.window, self.categories.seen(space))
        drawn = self.categories.draw(history, space, clones)
        columns = Columns.of(space)
        why = None
        if not columns.free:
            why = "no numeric hyperparameter"
        elif len(segments) < LEAST:
            why = f"{len(segments)} rows, a model needs {LEAST}"
        else:
            from poptrain.algorithms.gp import posterior as gp  # imports scipy: 0.2 s, paid at the first suggestion

            try:
                with gp.one_thread():
                    return self._modelled(segments, columns, clones, drawn)
            except gp.LinAlgError as error:
                why = str(error)
        return [
            Proposal(
                finished(space, clone, space.redraw(clone.hparams, rng(history.seed, clone.id, "explore")) | new),
                chances,
                Forecast("bandit" if chances and not columns.free else "redraw", rows=len(segments), fallback=why),
            )
            for clone, (new, chances) in zip(clones, drawn, strict=True)
        ]

    def _modelled(self, segments: Segments, columns: Columns, clones: Sequence[Clone], drawn: list[Drawn]) -> list[Proposal]:
        """Returns the proposals of one fit.

        Raises:
            LinAlgError: the covariance cannot be factored.
        """
        from poptrain.algorithms.gp import posterior as gp

        history, space = segments.history, segments.space
        seen, y = segments.inputs(segments.rows), segments.targets
        names = (BEFORE, *(space.names[i] for i in columns.numeric))
        kernel = self.categories.kernel(names, seen.categories.shape[1])
        posterior = gp.fit(kernel, seen, y)
        beta = beta_of(self.beta, len(y))
        apart = self.categories.pooled(0)
        pool = gp.condition(TimeVarying(names), posterior.theta, seen, y) if apart else None
        parents, tasks = pending(history, frozenset(clone.member for clone in clones))
        waiting = segments.at(parents, history.encoded(space)[tasks])
        posterior, pool = posterior.with_pending(waiting), pool and pool.with_pending(waiting)
        scores = np.array([history.score(clone.parent) for clone in clones])
        order = rank(scores, rng(history.seed, history.n, "order"))[::-1]
        proposals: dict[int, Proposal] = {}
        for index in order.tolist():
            clone = clones[index]
            options, chances = drawn[index]
            hparams = finished(space, clone, {**clone.hparams, **options})
            parent = np.array([clone.parent])
            question = _question(space, columns, segments.at(parent, space.encode(hparams)[None]), waiting)
            like = int((seen.categories == question.row.categories).all(1).sum())
            lent = self.categories.pooled(like)
            model = pool if lent else posterior
            chosen = maximise(model, question, beta, rng(history.seed, clone.id, "acquisition"))
            values = {space.names[i]: space[space.names[i]].decode(u) for i, u in zip(columns.free, chosen.tolist(), strict=True)}
            hparams = finished(space, clone, {**hparams, **values})
            row = segments.at(parent, space.encode(hparams)[None])
            mean, sd = model.ask(row)
            own: dict[str, Value] = {"rows of the category": like, "learned from all": lent} if apart else {}
            note = {**({} if segments.scale[1] else {"nothing to learn": True}), **model.parameters(), **own, **chances}
            proposals[index] = Proposal(hparams, note, self._forecast(segments, beta, float(mean[0]), float(sd[0])))
            posterior, pool, waiting = posterior.with_pending(row), pool and pool.with_pending(row), waiting.join(row)
        return [proposals[index] for index in range(len(clones))]

    def _forecast(self, segments: Segments, beta: float, mean: float, sd: float) -> Forecast:
        """Returns the predicted gain over the next interval, in units of the score (up is better)."""
        center, scale = segments.scale  # a scale of 0: all gains are equal, their spread is not known
        steps = self.interval or float(np.median(segments.steps))
        return Forecast("model", (center + scale * mean) * steps, scale * sd * steps, beta, len(segments))


def _question(space: Space, columns: Columns, row: Any, waiting: Any) -> Question:
    free = [space[space.names[i]] for i in columns.free]
    places = np.array([1 + columns.numeric.index(i) for i in columns.free])
    coarse = np.array([p.levels is not None and p.levels <= COARSE for p in free])

    def snap(points: np.ndarray) -> np.ndarray:
        out = points.copy()
        for column, p in enumerate(free):
            if p.levels is not None:
                out[:, column] = [p.encode(p.decode(u)) for u in points[:, column].tolist()]
        return out

    return Question(row, places, coarse, snap, waiting.units[:, places])


def finished(space: Space, clone: Clone, hparams: Mapping[str, Any]) -> Hparams:
    """Returns hyperparameters on the lattice and repaired, with the static values of the clone's weights.

    Raises:
        UsageError: the space's repair changed a static value.
    """
    made = space.finish({**hparams, **{name: clone.hparams[name] for name in space.static_names}})
    changed = [name for name in space.static_names if made[name] != clone.hparams[name]]
    if changed:
        raise UsageError(f"repair changed the static hyperparameter {changed[0]!r}; clones must keep it.")
    return made
