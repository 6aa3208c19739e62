"""Settings that work and cannot be meant: what `run` warns about before it trains, and what `check` reports.

None of it is an error. Every sentence says what will happen, and what to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from poptrain.algorithms.bg_pbt.generational import Generational
from poptrain.algorithms.fire.evaluations import FireSettings
from poptrain.core import History
from poptrain.core.counting import counted
from poptrain.core.fingerprint import describe
from poptrain.core.interval import interval_of
from poptrain.core.metric_names import hinted
from poptrain.engine.experiment import Experiment
from poptrain.engine.reads import checkpoint_faults, unread
from poptrain.space import Space
from poptrain.trainable import LearnsLater, as_trainable, is_population, name_of
from poptrain.trainable.episodes import CountsEpisodes, counts_returns
from poptrain.views.decisions import settled
from poptrain.views.format import short

ENOUGH = 12  # tasks after which the direction of the scores says something
STEADY = 0.9  # share of them that got worse


def doubts(experiment: Experiment) -> list[str]:
    """Returns one sentence for each setting of an experiment that can hardly be meant."""
    kinds = (_of_decisions, _of_generations, _of_evaluations, _of_space, _of_mode, _of_updates, _of_seconds, _of_code)
    return [doubt for kind in kinds for doubt in kind(experiment)]


def no_copies(experiment: Experiment) -> str | None:
    """Returns why no member of a population that copies will ever copy another one; None if one may."""
    described = describe(experiment.algorithm)
    if not isinstance(described, Mapping) or "exploit" not in described:
        return None
    why = settled(described, experiment.budget)
    return None if why is None else f"no member will ever copy another one, so this is a random search: {why}."


def _of_decisions(experiment: Experiment) -> Iterator[str]:
    if (why := no_copies(experiment)) is not None:
        yield why


def _of_generations(experiment: Experiment) -> Iterator[str]:
    """Yields the doubt that the budget is too small for the first change of the generation of BG-PBT."""
    algorithm, budget = experiment.algorithm, experiment.budget
    if not isinstance(algorithm, Generational) or budget is None:
        return
    generations, members, interval = algorithm.generations, algorithm.population, algorithm.interval
    first = -(-min(generations.length(interval), generations.patience * interval) // interval) * interval
    cost = -(-generations.cost(generations.drawn(members) + 1, members, interval) // members)
    if budget < first + cost + interval:
        yield (
            f"no second generation can begin, so the architectures stay those of the first members: the first one trains "
            f"{counted(first, 'step')} at least, the distillation costs {counted(cost, 'step')} a member, and a member trains "
            f"{counted(budget, 'step')} in all. Pass a later stop, or smaller every and distill in pt.Generations."
        )


def _of_evaluations(experiment: Experiment) -> Iterator[str]:
    """Yields the doubt that FIRE PBT never evaluates a parent, so that its sub-populations have no effect."""
    fire, budget = experiment.algorithm, experiment.budget
    if not isinstance(fire, FireSettings) or not fire.evaluators or budget is None or budget <= fire.interval:
        return
    warm = max(fire.interval, min(fire.warmup))
    first = -(-warm // fire.interval) * fire.interval  # the decision that may begin an evaluation
    late = budget - first <= fire.max_eval if fire.release else first >= budget
    if late or (fire.release and first >= warm + fire.max_eval):
        length = f" and lasts {counted(fire.max_eval, 'step')}" if fire.release else ""
        yield (
            f"no parent will be evaluated, so this is PBT without what FIRE adds: the first evaluation could begin at step "
            f"{first:,}{length}, and a member trains {counted(budget, 'step')}. Pass a later stop, or a smaller interval, "
            "max_eval or warmup."
        )


def _of_seconds(experiment: Experiment) -> Iterator[str]:
    """Yields the doubt that an interval of time cuts every episode of a simulator after one step."""
    trainable, interval = as_trainable(experiment.trainable), interval_of(experiment.algorithm)
    if not is_population(trainable) or not isinstance(trainable, CountsEpisodes) or interval is None or isinstance(interval, int):
        return
    if trainable.episode_limit() is not None:
        yield (
            "an interval of time trains one step in each call, and a simulated environment begins a new episode in every call, "
            "so episodes of one step are all that members see: use an interval in steps."
        )


def _of_updates(experiment: Experiment) -> Iterator[str]:
    """Yields the doubt that members end before they have learned anything."""
    trainable, space, budget = as_trainable(experiment.trainable), experiment.algorithm.space, experiment.budget
    if not isinstance(trainable, LearnsLater) or not isinstance(space, Space) or budget is None:
        return
    ends = [{name: parameter.grid(2)[end] for name, parameter in space.items()} for end in (0, -1)]
    steps, setting = min(trainable.first_update(hparams) for hparams in ends)
    if steps > budget:
        yield (
            f"a member trains {counted(budget, 'step')}, and {name_of(trainable).partition(':')[2]} makes its first update after "
            f"{counted(steps, 'step')} ({setting}), so none is made: pass a later stop, or a smaller value."
        )


def _of_space(experiment: Experiment) -> Iterator[str]:
    space = experiment.algorithm.space
    if isinstance(space, Space):
        for name, parameter in space.items():
            if parameter.levels == 1:
                yield f"the hyperparameter {name!r} has only one value, {parameter!r}: write it as a constant in your code."


def _of_mode(experiment: Experiment) -> Iterator[str]:
    if (hint := hinted(experiment.metric)) and hint != experiment.sign:
        way, other = ("more", "max") if hint > 0 else ("less", "min")
        yield (
            f"the name {experiment.metric!r} suggests that {way} is better, but mode is {experiment.mode!r}, so that the worst "
            f"members are selected: is mode={other!r} meant?"
        )
    trainable = as_trainable(experiment.trainable)
    if experiment.sign < 0 and experiment.metric == "score" and counts_returns(trainable):
        yield (
            f"{name_of(trainable).partition(':')[2]} maximises the return of its episodes, which is the score, but mode is "
            "'min', so that the members that learned least are selected: is mode='max' meant? A cost is a reward with the "
            "other sign."
        )


def _of_code(experiment: Experiment) -> Iterator[str]:
    trainable = as_trainable(experiment.trainable)
    name, space = name_of(trainable).partition(":")[2], experiment.algorithm.space
    if hparams := list(unread(trainable, space.names)) if isinstance(space, Space) else []:
        what, it = ("hyperparameter", "it") if len(hparams) == 1 else ("hyperparameters", "them")
        listed = ", ".join(map(repr, hparams))
        yield f"{name} never reads the {what} {listed}: use hp[{hparams[0].partition('.')[0]!r}] in it, or remove {it}."
    yield from checkpoint_faults(trainable, name)


def senseless(history: History, experiment: Experiment) -> str | None:
    """Returns a doubt about the scores of a whole run, which no training can be meant to give; else None."""
    return _constant(history, experiment) or _worsened(history, experiment)


def _constant(history: History, experiment: Experiment) -> str | None:
    """Returns the doubt that every task had the same score, of whatever member and after whatever training."""
    scores = history.scores[history.oks & (history.column("steps") > 0)]
    if len(scores) < ENOUGH or scores.min() < scores.max():
        return None
    score = short(float(experiment.sign * scores[0]))
    return (
        f"all {counted(len(scores), 'result')} have the same {experiment.metric!r}, {score}, so nothing could be "
        "selected: is it computed "
        "from what was trained?"
    )


def _worsened(history: History, experiment: Experiment) -> str | None:
    """Returns the doubt that training made the score worse nearly every time, as in a run with the wrong mode; else None."""
    if hinted(experiment.metric) == experiment.sign or history.n < ENOUGH:
        return None
    parents = history.column("parent")
    oks = history.oks
    ids = np.flatnonzero(oks & (parents >= 0) & oks[np.maximum(parents, 0)] & (history.column("steps") > 0))
    if len(ids) < ENOUGH:
        return None
    scores = history.scores
    worse = float(np.mean(scores[ids] < scores[parents[ids]]))
    if worse < STEADY:
        return None
    other = "max" if experiment.mode == "min" else "min"
    return (
        f"training made {experiment.metric!r} worse in {100 * worse:.0f} % of the tasks under mode={experiment.mode!r}: is "
        f"mode={other!r} meant?"
    )
