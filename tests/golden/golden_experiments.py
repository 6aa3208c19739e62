"""The experiment of every golden run, by the name of its directory.

What `verify` recomputes is decided by these algorithms, and `resume` recognises a run by them. So an entry is never changed:
what an argument meant when its run was written, it must mean for ever. Public names only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import poptrain as pt

sys.path.insert(0, str(Path(__file__).parent))  # the logs know the toys as modules of the top level
import golden_toys as toys  # noqa: E402

LR = pt.Space(lr=pt.LogUniform(1e-3, 0.2))
TWO = pt.Space(lr=pt.LogUniform(1e-3, 0.2), kind=pt.Choice(0, 1, 2))  # with a category, for the bandits
GRID = pt.Space(lr=pt.LogUniform(1e-3, 0.1), kind=pt.Choice(0, 1))
KINDS = pt.Space(
    {
        "opt.lr": pt.LogUniform(1e-3, 0.2, init=(1e-3, 1e-2)),
        "momentum": pt.Uniform(0.0, 0.9),
        "discount": pt.Complement(0.9, 0.999),
        "layers": pt.Int(1, 4),
        "batch": pt.LogInt(8, 128),
        "act": pt.Choice("relu", "tanh"),
        "width": pt.Ordinal(8, 16, 32, static=True),
    },
    repair=toys.tidy,
)
HALF = pt.truncation(0.4)
SCHEDULES = [[(0, {"lr": 0.01}), (6, {"lr": 0.1})], [(0, {"lr": 0.05})]]

# Every algorithm, on every executor: the algorithm, and steps per member.
ALGORITHMS: dict[str, tuple[Callable[[], Any], int]] = {
    "random_search": (lambda: pt.random_search(LR, population=3, interval=4), 12),
    "grid_search": (lambda: pt.grid_search(GRID, levels=2, interval=4), 8),
    "optuna_search": (lambda: pt.optuna_search(TWO, population=6, parallel=2, interval=4), 8),
    "pbt": (lambda: pt.pbt(LR, population=4, interval=4, exploit=HALF), 16),
    "pbt_async": (lambda: pt.pbt(LR, population=4, interval=4, sync=False, exploit=HALF), 16),
    "pb2": (lambda: pt.pb2(LR, population=4, interval=4), 16),
    "pb2_mult": (lambda: pt.pb2_mult(TWO, population=4, interval=4, exploit=HALF), 16),
    "pb2_mix": (lambda: pt.pb2_mix(TWO, population=4, interval=4, exploit=HALF), 16),
    "fire_pbt": (
        lambda: pt.fire_pbt(LR, (3, 3), 2, interval=6, evals=3, max_eval=12, exploit=pt.truncation(0.5), p_stat=0.4),
        36,
    ),
    "schedule_replay": (lambda: pt.schedule_replay(SCHEDULES, interval=3), 12),
}


def _jax() -> Any:
    import golden_jax

    return golden_jax.toy


def _on(executor: str, name: str) -> Callable[[], pt.Experiment]:
    def made() -> pt.Experiment:
        algorithm, steps = ALGORITHMS[name]
        trainable = _jax() if executor == "vectorized" else toys.climb
        return pt.Experiment(algorithm(), trainable, stop=pt.steps(steps), executor=executor, seed=3)

    return made


def _ppo() -> pt.Experiment:
    agent = pt.rl.PPO(env="jax/Pendulum-v1", hidden=(4,), num_envs=2, horizon=50, epochs=1, minibatch_size=50, max_batch=100)
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), train_batch_size=pt.Int(50, 100))
    algorithm = pt.pbt(space, population=2, interval=100, exploit=pt.truncation(0.5))
    return pt.Experiment(algorithm, agent, stop=pt.steps(300), executor="vectorized")


PBT = pt.pbt(LR, population=4, interval=4, exploit=HALF)


def _pbt(trainable: Any = toys.climb, steps: int = 12, **options: Any) -> Callable[[], pt.Experiment]:
    """An experiment with `PBT`, changed by options of `pbt`, or of the experiment."""
    outer = {name: options.pop(name) for name in ("metric", "mode", "stop", "executor", "checkpoints") if name in options}
    algorithm = pt.pbt(**{"space": LR, "population": 4, "interval": 4, "exploit": HALF, **options})
    return lambda: pt.Experiment(algorithm, trainable, **{"stop": pt.steps(steps), "seed": 3, **outer})


VARIANTS: dict[str, Callable[[], pt.Experiment]] = {
    "pbt-welch": _pbt(toys.measured, 15, exploit=pt.welch(alpha=0.3, window=2)),
    "pbt-tournament": _pbt(exploit=pt.tournament(), sync=False),
    "pbt-tournament-ties": _pbt(exploit=pt.tournament(ties=True)),
    "pbt-additive": _pbt(explore=pt.additive(0.2)),
    "pbt-resample": _pbt(explore=pt.resample()),
    "pbt-perturb": _pbt(explore=pt.perturb({"lr": (0.5, 2.0)}, resample=0.5)),
    "pbt-selection-alone": _pbt(explore=None),
    "pbt-own-explore": _pbt(explore=toys.halved),
    "pbt-weights-alone": _pbt(copy="weights"),
    "pbt-hparams-alone": _pbt(copy="hparams", warmup=8),
    "pbt-average": _pbt(average=2, initial=[{"lr": 0.02}, {"lr": 0.002}]),
    "pbt-controls": _pbt(population=5, controls=2),
    "pbt-minimised": _pbt(toys.descend, metric="loss", mode="min"),
    "pbt-kinds": _pbt(toys.many, space=KINDS),
    "pbt-seconds": _pbt(interval=pt.seconds(0.002), population=3, stop=pt.any_of(pt.steps(400), pt.seconds(600))),
    "pbt-seconds-async": _pbt(interval=pt.seconds(0.002), population=3, sync=False, steps=300),
    "pbt-to-a-score": _pbt(stop=pt.any_of(pt.score(0.6), pt.generations(10)), sync=False),
    "pbt-generations": _pbt(stop=pt.generations(2)),
    "pbt-class": _pbt(toys.Climber, 8),
    "pbt-generator": _pbt(toys.climbing, 8),
    "pbt-population": _pbt(toys.Herd(), executor="vectorized"),
    "pbt-jax-inline": lambda: pt.Experiment(PBT, _jax(), stop=pt.steps(8)),
    "pb2-async": lambda: pt.Experiment(
        pt.pb2(LR, population=4, interval=4, sync=False, beta="ray", window=12, evaluate_first=False),
        toys.climb, stop=pt.steps(16), seed=2,
    ),
    "pb2_mix-kinds": lambda: pt.Experiment(
        pt.pb2_mix(KINDS, population=4, interval=4, exploit=HALF), toys.many, stop=pt.steps(12), seed=2
    ),
    "optuna_search-random": lambda: pt.Experiment(
        pt.optuna_search(LR, population=3, sampler="random", initial=[{"lr": 0.01}]), toys.climb, stop=pt.steps(4)
    ),
    "fire_pbt-three": lambda: pt.Experiment(
        pt.fire_pbt(LR, (2, 2, 2), 4, interval=6, evals=3, warmup=(6, 12), max_eval=12, exploit=pt.truncation(0.5), p_stat=0.4),
        toys.climb, stop=pt.steps(36), seed=3,
    ),
    "ppo": _ppo,
    # lines that only some runs have
    "suspended": _pbt(toys.stoppable),
    "suspended-resumed": _pbt(toys.stoppable),
    "killed": _pbt(toys.stoppable),
    "killed-resumed": _pbt(toys.stoppable),
    "extended": _pbt(steps=16),
    "raising": _pbt(toys.raising),
    "diverging": _pbt(toys.diverging),
    "hopeless": _pbt(toys.hopeless),
    "lost": _pbt(steps=20, population=3, sync=False),
    "collected": _pbt(steps=28),
    "kept": _pbt(steps=12),
    "memory-url": _pbt(steps=8, checkpoints="memory://poptrain-golden-format1"),
}  # fmt: skip

EXECUTORS = ("inline", "processes", "vectorized")
EXPERIMENTS: dict[str, Callable[[], pt.Experiment]] = {
    **{f"{name}-{executor}": _on(executor, name) for name in ALGORITHMS for executor in EXECUTORS},
    **VARIANTS,
}


def _host_ppo() -> pt.Experiment:
    agent = pt.rl.PPO(
        env="Pendulum-v1", backend="envpool", hidden=(4,), num_envs=2, horizon=25, epochs=1, minibatch_size=50, max_batch=100
    )
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), train_batch_size=pt.Int(50, 100))
    algorithm = pt.pbt(space, population=3, interval=100, exploit=pt.truncation(0.34))
    return pt.Experiment(algorithm, agent, stop=pt.steps(300), executor="vectorized")


# Runs that were added to the newest format later; `make_host` wrote this one.
LATER: dict[str, Callable[[], pt.Experiment]] = {"host-ppo": _host_ppo}
# Runs that were not made from an entry here: `cli` has a file of its own, and a replay's log holds its algorithm.
OTHERS = ("cli", "replayed", "replayed-final")
