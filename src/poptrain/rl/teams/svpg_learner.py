"""One update of a team of SVPG: advantages of each particle, Stein steps of all policies together, steps of each critic alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from poptrain._jax import jax, jnp
from poptrain.rl.adam import tree_adam_step
from poptrain.rl.agents.ppo.table import TableRows, make_scratch, moments_of, prepare, select_rows
from poptrain.rl.agents.ppo.value_scale import in_units
from poptrain.rl.distributions import Distribution
from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.nets import forward
from poptrain.rl.normaliser import merge, normalise
from poptrain.rl.teams.stein import stein_direction
from poptrain.rl.teams.team_actor import TeamActor
from poptrain.rl.teams.walk import Gradients, Walk, each
from poptrain.rl.trees import Array, Parts, Scalars, Tree

LEARNED = ("params", "stein_adam", "critic_adam", "normaliser", "value_scale")  # the parts of a carry that an update changes
DIAGNOSTICS = ("kl", "entropy", "value_loss", "gradient", "repulsion")
SURROGATES = ("reinforce", "a2c", "ppo")
STOP_AT = 1.5  # times kl_target: from there on, a particle follows only the others and the repulsion


@dataclass(frozen=True)
class Functions:
    """A `loops.agent.RolloutAgent` that is a whole team: its E environments are N groups, one for each particle.

    Every array of the state leads with (N,). Only the observation filter is one for all: parameters can only be compared if they
    see the same inputs.

    Args:
        layout: of the team's recording; `num_envs` are those of all particles.
        sizes: of the policy's layers, from the observation to the outputs.
        action: numbers that one action is recorded as.
        max_grad_norm: of a particle's own gradient. The sum with the repulsion is never clipped.
    """

    layout: Layout
    distribution: Distribution
    sizes: tuple[int, ...]
    action: int
    max_grad_norm: float
    particles: int
    surrogate: str
    bandwidth: str

    learned: ClassVar[tuple[str, ...]] = LEARNED
    diagnostics: ClassVar[tuple[str, ...]] = DIAGNOSTICS

    @property
    def own(self) -> Layout:
        """The layout of one particle's part of the recording."""
        envs = self.layout.num_envs // self.particles
        return Layout(envs, self.layout.stride, self.layout.slots, self.layout.slots * envs, self.layout.chunk)

    def actor(self, spec: EnvSpec, state: Parts) -> TeamActor:
        """Returns the policies in numpy."""
        return TeamActor(spec, state["params"], state["normaliser"])

    def act(self, state: Parts, observations: Array, key: Array) -> Array:
        """Returns actions as they are drawn, (E, A), for raw observations, (E, O)."""
        seen, envs = self._grouped(state, observations), self.own.num_envs
        outputs = jax.vmap(forward)(state["params"]["policy"], seen)
        noise = self.distribution.noise(key, (self.particles, self.sizes[-1], envs))
        drawn = jax.vmap(self.distribution.sample)(outputs, state["params"]["log_std"], noise)
        return jnp.swapaxes(drawn, 1, 2).reshape(self.particles * envs, -1)

    def value(self, state: Parts, observations: Array) -> Array:
        """Returns the values, (E,), of states with raw observations, (E, O), in units of reward."""
        outputs = jax.vmap(forward)(state["params"]["value"], self._grouped(state, observations))[:, 0]
        return jax.vmap(in_units)(state["value_scale"], outputs).reshape(-1)

    def _grouped(self, state: Parts, observations: Array) -> Array:
        """Returns the normalised observations of each particle, (N, O, E / N)."""
        columns = normalise(state["normaliser"], observations.T)
        return jnp.swapaxes(columns.reshape(len(columns), self.particles, -1), 0, 1)

    def make_scratch(self, members: tuple[int, ...] = ()) -> Parts:
        """Returns working memory for `learn`, with these leading axes and that of the particles."""
        return make_scratch(self.own, self.sizes[0], self.action, self.sizes[-1], (*members, self.particles))

    def learn(
        self, state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, key: Array, span: Array | None = None
    ) -> tuple[Parts, Parts, Array]:
        """Returns the state after an update, the scratch, and the `DIAGNOSTICS` of the last Stein step."""
        span = batch.ticks if span is None else span
        if self.surrogate == "reinforce":
            hparams = {**hparams, "gae_lambda": jnp.float32(1.0)}  # the targets are then the returns themselves
        params = state["params"]
        parts = each(lambda i: self._part(batch, i), jnp.arange(self.particles))
        used, later = self._filter(state["normaliser"], batch, parts, span)

        def ready(i: Array) -> Tree:
            own = {"params": jax.tree.map(lambda x: x[i], params), "normaliser": used}
            own |= {"value_scale": jax.tree.map(lambda x: x[i], state["value_scale"])}
            mine = self._batch(batch, parts, i)
            return prepare(own, mine, jax.tree.map(lambda x: x[i], scratch), hparams, self.own, self.distribution, span)

        scratch, prepared = each(ready, jnp.arange(self.particles))
        policy = {name: params[name] for name in ("policy", "log_std")}
        keys, table, n = jax.random.split(key), scratch["table"], jnp.maximum(parts[1], 1)
        walk = Walk(n, self.layout.chunk)
        policy, stein_adam, diagnostics = self._stein_steps(policy, state["stein_adam"], table, walk, hparams, keys[0])
        critic, critic_adam, error = self._critic_steps(
            prepared.value_layers, state["critic_adam"], table, walk, hparams, keys[1]
        )
        learned = {"params": policy | {"value": critic}, "stein_adam": stein_adam, "critic_adam": critic_adam}
        learned |= {"normaliser": later, "value_scale": prepared.value_scale}
        return learned, scratch, jnp.stack([diagnostics[0], diagnostics[1], error, *diagnostics[2:]])

    # -- batches ------------------------------------------------------------------------------------------------------

    def _part(self, batch: Batch, i: Array) -> tuple[Array, Array]:
        """Returns the local rows of a particle that are transitions, and their number."""
        rows = jnp.arange(self.own.local_rows)
        real = self.own.real(batch._replace(lane=batch.lane + i * self.own.num_envs), rows) > 0
        at = jnp.where(real, jnp.cumsum(real) - 1, len(rows))  # an index out of range is dropped
        return jnp.zeros(len(rows), jnp.int32).at[at].set(rows, mode="drop"), real.sum()

    def _batch(self, batch: Batch, parts: tuple[Array, Array], i: Array) -> Batch:
        return batch._replace(lane=batch.lane + i * self.own.num_envs, order=parts[0][i], n=jnp.maximum(parts[1][i], 1))

    def _filter(self, old: Parts, batch: Batch, parts: tuple[Array, Array], span: Array) -> tuple[Parts, Parts]:
        """Returns the observation filter that this update uses, and the one with the batch of all particles added."""

        def moments(i: Array) -> tuple[Array, Array]:
            return moments_of(old["mean"], self._batch(batch, parts, i), self.own, span)

        means, variances = each(moments, jnp.arange(self.particles))
        later = old
        for i in range(self.particles):
            later = merge(later, means[i], variances[i], parts[1][i].astype(jnp.float32))
        return jax.tree.map(lambda first, kept: jnp.where(old["count"] == 0, first, kept), later, old), later

    # -- learning -----------------------------------------------------------------------------------------------------

    def _stein_steps(
        self, policy: Parts, adam: Parts, table: Array, walk: Walk, hparams: Scalars, key: Array
    ) -> tuple[Parts, Parts, Array]:
        """Returns the policies and their Adam after the Stein steps, and the diagnostics of the last one."""
        once = self.surrogate != "ppo"
        theta, unravel = _flat(policy)
        old_log_std = policy["log_std"]

        def objective(vector: Array, part: TableRows, weight: Array, log_std: Array) -> tuple[Array, Array]:
            own = unravel(vector)
            outputs = forward(own["policy"], part.observations)
            log_prob = self.distribution.log_prob(outputs, own["log_std"], part.actions)
            entropy = self.distribution.entropy(outputs, own["log_std"])
            gain = self._surrogate(log_prob, part, hparams) + hparams["entropy_coeff"] * entropy
            kl = self.distribution.kl(part.outputs, log_std, outputs, own["log_std"])
            return (gain * weight).sum(), jnp.stack([(kl * weight).sum(), (entropy * weight).sum()])

        def step(carry: Tree, gradients: Gradients) -> Tree:
            theta, adam, stopped, _ = carry

            def own(i: Array, rows: Array, weight: Array) -> tuple[Array, Array]:
                part = select_rows(table[i], rows, self.sizes[0], self.action)
                return jax.grad(objective, has_aux=True)(theta[i], part, weight, old_log_std[i])

            gradient, seen = gradients(own, (jnp.zeros_like(theta), jnp.zeros((self.particles, 2))))
            norms = jnp.sqrt((gradient * gradient).sum(1))
            stopped |= jnp.bool_(not once) & (seen[:, 0] > STOP_AT * hparams["kl_target"])
            gradient = gradient * jnp.where(stopped, 0.0, jnp.minimum(1.0, self.max_grad_norm / (norms + 1e-8)))[:, None]
            direction, shared, apart = stein_direction(theta, gradient, hparams["alpha"], self.bandwidth)
            adam, theta = tree_adam_step(adam, theta, -direction, hparams["lr"])
            sizes = [jnp.sqrt((x * x).sum(1)).mean() for x in (shared, apart)]
            return theta, adam, stopped, jnp.stack([seen[:, 0].mean(), seen[:, 1].mean(), *sizes])

        start = (theta, adam, jnp.zeros(self.particles, bool), jnp.zeros(4))
        epochs = jnp.minimum(hparams["epochs"], 1) if once else hparams["epochs"]
        theta, adam, _, diagnostics = walk.steps(step, start, epochs, None if once else hparams["minibatch_size"], key)
        return jax.vmap(unravel)(theta), adam, diagnostics

    def _surrogate(self, log_prob: Array, part: TableRows, hparams: Scalars) -> Array:
        """Returns each transition's share of the objective; its mean over the transitions is what a particle ascends, (B,)."""
        if self.surrogate == "reinforce":
            return log_prob * part.target  # the standardised return from here on
        if self.surrogate == "a2c":
            return log_prob * part.advantage
        ratio = jnp.exp(log_prob - part.log_prob)
        clipped = jnp.clip(ratio, 1.0 - hparams["clip"], 1.0 + hparams["clip"])
        return jnp.minimum(ratio * part.advantage, clipped * part.advantage)

    def _critic_steps(
        self, layers: Tree, adam: Parts, table: Array, walk: Walk, hparams: Scalars, key: Array
    ) -> tuple[Tree, Parts, Array]:
        """Returns the critics and their Adam after `epochs` passes, and the mean squared error; the kernel never mixes them."""
        phi, unravel = _flat(layers)

        def step(carry: Tree, gradients: Gradients) -> Tree:
            phi, adam, _ = carry

            def own(i: Array, rows: Array, weight: Array) -> tuple[Array, Array]:
                def loss(vector: Array) -> tuple[Array, Array]:
                    part = select_rows(table[i], rows, self.sizes[0], self.action)
                    error = ((forward(unravel(vector), part.observations)[0] - part.target) ** 2 * weight).sum()
                    return error, error

                return jax.grad(loss, has_aux=True)(phi[i])

            gradient, errors = gradients(own, (jnp.zeros_like(phi), jnp.zeros(self.particles)))
            adam, phi = tree_adam_step(adam, phi, gradient, hparams["critic_lr"])
            return phi, adam, errors.mean()

        start = (phi, adam, jnp.float32(0.0))
        phi, adam, error = walk.steps(step, start, hparams["epochs"], hparams["minibatch_size"], key)
        return jax.vmap(unravel)(phi), adam, error


def _flat(trees: Tree) -> tuple[Array, Callable[[Array], Tree]]:
    """Returns the parameters of N particles as vectors, (N, D), and the function that makes a tree of one vector."""
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda x: x[0], trees))
    return jax.vmap(lambda tree: jax.flatten_util.ravel_pytree(tree)[0])(trees), unravel
