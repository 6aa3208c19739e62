"""Ray's own schedulers under their names and with their arguments: only the import changes.

    from poptrain.integrations.ray_tune import PB2, PopulationBasedTraining     # was: ray.tune.schedulers

The differences: values never leave their range, a list is an ordered set of values, a bare function is sampled again and not
multiplied, a trial that fails or reports NaN is replaced, decisions are seeded, and the state survives `Tuner.restore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from poptrain.algorithms import pb2, pbt
from poptrain.algorithms.parts.exploit import Truncation, truncation
from poptrain.algorithms.parts.explore import perturb
from poptrain.core.errors import UsageError
from poptrain.core.protocols import Algorithm
from poptrain.integrations.ray_tune.checks import with_initial
from poptrain.integrations.ray_tune.configs import Config
from poptrain.integrations.ray_tune.explore import Then
from poptrain.integrations.ray_tune.scheduler import PoptrainScheduler
from poptrain.integrations.ray_tune.settings import Settings
from poptrain.integrations.ray_tune.space import from_bounds, from_mutations

FINE_RESOLUTION = 1000  # steps in one unit of `time_attr`, where an interval is not a whole number of units

CustomExplore = Callable[[Config], Config]


class PopulationBasedTraining(PoptrainScheduler):
    """`poptrain.pbt` with the arguments of ``ray.tune.schedulers.PopulationBasedTraining``; the population is ``num_samples``.

    Args:
        hyperparam_mutations: by name, or nested: a list (an ordered set of values), a tune domain, a function without arguments
            (called again at every exploration) or a poptrain parameter.
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
        hyperparam_mutations: Mapping[str, object] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: CustomExplore | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        revive: int = 3,
        sinks: Sequence[object] = (),
    ):
        what = "PopulationBasedTraining"
        if not hyperparam_mutations:
            raise UsageError(
                f"{what}: hyperparam_mutations is empty; list what is tuned, for example {{'lr': tune.loguniform(1e-4, 1e-1)}}."
            )
        resolution = _resolution(what, perturbation_interval, burn_in_period)
        from_mutations("hyperparam_mutations", hyperparam_mutations)
        make = partial(
            _pbt,
            mutations=hyperparam_mutations,
            interval=round(perturbation_interval * resolution),
            warmup=round(burn_in_period * resolution),
            sync=bool(synch),
            fraction=truncation(quantile_fraction).fraction,
            explore=perturb(tuple(perturbation_factors), resample=resample_probability),
            then=custom_explore_fn,
        )
        settings = (make, what, metric, mode, time_attr, seed, directory, revive, require_attrs, resolution)
        super().__init__(Settings(*settings, sinks=tuple(sinks)))


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
        hyperparam_bounds: Mapping[str, object] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: CustomExplore | None = None,
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        revive: int = 3,
        sinks: Sequence[object] = (),
    ):
        if not hyperparam_bounds:
            raise UsageError("PB2: hyperparam_bounds is empty; list what is tuned, for example {'lr': [1e-4, 1e-1]}.")
        resolution = _resolution("PB2", perturbation_interval, 0.0)
        from_bounds("hyperparam_bounds", hyperparam_bounds, [])
        make = partial(
            _pb2,
            bounds=hyperparam_bounds,
            interval=round(perturbation_interval * resolution),
            sync=bool(synch),
            fraction=truncation(quantile_fraction).fraction,
            then=custom_explore_fn,
        )
        settings = (make, "PB2", metric, mode, time_attr, seed, directory, revive, require_attrs, resolution)
        super().__init__(Settings(*settings, sinks=tuple(sinks)))


def _pbt(
    trials: int,
    given: list[Config],
    mutations: Mapping[str, object],
    fraction: float,
    then: CustomExplore | None,
    **settings: Any,
) -> Algorithm:
    algorithm = pbt(from_mutations("hyperparam_mutations", mutations), trials, exploit=_quantile(fraction, trials), **settings)
    return _followed_by(then, with_initial(algorithm, given), given)


def _pb2(
    trials: int, given: list[Config], bounds: Mapping[str, object], fraction: float, then: CustomExplore | None, **settings: Any
) -> Algorithm:
    space, exploit = from_bounds("hyperparam_bounds", bounds, given), _quantile(fraction, trials)
    algorithm = pb2(space, trials, exploit=exploit, evaluate_first=False, **settings)
    return _followed_by(then, with_initial(algorithm, given), given)


def _quantile(fraction: float, trials: int) -> Truncation:
    """Returns truncation of as many members as in Ray, which rounds up."""
    return truncation(min(0.5, ceil(fraction * trials - 1e-9) / trials))


def _followed_by(function: CustomExplore | None, algorithm: Any, given: list[Config]) -> Algorithm:
    """Returns an algorithm whose explore is followed by the user's function."""
    followed: Algorithm = algorithm
    if function is not None:
        followed = replace(algorithm, explore=Then(algorithm.explore, function, tuple(given)))
    return followed


def _resolution(what: str, interval: object, burn_in: object) -> int:
    """Returns the number of steps in one unit of `time_attr`.

    Raises:
        UsageError: an interval is not a number, or too small.
    """
    whole = True
    for name, value, least in (("perturbation_interval", interval, 0.001), ("burn_in_period", burn_in, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
            raise UsageError(f"{what}: {name}={value!r}, expected a number {'above 0' if least else 'from 0'}.")
        whole = whole and float(value).is_integer()
    return 1 if whole else FINE_RESOLUTION
