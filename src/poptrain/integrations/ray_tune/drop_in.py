"""Ray's own schedulers under their names and with their arguments: changing the import is all that changes.

    from poptrain.integrations.ray_tune import PB2, PopulationBasedTraining     # was: ray.tune.schedulers

What is different: values never leave their range, a list is an ordered set of values, a bare function is drawn anew and not
multiplied, a trial that fails or reports NaN is replaced, decisions are seeded, and the state survives `Tuner.restore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

from poptrain.algorithms import pb2, pbt
from poptrain.algorithms.parts.exploit import truncation
from poptrain.algorithms.parts.explore import perturb
from poptrain.core.errors import UsageError
from poptrain.integrations.ray_tune.checks import with_initial
from poptrain.integrations.ray_tune.explore import Then
from poptrain.integrations.ray_tune.scheduler import PoptrainScheduler, Settings
from poptrain.integrations.ray_tune.space import from_bounds, from_mutations

FINE = 1000  # steps in one unit of `time_attr`, where an interval is no whole number of units


class PopulationBasedTraining(PoptrainScheduler):
    """`poptrain.pbt` with the arguments of ``ray.tune.schedulers.PopulationBasedTraining``; the population is ``num_samples``.

    Args:
        hyperparam_mutations: by name, or nested: a list (an ordered set of values), a tune domain, a function without arguments
            (drawn anew at every exploration) or a poptrain parameter.
        log_config: has no effect; the run log has every config.
        seed, directory, revive, sinks: as for `poptrain_scheduler`; the others as Ray documents them.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int = 0,
        directory: Any = None,
        revive: int = 3,
        sinks: Sequence[Any] = (),
    ):
        what = "PopulationBasedTraining"
        if not hyperparam_mutations:
            raise UsageError(f"{what}: hyperparam_mutations is empty; name there what is tuned, with its range.")
        fine = _fine(what, perturbation_interval, burn_in_period)
        from_mutations("hyperparam_mutations", hyperparam_mutations)
        settings = dict(
            mutations=hyperparam_mutations, interval=round(perturbation_interval * fine), warmup=round(burn_in_period * fine),
            sync=bool(synch), fraction=truncation(quantile_fraction).fraction,
            explore=perturb(tuple(perturbation_factors), resample=resample_probability), then=custom_explore_fn,
        )  # fmt: skip
        super().__init__(Settings(partial(_pbt, **settings), what, metric, mode, time_attr, seed, directory, revive,
                                  require_attrs, resolution=fine, sinks=tuple(sinks)))  # fmt: skip


class PB2(PoptrainScheduler):
    """`poptrain.pb2` with the arguments of ``ray.tune.schedulers.pb2.PB2``; the population is ``num_samples``.

    Args:
        hyperparam_bounds: by name, or nested: [low, high], or a tune domain that has a range, ``tune.loguniform(1e-5, 1e-1)``.
        log_config: has no effect; the run log has every config.
        seed, directory, revive, sinks: as for `poptrain_scheduler`; the others as Ray documents them.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        *,
        seed: int = 0,
        directory: Any = None,
        revive: int = 3,
        sinks: Sequence[Any] = (),
    ):
        if not hyperparam_bounds:
            raise UsageError("PB2: hyperparam_bounds is empty; give for example {'lr': [1e-4, 1e-1]}.")
        fine = _fine("PB2", perturbation_interval, 0.0)
        from_bounds("hyperparam_bounds", hyperparam_bounds, [])
        settings = dict(bounds=hyperparam_bounds, interval=round(perturbation_interval * fine), sync=bool(synch),
                        fraction=truncation(quantile_fraction).fraction, then=custom_explore_fn)  # fmt: skip
        super().__init__(Settings(partial(_pb2, **settings), "PB2", metric, mode, time_attr, seed, directory, revive,
                                  require_attrs, resolution=fine, sinks=tuple(sinks)))  # fmt: skip


def _pbt(
    trials: int, given: list[dict[str, Any]], mutations: Mapping[str, Any], fraction: float, then: Any, **settings: Any
) -> Any:
    algorithm = pbt(from_mutations("hyperparam_mutations", mutations), trials, exploit=_quantile(fraction, trials), **settings)
    return _then(with_initial(algorithm, given), then, given)


def _pb2(trials: int, given: list[dict[str, Any]], bounds: Mapping[str, Any], fraction: float, then: Any, **settings: Any) -> Any:
    algorithm = pb2(from_bounds("hyperparam_bounds", bounds, given), trials, exploit=_quantile(fraction, trials),
                    evaluate_first=False, **settings)  # fmt: skip
    return _then(with_initial(algorithm, given), then, given)


def _quantile(fraction: float, trials: int) -> Any:
    """Returns truncation of as many members as Ray takes, which rounds up."""
    return truncation(min(0.5, ceil(fraction * trials - 1e-9) / trials))


def _then(algorithm: Any, function: Any, given: list[dict[str, Any]]) -> Any:
    return algorithm if function is None else replace(algorithm, explore=Then(algorithm.explore, function, tuple(given)))


def _fine(what: str, interval: Any, burn_in: Any) -> int:
    """Returns how many steps one unit of `time_attr` has."""
    for name, value, least in (("perturbation_interval", interval, 0.001), ("burn_in_period", burn_in, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
            raise UsageError(f"{what}: {name}={value!r}, expected a number {'above 0' if least else 'from 0'}.")
    return 1 if float(interval).is_integer() and float(burn_in).is_integer() else FINE
