"""One interval of a population with pure JAX environments: simulation, advantages and updates are one compiled program.

All members step together, as one batch of P * E environments, and record at one common slot of a ring of ticks; each
member's batch is a window of that ring. The program steps until the first batch is full, lets the members with a full batch
learn, and continues. On CPUs these members learn one after another, which costs what their own batches cost; on accelerators
they learn together. Episodes continue from one interval to the next: their states are part of the carry.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

from poptrain._jax import jax, jnp
from poptrain.rl.envs.spec import DeviceEnv
from poptrain.rl.loops.agent import RolloutAgent
from poptrain.rl.memory.marks import GOES_ON, TERMINATED, TRUNCATED
from poptrain.rl.memory.ring import RING_COLUMNS, Ring, write_slot
from poptrain.rl.trees import Array, Parts, Tree

RETURNS_KEPT = 1024  # the latest episode returns that an interval keeps per member
UPDATE_KEYS = 0x7FFF0000  # keys of updates start here, those of ticks at 0


class Program:
    """The compiled interval of one agent and population size.

    The world is ``{"state": environments, "observation", "running": return so far, "length": steps so far}``, arrays (P, E, …).
    """

    def __init__(self, env: DeviceEnv, members: int, agent: RolloutAgent, horizon: int):
        self.env, self.members, self.agent, self.layout, self.horizon = env, members, agent, agent.layout, horizon
        self.together = accelerated()
        self.ring = Ring(env.spec, members, agent.layout)
        self._lock = Lock()
        self._compiled: jax.stages.Compiled | None = None

    def run(self, *arguments: Tree) -> tuple[Tree, ...]:
        """Returns the result of `_run`; compiled once, by the thread that calls it first."""
        with self._lock:
            if self._compiled is None:
                self._compiled = jax.jit(self._run, donate_argnames="ring").lower(*arguments).compile()
        return self._compiled(*arguments)

    def _run(
        self, state: Parts, world: Parts, ring: Parts, window: Parts, hparams: Parts, seeds: Array, ticks: Array
    ) -> tuple[Tree, ...]:
        """Returns (state, world, ring, window, log) after `ticks` ticks; the arrays of the log lead with (P,)."""
        keys = jax.vmap(jax.random.key)(seeds)
        envs = self.layout.num_envs
        log = empty_log(self.members, envs) | self._no_updates()
        scratch = self.agent.make_scratch((self.members,) if self.together else ())
        learn_full = self._learn_together if self.together else self._learn_in_turn

        def tick(_: Array, carry: Tree) -> Tree:
            world, ring, window, log, state, t = carry
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
            world, row, ended = self._tick(state, world, here)
            ring = {k: write_slot(ring[k], row[k], window["head"]) for k in RING_COLUMNS}
            head = (window["head"] + 1) % self.layout.slots
            window = {"head": head, "ticks": window["ticks"] + 1, "n": window["n"] + envs}
            log = jax.lax.cond(ended[0].any(), add_episodes, lambda log, *_: log, log, *ended)
            return world, ring, window, log, state, t + 1

        def until_full(carry: Tree) -> Tree:
            world, ring, window, log, state, scratch, t = carry
            room = jnp.maximum((hparams["train_batch_size"] - window["n"]) // envs, 1).min()
            trips = jnp.minimum(room, ticks - t)
            world, ring, window, log, state, t = jax.lax.fori_loop(0, trips, tick, (world, ring, window, log, state, t))
            full = window["n"] + envs > hparams["train_batch_size"]
            ring = ring | {"observations": write_slot(ring["observations"], world["observation"], window["head"])}
            state, scratch, log = learn_full(full, state, ring, window, scratch, log, hparams, keys)
            window = window | {k: jnp.where(full, 0, window[k]) for k in ("ticks", "n")}
            return world, ring, window, log, state, scratch, t

        carry = (world, ring, window, log, state, scratch, jnp.int32(0))
        world, ring, window, log, state, _, _ = jax.lax.while_loop(lambda c: c[-1] < ticks, until_full, carry)
        return state, world, ring, window, log

    def _no_updates(self) -> Parts:
        return {
            "updates": jnp.zeros(self.members, jnp.int32),
            "diagnostics": jnp.full((self.members, len(self.agent.diagnostics)), jnp.nan),
        }

    # -- acting -------------------------------------------------------------------------------------------------------

    def _tick(self, state: Parts, world: Parts, keys: Array) -> tuple[Parts, Parts, tuple[Array, ...]]:
        """Returns the next world, the row to record, and the episodes that ended: (over, return, length), (P, E) each."""
        spec, envs = self.env.spec, self.layout.num_envs
        drawn = jax.vmap(self.agent.act)(state, world["observation"], keys)
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
                truncated.any(), lambda: jax.vmap(self.agent.value)(state, reached), lambda: jnp.zeros_like(reward)
            ),
        }

        def restart() -> tuple[Tree, Array]:
            fresh = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), envs))(keys)
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

    def _learn_in_turn(
        self, full: Array, state: Parts, ring: Parts, window: Parts, scratch: Parts, log: Parts, hparams: Parts, keys: Array
    ) -> tuple[Parts, Parts, Parts]:
        def one(member: Array, carry: Tree) -> Tree:
            def update(carry: Tree) -> Tree:
                state, scratch, log = carry
                own, settings = (jax.tree.map(lambda x: x[member], tree) for tree in (state, hparams))
                key = jax.random.fold_in(keys[member], UPDATE_KEYS + log["updates"][member])
                batch = self.ring.batch(ring, window, member)
                own, scratch, diagnostics = self.agent.learn(own, batch, scratch, settings, key)
                state = jax.tree.map(lambda all, new: all.at[member].set(new), state, own)
                log = log | {
                    "updates": log["updates"].at[member].add(1),
                    "diagnostics": log["diagnostics"].at[member].set(diagnostics),
                }
                return state, scratch, log

            return jax.lax.cond(full[member], update, lambda carry: carry, carry)

        def turns(carry: Tree) -> Tree:
            return jax.lax.fori_loop(0, self.members, one, carry)

        return jax.lax.cond(full.any(), turns, lambda carry: carry, (state, scratch, log))

    def _learn_together(
        self, full: Array, state: Parts, ring: Parts, window: Parts, scratch: Parts, log: Parts, hparams: Parts, keys: Array
    ) -> tuple[Parts, Parts, Parts]:
        span = jnp.where(full, window["ticks"], 0).max()
        settings = hparams | {"epochs": jnp.where(full, hparams["epochs"], 0)}

        def one(member: Array, state: Parts, scratch: Parts, settings: Parts, key: Array) -> tuple[Parts, Parts, Array]:
            batch = self.ring.batch(ring, window, member)._replace(n=jnp.maximum(window["n"][member], 1))
            return self.agent.learn(state, batch, scratch, settings, key, span=span)

        members = jnp.arange(self.members)
        new_keys = jax.vmap(jax.random.fold_in)(keys, UPDATE_KEYS + log["updates"])
        new, scratch, diagnostics = jax.vmap(one)(members, state, scratch, settings, new_keys)
        state = jax.tree.map(lambda a, b: _where(full, a, b), new, state)
        log = log | {
            "updates": log["updates"] + full,
            "diagnostics": jnp.where(full[:, None], diagnostics, log["diagnostics"]),
        }
        return state, scratch, log


def _where(condition: Array, yes: Array, no: Array) -> Array:
    """Returns `yes` or `no`, (P, …), by a condition on their leading axes."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (yes.ndim - condition.ndim)), yes, no)


