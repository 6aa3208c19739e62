"""Real training in minutes, with ranges as people write them down who do not know better: four to five decades.

* `pendulum`: PPO on pure-JAX Pendulum, 20 rounds of 4,000 steps. `cartpole`: the same on CartPole, 8 rounds of 500.
* `bipedal`: PPO on BipedalWalker-v3 (EnvPool), 8 rounds of 16,000 steps. `walker`: the same, 20 rounds of 20,000: time to walk.
* `digits`: the network of `benchmarks.mixed_study` on scikit-learn's digits, with wider ranges, 30 rounds of 20 batches.

The quality is that of the reported checkpoint on data or episodes that no contender saw: 0 is what an untrained member does, 1 a
reference that is about the best known: fixed numbers, so that a quality says the same in every table.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

import poptrain as pt
from benchmarks import mixed_study
from benchmarks.value.problem import CHOOSE, CONFIRM, one_member

EPISODES = 50


class Training:
    """A real training task; `low` and `high` are the untrained and the reference result."""

    name: ClassVar[str]
    half: ClassVar[str]
    space: ClassVar[pt.Space]
    formula: ClassVar[str]
    rounds: ClassVar[int]
    interval: ClassVar[int]
    low: ClassVar[float]
    high: ClassVar[float]
    untrained: ClassVar[float] = 0.0
    look_at_all: ClassVar[bool] = True

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @property
    def steps(self) -> int:
        """The budget of a member."""
        return self.rounds * self.interval

    def result(self, carry: Any, seed: int) -> float:
        """Returns the result of a training state on what it never saw."""
        raise NotImplementedError

    def quality(self, carry: Any, seed: int) -> float:
        """Returns the result on the scale from 0 (untrained) to 1 (reference)."""
        return (self.result(carry, seed) - self.low) / (self.high - self.low)


class Agent(Training):
    """PPO, all members in one program."""

    env: ClassVar[str]
    settings: ClassVar[dict[str, Any]]

    @property
    def trainable(self) -> Any:
        """The agent; it is made once in a process, so that its programs are compiled once."""
        return _agent(type(self))

    @property
    def executor(self) -> str:
        """Where it trains."""
        return "vectorized"

    def result(self, carry: Any, seed: int) -> float:
        """Returns the mean return of the deterministic policy over episodes that no member trained on."""
        return float(self.trainable.evaluate(carry, episodes=EPISODES, seed=seed).mean())

    def alone(self) -> tuple[Any, Any]:
        """Returns what `problem.Problem.alone` does: a population of one."""
        agent = self.trainable
        whole = lambda hparams: {name: np.asarray([value]) for name, value in hparams.items()}
        seeds = lambda seed: np.asarray([seed], np.uint32)

        def advance(carry: Any, hparams: Any, seed: int) -> tuple[Any, float]:
            carry, metrics = agent.train(_each(carry, lambda x: x[None]), whole(hparams), self.interval, seeds(seed))
            return _each(carry, lambda x: x[0]), float(np.asarray(metrics["score"])[0])

        def begin(hparams: Any, seed: int) -> Any:
            return _each(agent.init(whole(hparams), seeds(seed)), lambda x: x[0])

        return begin, advance


SMALL = dict(hidden=(32, 32), num_envs=8, epochs=5, minibatch_size=64, chunk=64)  # of the environments that JAX runs


@cache
def _agent(task: type[Agent]) -> Any:
    from poptrain.rl import PPO

    return PPO(env=task.env, **task.settings)


def _each(carry: Any, f: Any) -> Any:
    """Returns a carry of which every array is changed."""
    from poptrain._jax import jax

    return jax.tree.map(lambda x: f(np.asarray(x)), carry)


class Pendulum(Agent):
    """Swing a pendulum up: five hyperparameters."""

    name, half = "pendulum", CHOOSE
    env = "jax/Pendulum-v1"
    settings = SMALL
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1),
        discount=pt.Complement(0.5, 0.9999),
        gae_lambda=pt.Complement(0.5, 0.999),
        entropy_coeff=pt.LogUniform(1e-6, 1e-1),
        train_batch_size=pt.LogInt(200, 20_000),
    )
    formula = "20 rounds of 4,000 steps; 0 is a return of -1,250, 1 one of -150"
    rounds, interval, low, high = 20, 4_000, -1_250.0, -150.0


class CartPole(Agent):
    """Balance a pole: five hyperparameters."""

    name, half = "cartpole", CONFIRM
    env = "jax/CartPole-v1"
    settings = SMALL
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1),
        discount=pt.Complement(0.5, 0.9999),
        clip=pt.LogUniform(1e-3, 1.0),
        entropy_coeff=pt.LogUniform(1e-6, 1e-1),
        train_batch_size=pt.LogInt(64, 8_192),
    )
    formula = "8 rounds of 500 steps; 0 is a return of 20, 1 one of 500"
    rounds, interval, low, high = 8, 500, 20.0, 500.0


class Bipedal(Agent):
    """Walk on two legs: five hyperparameters."""

    name, half = "bipedal", CONFIRM
    env = "BipedalWalker-v3"
    settings = dict(hidden=(32, 32), num_envs=8, horizon=1600, epochs=5, minibatch_size=128)
    look_at_all = False  # an evaluation of one member takes seconds
    space = pt.Space(
        lr=pt.LogUniform(1e-6, 1e-1),
        discount=pt.Complement(0.9, 0.9999),
        gae_lambda=pt.Uniform(0.5, 1.0),
        clip=pt.LogUniform(1e-2, 1.0),
        train_batch_size=pt.LogInt(500, 50_000),
    )
    formula = "8 rounds of 16,000 steps; 0 is a return of -100, 1 one of 300"
    rounds, interval, low, high = 8, 16_000, -100.0, 300.0


class Walker(Bipedal):
    """Walk on two legs, as `bipedal`, with a budget that is enough for it."""

    name = "walker"
    formula = "20 rounds of 20,000 steps; 0 is a return of -100, 1 one of 300"
    rounds, interval = 20, 20_000


class Digits(Training):
    """Learn scikit-learn's digits from 200 images: optimiser, augmentation and four numbers."""

    name, half = "digits", CHOOSE
    space = pt.Space(
        {
            **mixed_study.SPACE,
            "lr": pt.LogUniform(1e-5, 1.0),
            "decay": pt.LogUniform(1e-6, 1e-1),
            "dropout": pt.Uniform(0.0, 0.9),
        }
    )
    formula = "30 rounds of 20 batches; 0 is a test accuracy of .1, 1 one of 1"
    rounds, interval, low, high = 30, 20, 0.1, 1.0

    @property
    def trainable(self) -> Any:
        """The trainable of the study; divergence is a score that is not finite."""
        return mixed_study.train

    @property
    def executor(self) -> str:
        """Where it trains."""
        return "inline"

    def result(self, carry: Any, seed: int) -> float:
        """Returns the accuracy on images that were used neither for training nor for scores."""
        return mixed_study.judged(carry["w"], "test")[1]

    def alone(self) -> tuple[Any, Any]:
        """Returns what `problem.Problem.alone` does."""
        return one_member(mixed_study.train, self.interval)


TRAINING: dict[str, type[Training]] = {each.name: each for each in (Pendulum, Digits, CartPole, Bipedal, Walker)}
