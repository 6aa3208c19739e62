"""What mixed architectures cost: environment steps per second of 8 PPO members of 8 shapes, and of as many of one shape.

    python -m benchmarks.architectures [--quick] --json

All members train in the vectorized executor on HalfCheetah-v5 (EnvPool), with equal hyperparameters; every member of the mixed
population has networks of another width or depth, so it needs as many programs. Rounds alternate between both populations, and
the first rounds, in which programs are compiled, are left out. The one shape is the mean of the others in its number of weights.
"""

from __future__ import annotations

import statistics
from typing import Any

import poptrain as pt
from benchmarks.common import figure, main
from poptrain.core import results_of
from poptrain.rl import PPO

MEMBERS, INTERVAL, WARM = 8, 16_384, 2
WIDTHS, LAYERS = (16, 32, 64, 128), (1, 2)
SPACE = pt.Space(
    lr=pt.LogUniform(1e-4, 1e-3),
    policy_width=pt.Ordinal(*WIDTHS, 54, static=True),
    policy_layers=pt.Int(1, 2, static=True),
    value_width=pt.Ordinal(*WIDTHS, 54, static=True),
    value_layers=pt.Int(1, 2, static=True),
)
ONE = {"policy_width": 54, "policy_layers": 2, "value_width": 54, "value_layers": 2}  # 4,272 weights each; the mean is 4,196


def shapes() -> list[dict[str, int]]:
    """Returns eight different architectures."""
    return [
        {"policy_width": width, "policy_layers": layers, "value_width": width, "value_layers": layers}
        for width in WIDTHS
        for layers in LAYERS
    ]


def rounds_seconds(initial: list[dict[str, Any]], rounds: int) -> list[float]:
    """Returns the seconds of every round after the first ones."""
    algorithm = pt.pbt(SPACE, MEMBERS, interval=INTERVAL, exploit=None, explore=None, initial=initial)
    run = pt.run(algorithm, PPO(env="HalfCheetah-v5"), stop=pt.generations(rounds), executor="vectorized", progress=False)
    ended: dict[int, float] = {}  # by step: when its last result came
    for line, time in zip(run.record.lines, run.record.times, strict=True):
        for result in results_of(line):
            ended[result.step] = time
    times = [ended[step] for step in sorted(ended)]
    return [after - before for before, after in zip(times[WARM - 1 :], times[WARM:], strict=False)]


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures."""
    rounds, tries = (WARM + 2, 1) if quick else (WARM + 6, 3)
    mixed, one = [], []
    for _ in range(tries):
        one += rounds_seconds([ONE | {"lr": 3e-4}] * MEMBERS, rounds)
        mixed += rounds_seconds([shape | {"lr": 3e-4} for shape in shapes()], rounds)
    rates = [MEMBERS * INTERVAL / statistics.median(seconds) for seconds in (one, mixed)]
    ratio = rates[1] / rates[0]
    return [
        figure("8 members of one shape", rates[0], "steps/s", n=len(one)),
        figure("8 members of 8 shapes", rates[1], "steps/s", n=len(mixed)),
        figure("8 shapes / one shape", ratio, "", ">= 0.8", ratio >= 0.8, tries),
    ]


if __name__ == "__main__":
    main("architectures", measure, __doc__ or "")
