"""The settings of FIRE PBT, and what follows from them: which seats belong together, and when an evaluator stops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from poptrain.algorithms.fire.evaluations import Evaluations, observe
from poptrain.algorithms.parts.exploit import Truncation
from poptrain.algorithms.parts.explore import Explore
from poptrain.algorithms.parts.turns import Starts
from poptrain.core import History, Hparams, Task
from poptrain.core.fingerprint import Earlier
from poptrain.space import Space


@dataclass(frozen=True)
class FireSettings:
    """The arguments of `fire_pbt`, after they were checked."""

    space: Space
    subpopulations: tuple[int, ...]
    evaluators: int
    interval: int
    max_eval: int
    warmup: tuple[int, ...]
    evals: int
    exploit: Truncation
    p_stat: float
    initial: tuple[Hparams, ...]
    explore: Explore[Space]
    starts: Starts = field(default="spread", metadata={"absent": "random"})
    earlier: Earlier = field(default_factory=dict, compare=False, repr=False, metadata={"logged": False})

    @property
    def population(self) -> int:
        """The number of members, which train to the budget. The seats after them are evaluators, and may be idle."""
        return sum(self.subpopulations)

    @property
    def seats(self) -> int:
        """The number of members and evaluators."""
        return self.population + self.evaluators

    def members(self, i: int) -> range:
        """Returns the seats of sub-population i, counted from 0: P_1 is 0."""
        begin = sum(self.subpopulations[:i])
        return range(begin, begin + self.subpopulations[i])

    def measured(self, task: Task) -> Task:
        """Returns the task with its evaluations: `evals`, fewer if the budget cuts it short."""
        return replace(task, evals=max(1, self.evals * task.steps // self.interval))

    def stops(self, p: float | None, trained: int) -> bool:
        """True if an evaluator stops after `trained` steps; p is None if its curve does not overlap with that of its target."""
        if p is None:
            return trained > self.max_eval
        return p > self.p_stat + max(0.0, 1 - trained / self.max_eval)  # section 3.2: not a hard limit

    def state(self, history: History) -> Evaluations:
        """Returns the curves and assignments at the end of `history`."""
        return history.fold(("fire_pbt", self.population), Evaluations(), partial(observe, self.population))