def empty_log(members: int, envs: int) -> Parts:
    """Returns the log of the episodes of an interval, for P members with E environments each."""
    zero = jnp.zeros(members)
    returns, by_env = jnp.zeros((members, RETURNS_KEPT)), jnp.zeros((members, 2, envs))
    return {"returns": returns, "episodes": zero.astype(jnp.int32), "sum": zero, "lengths": zero, "by_env": by_env}


def add_episodes(log: Parts, over: Array, running: Array, length: Array) -> Parts:
    """Returns the log with the episodes that ended in a tick; (P, E) each."""
    at = log["episodes"][:, None] + jnp.cumsum(over, 1) - 1
    at = jnp.where(over, at % RETURNS_KEPT, RETURNS_KEPT)  # an index out of range is dropped
    put = jax.vmap(lambda log, at, running: log.at[at].set(running, mode="drop"))
    return log | {
        "returns": put(log["returns"], at, running),
        "episodes": log["episodes"] + over.sum(1),
        "sum": log["sum"] + jnp.where(over, running, 0.0).sum(1),
        "lengths": log["lengths"] + jnp.where(over, length, 0).sum(1),
        "by_env": log["by_env"] + jnp.stack([jnp.where(over, running, 0.0), over.astype(jnp.float32)], 1),
    }


def accelerated() -> bool:
    """Returns True where members should learn together rather than one after another."""
    return jax.default_backend() != "cpu"


@lru_cache(maxsize=128)  # an agent and every architecture has one
def program_for(env: DeviceEnv, members: int, agent: RolloutAgent, horizon: int) -> Program:
    """Returns the one `Program` of this process for these settings."""
    return Program(env, members, agent, horizon)
