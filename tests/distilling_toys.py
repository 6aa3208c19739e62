"""Toys whose members learn from teachers: a skill that grows towards a limit, which the width decides.

As functions, as a class, and in JAX. A module of its own, so that workers import it by name.
"""

from __future__ import annotations

import json

import poptrain as pt
from poptrain.trainable import jax_trainable

SPACE = pt.Space(lr=pt.Uniform(0.1, 1.0), mode=pt.Choice(1.0, 0.9), width=pt.Int(1, 4, static=True))
LAST, FALL = 0.05, 0.8


def limit(width):
    """Returns the skill that a width allows: 3 is the best one."""
    return 3.0 - (width - 3) * (width - 3) * 0.5


def alpha_at(progress):
    """Returns the weight of the teacher."""
    return max(1 - (1 - LAST) * progress / FALL, LAST)


def init(hp, seed):
    return {"skill": 0.0, "width": hp["width"], "steps": 0}


def train(carry, hp, steps, seed):
    skill = carry["skill"]
    assert carry["width"] == hp["width"]
    for _ in range(steps):
        skill += 0.02 * hp["lr"] * (hp["mode"] * limit(hp["width"]) - skill)
    return carry | {"skill": skill, "steps": carry["steps"] + steps}, {"score": skill}


def distill(carry, teacher, hp, steps, seed, progress):
    begin, end = progress
    for step in range(steps):
        alpha = alpha_at(begin + (end - begin) * step / steps)
        near = min(teacher["skill"], limit(hp["width"]))
        carry, metrics = train(carry | {"skill": carry["skill"] + alpha * 0.1 * (near - carry["skill"])}, hp, 1, seed)
    return carry, metrics | {"alpha": alpha, "taught_by_width": teacher["width"]}


FUNCTIONS = pt.Trainable(init, train, distill)


class Pupil:
    """The same as a class; its state has as many numbers as it is wide, so a teacher must be loaded in its own width."""

    def __init__(self, hp, seed):
        self.carry, self.weights = init(hp, seed), [0.0] * hp["width"]

    def train(self, hp, steps):
        self.carry, metrics = train(self.carry, hp, steps, 0)
        return metrics

    def distill(self, teacher, hp, steps, progress):
        self.carry, metrics = distill(self.carry, teacher.carry, hp, steps, 0, progress)
        return metrics

    def save(self, directory):
        (directory / "state.json").write_text(json.dumps([self.carry, self.weights]))

    def load(self, directory):
        self.carry, weights = json.loads((directory / "state.json").read_text())
        assert len(weights) == len(self.weights), "made with the hyperparameters of another member"


def jax_toy():
    """Returns the toy as three JAX functions, with a vector of `width` weights in the carry."""
    from poptrain._jax import jax, jnp

    def init(hp, key):
        return {"skill": jnp.float32(0.0), "weights": jnp.zeros(int(hp["width"]))}

    def step(hp, skill):
        return skill + 0.02 * hp["lr"] * (hp["mode"] * limit(hp["width"]) - skill)

    def train(carry, hp, steps, key):
        skill = jax.lax.fori_loop(0, steps, lambda _, skill: step(hp, skill), carry["skill"])
        return carry | {"skill": skill}, {"score": skill}

    def distill(carry, teacher, hp, steps, key, progress):
        def body(i, skill):
            at = progress[0] + (progress[1] - progress[0]) * i / steps
            alpha = jnp.maximum(1 - (1 - LAST) * at / FALL, LAST)
            return step(hp, skill + alpha * 0.1 * (jnp.minimum(teacher["skill"], limit(hp["width"])) - skill))

        skill = jax.lax.fori_loop(0, steps, body, carry["skill"])
        return carry | {"skill": skill}, {"score": skill, "taught_by_width": 1.0 * teacher["weights"].size}

    return jax_trainable(init, train, distill)
