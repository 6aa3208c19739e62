"""Optuna search: sequential Bayesian optimisation of whole training runs. Akiba et al. 2019, "Optuna", arXiv:1907.10902;
samplers: TPE (Bergstra et al. 2011, NeurIPS 24), Gaussian process (optuna.samplers.GPSampler), random.

    repeat `population` times:  h ~ sampler(all runs so far);  train a fresh member with h to the budget

This is the baseline for the cost that population methods avoid: the choice of each h waits for the training before it, so that
`population` runs take `population` times the wall time of one, with any number of machines. With `parallel` runs at a time it is
faster, and each choice knows less: the sampler sees the runs that are still training (TPE counts them as bad, the "constant
liar") and does not propose them again.

Departures from a script with ``study.optimize``: no study is stored. Each `ask` rebuilds one from the history, with a sampler
that the task's id seeds, so that runs resume, replay and verify like all others. Proposals are rounded to a millionth of the
range, so that they do not depend on the last bits of another machine's arithmetic. The search is on the scale of the space (the
logarithm of a `LogUniform`), and the sampler sees the values after rounding and repair. A run that failed or diverged counts as
the worst score so far; otherwise similar ones would be proposed again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from poptrain.algorithms.parts import turns
from poptrain.core import History, Hparams, Task, Value
from poptrain.core.answering import answering
from poptrain.core.brief import brief
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.rng import rng
from poptrain.space import Choice, Space
from poptrain.space.parameter import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import InMemoryStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "gp", "random")
CODE_DIGITS = 6  # after the point, of an encoded value


@answering
def optuna_search(
    space: Space,
    population: int = 20,
    *,
    sampler: str | Callable[[int], BaseSampler] = "tpe",
    parallel: int = 1,
    interval: int | None = None,
    initial: Sequence[Mapping[str, Value]] = (),
) -> OptunaSearch:
    """Returns sequential search over whole training runs, each proposed by an Optuna sampler from the earlier results.

    Args:
        space: the hyperparameters and their ranges.
        population: number of training runs; each is a member that one task trains from a fresh start to the budget.
        sampler: "tpe", "gp" (needs torch as well), "random", or ``f(seed) -> sampler`` with one of Optuna's.
        parallel: runs at a time; 1 is sequential search.
        interval: steps between two evaluations inside a run, for its curve; default: one evaluation at the end.
        initial: known-good configurations for the first runs; names left out are drawn.

    Raises:
        UsageError: an argument is out of range.
        ImportError: Optuna is not installed.

    >>> import poptrain as pt
    >>> search = pt.optuna_search(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=5, sampler="tpe")
    >>> run = pt.run(search, pt.testing.quadratic, stop=pt.steps(20))
    >>> run.history.n, run.history.step(0)
    (5, 20)
    """
    what = "optuna_search"
    turns.check_space(what, space)
    turns.check_population(what, population, initial)
    turns.check_count(what, "parallel", parallel, 1)
    if interval is not None:
        turns.check_count(what, "interval", interval, 1)
    if not callable(sampler) and sampler not in SAMPLERS:
        if not isinstance(sampler, str):
            name = type(sampler).__name__
            raise UsageError(
                f"{what}: sampler={name}(…) has a seed of its own, so that the run could not repeat; write "
                f"sampler=lambda seed: {name}(seed=seed), or 'tpe', 'gp' or 'random'."
            )
        raise UsageError(
            f"{what}: sampler={sampler!r}, expected 'tpe', 'gp', 'random' or a function of a seed that returns an Optuna sampler."
            f"{did_you_mean(str(sampler), SAMPLERS)}"
        )
    _optuna()
    return OptunaSearch(space, population, sampler, parallel, interval, turns.freeze(initial, space))


@dataclass(frozen=True)
class OptunaSearch:
    """The algorithm as a value; see `optuna_search`."""

    space: Space
    population: int
    sampler: str | Callable[[int], BaseSampler]
    parallel: int = 1
    interval: int | None = None
    initial: tuple[Hparams, ...] = ()
    name: str = "optuna_search"

    __repr__ = brief

    @property
    def seats(self) -> int:
        """The number of training runs: each has a seat of its own."""
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next runs, as many as `parallel` leaves room for; () while waiting, and after the last.

        Raises:
            UsageError: the run has no budget, so that no training would end.
        """
        if history.budget is None:
            raise UsageError("optuna_search trains every configuration to the end: pass stop=pt.steps(n), alone or in pt.any_of.")
        count = min(self.parallel - len(history.open()), self.population - history.n)
        if count <= 0:
            return ()
        plans = [turns.Plan(history.n + i, None, hparams) for i, hparams in enumerate(self._proposals(history, count))]
        evals = 1 if self.interval is None else max(1, history.budget // self.interval)
        return tuple(replace(task, evals=evals) for task in turns.segments(history, plans, None))

    def needed(self, history: History) -> frozenset[int]:
        """Returns the newest result of every seat; none of them becomes a parent."""
        return turns.needed(history)

    def _proposals(self, history: History, count: int) -> Iterator[dict[str, Value]]:
        """Yields the hyperparameters of the next `count` runs."""
        given = [index for index in range(history.n, history.n + count) if index < len(self.initial)]
        for index in given:
            yield self.space.complete(self.initial[index], rng(history.seed, "initial", index))
        if len(given) == count:
            return
        optuna, study = _optuna(), _new_study()
        distributions = {name: _distribution(optuna, p) for name, p in self.space.items() if p.levels != 1}
        for trial in self._trials(optuna, history, distributions):
            study.add_trial(trial)
        for id in range(history.n + len(given), history.n + count):
            study.sampler = self._seeded(optuna, int(rng(history.seed, id, "optuna").integers(2**31)))
            codes = study.ask(distributions).params
            yield self.space.decode(
                [round(codes.get(name, 0.5 if p.numeric else 0.0), CODE_DIGITS) for name, p in self.space.items()]
            )

    def _trials(
        self, optuna: ModuleType, history: History, distributions: Mapping[str, BaseDistribution]
    ) -> Iterator[FrozenTrial]:
        """Yields every task as a trial of Optuna, in the order in which they were decided."""
        scores, ended = history.scores, history.column("told") < history.lines
        worst = float(np.nanmin(scores)) if np.isfinite(scores).any() else None
        state = optuna.trial.TrialState
        for id, codes in enumerate(history.encoded(self.space).tolist()):
            params = {
                name: round(code, CODE_DIGITS + 3) if p.numeric else int(code)
                for (name, p), code in zip(self.space.items(), codes, strict=True)
                if name in distributions
            }
            value = None if not ended[id] else float(scores[id]) if scores[id] == scores[id] else worst
            kind = state.RUNNING if not ended[id] else state.FAIL if value is None else state.COMPLETE
            yield optuna.trial.create_trial(state=kind, value=value, params=params, distributions=dict(distributions))

    def _seeded(self, optuna: ModuleType, seed: int) -> BaseSampler:
        """Returns a sampler for one proposal."""
        sampler: BaseSampler
        if not isinstance(self.sampler, str):
            sampler = self.sampler(seed)
        elif self.sampler == "tpe":
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        elif self.sampler == "random":
            sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            _check_torch()
            sampler = optuna.samplers.GPSampler(seed=seed)
        return sampler


def _check_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError("optuna_search with sampler='gp' needs torch: pip install torch.") from error


def _distribution(optuna: ModuleType, parameter: Parameter) -> BaseDistribution:
    """Returns a parameter for Optuna: its code, from 0 to 1, or the index of an option of a `Choice`."""
    distribution: BaseDistribution
    if isinstance(parameter, Choice):
        distribution = optuna.distributions.CategoricalDistribution(range(len(parameter.options)))
    else:
        distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    return distribution


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("optuna_search needs Optuna: pip install 'poptrain[optuna]'.") from error
    found: ModuleType = optuna
    return found


def _new_study() -> Study:
    """Returns an empty study that maximises.

    It is a copy of an empty one, because Optuna logs a line for each study that it creates. `ask` must not change the level of
    Optuna's log in order to suppress that line: the level belongs to the whole process, and other threads may use it.
    """
    study: Study = _optuna().load_study(study_name="poptrain", storage=copy.deepcopy(_empty_storage()))
    return study


@cache
def _empty_storage() -> InMemoryStorage:
    """Returns a storage that holds one empty study. Optuna logs its creation, once in each process."""
    optuna = _optuna()
    storage: InMemoryStorage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="poptrain", storage=storage, direction="maximize")
    return storage
