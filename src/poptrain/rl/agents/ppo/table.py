"""A recording made ready for learning: a table with one row per transition, in order and without gaps.

Minibatches read the table many times, so everything that does not change during an update is computed once and stored in one
row: normalised observation, action, outputs and log density of the policy that acted, advantage, and target of the value network.
`TableRows` names the parts.
"""

from __future__ import annotations

from typing import NamedTuple

from poptrain._jax import jax, jnp
from poptrain.rl.agents.ppo.gae import advantage
from poptrain.rl.agents.ppo.value_scale import in_units, rescale
from poptrain.rl.distributions import Distribution
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.memory.marks import RESET, TRUNCATED
from poptrain.rl.nets import Layers, forward
from poptrain.rl.normaliser import merge, normalise
from poptrain.rl.trees import Array, Parts, Scalars, Tree

Moments = tuple[Array, Array]  # mean and standard deviation, or mean and variance


class TableRows(NamedTuple):
    """B rows of the table, feature-major."""

    observations: Array  # (O, B) normalised
    actions: Array  # (A, B)
    outputs: Array  # (D, B) of the policy that acted
    log_prob: Array  # (B,)
    advantage: Array  # (B,) standardised over the batch
    target: Array  # (B,) for the value network's output


class Prepared(NamedTuple):
    """What an update needs in addition to the table."""

    normaliser: Parts  # the filter, with the batch added
    value_scale: Parts  # of the batch's returns
    value_layers: Layers  # the value network, rescaled to them


def make_scratch(layout: Layout, observation: int, action: int, outputs: int, members: tuple[int, ...] = ()) -> Parts:
    """Returns working memory with these leading axes. Its content never matters, so it is reused from call to call."""
    ticks = (*members, layout.local_rows)
    width = observation + action + outputs + 3
    return {"value": jnp.zeros(ticks), "advantage": jnp.zeros(ticks), "table": jnp.zeros((*members, layout.table_rows, width))}


def select_rows(table: Array, rows: Array, observation: int, action: int) -> TableRows:
    """Returns the given rows, (B,), of a table."""
    part = table[rows].T
    head = observation + action
    return TableRows(part[:observation], part[observation:head], part[head:-3], part[-3], part[-2], part[-1])


def prepare(
    state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, layout: Layout, distribution: Distribution, span: Array
) -> tuple[Parts, Prepared]:
    """Returns the scratch with its table filled, and what else follows from the batch; arguments as in `learner.learn`."""
    params, old = state["params"], state["normaliser"]
    moments = moments_of(old["mean"], batch, layout, span)
    merged = merge(old, *moments, batch.n.astype(jnp.float32))
    statistics = jax.tree.map(lambda first, later: jnp.where(old["count"] == 0, first, later), merged, old)
    scratch = scratch | {"value": _values(params["value"], statistics, state["value_scale"], batch, scratch, layout, span)}
    scratch, (mean, std), returns = _advantages(batch, scratch, hparams, layout, span)
    value_scale, value_layers = rescale(state["value_scale"], params["value"], *returns)

    def fill(i: Array, table: Array) -> Array:
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

    rows = batch.n if batch.order is not None else span * layout.num_envs  # the same number for all members, for `vmap`
    table = jax.lax.fori_loop(0, -(-rows // layout.chunk), fill, scratch["table"])
    return scratch | {"table": table}, Prepared(merged, value_scale, value_layers)


def moments_of(centre: Array, batch: Batch, layout: Layout, span: Array) -> Moments:
    """Returns mean and variance of the observations of all transitions, (O,) each; computed around `centre` for accuracy."""

    def body(i: Array, sums: Moments) -> Moments:
        local = i * layout.chunk + jnp.arange(layout.chunk)
        weight = layout.real(batch, local)[:, None]
        x = (batch.observations[layout.find(batch, local)] - centre) * weight
        return sums[0] + x.sum(0), sums[1] + (x * x).sum(0)

    zero = jnp.zeros_like(centre)
    first, second = jax.lax.fori_loop(0, -(-span * layout.num_envs // layout.chunk), body, (zero, zero))
    n = jnp.maximum(batch.n, 1).astype(jnp.float32)
    shift = first / n
    return centre + shift, jnp.maximum(second / n - shift * shift, 0.0)


def _values(layers: Layers, statistics: Parts, scale: Parts, batch: Batch, scratch: Parts, layout: Layout, span: Array) -> Array:
    """Returns the value of every recorded state, and of the one after the last tick, in units of reward; (local rows,)."""

    def body(i: Array, values: Array) -> Array:
        begin = i * layout.chunk
        rows = layout.find(batch, begin + jnp.arange(layout.chunk))
        new = in_units(scale, forward(layers, normalise(statistics, batch.observations[rows].T))[0])
        return jax.lax.dynamic_update_slice_in_dim(values, new, begin, 0)

    return jax.lax.fori_loop(0, -(-(span + 1) * layout.num_envs // layout.chunk), body, scratch["value"])


def _advantages(batch: Batch, scratch: Parts, hparams: Scalars, layout: Layout, span: Array) -> tuple[Parts, Moments, Moments]:
    """Returns the scratch with the advantage of every tick, and (mean, std) over all transitions of advantage and of return.

    The return of a transition is its value + its advantage.
    """
    envs, discount = layout.num_envs, hparams["discount"]
    decay, values = discount * hparams["gae_lambda"], scratch["value"]

    def tick_of(array: Array, begin: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, begin, envs, 0)

    def body(i: Array, carry: Tree) -> Tree:
        out, later, sums = carry
        tick = span - 1 - i
        row, local = layout.tick(batch, tick), tick * envs
        mark, value, reached = tick_of(batch.marks, row), tick_of(values, local), tick_of(values, local + envs)
        if batch.bootstrap is not None:
            reached = jnp.where(mark == TRUNCATED, tick_of(batch.bootstrap, row), reached)
        gain = advantage(tick_of(batch.rewards, row), mark, value, reached, later, discount, decay)
        real = (mark != RESET) & (tick < batch.ticks)
        gain, total = jnp.where(real, gain, 0.0), jnp.where(real, value + gain, 0.0)
        out = jax.lax.dynamic_update_slice_in_dim(out, gain, local, 0)
        return out, gain, sums + jnp.stack([gain, gain * gain, total, total * total])

    start = (scratch["advantage"], jnp.zeros(envs), jnp.zeros((4, envs)))
    out, _, sums = jax.lax.fori_loop(0, span, body, start)
    means = sums.sum(1) / jnp.maximum(batch.n, 1).astype(jnp.float32)
    mean, std = means[0::2], jnp.sqrt(jnp.maximum(means[1::2] - means[0::2] ** 2, 0.0))
    return scratch | {"advantage": out}, (mean[0], jnp.maximum(std[0], 1e-6)), (mean[1], std[1])
