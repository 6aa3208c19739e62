"""The policies of a team in numpy: N networks act at once, each in its own environments."""

from __future__ import annotations

import numpy as np

from poptrain.rl.actor import Actor
from poptrain.rl.envs.spec import EnvSpec
from poptrain.rl.trees import Parts


class TeamActor(Actor):
    """An `Actor` for E environments in N groups, one for each policy.

    Args:
        params: of all policies; their arrays lead with (N,).
        normaliser: one for all.
    """

    def __init__(self, spec: EnvSpec, params: Parts, normaliser: Parts):
        super().__init__(spec, params, normaliser)
        self.layers = [(w, b[:, None]) for w, b in self.layers]
        self.policies, self.stds = len(self.std), self.std[:, None]
        self.std = np.ones(1, np.float32)  # the noise is already multiplied

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Returns the policies' outputs, (E, D), for raw observations, (E, O)."""
        grouped = super().outputs(observations.reshape(self.policies, -1, observations.shape[-1]))
        return grouped.reshape(len(observations), -1)

    def act(self, observations: np.ndarray, noise: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the actions as they were drawn, (E, A), and as the environment takes them; see `Actor.act`."""
        if noise is not None and not self.spec.discrete:
            noise = (self.stds * noise.reshape(self.policies, -1, noise.shape[-1])).reshape(noise.shape)
        return super().act(observations, noise)
