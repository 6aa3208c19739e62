"""A recording made ready for learning: every transition one row of one table, in order, without gaps.

Minibatches are drawn from the table many times, so all that does not change during an update is worked out once and lies
side by side: normalised observation, action, outputs and log density of the policy that acted, advantage, and target of the value
network. `Columns` names the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from poptrain._jax import jax, jnp
from poptrain.rl.parts.batch import Batch, Layout
from poptrain.rl.parts.distributions import Distribution
from poptrain.rl.parts.gae import RESET, TRUNCATED, advantage
from poptrain.rl.parts.networks import forward
from poptrain.rl.parts.normaliser import merge, normalise
from poptrain.rl.parts.value_scale import in_units, rescale

Scratch = dict[str, Any]


class Columns(NamedTuple):
    """Rows of the table, feature-major: B of them."""

    observations: Any  # (O, B) normalised
    actions: Any  # (A, B)
    outputs: Any  # (D, B) of the policy that acted
    log_prob: Any  # (B,)
    advantage: Any  # (B,) standardised over the batch
    target: Any  # (B,) for the value network's output


class Prepared(NamedTuple):
    """What an update needs beside the table."""

    normaliser: Any  # the filter that has taken in the batch
    value_scale: Any  # of the batch's returns
    value_layers: Any  # the value network, rescaled to them


def make_scratch(layout: Layout, observation: int, action: int, outputs: int, members: tuple[int, ...] = ()) -> Scratch:
    """Returns working memory; its content never matters, so it is handed on from call to call."""
    ticks = (*members, layout.local_rows)
    width = observation + action + outputs + 3
    return {"value": jnp.zeros(ticks), "advantage": jnp.zeros(ticks), "table": jnp.zeros((*members, layout.table_rows, width))}


def columns(table: Any, rows: Any, observation: int, action: int) -> Columns:
    """Returns the given rows of the table."""
    part = table[rows].T
    head = observation + action
    return Columns(part[:observation], part[observation:head], part[head:-3], part[-3], part[-2], part[-1])


def prepare(
    state: dict[str, Any],
    batch: Batch,
    scratch: Scratch,
    hparams: Mapping[str, Any],
    layout: Layout,
    distribution: Distribution,
    span: Any,
) -> tuple[Scratch, Prepared]:
    """Returns the scratch with its table filled, and what else follows from the batch; arguments as of `learner.learn`."""
    params, old = state["params"], state["normaliser"]
    moments = _moments(old["mean"], batch, layout, span)
    merged = merge(old, *moments, batch.n.astype(jnp.float32))
    statistics = jax.tree.map(lambda first, later: jnp.where(old["count"] == 0, first, later), merged, old)
    scratch = scratch | {"value": _values(params["value"], statistics, state["value_scale"], batch, scratch, layout, span)}
    scratch, (mean, std), returns = _advantages(batch, scratch, hparams, layout, span)
    value_scale, value_layers = rescale(state["value_scale"], params["value"], *returns)

    def fill(i: Any, table: Any) -> Any:
        begin = i * layout.chunk
        local = begin + jnp.arange(layout.chunk)
        if batch.order is not None:
            local = batch.order[local]
        rows = layout.find(batch, local)
        seen, actions = normalise(statistics, batch.observations[rows].T), batch.actions[rows].T
        outputs = forward(params["policy"], seen)
        log_prob = distribution.log_prob(outputs, params["log_std"], actions)
        gain, value = scratch["advantage"][local], scratch["value"][local]
        target = (value + gain - value_scale["mean"]) / value_scale["std"]
        part = jnp.concatenate([seen, actions, outputs, jnp.stack([log_prob, (gain - mean) / std, target])])
        return jax.lax.dynamic_update_slice_in_dim(table, part.T, begin, 0)

    rows = batch.n if batch.order is not None else span * layout.num_envs  # a common number, for `vmap`
    table = jax.lax.fori_loop(0, -(-rows // layout.chunk), fill, scratch["table"])
    return scratch | {"table": table}, Prepared(merged, value_scale, value_layers)


def _moments(centre: Any, batch: Batch, layout: Layout, span: Any) -> tuple[Any, Any]:
    """Mean and variance of the observations of all transitions, each (O,); taken around `centre` for accuracy."""

    def body(i: Any, sums: tuple[Any, Any]) -> tuple[Any, Any]:
        local = i * layout.chunk + jnp.arange(layout.chunk)
        weight = layout.real(batch, local)[:, None]
        x = (batch.observations[layout.find(batch, local)] - centre) * weight
        return sums[0] + x.sum(0), sums[1] + (x * x).sum(0)

    zero = jnp.zeros_like(centre)
    first, second = jax.lax.fori_loop(0, -(-span * layout.num_envs // layout.chunk), body, (zero, zero))
    n = jnp.maximum(batch.n, 1).astype(jnp.float32)
    shift = first / n
    return centre + shift, jnp.maximum(second / n - shift * shift, 0.0)


def _values(layers: Any, statistics: Any, scale: Any, batch: Batch, scratch: Scratch, layout: Layout, span: Any) -> Any:
    """The value of every recorded state, and of the one behind the last tick, in units of reward; (local rows,)."""

    def body(i: Any, values: Any) -> Any:
        begin = i * layout.chunk
        rows = layout.find(batch, begin + jnp.arange(layout.chunk))
        new = in_units(scale, forward(layers, normalise(statistics, batch.observations[rows].T))[0])
        return jax.lax.dynamic_update_slice_in_dim(values, new, begin, 0)

    return jax.lax.fori_loop(0, -(-(span + 1) * layout.num_envs // layout.chunk), body, scratch["value"])


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
