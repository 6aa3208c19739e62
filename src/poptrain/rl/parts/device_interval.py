"""One interval of a population whose environments are pure JAX: simulating, advantages and updates in one program.

All members step together, as one batch of P * E environments, and record at one common slot of a ring of ticks; each
member's batch is a window of that ring. The program steps until the first batch is full, lets the members whose batch is
full learn, and goes on. On CPUs they learn one after another, which costs what their own batches cost; on accelerators
all at once. Episodes go on from one interval to the next: their states are part of the carry.
"""

from __future__ import annotations

from functools import lru_cache, partial
from threading import Lock
from typing import Any

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import DeviceEnv
from poptrain.rl.parts.batch import Batch, Layout
from poptrain.rl.parts.distributions import Distribution
from poptrain.rl.parts.gae import GOES_ON, TERMINATED, TRUNCATED
from poptrain.rl.parts.learner import DIAGNOSTICS, learn
from poptrain.rl.parts.networks import forward
from poptrain.rl.parts.normaliser import normalise
from poptrain.rl.parts.table import make_scratch
from poptrain.rl.parts.value_scale import in_units

PAGE = 64  # ticks that are moved into or out of the ring at once
LOG = 1024  # episode returns that an interval remembers per member, the latest
FIELDS = ("observations", "actions", "rewards", "marks", "bootstrap")
LEARN = 0x7FFF0000  # keys of updates begin here, those of ticks at 0


