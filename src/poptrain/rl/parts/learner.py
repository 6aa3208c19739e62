"""One PPO update of one member (arXiv 1707.06347), compiled once for all hyperparameters and batch sizes.

Batch size, minibatch size and epochs are trip counts of loops over arrays of fixed capacity, so the cost follows the real
batch and nothing is compiled anew. A minibatch is taken in chunks of a fixed number of rows whose gradients are summed.

    1  take the batch's moments; 2  values, densities and outputs of the policy that acted; 3  advantages, backwards;
    4  rescale the value network to the returns; 5  for every epoch, for every minibatch of a fresh order: one clipped Adam
    step; 6  adapt the KL coefficient; 7  let the observation filter take in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poptrain._jax import jax, jnp
from poptrain.rl.parts.adam import adam_step
from poptrain.rl.parts.batch import Batch, Layout
from poptrain.rl.parts.distributions import Distribution
from poptrain.rl.parts.gae import RESET, TRUNCATED, advantage
from poptrain.rl.parts.networks import forward
from poptrain.rl.parts.normaliser import merge, normalise
from poptrain.rl.parts.shuffle import draw_order, times, walk
from poptrain.rl.parts.value_scale import in_units, rescale

LEARNED = ("params", "adam", "normaliser", "value_scale", "kl_scale")  # what an update changes in a carry
DIAGNOSTICS = ("kl", "entropy", "policy_loss", "value_loss")
Scratch = dict[str, Any]


def make_scratch(layout: Layout, outputs: int, members: tuple[int, ...] = ()) -> Scratch:
    """Returns working memory for `learn`; its content never matters, so it is handed on from call to call."""
    rows = (*members, layout.local_rows)
    names = ("value", "log_prob", "advantage")
    return {name: jnp.zeros(rows) for name in names} | {"outputs": jnp.zeros((*rows, outputs))}


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
    span = batch.ticks if span is None else span
    old = state["params"]
    count = state["normaliser"]["count"]
    moments = _moments(state["normaliser"]["mean"], batch, layout, span)
    merged = merge(state["normaliser"], *moments, batch.n.astype(jnp.float32))
    statistics = _choose(count == 0, merged, state["normaliser"])
    scratch = _evaluate(old, statistics, state["value_scale"], batch, scratch, layout, distribution, span)
    scratch, (mean, std), returns = _advantages(batch, scratch, hparams, layout, span)
    value_scale, value_layers = rescale(state["value_scale"], old["value"], *returns)
    kl_coeff = hparams["kl_coeff"] * state["kl_scale"]

    flat, unravel = jax.flatten_util.ravel_pytree(old | {"value": value_layers})

    def loss(vector: Any, local: Any, weight: Any) -> tuple[Any, Any]:
        params, rows = unravel(vector), layout.rows(batch, local)
        columns = normalise(statistics, batch.observations[rows].T)
        outputs, value = forward(params["policy"], columns), forward(params["value"], columns)[0]
        old_outputs, actions = scratch["outputs"][local].T, batch.actions[rows].T
        gain = scratch["advantage"][local]
        ratio = jnp.exp(distribution.log_prob(outputs, params["log_std"], actions) - scratch["log_prob"][local])
        clipped = jnp.clip(ratio, 1.0 - hparams["clip"], 1.0 + hparams["clip"])
        scaled = (gain - mean) / std
        surrogate = jnp.minimum(ratio * scaled, clipped * scaled)  # eq. (7)
        kl = distribution.kl(old_outputs, old["log_std"], outputs, params["log_std"])
        entropy = distribution.entropy(outputs, params["log_std"])
        target = (scratch["value"][local] + gain - value_scale["mean"]) / value_scale["std"]
        error = (value - target) ** 2
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
                local, position = walk(position, stride, batch.n, layout.chunk)
                if batch.order is not None:
                    local = batch.order[local]
                weight = jnp.where(j * layout.chunk + jnp.arange(layout.chunk) < size, 1.0, 0.0) / size
                more, diagnostics = jax.grad(loss, has_aux=True)(params, local, weight)
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
            "normaliser": merged,
            "value_scale": value_scale,
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


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _moments(centre: Any, batch: Batch, layout: Layout, span: Any) -> tuple[Any, Any]:
    """Mean and variance of the observations of all transitions, each (O,); taken around `centre` for accuracy."""

    def body(i: Any, sums: tuple[Any, Any]) -> tuple[Any, Any]:
        local = i * layout.chunk + jnp.arange(layout.chunk)
        weight = layout.real(batch, local)[:, None]
        x = (batch.observations[layout.rows(batch, local)] - centre) * weight
        return sums[0] + x.sum(0), sums[1] + (x * x).sum(0)

    zero = jnp.zeros_like(centre)
    first, second = jax.lax.fori_loop(0, -(-span * layout.num_envs // layout.chunk), body, (zero, zero))
    n = jnp.maximum(batch.n, 1).astype(jnp.float32)
    shift = first / n
    return centre + shift, jnp.maximum(second / n - shift * shift, 0.0)


def _evaluate(
    params: Any,
    statistics: Any,
    value_scale: Any,
    batch: Batch,
    scratch: Scratch,
    layout: Layout,
    distribution: Distribution,
    span: Any,
) -> Scratch:
    """Fills in value, log_prob and outputs of every tick, and the value of the state behind the last one."""

    def body(i: Any, scratch: Scratch) -> Scratch:
        begin = i * layout.chunk
        rows = layout.rows(batch, begin + jnp.arange(layout.chunk))
        columns = normalise(statistics, batch.observations[rows].T)
        outputs = forward(params["policy"], columns)
        new = {
            "value": in_units(value_scale, forward(params["value"], columns)[0]),
            "log_prob": distribution.log_prob(outputs, params["log_std"], batch.actions[rows].T),
            "outputs": outputs.T,
        }
        return scratch | {k: jax.lax.dynamic_update_slice_in_dim(scratch[k], v, begin, 0) for k, v in new.items()}

    return jax.lax.fori_loop(0, -(-(span + 1) * layout.num_envs // layout.chunk), body, scratch)


def _advantages(
    batch: Batch, scratch: Scratch, hparams: Mapping[str, Any], layout: Layout, span: Any
) -> tuple[Scratch, tuple[Any, Any], tuple[Any, Any]]:
    """Fills in the advantage of every tick; returns also (mean, std) over all transitions of it and of value + advantage."""
    envs, discount = layout.num_envs, hparams["discount"]
    decay, values = discount * hparams["gae_lambda"], scratch["value"]

    def take(array: Any, begin: Any) -> Any:
        return jax.lax.dynamic_slice_in_dim(array, begin, envs, 0)

    def body(i: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        out, later, sums = carry
        tick = span - 1 - i
        row, local = layout.tick(batch, tick), tick * envs
        mark, value, reached = take(batch.marks, row), take(values, local), take(values, local + envs)
        if batch.bootstrap is not None:
            reached = jnp.where(mark == TRUNCATED, take(batch.bootstrap, row), reached)
        gain = advantage(take(batch.rewards, row), mark, value, reached, later, discount, decay)
        real = (mark != RESET) & (tick < batch.ticks)
        gain, total = jnp.where(real, gain, 0.0), jnp.where(real, value + gain, 0.0)
        out = jax.lax.dynamic_update_slice_in_dim(out, gain, local, 0)
        return out, gain, sums + jnp.stack([gain, gain * gain, total, total * total])

    start = (scratch["advantage"], jnp.zeros(envs), jnp.zeros((4, envs)))
    out, _, sums = jax.lax.fori_loop(0, span, body, start)
    means = sums.sum(1) / jnp.maximum(batch.n, 1).astype(jnp.float32)
    mean, std = means[0::2], jnp.sqrt(jnp.maximum(means[1::2] - means[0::2] ** 2, 0.0))
    return scratch | {"advantage": out}, (mean[0], jnp.maximum(std[0], 1e-6)), (mean[1], std[1])
