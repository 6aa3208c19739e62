"""Off-policy training with environments inside the compiled program: acting, memory and updates of an interval are one program.

Episodes, and the windows of n-step targets, continue from one interval to the next as parts of the carry. On CPUs every core
trains one member after another; on accelerators all members train together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.core.cpus import cpus
from poptrain.rl.envs.spec import DeviceEnv
from poptrain.rl.loops import device_interval
from poptrain.rl.loops.device import fresh_world, outcome_of
from poptrain.rl.loops.device_interval import UPDATE_KEYS, add_episodes, empty_log
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.loops.off_policy import ALMOST, OffPolicyAgent, Settings, part_due
from poptrain.rl.memory.chunks import held_rows, packed
from poptrain.rl.memory.rows import Row
from poptrain.rl.memory.windows import advance, empty_windows
from poptrain.rl.mlp import mlp
from poptrain.rl.trees import Array, Parts, Scalars, Tree, stack, take


def fresh_off_policy_world(env: DeviceEnv, row: Row, num_envs: int, seeds: np.ndarray) -> Parts:
    """Returns the world of members at the beginning of their first episodes; seeds (P,)."""
    return fresh_world(env, num_envs, seeds) | {"window": empty_windows(len(seeds), row, num_envs)}


class OffPolicyProgram:
    """The compiled interval of one member.

    Args:
        slots: rows of the ring, at least those of the memory and those of an interval.
    """

    def __init__(self, env: DeviceEnv, agent: OffPolicyAgent, row: Row, batch_size: int, settings: Settings, slots: int):
        self.env, self.agent, self.row, self.batch_size, self.slots = env, agent, row, batch_size, slots
        self.envs, self.capacity = settings.num_envs, settings.capacity
        self.horizon = settings.horizon or env.spec.horizon or 1 << 30
        self.ticks_between = max(1, settings.update_every // settings.num_envs)
        self._lock = Lock()
        self._compiled: dict[int, jax.stages.Compiled] = {}  # by number of members; 0: one member without a leading axis

    def run(self, members: int, *arguments: Tree) -> Tree:
        """Returns (state, world, ring, count, log) of one member (`members` 0), or of several with a leading axis."""
        with self._lock:
            if members not in self._compiled:
                run = jax.vmap(self._run, (0, 0, 0, 0, 0, 0, 0, 0, None)) if members else self._run
                self._compiled[members] = jax.jit(run, donate_argnums=2).lower(*arguments).compile()
        return self._compiled[members](*arguments)

    def _run(
        self,
        state: Parts,
        world: Parts,
        ring: Array,
        count: Array,
        before: Array,
        credit: Array,
        hparams: Scalars,
        seed: Array,
        ticks: Array,
    ) -> Tree:
        key = jax.random.key(seed)

        def until_burst(carry: Tree) -> Tree:
            state, world, ring, count, log, credit, updates, diagnostics, t = carry

            def tick(_: Array, carry: Tree) -> Tree:
                world, ring, count, log, credit, t = carry
                warm = before + t * self.envs >= hparams["learning_starts"]
                world, ring, count, ended = self._tick(state, world, ring, count, warm, hparams, jax.random.fold_in(key, t))
                log = jax.lax.cond(ended[0].any(), add_episodes, lambda log, *_: log, log, *(part[None] for part in ended))
                return world, ring, count, log, credit + jnp.where(warm, self.envs * hparams["updates_per_step"], 0.0), t + 1

            trips = jnp.minimum(self.ticks_between, ticks - t)
            world, ring, count, log, credit, t = jax.lax.fori_loop(0, trips, tick, (world, ring, count, log, credit, t))

            def update(_: Array, carry: Tree) -> Tree:
                state, updates, _ = carry
                own = jax.random.fold_in(key, UPDATE_KEYS + updates)
                held = jnp.minimum(count, self.capacity)
                at = (count - 1 - jax.random.randint(own, (self.batch_size,), 0, held)) % self.slots
                state, diagnostics = self.agent.update(state, self.row.decode(ring[at]), hparams, jax.random.fold_in(own, 1))
                return state, updates + 1, diagnostics

            due = jnp.where(count > 0, (credit + ALMOST).astype(jnp.int32), 0)
            learned = jax.lax.fori_loop(0, due, update, (state, updates, diagnostics))
            return learned[0], world, ring, count, log, credit - due, *learned[1:], t

        nothing = jnp.full(len(self.agent.diagnostics), jnp.nan)
        start = (state, world, ring, count, empty_log(1, self.envs), credit, jnp.int32(0), nothing, jnp.int32(0))
        carry = jax.lax.while_loop(lambda carry: carry[-1] < ticks, until_burst, start)
        state, world, ring, count, log, _, updates, diagnostics, _ = carry
        log = jax.tree.map(lambda x: x[0], log) | {"updates": updates, "diagnostics": diagnostics}
        return state, world, ring, count, log

    def _tick(
        self, state: Parts, world: Parts, ring: Array, count: Array, warm: Array, hparams: Scalars, key: Array
    ) -> tuple[Parts, Array, Array, tuple[Array, ...]]:
        """Returns the next world, ring and count, and the episodes that ended: (over, return, length), (E,) each."""
        noise_key, uniform_key, reset_key = jax.random.split(key, 3)
        shape, seen = (self.envs, self.env.spec.actions), world["observation"]
        outputs = mlp(state["params"]["actor"], seen, self.agent.actor_activation)
        explored = self.agent.action(jnp, outputs, jax.random.normal(noise_key, shape), hparams)
        actions = jnp.where(warm, explored, jax.random.uniform(uniform_key, shape, minval=-1.0))
        states, reached, reward, terminated = jax.vmap(self.env.step)(world["state"], self.env.spec.scaled(actions))
        running, length = world["running"] + reward, world["length"] + 1
        over = terminated | (length >= self.horizon)
        window, rows, ready = advance(world["window"], self.row, (seen, actions, reward), reached, terminated, over)
        at = jnp.where(ready, (count + jnp.cumsum(ready) - 1) % self.slots, self.slots)  # an index out of range is dropped
        ring, count = ring.at[at].set(rows, mode="drop"), count + ready.sum()

        def restart() -> tuple[Tree, Array]:
            new = jax.vmap(self.env.reset)(jax.random.split(reset_key, self.envs))
            return jax.tree.map(lambda a, b: _where(over, a, b), new, (states, reached))

        states, observation = jax.lax.cond(over.any(), restart, lambda: (states, reached))
        world = {
            "state": states,
            "observation": observation,
            "running": jnp.where(over, 0.0, running),
            "length": jnp.where(over, 0, length),
            "window": window,
        }
        return world, ring, count, (over, running, length)


def train_off_policy_on_device(
    program: OffPolicyProgram, carry: Parts, hparams: dict[str, np.ndarray], steps: int, seeds: np.ndarray
) -> tuple[Parts, IntervalOutcome]:
    """Returns the parts of the carry that training changes, and what happened.

    Args:
        hparams: all hyperparameters, (P,) each.
        steps: environment steps per member, rounded up to whole ticks.
        seeds: of the tasks, (P,).
    """
    agent, row, slots, capacity = program.agent, program.row, program.slots, program.capacity
    ticks, learned = np.int32(-(-steps // program.envs)), {name: carry[name] for name in program.agent.learned}

    def arguments(i: int) -> Parts:
        ring, held = np.zeros((slots, row.width), np.uint32), held_rows(carry["replay"], i, row, capacity)
        ring[: len(held)] = held
        settings = {name: column[i] for name, column in hparams.items()}
        own = (take(learned, i), take(carry["env"], i), ring, np.int32(len(held)), np.int32(carry["steps"][i]))
        credit = part_due(int(carry["steps"][i]), int(settings["learning_starts"]), float(settings["updates_per_step"]))
        return dict(enumerate((*own, np.float32(credit), settings, np.uint32(seeds[i]))))

    def one(i: int) -> Tree:
        state, world, ring, count, log = program.run(0, *arguments(i).values(), ticks)
        return jax.device_get((state, world, count, log)), np.asarray(ring)

    members = range(len(seeds))
    if device_interval.accelerated():
        together = stack([arguments(i) for i in members])
        state, world, ring, count, log = program.run(len(seeds), *together.values(), ticks)
        whole = jax.device_get((state, world, count, log))
        parts = [(tuple(take(part, i) for part in whole), np.asarray(ring[i])) for i in members]
    else:
        with ThreadPoolExecutor(min(cpus(), len(seeds))) as threads:
            parts = list(threads.map(one, members))
    states, worlds, counts, logs = zip(*(part[0] for part in parts), strict=True)
    added = []
    for i, (_, ring) in enumerate(parts):
        held = min(int(carry["replay"]["count"][i]), capacity)
        added.append(ring[np.arange(held, int(counts[i])) % slots])
    return {
        **stack(states),
        "env": stack(worlds),
        "replay": packed(carry["replay"], added, row, capacity),
    }, outcome_of(stack(logs), stack(worlds), np.full(len(seeds), int(ticks) * program.envs), agent.diagnostics)


def _where(condition: Array, yes: Array, no: Array) -> Array:
    return jnp.where(condition.reshape(condition.shape + (1,) * (yes.ndim - condition.ndim)), yes, no)


@lru_cache(maxsize=16)
def off_policy_program(
    env: DeviceEnv, agent: OffPolicyAgent, row: Row, batch_size: int, settings: Settings, slots: int
) -> OffPolicyProgram:
    """Returns the one program of this process for these settings."""
    return OffPolicyProgram(env, agent, row, batch_size, settings, slots)
