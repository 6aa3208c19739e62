"""Optuna search: sequential Bayesian optimisation of whole training runs. Akiba et al. 2019, "Optuna", arXiv:1907.10902;
samplers: TPE (Bergstra et al. 2011, NeurIPS 24), Gaussian process (optuna.samplers.GPSampler), random.

    repeat `population` times:  h ~ sampler(all runs so far);  train a fresh member with h to the budget

The baseline of what population methods avoid: the choice of each h waits for the training before it, so that `population` runs
cost `population` times the wall time of one, however many machines there are. `parallel` runs at a time trade that against
information: those still running are shown to the sampler (TPE counts them as bad, the "constant liar"), and not proposed again.

Departures from a script with ``study.optimize``: no study is stored. In every `ask` one is rebuilt from the history, under a
sampler seeded by the task's id, so that runs resume, replay and verify as any other; proposals are rounded to a millionth of the
range, so that they do not hang on the last bits of another machine's arithmetic. Hyperparameters are searched on the scale of the
space (the logarithm of a `LogUniform`), and shown to the sampler as they were trained with, after rounding and repair. A run that
failed or diverged counts as the worst score so far: left out, its like would be proposed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from poptrain.algorithms.parts import turns
from poptrain.core import History, Task, Value
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.rng import rng
from poptrain.space import Choice, Space

SAMPLERS = ("tpe", "gp", "random")
DIGITS = 6  # of a code


def optuna_search(
    space: Space,
    population: int = 20,
    *,
    sampler: str | Callable[[int], Any] = "tpe",
    parallel: int = 1,
    interval: int | None = None,
    initial: Sequence[Mapping[str, Value]] = (),
) -> OptunaSearch:
    """Returns sequential search over whole training runs, each proposed by an Optuna sampler from the results of those before.

    Args:
        space: the hyperparameters and their ranges.
        population: number of training runs; each is a member, trained from nothing to the budget in one task.
        sampler: "tpe", "gp" (needs torch as well), "random", or ``f(seed) -> sampler`` with one of Optuna's.
        parallel: runs at a time; 1 is the sequential search.
        interval: steps between two evaluations inside a run, for its curve; default: one evaluation at its end.
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
    sampler: str | Callable[[int], Any]
    parallel: int = 1
    interval: int | None = None
    initial: tuple[Any, ...] = ()
    name: str = "optuna_search"

    @property
    def seats(self) -> int:
        return self.population

    def ask(self, history: History) -> tuple[Task, ...]:
        """Returns the next runs, as many as `parallel` leaves room for; () while waiting, and after the last.

        Raises:
            UsageError: the run has no budget, so that no training would ever end.
        """
        if history.budget is None:
            raise UsageError("optuna_search trains every configuration to the end: give stop=pt.steps(n), alone or in pt.any_of.")
        count = min(self.parallel - len(history.open()), self.population - history.n)
        if count <= 0:
            return ()
        plans = [turns.Plan(history.n + i, None, hparams) for i, hparams in enumerate(self._proposals(history, count))]
        evals = 1 if self.interval is None else max(1, history.budget // self.interval)
        return tuple(replace(task, evals=evals) for task in turns.segments(history, plans, None))

    def needed(self, history: History) -> frozenset[int]:
        """Returns the result of every run; none of them becomes a parent."""
        return turns.needed(history)

    def _proposals(self, history: History, count: int) -> Iterator[dict[str, Value]]:
        """Yields the hyperparameters of the next `count` runs."""
        given = [index for index in range(history.n, history.n + count) if index < len(self.initial)]
        for index in given:
            yield self.space.complete(self.initial[index], rng(history.seed, "initial", index))
        if len(given) == count:
            return
        optuna = _optuna()
        with _quiet(optuna):
            study = optuna.create_study(direction="maximize")
            distributions = {name: _distribution(optuna, p) for name, p in self.space.items() if p.levels != 1}
            for trial in self._trials(optuna, history, distributions):
                study.add_trial(trial)
            for id in range(history.n + len(given), history.n + count):
                study.sampler = self._seeded(optuna, int(rng(history.seed, id, "optuna").integers(2**31)))
                codes = study.ask(distributions).params
                yield self.space.decode(
                    [round(codes.get(name, 0.5 if p.numeric else 0.0), DIGITS) for name, p in self.space.items()]
                )

    def _trials(self, optuna: ModuleType, history: History, distributions: Mapping[str, Any]) -> Iterator[Any]:
        """Yields every task as a trial of Optuna, in the order in which they were decided."""
        scores, told = history.scores, history.column("told") < history.lines
        worst = float(np.nanmin(scores)) if np.isfinite(scores).any() else None
        state = optuna.trial.TrialState
        for id, codes in enumerate(history.encoded(self.space).tolist()):
            params = {
                name: round(code, DIGITS + 3) if p.numeric else int(code)
                for (name, p), code in zip(self.space.items(), codes, strict=True)
                if name in distributions
            }
            value = None if not told[id] else float(scores[id]) if scores[id] == scores[id] else worst
            kind = state.RUNNING if not told[id] else state.FAIL if value is None else state.COMPLETE
            yield optuna.trial.create_trial(state=kind, value=value, params=params, distributions=dict(distributions))

    def _seeded(self, optuna: ModuleType, seed: int) -> Any:
        if callable(self.sampler):
            return self.sampler(seed)
        if self.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise ImportError("optuna_search with sampler='gp' needs torch: pip install torch.") from error
        return optuna.samplers.GPSampler(seed=seed)


def _distribution(optuna: ModuleType, parameter: Any) -> Any:
    """Returns a parameter as Optuna sees it: its code, from 0 to 1, or one of the options of a `Choice`."""
    if isinstance(parameter, Choice):
        return optuna.distributions.CategoricalDistribution(range(len(parameter.options)))
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("optuna_search needs Optuna: pip install 'poptrain[optuna]'.") from error
    return optuna


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Keeps Optuna from announcing every study, and leaves its verbosity as it was."""
    import warnings

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