class Program:
    """The compiled interval of one agent, population size and capacity."""

    def __init__(
        self, env: DeviceEnv, members: int, layout: Layout, distribution: Distribution, horizon: int, max_grad_norm: float
    ):
        self.env, self.members, self.layout, self.horizon = env, members, layout, horizon
        self.distribution = distribution
        self.learn = partial(learn, layout=layout, distribution=distribution, max_grad_norm=max_grad_norm)
        self.together = accelerated()
        self.empty_ring = jax.jit(self._empty_ring)
        self.put = jax.jit(self._put, donate_argnums=0)
        self.get = jax.jit(self._get)
        self._lock, self._compiled = Lock(), None

    def run(self, *arguments: Any) -> Any:
        """Returns what `_run` does; compiled once, whichever thread comes first."""
        with self._lock:
            if self._compiled is None:
                self._compiled = jax.jit(self._run, donate_argnames="ring").lower(*arguments).compile()
        return self._compiled(*arguments)

    # -- the ring -----------------------------------------------------------------------------------------------------

    def _empty_ring(self) -> dict[str, Any]:
        lead, spec = (self.layout.slots, self.members, self.layout.num_envs), self.env.spec
        return {
            "observations": jnp.zeros((*lead, spec.observation)),
            "actions": jnp.zeros((*lead, spec.recorded)),
            "rewards": jnp.zeros(lead),
            "marks": jnp.zeros(lead, jnp.uint8),
            "bootstrap": jnp.zeros(lead),
        }

    def _put(self, ring: dict[str, Any], page: dict[str, Any], slot: Any) -> dict[str, Any]:
        return {k: jax.lax.dynamic_update_slice_in_dim(ring[k], page[k], slot, 0) for k in FIELDS}

    def _get(self, ring: dict[str, Any], slot: Any) -> dict[str, Any]:
        slots = (slot + jnp.arange(PAGE)) % self.layout.slots
        return {k: ring[k][slots] for k in FIELDS}

    # -- the interval -------------------------------------------------------------------------------------------------

    def _run(self, state: Any, world: Any, ring: Any, window: Any, hparams: Any, seeds: Any, ticks: Any) -> Any:
        """Returns (state, world, ring, window, log) after `ticks` ticks; the log's arrays lead with (P,)."""
        keys = jax.vmap(jax.random.key)(seeds)
        zero = jnp.zeros(self.members)
        log = {
            "returns": jnp.zeros((self.members, LOG)), "episodes": zero.astype(jnp.int32), "sum": zero, "lengths": zero,
            "updates": zero.astype(jnp.int32), "diagnostics": jnp.full((self.members, len(DIAGNOSTICS)), jnp.nan),
        }  # fmt: skip
        spec, many = self.env.spec, (self.members,) if self.together else ()
        scratch = make_scratch(self.layout, spec.observation, spec.recorded, spec.actions, many)
        envs = self.layout.num_envs

        def tick(_: Any, carry: Any) -> Any:
            world, ring, window, log, state, t = carry
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
            world, row, ended = self._tick(state, world, here)
            ring = {k: _write(ring[k], row[k], window["head"]) for k in FIELDS}
            window = {
                "head": (window["head"] + 1) % self.layout.slots, "ticks": window["ticks"] + 1, "n": window["n"] + envs
            }  # fmt: skip
            log = jax.lax.cond(ended[0].any(), _note_episodes, lambda log, *_: log, log, *ended)
            return world, ring, window, log, state, t + 1

        def until_full(carry: Any) -> Any:
            world, ring, window, log, state, scratch, t = carry
            room = jnp.maximum((hparams["train_batch_size"] - window["n"]) // envs, 1).min()
            trips = jnp.minimum(room, ticks - t)
            world, ring, window, log, state, t = jax.lax.fori_loop(0, trips, tick, (world, ring, window, log, state, t))
            full = window["n"] + envs > hparams["train_batch_size"]
            ring = ring | {"observations": _write(ring["observations"], world["observation"], window["head"])}
            learn_full = self._learn_together if self.together else self._learn_in_turn
            state, scratch, log = learn_full(full, state, ring, window, scratch, log, hparams, keys)
            window = window | {k: jnp.where(full, 0, window[k]) for k in ("ticks", "n")}
            return world, ring, window, log, state, scratch, t

        carry = (world, ring, window, log, state, scratch, jnp.int32(0))
        world, ring, window, log, state, _, _ = jax.lax.while_loop(lambda c: c[-1] < ticks, until_full, carry)
        return state, world, ring, window, log

    def _tick(self, state: Any, world: Any, keys: Any) -> tuple[Any, Any, Any]:
        spec, distribution = self.env.spec, self.distribution
        shape = (spec.actions, self.layout.num_envs)

        def choose(params: Any, statistics: Any, observation: Any, key: Any) -> Any:
            outputs = forward(params["policy"], normalise(statistics, observation.T))
            return distribution.sample(outputs, params["log_std"], distribution.noise(key, shape)).T

        def value(params: Any, statistics: Any, scale: Any, observation: Any) -> Any:
            return in_units(scale, forward(params["value"], normalise(statistics, observation.T))[0])

        own = state["params"], state["normaliser"]
        drawn = jax.vmap(choose)(*own, world["observation"], keys)
        actions = drawn if spec.discrete else jnp.clip(drawn, jnp.asarray(spec.low), jnp.asarray(spec.high))
        states, reached, reward, terminated = jax.vmap(jax.vmap(self.env.step))(world["state"], actions)
        running, length = world["running"] + reward, world["length"] + 1
        truncated = (length >= self.horizon) & ~terminated
        over = terminated | truncated
        row = {
            "observations": world["observation"],
            "actions": drawn,
            "rewards": reward,
            "marks": jnp.where(terminated, TERMINATED, jnp.where(truncated, TRUNCATED, GOES_ON)).astype(jnp.uint8),
            "bootstrap": jax.lax.cond(
                truncated.any(), lambda: jax.vmap(value)(*own, state["value_scale"], reached), lambda: jnp.zeros_like(reward)
            ),
        }

        def restart() -> tuple[Any, Any]:
            fresh = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), shape[1]))(keys)
            new = jax.vmap(jax.vmap(self.env.reset))(fresh)
            return jax.tree.map(lambda a, b: _where(over, a, b), new, (states, reached))

        states, observation = jax.lax.cond(over.any(), restart, lambda: (states, reached))
        world = {
            "state": states,
            "observation": observation,
            "running": jnp.where(over, 0.0, running),
            "length": jnp.where(over, 0, length),
        }
        return world, row, (over, running, length)

    # -- learning -----------------------------------------------------------------------------------------------------

    def _batch(self, ring: Any, window: Any, member: Any) -> Batch:
        flat = [ring[k].reshape(-1, *ring[k].shape[3:]) for k in FIELDS]
        n, ticks = window["n"][member], window["ticks"][member]
        first = (window["head"] - ticks) % self.layout.slots
        return Batch(*flat, None, n, ticks, first, member * self.layout.num_envs)

    def _learn_in_turn(self, full, state, ring, window, scratch, log, hparams, keys) -> Any:
        def one(member: Any, carry: Any) -> Any:
            def update(carry: Any) -> Any:
                state, scratch, log = carry
                own, settings = (jax.tree.map(lambda x: x[member], tree) for tree in (state, hparams))
                key = jax.random.fold_in(keys[member], LEARN + log["updates"][member])
                own, scratch, diagnostics = self.learn(own, self._batch(ring, window, member), scratch, settings, key)
                state = jax.tree.map(lambda all, new: all.at[member].set(new), state, own)
                log = log | {
                    "updates": log["updates"].at[member].add(1),
                    "diagnostics": log["diagnostics"].at[member].set(diagnostics),
                }
                return state, scratch, log

            return jax.lax.cond(full[member], update, lambda carry: carry, carry)

        carry = (state, scratch, log)
        return jax.lax.cond(full.any(), lambda carry: jax.lax.fori_loop(0, self.members, one, carry), lambda carry: carry, carry)

    def _learn_together(self, full, state, ring, window, scratch, log, hparams, keys) -> Any:
        span = jnp.where(full, window["ticks"], 0).max()
        settings = hparams | {"epochs": jnp.where(full, hparams["epochs"], 0)}

        def one(member: Any, state: Any, scratch: Any, settings: Any, key: Any) -> Any:
            batch = self._batch(ring, window, member)._replace(n=jnp.maximum(window["n"][member], 1))
            return self.learn(state, batch, scratch, settings, key, span=span)

        members = jnp.arange(self.members)
        new_keys = jax.vmap(jax.random.fold_in)(keys, LEARN + log["updates"])
        new, scratch, diagnostics = jax.vmap(one)(members, state, scratch, settings, new_keys)
        state = jax.tree.map(lambda a, b: _where(full, a, b), new, state)
        log = log | {
            "updates": log["updates"] + full,
            "diagnostics": jnp.where(full[:, None], diagnostics, log["diagnostics"]),
        }
        return state, scratch, log


