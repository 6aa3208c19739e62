"""One PPO update of one member (arXiv 1707.06347), compiled once for all hyperparameters and batch sizes.

Batch size, minibatch size and epochs are trip counts of loops over arrays of fixed capacity, so the cost follows the real
batch and nothing is compiled again. A minibatch is taken in chunks of a fixed number of rows, whose gradients are summed.

    1  make the table (`table`); 2  for every epoch, for every minibatch of a fresh order: one clipped Adam step;
    3  adapt the KL coefficient.

A state with a lesson is that of a student: it learns from a teacher as well (`lesson`).
"""

from __future__ import annotations

from collections.abc import Callable

from poptrain._jax import jax, jnp
from poptrain.rl.adam import adam_step
from poptrain.rl.agents.ppo.lesson import LESSON, TAUGHT, advanced, alpha_at, imitation, write_answers
from poptrain.rl.agents.ppo.shuffle import draw_order, times, walk_order
from poptrain.rl.agents.ppo.table import prepare, select_rows
from poptrain.rl.distributions import Distribution
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.nets import forward
from poptrain.rl.spectral import refreshed
from poptrain.rl.trees import Array, Parts, Scalars, Tree

LEARNED = ("params", "adam", "normaliser", "value_scale", "kl_scale")  # the parts of a carry that an update changes
DIAGNOSTICS = ("kl", "entropy", "policy_loss", "value_loss")


def learn(
    state: Parts,
    batch: Batch,
    scratch: Parts,
    hparams: Scalars,
    key: Array,
    *,
    layout: Layout,
    distribution: Distribution,
    max_grad_norm: float,
    span: Array | None = None,
) -> tuple[Parts, Parts, Array]:
    """Returns the learned state, the scratch, and the mean `DIAGNOSTICS` of the last epoch, shape (4,); of a student (7,).

    Args:
        state: the `LEARNED` parts of the member's carry.
        batch: its recording.
        scratch: working memory, see `table.make_scratch`.
        hparams: traced scalars.
        key: randomness of the order of rows.
        span: ticks to walk through, at least the batch's own; one number for all members keeps the loops cheap under `vmap`.
    """
    old, span = state["params"], batch.ticks if span is None else span
    scratch, ready = prepare(state, batch, scratch, hparams, layout, distribution, span)
    lesson = state.get(LESSON)
    names = DIAGNOSTICS if lesson is None else DIAGNOSTICS + TAUGHT
    if lesson is not None:
        scratch = write_answers(lesson, batch, scratch, ready.value_scale, layout, span)
        alpha = alpha_at(lesson["progress"])
    observation, action = batch.observations.shape[1], batch.actions.shape[1]
    kl_coeff = hparams["kl_coeff"] * state["kl_scale"]
    flat, unravel = jax.flatten_util.ravel_pytree(old | {"value": ready.value_layers})

    def loss(vector: Array, rows: Array, weight: Array) -> tuple[Array, Array]:
        params, part = unravel(vector), select_rows(scratch["table"], rows, observation, action)
        outputs, value = forward(params["policy"], part.observations), forward(params["value"], part.observations)[0]
        ratio = jnp.exp(distribution.log_prob(outputs, params["log_std"], part.actions) - part.log_prob)
        clipped = jnp.clip(ratio, 1.0 - hparams["clip"], 1.0 + hparams["clip"])
        surrogate = jnp.minimum(ratio * part.advantage, clipped * part.advantage)  # eq. (7)
        kl = distribution.kl(part.outputs, old["log_std"], outputs, params["log_std"])
        entropy = distribution.entropy(outputs, params["log_std"])
        error = (value - part.target) ** 2
        total = -surrogate + kl_coeff * kl  # eq. (8)
        total = total + hparams["value_coeff"] * error - hparams["entropy_coeff"] * entropy  # eq. (9)
        shown = [kl, entropy, -surrogate, error]
        if lesson is not None:
            taught = imitation(scratch["answers"][rows], lesson, distribution, outputs, params["log_std"], value)
            total = total + alpha * (hparams["distill_policy"] * taught[0] + hparams["distill_value"] * taught[1])
            shown += [*taught, jnp.full_like(value, alpha)]
        return (total * weight).sum(), jnp.stack([(x * weight).sum() for x in shown])

    start = (flat, state["adam"], jnp.zeros(len(names)))
    epoch = _epoch(loss, batch.n, hparams, key, layout.chunk, max_grad_norm)
    flat, adam, diagnostics = jax.lax.fori_loop(0, hparams["epochs"], epoch, start)
    params = unravel(flat)
    learned = {
        "params": params | {"policy": refreshed(params["policy"]), "value": refreshed(params["value"])},
        "adam": adam,
        "normaliser": ready.normaliser,
        "value_scale": ready.value_scale,
        "kl_scale": _adapt(state["kl_scale"], diagnostics[0], hparams["kl_target"]),
    }
    if lesson is not None:
        learned[LESSON] = advanced(lesson, batch.n)
    return learned, scratch, diagnostics


def _epoch(
    loss: Callable[..., tuple[Array, Array]], n: Array, hparams: Scalars, key: Array, chunk: int, max_grad_norm: float
) -> Callable[[Array, Tree], Tree]:
    """Returns the body of the loop over epochs: (epoch, (params, adam, diagnostics)) -> the same after a pass over n rows."""
    size = jnp.clip(hparams["minibatch_size"], 1, n)
    minibatches, chunks = n // size, -(-size // chunk)

    def epoch(i: Array, carry: Tree) -> Tree:
        params, adam, last = carry
        position, stride = draw_order(jax.random.fold_in(key, i), n)
        stride_of_minibatch = times(stride, size, n)

        def minibatch(_: Array, carry: Tree) -> Tree:
            params, adam, position, sums = carry

            def part(j: Array, carry: Tree) -> Tree:
                gradient, sums, position = carry
                rows, position = walk_order(position, stride, n, chunk)
                weight = jnp.where(j * chunk + jnp.arange(chunk) < size, 1.0, 0.0) / size
                more, diagnostics = jax.grad(loss, has_aux=True)(params, rows, weight)
                return gradient + more, sums + diagnostics, position

            begin = position
            gradient, sums, _ = jax.lax.fori_loop(0, chunks, part, (jnp.zeros_like(params), sums, begin))
            norm = jnp.sqrt((gradient * gradient).sum())
            gradient = gradient * jnp.minimum(1.0, max_grad_norm / (norm + 1e-8))
            adam, params = adam_step(adam, params, gradient, hparams["lr"])
            return params, adam, (begin + stride_of_minibatch) % n.astype(jnp.uint32), sums

        start = (params, adam, position, jnp.zeros_like(last))
        params, adam, _, sums = jax.lax.fori_loop(0, minibatches, minibatch, start)
        return params, adam, sums / minibatches

    return epoch


def _adapt(scale: Array, kl: Array, target: Array) -> Array:
    """Returns the factor of the KL coefficient after an update, by RLlib's rule (section 4 of the paper doubles and halves).

    It grows by half above twice the target, and is halved below half of it. It is bounded, so that a hundred small updates
    cannot remove the penalty for good.
    """
    moved = jnp.where(kl > 2.0 * target, scale * 1.5, jnp.where(kl < 0.5 * target, scale * 0.5, scale))
    return jnp.clip(moved, 2.0**-10, 2.0**10)
