"""PPO: proximal policy optimisation, for a whole population at once.

Schulman, Wolski, Dhariwal, Radford, Klimov: Proximal Policy Optimization Algorithms, arXiv 1707.06347.

    repeat: act with policy pi_old until train_batch_size transitions are there
            A = generalised advantage estimates (arXiv 1506.02438)
            for epochs, for minibatches: ascend  min(r A, clip(r, 1 - eps, 1 + eps) A) - beta KL(pi_old || pi)
                                                 - c1 (V - V_target)^2 + c2 S                          eq. (7), (8), (9)
            beta *= 1.5 or 0.5, if the KL divergence is off its target

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
epsilon         clip                of the probability ratio
beta            kl_coeff            where the adaptive coefficient begins; the carry holds the factor it has moved by since
d_targ          kl_target           KL divergence in nats per update
gamma, lambda   discount,           of the advantages
                gae_lambda
c1, c2          value_coeff,        of the loss
                entropy_coeff
K, M, N T       epochs,             passes over a batch, rows of a gradient, rows of a batch
                minibatch_size,
                train_batch_size
==============  ==================  ========================================================================================

*Departures from the paper.* Clipping and the adaptive KL penalty act together, as in RLlib (kl_coeff 0 leaves the clip alone);
beta moves by 1.5 and 0.5 beyond 2 and 0.5 times the target. Advantages are standardised per batch, observations by a running
filter, gradients clipped by their global norm. Policy and value network share nothing.
*Departures from RLlib.* The value loss is not clipped, and the value network is rescaled to the returns (`value_scale`). A
batch is the greatest number of whole ticks (one step of all the member's environments) within train_batch_size, but at
least one; the rows that do not fill a last minibatch are left out of that epoch. The observation filter stands still
while a batch is collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from poptrain._jax import jax
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.envs import make
from poptrain.rl.envs.pictures import pictures
from poptrain.rl.envs.spec import DeviceEnv
from poptrain.rl.envs.stepped import Stepped
from poptrain.rl.parts import device_training, host_training, recording
from poptrain.rl.parts.actor import Actor, Noise
from poptrain.rl.parts.adam import init_adam
from poptrain.rl.parts.batch import Layout
from poptrain.rl.parts.device_interval import Program, program_for
from poptrain.rl.parts.distributions import CATEGORICAL, GAUSSIAN
from poptrain.rl.parts.evaluation import episode_returns
from poptrain.rl.parts.hparams import Range, resolve
from poptrain.rl.parts.learner import DIAGNOSTICS
from poptrain.rl.parts.learners import learner_for
from poptrain.rl.parts.networks import init_params
from poptrain.rl.parts.normaliser import init_normaliser
from poptrain.rl.parts.shuffle import MAX_CHUNK, MAX_ROWS
from poptrain.rl.parts.trees import all_finite, stack, take
from poptrain.rl.parts.value_scale import init_value_scale


@dataclass(frozen=True)
class PPO:
    """A population of PPO agents, a `PopulationTrainable`: train it with ``executor="vectorized"``.

    Every field from `lr` on is a hyperparameter that may be tuned; here stand the values of those that are not. None of
    them changes the compiled program.

    >>> agent = PPO(env="BipedalWalker-v3", hidden=(32, 32), kl_coeff=1.0)

    Args:
        env: name of the environment, see `poptrain.rl.make`.
        hidden: sizes of the hidden layers of both networks; tanh.
        num_envs: environments per member.
        horizon: longest episode in steps; None: the environment's own limit.
        backend: "envpool" or "gymnasium" to insist on one; None prefers EnvPool.
        max_batch: greatest train_batch_size when that is tuned; it sizes the arrays of the compiled program.
        chunk: rows of which a gradient is computed at once; accelerators like more.
        max_grad_norm: global norm at which gradients are clipped.
    """

    env: str
    hidden: tuple[int, ...] = (64, 64)
    num_envs: int = 16
    horizon: int | None = None
    backend: str | None = None
    max_batch: int = 200_000
    chunk: int = 128
    max_grad_norm: float = 0.5
    lr: float = 3e-4
    clip: float = 0.2
    kl_coeff: float = 0.2
    kl_target: float = 0.01
    gae_lambda: float = 0.95
    discount: float = 0.99
    entropy_coeff: float = 0.0
    value_coeff: float = 0.5
    epochs: int = 10
    minibatch_size: int = 128
    train_batch_size: int = 4096

    population: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        sizes = {"num_envs": self.num_envs, "max_batch": self.max_batch, "chunk": self.chunk, "horizon": self.horizon or 1}
        sizes |= {f"hidden[{i}]": size for i, size in enumerate(self.hidden)}
        limits = {"chunk": MAX_CHUNK, "max_batch": MAX_ROWS}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= limits.get(name, 1 << 30):
                raise UsageError(f"PPO: {name}={size!r}, expected a whole number from 1 to {limits.get(name, 1 << 30)}.")
        make(self.env, self.backend)
        self._resolve({}, 1)

    # -- PopulationTrainable ------------------------------------------------------------------------------------------

    def init(self, hparams: Mapping[str, Any], seeds: Any) -> dict[str, Any]:
        """Returns the carry of P fresh members; seeds (P,)."""
        seeds = np.asarray(seeds)
        self._resolve(hparams, len(seeds))
        env, envs = make(self.env, self.backend), self.num_envs
        spec, members = env.spec, len(seeds)
        params = [
            init_params(rng(int(seed), "init"), spec.observation, self.hidden, spec.actions, 0 if spec.discrete else spec.actions)
            for seed in seeds
        ]
        size = sum(leaf[0].size for leaf in jax.tree.leaves(stack(params[:1])))
        carry = {
            "params": stack(params),
            "adam": stack([init_adam(size)] * members),
            "normaliser": stack([init_normaliser(spec.observation)] * members),
            "value_scale": stack([init_value_scale()] * members),
            "kl_scale": np.ones(members, np.float32),
            "score": np.full(members, np.nan),
            "episode_length": np.full(members, np.nan),
            "updates": np.zeros(members, np.int64),
            "diagnostics": {name: np.full(members, np.nan, np.float32) for name in DIAGNOSTICS},
        }
        if isinstance(env, DeviceEnv):
            buffer = device_training.empty_buffer(members, envs, spec.observation, spec.recorded)
            return carry | {"buffer": buffer, "env": device_training.fresh_world(env, envs, seeds)}
        return carry | {"buffer": recording.empty_buffer(members, envs, spec.observation, spec.recorded)}

    def train(
        self, carry: dict[str, Any], hparams: Mapping[str, Any], steps: int, seeds: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the carry `steps` environment steps on, and the metrics of the way.

        A pure function, bit for bit. On the host exactly `steps` are trained; in JAX environments they are rounded up to
        whole ticks. ``score`` is the mean return of the training episodes that ended; if none did, the last known one; if
        none ever has, the mean return so far of those that run. It is NaN for a member whose parameters are no longer
        finite. `steps` 0 trains nothing: the score is then the mean over one episode in each environment.
        """
        seeds = np.asarray(seeds)
        settings = self._resolve(hparams, len(seeds))
        if steps <= 0:
            returns = [self.evaluate(carry, i, self.num_envs, int(seed), False) for i, seed in enumerate(seeds)]
            happened = {"returns": [[float(x) for x in r] for r in returns], "score": np.asarray([r.mean() for r in returns])}
            changed, nothing = {}, np.zeros(len(seeds), int)
            happened |= {"steps": nothing, "updates": nothing, "running": happened["score"]}
            happened |= {"episode_length": carry["episode_length"], **carry["diagnostics"]}
        else:
            changed, happened = self._interval(carry, hparams, settings, steps, seeds)
        return self._account(carry | changed, settings, happened)

    def gather(self, lanes: Sequence[tuple[dict[str, Any], int]]) -> dict[str, Any]:
        """Returns one carry of the given lanes, each (carry, index), as copies; shorter recordings are padded."""
        return recording.gather(lanes)

    # -- after training -----------------------------------------------------------------------------------------------

    def evaluate(
        self, carry: dict[str, Any], lane: int | None = None, episodes: int = 100, seed: int = 0, deterministic: bool = True
    ) -> np.ndarray:
        """Returns the undiscounted returns of one member over whole episodes that it never trained on; (episodes,).

        Args:
            carry, lane: a population's carry and the member in it; None: the carry of one member, as ``run.best.load()`` gives.
            seed: of the environments; training and evaluation draw theirs from disjoint ranges.
            deterministic: act by the mode of the policy; else draw.
        """
        env = make(self.env, self.backend)
        seeds = host_training.evaluation_seeds(seed, episodes)
        own = {name: carry[name] for name in ("params", "normaliser")}
        own = own if lane is None else take(own, lane)
        noise = None if deterministic else Noise(rng(int(seed), "evaluation noise"), env.spec, episodes)
        horizon = self.horizon or env.spec.horizon
        simulator = Stepped(env, seeds, horizon) if isinstance(env, DeviceEnv) else env.open(seeds, episodes, self.horizon)
        try:
            return episode_returns(Actor(env.spec, **own), simulator, episodes, noise)
        finally:
            simulator.close()

    def render(self, carry: dict[str, Any], hparams: Mapping[str, Any] | None = None, seed: int = 0) -> Iterator[np.ndarray]:
        """Yields pictures of one episode by the mode of the policy, uint8 (height, width, 3); `carry` is one member's.

        Raises:
            UsageError: the environment has no pictures.
        """
        spec = make(self.env, self.backend).spec
        actor = Actor(spec, carry["params"], carry["normaliser"])
        return pictures(self.env, lambda seen: actor.act(seen, None)[1], host_training.evaluation_seeds(seed, 1)[0],
                        self.horizon or spec.horizon, self.backend)  # fmt: skip

    # -- inside -------------------------------------------------------------------------------------------------------

    def _resolve(self, hparams: Mapping[str, Any], members: int) -> dict[str, np.ndarray]:
        return resolve(self, _RANGES | {"train_batch_size": Range(1, self._capacity(hparams), True)}, hparams, members)

    def _capacity(self, hparams: Mapping[str, Any]) -> int:
        """Rows of the greatest batch: known beforehand unless train_batch_size is tuned."""
        return self.max_batch if "train_batch_size" in hparams else int(self.train_batch_size)

    def _interval(
        self, carry: dict[str, Any], hparams: Mapping[str, Any], settings: dict[str, np.ndarray], steps: int, seeds: np.ndarray
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        env, envs = make(self.env, self.backend), self.num_envs
        spec, distribution = env.spec, CATEGORICAL if env.spec.discrete else GAUSSIAN
        rows = max(self._capacity(hparams), int(carry["buffer"]["n"].max()) + envs)
        if isinstance(env, DeviceEnv):
            slots, horizon = device_training.slots_for(rows, envs), self.horizon or spec.horizon

            def program(members: int) -> Program:
                layout = Layout(envs, envs * members, slots, slots * envs, self.chunk)
                return program_for(env, members, layout, distribution, horizon, self.max_grad_norm, self.hidden)

            return device_training.train_in_shares(program, carry, settings, steps, seeds)
        slots = recording.slots_for(rows, envs)
        sizes = (spec.observation, *self.hidden, spec.actions)
        layout = Layout(envs, envs, slots, rows + envs, self.chunk)
        learner = learner_for(layout, distribution, sizes, spec.recorded, self.max_grad_norm)
        return host_training.train(env, learner, slots, envs, self.horizon, carry, settings, steps, seeds)

    def _account(
        self, carry: dict[str, Any], settings: dict[str, np.ndarray], happened: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Carries forward what is known of members to whom nothing happened."""
        score = _known(happened["score"], carry["score"])
        finite = np.asarray([all_finite(take(carry["params"], i)) for i in range(len(score))])
        length = _known(happened["episode_length"], carry["episode_length"])
        updates = carry["updates"] + happened["updates"]
        diagnostics = {
            name: np.where(happened["updates"] > 0, happened[name], carry["diagnostics"][name]).astype(np.float32)
            for name in DIAGNOSTICS
        }
        log_std = carry["params"]["log_std"]
        metrics = {
            "score": np.where(finite, _known(score, happened["running"]), np.nan),
            "returns": happened["returns"],
            "steps": happened["steps"],
            "updates": updates,
            "episode_length": length,
            "kl_coeff": settings["kl_coeff"] * carry["kl_scale"],
            **diagnostics,
        }
        if log_std.shape[1]:
            metrics["std"] = np.exp(log_std).mean(1)
        return carry | {"score": score, "episode_length": length, "updates": updates, "diagnostics": diagnostics}, metrics


def _known(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(new), new, old)


_RANGES = {
    "lr": Range(0.0),
    "clip": Range(0.0),
    "kl_coeff": Range(0.0),
    "kl_target": Range(0.0),
    "gae_lambda": Range(0.0, 1.0),
    "discount": Range(0.0, 1.0),
    "entropy_coeff": Range(float("-inf")),
    "value_coeff": Range(0.0),
    "epochs": Range(0, 1_000, True),
    "minibatch_size": Range(1, MAX_ROWS, True),
    "train_batch_size": Range(1, MAX_ROWS, True),
}
