"""Ranges of Ray Tune and Optuna: what to write here instead."""

from __future__ import annotations

from poptrain.space.parameter import Given


def written_here(parameter: Given) -> str | None:
    """Returns the expression that stands for a range of another library; None if it is not one that is known.

    >>> class Float:  # as in Ray Tune
    ...     __module__, lower, upper, sampler = "ray.tune.search.sample", 0.0, 0.9, None
    >>> written_here(Float())
    'Uniform(0.0, 0.9)'
    """
    if type(parameter).__module__.partition(".")[0] not in ("ray", "optuna"):
        return None
    options = getattr(parameter, "categories", getattr(parameter, "choices", None))
    if options is not None:
        return f"Choice({', '.join(map(repr, options))})"
    low, high = (
        getattr(parameter, ray, getattr(parameter, optuna, None)) for ray, optuna in (("lower", "low"), ("upper", "high"))
    )
    if low is None or high is None:
        return None
    sampler = getattr(parameter, "sampler", None)
    sampler = getattr(sampler, "sampler", sampler)  # of Ray's quantized ones, what they round
    log = getattr(parameter, "log", False) or "Log" in type(sampler).__name__
    whole = "Int" in type(parameter).__name__
    if whole and hasattr(parameter, "upper"):
        high -= 1  # Ray leaves the upper bound out
    kind = {(False, False): "Uniform", (False, True): "LogUniform", (True, False): "Int", (True, True): "LogInt"}[
        whole, bool(log)
    ]
    return f"{kind}({low!r}, {high!r})"
