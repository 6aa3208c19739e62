"""Faster Improvement Rate PBT. Dalibard & Jaderberg 2021, "Faster Improvement Rate Population Based Training", arXiv:2109.13800.

Once a round, when all members and evaluators have trained `interval` steps with `evals` evaluations:

    fitness of P_1 ← latest score                                                                       3
    fitness of ρ in P_i, i ≥ 2 ← how much faster ρ's evaluator improves than its peers                  3.1.1, 3.1.2
    in every P_i: PBT (the worst quarter copies the best one and explores)                              3, 4.1.1
    for every evaluator η, training ρ's weights with the hyperparameters of its target, a child in P_{i-1}:
        ρ or the target was replaced → η is idle                                                        3.2
        η improves significantly faster than the target and scores no lower →
            the target's weights ← η's; η is idle                                                       3.2, success
        η can hardly become better any more → η is idle                                                 3.2, stop
    idle evaluators ← the members of P_2 … P_n that have gone longest without evaluation                3, step 1
    their target ← the fittest child                                                                    3, step 2

The paper numbers no equations. So the numbers, here and next to the lines, are those of its sections, and of the steps that
sections 3 and 3.1.1 list.

    paper               here                                            shape
    P_1 … P_n           `subpopulations`: seats 0 … population - 1      (n,)
    H                   seats population … seats - 1: evaluators        (E,), floor(3/4 Σ_{i≥2} |P_i| + 1/2)
    (θ_η, h_η)          a task with tags; parent: ρ's checkpoint, then its own; hparams: the target's
    (x, y) of a worker  `evaluations.Evaluations.curves`: scores since its weights were copied; the first point is a copy
    Φ                   members of P_i with an evaluator that trained in this round
    success             the target's next task has the evaluator's task as its parent
    T, max_eval_steps   `step - since`, `max_eval`      p_stat  `p_stat`      min_steps_before_eval_i  `warmup[i - 2]`

Read it in this order: `FirePbt.ask`, `evaluations.observe` (what the history says), and `round.Round.decide` (what every seat
does next), with the comparisons of `curves`.

Departures from the paper, undone by ``as_in="paper"``: an evaluator that is faster but still scores lower goes on, instead of
handing over weights whose advantage may never come (`ahead`); when evaluation does not pay, all seats become members of one
population (`release`); clones explore as in `pbt` (`explore`); starts are spread (`starts`).
Other departures from the paper: those of `curves`; k = floor(0.25 |Φ|) parents are replaced; fitness is used once and
never kept; success is checked before stop; of several successes on one child the fittest wins and the others are cancelled; the
evaluation of a member that takes over weights ends; static hyperparameters travel with the weights, into an evaluator and on into
the child; a failed member copies one of its sub-population, or any other seat if all of that failed; a failed evaluator is idle.
Departures from the reference code: no public code of the authors exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from poptrain.algorithms.fire.evaluations import FireSettings
from poptrain.algorithms.fire.round import Round
from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.exploit import Truncation, truncation
from poptrain.algorithms.parts.explore import DEFAULT, ExploreArgument, as_explore, check_factors, perturb
from poptrain.algorithms.parts.options import PbtOptions
from poptrain.core import History, Task, Value
from poptrain.core.answering import answering
from poptrain.core.brief import brief
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.space import Space


@answering
def fire_pbt(
    space: Space,
    subpopulations: Sequence[int] = (8, 8),
    evaluators: int | None = None,
    *,
    interval: int,
    max_eval: int | None = None,
    warmup: int | Sequence[int] = (),
    evals: int = 12,
    exploit: Truncation = truncation(0.25),
    explore: ExploreArgument | Literal["default"] = "default",
    p_stat: float = 0.01,
    initial: Sequence[Mapping[str, Value]] = (),
    starts: turns.Starts | None = None,
    ahead: bool | None = None,
    release: bool | None = None,
    as_in: Literal["paper"] | None = None,
) -> FirePbt:
    """Returns FIRE PBT, always synchronous.

    Args:
        space: the hyperparameters and their ranges.
        subpopulations: members in P_1 (greedy), P_2, … P_n (each the parents of the one before); use 18 each for noisy scores.
        evaluators: seats that compare the parents; default three quarters of all parents, rounded half up.
        interval: steps between decisions (the paper's ready); it should be long enough for at least 8 evaluations.
        max_eval: steps after which an evaluator stops whose curve does not overlap with that of its target; default 3 intervals;
            use 10 intervals for noisy scores.
        warmup: steps before which the members of P_2, … P_n are not evaluated: one number for all, or one each; default 0.
        evals: evaluations in one interval, which are the points of the curves. There is at most one for each step, unless the
            trainable returns ``curve``.
        exploit: `truncation(fraction)`.
        explore: as for `pbt`; default ``additive(0.1, resample=0.25)``. Factors by name are
            ``perturb({"lr": (0.5, 2.0), "eps": (0.8, 1.2)}, resample=0)``.
        p_stat: the level of significance at which the target of an evaluator takes over its weights.
        initial: known-good configurations for the first members; names left out are drawn.
        starts: the first hyperparameters: "spread" (default: together they cover the ranges) or "random".
        ahead: an evaluator hands its weights over when it is faster than its target and its newest scores are not lower
            (default). False: when it is faster, as in the paper.
        release: all seats become members of one population of `pbt` if no hand-over comes until the first evaluations could be
            over, or within twice `max_eval` after one, or if no more than `max_eval` is left of the budget (default). The last
            rule needs a run that stops after steps or generations: with another stop, such as `pt.seconds(s)` or a score,
            poptrain does not know how much is left. False: never, as in the paper.
        as_in: "paper": what is not named is as in the paper: perturb((0.5, 0.8, 1.25, 2.0), resample=0), random starts, and
            `ahead` and `release` are False.

    Raises:
        UsageError: an argument is out of range.

    >>> import poptrain as pt
    >>> algorithm = pt.fire_pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), subpopulations=(8, 8), interval=120)
    >>> algorithm.population, algorithm.seats
    (16, 22)
    """
    options = PbtOptions(interval, exploit=exploit, initial=initial, starts=starts, as_in=as_in)
    turns.check_space("fire_pbt", space)
    sizes = _sizes(subpopulations)
    turns.check_count("fire_pbt", "interval", interval, 1)
    if not isinstance(exploit, Truncation):
        raise UsageError(f"fire_pbt: exploit={exploit!r}, expected pt.truncation(fraction).")
    options.check("fire_pbt", sum(sizes))
    if max_eval is None:
        max_eval = 3 * interval
    turns.check_count("fire_pbt", "max_eval", max_eval, 1)
    turns.check_count("fire_pbt", "evals", evals, 1)
    if isinstance(p_stat, bool) or not isinstance(p_stat, (int, float)) or not 0 < p_stat < 1:
        raise UsageError(f"fire_pbt: p_stat={p_stat!r}, expected a level of significance between 0 and 1, for example 0.01.")
    seats, warmups, known = _evaluators(evaluators, sizes, exploit), _warmup(warmup, len(sizes) - 1), turns.freeze(initial, space)
    for name, value in (("ahead", ahead), ("release", release)):
        if value is not None and not isinstance(value, bool):
            raise UsageError(f"fire_pbt: {name}={value!r}, expected True, False or None.")
    as_published = perturb((0.5, 0.8, 1.25, 2.0), resample=0)  # 4.1.1, explore
    by_default = as_published if options.paper else DEFAULT
    strategy = by_default if explore == "default" else as_explore(explore, "fire_pbt")
    check_factors(strategy, space)
    begin, former = options.first
    open: dict[str, tuple[object, ...]] = {"explore": (as_published,)} if explore == "default" else {}
    open |= {name: (False,) for name, value in (("ahead", ahead), ("release", release)) if value is None}
    open |= former
    return FirePbt(
        space,
        sizes,
        seats,
        interval,
        max_eval,
        warmups,
        evals,
        exploit,
        float(p_stat),
        known,
        strategy,
        begin,
        not options.paper if ahead is None else ahead,
        not options.paper if release is None else release,
        {} if options.paper else open,
    )


@dataclass(frozen=True)
class FirePbt(FireSettings):
    """The algorithm as a value; see `fire_pbt`."""

    __repr__ = brief

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next tasks of `history`; () while a task is pending, and when all members are finished or failed."""
        if history.n == 0:
            first = turns.first_round(history, self.space, self.population, self.interval, self.initial, self.starts)
            return tuple(self.measured(task) for task in first)
        seats = turns.turns(history, sync=True)
        if not seats or seats[0] >= self.population:  # no member is left that evaluators could hand weights to
            return ()
        return Round(self, history, seats).decide()

    def needed(self, history: History) -> frozenset[int]:
        """Returns the tasks whose checkpoints may still become parents: of members, and of evaluators that are not idle."""
        state, standing = self.state(history), history.standing().tolist()
        ids = standing if state.released else [*standing[: self.population], *(history.head(seat) for seat in state.busy)]
        return frozenset(id for id in ids if history.ok(id))


