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

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, population // 4))
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    begin, advance = task.alone()
    spent, ended, total = 0, [], population * task.steps
    while spent < total:
        trial = study.ask()
        hparams = {name: _suggested(trial, name, parameter) for name, parameter in task.space.items()}
        carry, score, rounds, segment = begin(hparams, task_seed(seed, len(ended))), math.nan, 0, 0
        while rounds < task.rounds and spent < total:
            carry, score = advance(carry, hparams, task_seed(seed, 10_000 * (len(ended) + 1) + segment))
            rounds, segment, spent = rounds + 1, segment + 1, spent + task.interval
            if not math.isfinite(score):
                break
            trial.report(score, rounds)
            if rounds < task.rounds and trial.should_prune():
                break
        whole = math.isfinite(score)
        study.tell(trial, score if whole else None, None if whole else optuna.trial.TrialState.FAIL)
        ended.append((rounds, score if whole else -math.inf, carry))
    far = (
        max(rounds for rounds, score, _ in ended if math.isfinite(score)) if any(math.isfinite(s) for _, s, _ in ended) else None
    )
    if far is None:
        return task.untrained, task.untrained, spent
    last = [(score, carry) for rounds, score, carry in ended if rounds == far and math.isfinite(score)]
    value = task.quality(max(last, key=lambda each: each[0])[1], seed)
    others = [task.quality(carry, seed) for _, carry in last] if task.look_at_all else []
    return value, float(np.max([value, *others])), spent


def _suggested(trial: Any, name: str, parameter: Any) -> Any:
    """Returns a value that Optuna proposes, on the scale of the parameter: its code, or the index of an option."""
    if parameter.numeric:
        return parameter.decode(trial.suggest_float(name, 0.0, 1.0))
    return parameter.decode(trial.suggest_categorical(name, list(range(len(parameter.options)))))
