"""V-MPO: on-policy maximum a posteriori policy optimisation, for a whole population at once.

Song, Abdolmaleki, Springenberg et al.: V-MPO: On-Policy Maximum a Posteriori Policy Optimization for Discrete and Continuous
Control, arXiv 1909.12238. It is the agent of FIRE PBT's experiments (arXiv 2109.13800, section 4.2).

    repeat: act with policy pi_old until train_batch_size transitions are there; A = advantages
            D~ = the half of the samples with the higher advantages
            for epochs, for minibatches: descend
                L_pi = -sum over D~ of psi log pi(a|s),   psi = exp(A / eta) / sum over D~                    eq. (3), (4)
                L_eta = eta eps_eta + eta log(mean over D~ of exp(A / eta))                                   eq. (5)
                L_alpha = mean of alpha (eps_alpha - sg[KL]) + sg[alpha] KL,   KL = KL(pi_old || pi)           eq. (6)
                L_V = c (V - V_target)^2                                                                      eq. (2)

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
eps_eta         eps_eta             bound on the KL divergence between psi and the uniform distribution over D~, in nats
eps_alpha       eps_alpha_mean,     bounds on the KL divergence that is due to the mean and to the standard deviation; for
                eps_alpha_std       discrete actions there is only the first
eta, alpha      carry["duals"]      the multipliers of the bounds; the carry holds their logarithms
==============  ==================  ========================================================================================

*Departures from the paper.* Advantages are generalised (arXiv 1506.02438), and standardised over the batch: without that, fixed
bounds fit no scale of rewards. The old policy is the one that acted, so it is replaced with every batch. The standard deviations
do not depend on the state. The multipliers are learned as logarithms and stay within 0.01 and 100 (rlax projects them to 1e-8):
one that has fallen to 1e-8 takes thousands of steps to come back, and meanwhile nothing bounds the policy. Observations are
filtered, and the value network is rescaled to the returns, as in `ppo`. A student may learn from a teacher at the same time,
with the same terms as in `ppo` (`ppo.lesson`), which are added to the loss; the bounds hold for it as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poptrain._jax import jax, jnp
from poptrain.core.answering import answering_class
from poptrain.rl import account as shared
from poptrain.rl.adam import adam_step, init_adam
from poptrain.rl.agents.ppo.carry import fresh_carry
from poptrain.rl.agents.ppo.functions import Functions as PpoFunctions
from poptrain.rl.agents.ppo.lesson import LESSON, TAUGHT, advanced, alpha_at, imitation, write_answers
from poptrain.rl.agents.ppo.shuffle import MAX_CHUNK, MAX_ROWS, draw_order, times, walk_order
from poptrain.rl.agents.ppo.students import TeachableOnPolicy
from poptrain.rl.agents.ppo.table import prepare, select_rows
from poptrain.rl.architecture import NAMES as ARCHITECTURE
from poptrain.rl.architecture import architecture_of, shapes_of, without_architecture
from poptrain.rl.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.envs import make
from poptrain.rl.envs.spec import DeviceEnv, EnvSpec, HostBackend
from poptrain.rl.hparams import PopulationHparams, Range, resolve_hparams
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.memory.batch import Batch, Layout
from poptrain.rl.nets import forward
from poptrain.rl.spectral import refreshed
from poptrain.rl.trees import Array, Parts, Scalars, Tree

RANGES = {
    "lr": Range(0.0),
    "dual_lr": Range(0.0),
    "eps_eta": Range(0.0),
    "eps_alpha_mean": Range(0.0),
    "eps_alpha_std": Range(0.0),
    "gae_lambda": Range(0.0, 1.0),
    "discount": Range(0.0, 1.0),
    "value_coeff": Range(0.0),
    "epochs": Range(0, 1_000, True),
    "train_batch_size": Range(1, MAX_ROWS, True),
}
LOG_DUALS = float(np.log(0.01)), float(np.log(100.0))  # the range of their logarithms


# A log records a trainable as module:name, so this class stays `poptrain.rl.agents.vmpo:VMPO`.
@answering_class
@dataclass(frozen=True)
class VMPO(TeachableOnPolicy):
    """A population of V-MPO agents, a `PopulationTrainable`: train it with ``executor="vectorized"``.

    Every field from `lr` to `train_batch_size` is a hyperparameter that may be tuned; none of them changes the compiled program.
    The architecture may be tuned as well, with the static hyperparameters of PPO, policy_layers and so on (`rl.architecture`).

    >>> agent = VMPO(env="jax/CartPole-v1")

    Args:
        env: name of the environment, see `poptrain.rl.make`.
        hidden: sizes of the hidden layers of both networks; tanh.
        num_envs: environments per member.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to require one of them; None prefers EnvPool.
        max_batch: greatest train_batch_size when that is tuned; it decides the size of the arrays of the compiled program.
        chunk: rows that are prepared at once; accelerators are faster with more.
        minibatch_size: rows of a step; a smaller batch is repeated.
        max_grad_norm: global norm at which gradients are clipped.
        distill_policy, distill_value: weights of the KL divergence from a teacher, and of the difference from its values.
        distill_lr: learning rate while a teacher teaches; None: `lr`, as it is tuned.
    """

    env: str
    hidden: tuple[int, ...] = (64, 64)
    num_envs: int = 16
    horizon: int | None = None
    backend: str | None = None
    max_batch: int = 200_000
    chunk: int = 128
    minibatch_size: int = 512
    max_grad_norm: float = 0.5
    lr: float = 1e-3
    dual_lr: float = 0.01
    eps_eta: float = 0.1
    eps_alpha_mean: float = 0.0075
    eps_alpha_std: float = 1e-5
    gae_lambda: float = 0.95
    discount: float = 0.99
    value_coeff: float = 0.5
    epochs: int = 10
    train_batch_size: int = 2048
    distill_policy: float = field(default=5.0, kw_only=True)
    distill_value: float = field(default=0.5, kw_only=True)
    distill_lr: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.check_sizes(chunk=MAX_CHUNK, max_batch=MAX_ROWS, minibatch_size=MAX_CHUNK)
        make(self.env, self.backend)
        self.resolve({}, 1)
        self.check_teaching()

    def resolve(self, hparams: PopulationHparams, members: int) -> dict[str, np.ndarray]:
        architecture_of("VMPO", self.hidden, hparams)
        return resolve_hparams(self, self.ranges_of(RANGES, hparams), without_architecture(hparams), members, ARCHITECTURE)

    def fresh(self, env: DeviceEnv | HostBackend, hparams: PopulationHparams, seeds: np.ndarray) -> Parts:
        carry = fresh_carry(env, self.num_envs, architecture_of("VMPO", self.hidden, hparams), seeds)
        del carry["kl_scale"]
        zeros = np.zeros((len(seeds), 3), np.float32)
        adam = {name: np.stack([np.asarray(part)] * len(seeds)) for name, part in init_adam(3).items()}
        return carry | {"duals": zeros, "dual_adam": adam} | shared.fresh_account(len(seeds), DIAGNOSTICS)

    def functions(self, spec: EnvSpec, layout: Layout, carry: Parts) -> Functions:
        distribution, sizes = CATEGORICAL if spec.discrete else GAUSSIAN, (spec.observation, *self.hidden, spec.actions)
        shapes, teacher = shapes_of(carry["params"]), shapes_of(carry[LESSON]["params"]) if LESSON in carry else None
        return Functions(layout, distribution, sizes, spec.recorded, self.max_grad_norm, shapes, teacher, self.minibatch_size)

    def account(self, carry: Parts, happened: IntervalOutcome, settings: dict[str, np.ndarray]) -> tuple[Parts, Parts]:
        names = ("eta", "alpha_mean", "alpha_std")
        return shared.account(carry, happened, {name: np.exp(carry["duals"][:, i]) for i, name in enumerate(names)})


LEARNED = ("params", "adam", "normaliser", "value_scale", "duals", "dual_adam")  # the parts of a carry that an update changes
DIAGNOSTICS = ("kl_mean", "kl_std", "kl_psi", "value_loss")


@dataclass(frozen=True)
class Functions(PpoFunctions):
    """V-MPO's functions of one member; it acts, values and prepares batches as PPO does."""

    minibatch_size: int = 512

    @property
    def learned(self) -> tuple[str, ...]:
        """The parts of a carry that learning changes."""
        return LEARNED if self.teacher is None else (*LEARNED, LESSON)

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of the numbers that `learn` returns about an update."""
        return DIAGNOSTICS if self.teacher is None else DIAGNOSTICS + TAUGHT

    def learn(
        self, state: Parts, batch: Batch, scratch: Parts, hparams: Scalars, key: Array, span: Array | None = None
    ) -> tuple[Parts, Parts, Array]:
        """Returns the state after `epochs` passes over the batch, the scratch, and the diagnostics of the last pass."""
        span = batch.ticks if span is None else span
        scratch, ready = prepare(state, batch, scratch, hparams, self.layout, self.distribution, span)
        lesson = state.get(LESSON)
        if lesson is not None:
            scratch = write_answers(lesson, batch, scratch, ready.value_scale, self.layout, span)
            alpha = alpha_at(lesson["progress"])
        old_log_std, size = state["params"]["log_std"], self.minibatch_size
        flat, unravel = jax.flatten_util.ravel_pytree(state["params"] | {"value": ready.value_layers})
        threshold = upper_half(scratch["table"][:, -2], batch.n)
        stride_of = jnp.minimum(size, batch.n)

        def loss(vector: Array, duals: Array, rows: Array) -> tuple[Array, Array]:
            params, part = unravel(vector), select_rows(scratch["table"], rows, self.sizes[0], self.action)
            outputs, value = forward(params["policy"], part.observations), forward(params["value"], part.observations)[0]
            log_prob = self.distribution.log_prob(outputs, params["log_std"], part.actions)
            eta, *alphas = jnp.exp(duals)
            chosen = part.advantage >= threshold
            policy_loss, eta_loss, kl_psi = policy_losses(log_prob, part.advantage, chosen, eta, hparams["eps_eta"])
            kls = divergences(self.distribution is GAUSSIAN, part.outputs, old_log_std, outputs, params["log_std"])
            bounds = (hparams["eps_alpha_mean"], hparams["eps_alpha_std"])
            alpha_loss = sum(bound_loss(alpha, kl.mean(), e) for alpha, kl, e in zip(alphas, kls, bounds, strict=True))
            error = ((value - part.target) ** 2).mean()
            total = policy_loss + eta_loss + alpha_loss + hparams["value_coeff"] * error
            shown = [kls[0].mean(), kls[1].mean(), kl_psi, error]
            if lesson is not None:
                answers = scratch["answers"][rows]
                taught = imitation(answers, lesson, self.distribution, outputs, params["log_std"], value)
                kl, difference = (term.mean() for term in taught)
                total = total + alpha * (hparams["distill_policy"] * kl + hparams["distill_value"] * difference)
                shown += [kl, difference, alpha]
            return total, jnp.stack(shown)

        def epoch(i: Array, carry: Tree) -> Tree:
            position, stride = draw_order(jax.random.fold_in(key, i), batch.n)
            minibatches, ahead = jnp.maximum(batch.n // size, 1), times(stride, stride_of, batch.n)

            def step(_: Array, carry: Tree) -> Tree:
                params, adam, duals, dual_adam, position, sums = carry
                rows, _ = walk_order(position, stride, batch.n, size)
                (gradient, dual_gradient), more = jax.grad(loss, (0, 1), has_aux=True)(params, duals, rows)
                norm = jnp.sqrt((gradient * gradient).sum())
                gradient = gradient * jnp.minimum(1.0, self.max_grad_norm / (norm + 1e-8))
                adam, params = adam_step(adam, params, gradient, hparams["lr"])
                dual_adam, duals = adam_step(dual_adam, duals, dual_gradient, hparams["dual_lr"])
                position = (position + ahead) % batch.n.astype(jnp.uint32)
                return params, adam, jnp.clip(duals, *LOG_DUALS), dual_adam, position, sums + more

            start = (*carry[:4], position, jnp.zeros(len(self.diagnostics)))
            *learned, _, sums = jax.lax.fori_loop(0, minibatches, step, start)
            return *learned, sums / minibatches

        start = (flat, state["adam"], state["duals"], state["dual_adam"], jnp.zeros(len(self.diagnostics)))
        flat, adam, duals, dual_adam, diagnostics = jax.lax.fori_loop(0, hparams["epochs"], epoch, start)
        params = unravel(flat)
        params = params | {"policy": refreshed(params["policy"]), "value": refreshed(params["value"])}
        learned = {"params": params, "adam": adam, "duals": duals, "dual_adam": dual_adam}
        if lesson is not None:
            learned[LESSON] = advanced(lesson, batch.n)
        return learned | {"normaliser": ready.normaliser, "value_scale": ready.value_scale}, scratch, diagnostics


def upper_half(advantages: Array, n: Array) -> Array:
    """Returns the smallest of the n // 2 highest advantages among the first n; of a single one, itself."""
    held = jnp.where(jnp.arange(len(advantages)) < n, advantages, -jnp.inf)
    return -jnp.sort(-held)[jnp.maximum(n // 2, 1) - 1]


def policy_losses(log_prob: Array, advantage: Array, chosen: Array, eta: Array, eps_eta: Array) -> tuple[Array, Array, Array]:
    """Returns (L_pi, L_eta, KL of psi from the uniform distribution over the chosen); arguments (B,) and scalars.

    Without a chosen sample there is nothing to learn from, and both losses are constant.
    """
    count = jnp.maximum(chosen.sum(), 1)
    scores = jnp.where(chosen, advantage / eta, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(chosen.any(), scores.max(), 0.0))
    total = jnp.where(chosen, jnp.exp(jnp.where(chosen, scores - top, 0.0)), 0.0).sum()
    log_mean = jnp.where(chosen.any(), jnp.log(jnp.maximum(total, 1e-30)) + top - jnp.log(count), 0.0)
    psi = jax.lax.stop_gradient(jnp.where(chosen, jnp.exp(jnp.where(chosen, scores - top, 0.0)), 0.0) / jnp.maximum(total, 1e-30))
    kl = (psi * jnp.where(chosen, jnp.log(jnp.maximum(psi * count, 1e-30)), 0.0)).sum()
    return -(psi * log_prob).sum(), eta * eps_eta + eta * log_mean, kl  # eq. (3), (5)


def bound_loss(alpha: Array, kl: Array, epsilon: Array) -> Array:
    """Returns L_alpha: its gradient moves alpha up while the divergence is above the bound, and the policy back."""
    return alpha * (epsilon - jax.lax.stop_gradient(kl)) + jax.lax.stop_gradient(alpha) * kl  # eq. (6)


def divergences(gaussian: bool, old: Array, old_log_std: Array, new: Array, log_std: Array) -> tuple[Array, Array]:
    """Returns the KL divergences, (B,) each, that are due to the means and to the standard deviations, of outputs (D, B).

    For discrete actions the first one is that of the distributions, and the second is zero.
    """
    if not gaussian:
        kl = CATEGORICAL.kl(old, old_log_std, new, log_std)
        return kl, jnp.zeros_like(kl)
    means = 0.5 * (((new - old) * jnp.exp(-old_log_std)[:, None]) ** 2).sum(0)
    shift = old_log_std - log_std
    return means, jnp.full(new.shape[1], 0.5 * (jnp.exp(2.0 * shift) - 1.0 - 2.0 * shift).sum())
