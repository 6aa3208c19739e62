"""The policy in numpy, for environments on the host: with 16 observations and small networks a call takes 30 µs.

A compiled call would cost more than that in dispatch and transfers alone. The results are those of `nets.forward` and
`normaliser.normalise`, with one row per observation.
"""

from __future__ import annotations

import numpy as np

from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.normaliser import CLIP_AT, VARIANCE_EPSILON
from poptrain.rl.spectral import effective_on_host
from poptrain.rl.trees import Parts

NOISE_TICKS = 256  # ticks for which noise is drawn in one call


class Actor:
    """Maps observations to actions with one member's parameters.

    Args:
        params, normaliser: numpy trees of one member, without a leading axis.
    """

    def __init__(self, spec: EnvSpec, params: Parts, normaliser: Parts):
        self.spec = spec
        self.layers = [(effective_on_host(layer), layer["b"]) for layer in params["policy"]]
        self.std = np.exp(params["log_std"])
        self.mean = np.asarray(normaliser["mean"])
        self.scale = 1.0 / np.sqrt(np.asarray(normaliser["var"]) + np.float32(VARIANCE_EPSILON))
        self.low, self.high = np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32)
        parts = [self.std, self.mean, self.scale, *(part for layer in self.layers for part in layer)]
        self.broken = not all(np.isfinite(part).all() for part in parts)
        if not np.isfinite(self.std).all():
            self.std = np.zeros_like(self.std)

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Returns the policy's outputs, (E, D), for raw observations, (E, O)."""
        x = observations - self.mean
        x *= self.scale
        np.maximum(x, -CLIP_AT, out=x)
        np.minimum(x, CLIP_AT, out=x)
        for w, b in self.layers[:-1]:
            x = x @ w
            x += b
            np.tanh(x, out=x)
        w, b = self.layers[-1]
        return x @ w + b

    def act(self, observations: np.ndarray, noise: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the actions as they were drawn, (E, A), and as the environment takes them.

        A policy whose parameters are not finite acts with zero outputs, so that the simulator survives it.

        Args:
            observations: raw, (E, O).
            noise: of this tick, see `Noise`; None acts by the mode of the policy.
        """
        outputs = self.outputs(observations)
        if self.broken:
            outputs = np.zeros_like(outputs)
        if self.spec.discrete:
            index = np.argmax(outputs if noise is None else outputs + noise, axis=1)
            return index[:, None].astype(np.float32), index.astype(np.int32)
        drawn = outputs if noise is None else outputs + self.std * noise
        return drawn, np.minimum(np.maximum(drawn, self.low), self.high)


class Noise:
    """A member's exploration noise, tick by tick; it depends on the generator alone."""

    def __init__(self, generator: np.random.Generator, spec: EnvSpec, num_envs: int):
        self.generator, self.discrete = generator, spec.discrete
        self.shape, self.used = (NOISE_TICKS, num_envs, spec.actions), NOISE_TICKS

    def next(self) -> np.ndarray:
        """Returns draws for one tick: (E, A) standard normal, or for discrete actions (E, D) standard Gumbel."""
        if self.used == NOISE_TICKS:
            if self.discrete:
                self.block = self.generator.gumbel(size=self.shape).astype(np.float32)
            else:
                self.block = self.generator.standard_normal(self.shape, np.float32)
            self.used = 0
        self.used += 1
        return self.block[self.used - 1]
