"""On-policy agents with tunable architectures, whose students learn from teachers: what PPO and V-MPO share of that."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from poptrain.core.errors import UsageError
from poptrain.rl.agents.ppo.lesson import TAUGHT, begun, ended
from poptrain.rl.architecture import NAMES as ARCHITECTURE
from poptrain.rl.hparams import PopulationHparams, Range, resolve_hparams
from poptrain.rl.on_policy import OnPolicy
from poptrain.rl.trees import Parts
from poptrain.space import Space


class TeachableOnPolicy(OnPolicy):
    """A population of agents that learn from rollouts, and from teachers (BG-PBT). Agents have these fields as well:

    Attributes:
        distill_policy, distill_value: weights of the KL divergence from a teacher, and of the difference from its values.
        distill_lr: learning rate while a teacher teaches; None: `lr`, as it is tuned.
    """

    distill_policy: float
    distill_value: float
    distill_lr: float | None

    def check_teaching(self) -> None:
        """Raises a `UsageError` if a setting of the distillation is out of range."""
        names = ("distill_policy", "distill_value", *(() if self.distill_lr is None else ("distill_lr",)))
        resolve_hparams(self, dict.fromkeys(names, Range(0.0)), {}, 1)

    def check_space(self, space: Space, budget: int | None) -> None:
        """Raises a `UsageError` if a hyperparameter or a value is unknown, or a part of the architecture is not static."""
        for name in ARCHITECTURE:
            if name in space and not space[name].static:
                raise UsageError(
                    f"{type(self).__name__}: {name} changes the shapes of the networks: declare it static=True in the space."
                )
        super().check_space(space, budget)

    def distill(
        self,
        carry: Parts,
        teacher: Parts,
        hparams: PopulationHparams,
        steps: int,
        seeds: ArrayLike,
        progress: tuple[float, float] | None = None,
    ) -> tuple[Parts, Parts]:
        """Returns what `train` does, for students that also learn from teachers; see `lesson`.

        Args:
            teacher: the carry of one teacher for each student, of any architecture.
            progress: the part of the distillation that these steps are, in [0, 1]; None: all of it.
        """
        seeds = np.asarray(seeds)
        settings = self.resolve(hparams, len(seeds)) | self._teaching(len(seeds))
        students = begun(carry, teacher, progress or (0.0, 1.0), steps)
        if steps <= 0:
            return self.train(ended(students), hparams, steps, seeds)
        changed, happened = self._interval(students, self.capacity(hparams), settings, steps, seeds)
        carry, metrics = self.account(ended(students | changed), happened, settings)
        return carry, metrics | {name: happened.diagnostics[name] for name in TAUGHT}

    def _teaching(self, members: int) -> dict[str, np.ndarray]:
        """Returns the settings of a distillation, (P,) each."""
        own = {"distill_policy": self.distill_policy, "distill_value": self.distill_value}
        if self.distill_lr is not None:
            own["lr"] = self.distill_lr
        return {name: np.full(members, value, np.float32) for name, value in own.items()}
