"""On-policy distillation in PPO (BG-PBT, arXiv 2207.09405, section 3.2): a student also learns from the networks of a teacher.

    L = L_PPO + alpha (c_pi mean KL(pi_T || pi_S) + c_v mean (V_S - V_T)^2)        on rollouts of the student            (1)
    alpha falls in a straight line from 1 to 0.05 over the first 0.8 of the distillation, and stays there               (2)

The *lesson* is a part of the state of a student while it is distilled: the teacher's ``params``, ``normaliser`` and
``value_scale``, the ``progress`` of the distillation in [0, 1], and the ``rate`` at which one transition advances it. So alpha
follows the transitions that were learned from. A task states where its part begins, and therefore a resumed run goes on with the
same alpha. Between tasks the carry of a student is that of any PPO agent.

Values are compared in standard deviations of the student's returns, and divergences are averaged over the actions' dimensions.
A teacher sees observations through its own filter; a student begins with a copy of the filter, and of the scale of its values.
"""

from __future__ import annotations

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.rl.agents.ppo.value_scale import in_units
from poptrain.rl.distributions import Distribution
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.nets import forward
from poptrain.rl.normaliser import normalise
from poptrain.rl.trees import Array, Parts
from poptrain.trainable.teaching import FALL, LAST_WEIGHT

LESSON = "lesson"  # the part of a student's state
TAUGHT = ("teacher_kl", "teacher_value_loss", "alpha")  # diagnostics of an update, in addition to PPO's
TAKEN_OVER = ("normaliser", "value_scale")  # from the teacher, by students that have not learned yet


def alpha_at(progress: Array) -> Array:
    """Returns the weight of the teacher at a progress in [0, 1], eq. (2)."""
    return jnp.maximum(1.0 - (1.0 - LAST_WEIGHT) * progress / FALL, LAST_WEIGHT)


def begun(carry: Parts, teacher: Parts, progress: tuple[float, float], steps: int) -> Parts:
    """Returns the carry of P students with their lessons; those that have not learned yet take over the teacher's statistics.

    Args:
        teacher: the carry of their P teachers, of any architecture.
        progress: begin and end of this part of the distillation.
        steps: transitions of this part.
    """
    fresh = np.asarray(carry["normaliser"]["count"]) == 0
    students = len(fresh)

    def taken(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(fresh.reshape(-1, *[1] * (np.ndim(own) - 1)), other, own)

    statistics = {part: jax.tree.map(taken, carry[part], teacher[part]) for part in TAKEN_OVER}
    begin, end = progress
    lesson = {part: teacher[part] for part in ("params", *TAKEN_OVER)} | {
        "progress": np.full(students, begin, np.float32),
        "rate": np.full(students, (end - begin) / max(steps, 1), np.float32),
    }
    return carry | statistics | {LESSON: lesson}


def ended(carry: Parts) -> Parts:
    """Returns the carry without the lessons: the teacher's networks are not stored with every student."""
    return {name: part for name, part in carry.items() if name != LESSON}


def advanced(lesson: Parts, transitions: Array) -> Parts:
    """Returns the lesson after an update on n transitions."""
    return lesson | {"progress": jnp.minimum(lesson["progress"] + lesson["rate"] * transitions, 1.0)}


def write_answers(lesson: Parts, batch: Batch, scratch: Parts, scale: Parts, layout: Layout, span: Array) -> Parts:
    """Returns the scratch with the teacher's outputs and value, in the student's units, for every row of the table.

    Args:
        scale: of the student's values in this update.
        span: ticks to walk through, see `learner.learn`.
    """

    def fill(i: Array, answers: Array) -> Array:
        begin = i * layout.chunk
        local = begin + jnp.arange(layout.chunk)
        if batch.order is not None:
            local = batch.order[local]
        seen = normalise(lesson["normaliser"], batch.observations[layout.find(batch, local)].T)
        outputs = forward(lesson["params"]["policy"], seen)
        value = in_units(lesson["value_scale"], forward(lesson["params"]["value"], seen))
        part = jnp.concatenate([outputs, (value - scale["mean"]) / scale["std"]])
        return jax.lax.dynamic_update_slice_in_dim(answers, part.T, begin, 0)

    rows = batch.n if batch.order is not None else span * layout.num_envs
    answers = jax.lax.fori_loop(0, -(-rows // layout.chunk), fill, scratch["answers"])
    return scratch | {"answers": answers}


def imitation(
    answers: Array, lesson: Parts, distribution: Distribution, outputs: Array, log_std: Array, value: Array
) -> tuple[Array, Array]:
    """Returns KL(teacher || student), averaged over the actions' dimensions, and the squared difference of the values, (B,) each.

    Args:
        answers: rows of the teacher's outputs and value, (B, D + 1).
        outputs, log_std, value: of the student, (D, B), (A,) and (B,).
    """
    taught, teacher_log_std = answers.T, lesson["params"]["log_std"]
    kl = distribution.kl(taught[:-1], teacher_log_std, outputs, log_std) / max(teacher_log_std.shape[-1], 1)
    return kl, (value - taught[-1]) ** 2
