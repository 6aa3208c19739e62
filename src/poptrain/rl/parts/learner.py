"""One PPO update of one member (arXiv 1707.06347), compiled once for all hyperparameters and batch sizes.

Batch size, minibatch size and epochs are trip counts of loops over arrays of fixed capacity, so the cost follows the real
batch and nothing is compiled anew. A minibatch is taken in chunks of a fixed number of rows whose gradients are summed.

    1  make the table (`table`); 2  for every epoch, for every minibatch of a fresh order: one clipped Adam step;
    3  adapt the KL coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poptrain._jax import jax, jnp
from poptrain.rl.parts.adam import adam_step
from poptrain.rl.parts.batch import Batch, Layout
from poptrain.rl.parts.distributions import Distribution
from poptrain.rl.parts.networks import forward
from poptrain.rl.parts.shuffle import draw_order, times, walk
from poptrain.rl.parts.table import Scratch, columns, prepare

LEARNED = ("params", "adam", "normaliser", "value_scale", "kl_scale")  # what an update changes in a carry
DIAGNOSTICS = ("kl", "entropy", "policy_loss", "value_loss")


def learn(
    state: dict[str, Any],
    batch: Batch,
    scratch: Scratch,
    hparams: Mapping[str, Any],
    key: Any,
    *,
    layout: Layout,
    distribution: Distribution,
    max_grad_norm: float,
    span: Any = None,
) -> tuple[dict[str, Any], Scratch, Any]:
    """Returns the learned state, the scratch, and the last epoch's mean `DIAGNOSTICS`, shape (4,).

    Args:
        state: the `LEARNED` parts of the member's carry.
        batch: its recording.
        hparams: traced scalars.
        key: randomness of the order of rows.
        span: ticks to walk through, at least the batch's own; one common number lets `vmap` keep the loops cheap.
    """
    old = state["params"]
    scratch, ready = prepare(state, batch, scratch, hparams, layout, distribution, batch.ticks if span is None else span)
    observation, action = batch.observations.shape[1], batch.actions.shape[1]
    kl_coeff = hparams["kl_coeff"] * state["kl_scale"]
    flat, unravel = jax.flatten_util.ravel_pytree(old | {"value": ready.value_layers})

    def loss(vector: Any, rows: Any, weight: Any) -> tuple[Any, Any]:
        params, part = unravel(vector), columns(scratch["table"], rows, observation, action)
        outputs, value = forward(params["policy"], part.observations), forward(params["value"], part.observations)[0]
        ratio = jnp.exp(distribution.log_prob(outputs, params["log_std"], part.actions) - part.log_prob)
        clipped = jnp.clip(ratio, 1.0 - hparams["clip"], 1.0 + hparams["clip"])
        surrogate = jnp.minimum(ratio * part.advantage, clipped * part.advantage)  # eq. (7)
        kl = distribution.kl(part.outputs, old["log_std"], outputs, params["log_std"])
        entropy = distribution.entropy(outputs, params["log_std"])
        error = (value - part.target) ** 2
        total = -surrogate + kl_coeff * kl  # eq. (8)
        total = total + hparams["value_coeff"] * error - hparams["entropy_coeff"] * entropy  # eq. (9)
        return (total * weight).sum(), jnp.stack([(x * weight).sum() for x in (kl, entropy, -surrogate, error)])

    size = jnp.clip(hparams["minibatch_size"], 1, batch.n)
    minibatches, chunks = batch.n // size, -(-size // layout.chunk)

    def epoch(i: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        params, adam, _ = carry
        position, stride = draw_order(jax.random.fold_in(key, i), batch.n)
        stride_of_minibatch = times(stride, size, batch.n)

        def minibatch(_: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
            params, adam, position, sums = carry

            def part(j: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
                gradient, sums, position = carry
                rows, position = walk(position, stride, batch.n, layout.chunk)
                weight = jnp.where(j * layout.chunk + jnp.arange(layout.chunk) < size, 1.0, 0.0) / size
                more, diagnostics = jax.grad(loss, has_aux=True)(params, rows, weight)
                return gradient + more, sums + diagnostics, position

            begin = position
            gradient, sums, _ = jax.lax.fori_loop(0, chunks, part, (jnp.zeros_like(params), sums, begin))
            norm = jnp.sqrt((gradient * gradient).sum())
            gradient = gradient * jnp.minimum(1.0, max_grad_norm / (norm + 1e-8))
            adam, params = adam_step(adam, params, gradient, hparams["lr"])
            return params, adam, (begin + stride_of_minibatch) % batch.n.astype(jnp.uint32), sums

        params, adam, _, sums = jax.lax.fori_loop(
            0, minibatches, minibatch, (params, adam, position, jnp.zeros(len(DIAGNOSTICS)))
        )
        return params, adam, sums / minibatches

    start = (flat, state["adam"], jnp.zeros(len(DIAGNOSTICS)))
    flat, adam, diagnostics = jax.lax.fori_loop(0, hparams["epochs"], epoch, start)
    return (
        {
            "params": unravel(flat),
            "adam": adam,
            "normaliser": ready.normaliser,
            "value_scale": ready.value_scale,
            "kl_scale": _adapt(state["kl_scale"], diagnostics[0], hparams["kl_target"]),
        },
        scratch,
        diagnostics,
    )


def _adapt(scale: Any, kl: Any, target: Any) -> Any:
    """RLlib's rule (the paper's section 4 doubles and halves): up by half above twice the target, halved below half.

    Bounded, so that a hundred small updates cannot lose the penalty for good.
    """
    moved = jnp.where(kl > 2.0 * target, scale * 1.5, jnp.where(kl < 0.5 * target, scale * 0.5, scale))
    return jnp.clip(moved, 2.0**-10, 2.0**10)
