"""Successive halving with Optuna: a script as its users write it, at the cost of a population."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from poptrain.core.rng import task_seed


def halved(task: Any, population: int, seed: int) -> tuple[float, float, int]:
    """Returns (quality of the reported training, quality of the best one, steps trained).

    Trainings follow each other until the steps of `population` whole ones are spent. The one with the best last score among those
    that reached the end is reported; if none did, the one that came farthest.
    """
    import optuna

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)
    study = optuna.create_study(direction="maximize", sampler=tpe_sampler(seed, population), pruner=pruner)
    begin, advance = task.alone()
    spent, ended, total = 0, [], population * task.steps
    while spent < total:
        trial = study.ask()
        hparams = {name: _suggested(trial, name, parameter) for name, parameter in task.space.items()}
        carry, score, rounds = begin(hparams, task_seed(seed, len(ended))), math.nan, 0
        while rounds < task.rounds and spent < total:
            carry, score = advance(carry, hparams, task_seed(seed, 10_000 * (len(ended) + 1) + rounds))
            rounds, spent = rounds + 1, spent + task.interval
            if not math.isfinite(score):
                break
            trial.report(score, rounds)
            if rounds < task.rounds and trial.should_prune():
                break
        healthy = math.isfinite(score)
        study.tell(trial, score if healthy else None, None if healthy else optuna.trial.TrialState.FAIL)
        ended.append((rounds, score, carry))
    alive = [(rounds, score, carry) for rounds, score, carry in ended if math.isfinite(score)]
    if not alive:
        return task.untrained, task.untrained, spent
    far = max(rounds for rounds, _, _ in alive)
    last = [(score, carry) for rounds, score, carry in alive if rounds == far]
    value = task.quality(max(last, key=lambda each: each[0])[1], seed)
    others = [task.quality(carry, seed) for _, carry in last] if task.look_at_all else []
    return value, float(np.max([value, *others])), spent


def tpe_sampler(seed: int, population: int) -> Any:
    """Returns Optuna's TPE for a search at the cost of a population; Optuna logs errors alone from then on.

    A quarter of the population is drawn at random first. With Optuna's default of 10 it would be random search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, population // 4))


def _suggested(trial: Any, name: str, parameter: Any) -> Any:
    """Returns a value that Optuna proposes, on the scale of the parameter: its code, or the index of an option."""
    if parameter.numeric:
        return parameter.decode(trial.suggest_float(name, 0.0, 1.0))
    return parameter.decode(trial.suggest_categorical(name, list(range(len(parameter.options)))))