# -- arguments ----------------------------------------------------------------------------------------------------------


def evaluators_of(sizes: Sequence[int]) -> int:
    """Returns the paper's number of evaluators: three quarters of all parents, rounded half up (section 4).

    >>> [evaluators_of(sizes) for sizes in ((8, 8), (8, 8, 8), (8, 8, 8, 8), (18, 18))]
    [6, 12, 18, 14]
    """
    return int(0.75 * sum(sizes[1:]) + 0.5)  # 4, which says three quarters; the experiments of 4.1.1 and 4.2 have 6 and 14


def _sizes(subpopulations: object) -> tuple[int, ...]:
    if isinstance(subpopulations, (tuple, list)) and len(subpopulations) > 0:
        sizes = tuple(size for size in subpopulations if isinstance(size, int) and not isinstance(size, bool) and size >= 1)
        if len(sizes) == len(subpopulations):
            return sizes
    raise UsageError(
        f"fire_pbt: subpopulations={subpopulations!r}, expected the sizes of P_1, P_2, …, whole numbers from 1, "
        "for example (8, 8)."
    )


def _evaluators(evaluators: int | None, sizes: tuple[int, ...], exploit: Truncation) -> int:
    """Returns the number of evaluators.

    Raises:
        UsageError: it is out of range, or with these sizes no parent could ever be replaced.
    """
    if evaluators is None:
        evaluators = evaluators_of(sizes)
    turns.check_count("fire_pbt", "evaluators", evaluators, 0)
    if len(sizes) == 1 and evaluators:
        raise UsageError(
            f"fire_pbt: evaluators={evaluators} with one sub-population, which has no parents to evaluate; "
            "pass evaluators=0, or two sub-populations."
        )
    most = min([evaluators, *sizes[1:]])
    if len(sizes) > 1 and exploit.fraction and exploit.fraction * most < 1 - 1e-9:
        raise UsageError(
            f"fire_pbt: subpopulations={sizes}, evaluators={evaluators}, truncation({exploit.fraction:g}): at most {most} "
            f"parents have a fitness, and floor({exploit.fraction:g} * {most}) = 0 of them would be replaced; use larger "
            "sub-populations, more evaluators or a larger fraction."
        )
    return evaluators


def _warmup(warmup: int | Sequence[int], parents: int) -> tuple[int, ...]:
    """Returns one number of steps for each parent sub-population."""
    each: tuple[int, ...]
    if isinstance(warmup, (tuple, list)):
        each = tuple(warmup) or (0,) * parents
        for steps in each:
            turns.check_count("fire_pbt", "warmup", steps, 0)
    else:
        turns.check_count("fire_pbt", "warmup", warmup, 0)
        each = (warmup,) * parents if isinstance(warmup, int) else ()
    if len(each) != parents:
        raise UsageError(
            f"fire_pbt: warmup={warmup!r} has {counted(len(each), 'entry')} for {parents} parent sub-populations; "
            "pass one number, or one for each of P_2, P_3, …"
        )
    return each