def _write(array: Any, row: Any, slot: Any) -> Any:
    return jax.lax.dynamic_update_index_in_dim(array, row, slot, 0)


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return jnp.where(condition.reshape(condition.shape + (1,) * (yes.ndim - condition.ndim)), yes, no)


def _note_episodes(log: dict[str, Any], over: Any, running: Any, length: Any) -> dict[str, Any]:
    at = log["episodes"][:, None] + jnp.cumsum(over, 1) - 1
    at = jnp.where(over, at % LOG, LOG)  # out of range: dropped
    put = jax.vmap(lambda log, at, running: log.at[at].set(running, mode="drop"))
    return log | {
        "returns": put(log["returns"], at, running),
        "episodes": log["episodes"] + over.sum(1),
        "sum": log["sum"] + jnp.where(over, running, 0.0).sum(1),
        "lengths": log["lengths"] + jnp.where(over, length, 0).sum(1),
    }


def accelerated() -> bool:
    """True where members should learn all at once rather than in turn."""
    return jax.default_backend() != "cpu"


@lru_cache(maxsize=16)
def program_for(
    env: DeviceEnv, members: int, layout: Layout, distribution: Distribution, horizon: int, max_grad_norm: float,
    hidden: tuple[int, ...],
) -> Program:  # fmt: skip
    """Returns the one `Program` of this process for these settings; networks of other sizes have one of their own."""
    return Program(env, members, layout, distribution, horizon, max_grad_norm)


@lru_cache(maxsize=16)
def resetter(env: DeviceEnv, num_envs: int) -> Any:
    """Returns a compiled seeds (P,) -> (states, observations) of fresh environments, leading axes (P, E)."""

    def reset(seeds: Any) -> Any:
        keys = jax.vmap(lambda seed: jax.random.split(jax.random.fold_in(jax.random.key(seed), LEARN), num_envs))(seeds)
        return jax.vmap(jax.vmap(env.reset))(keys)

    return jax.jit(reset)
