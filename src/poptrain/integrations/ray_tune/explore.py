"""Ray's ``custom_explore_fn``: a function of the whole config, called after the hyperparameters were varied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from poptrain.core import History, Hparams, Value
from poptrain.core.errors import UsageError
from poptrain.core.facts import is_number
from poptrain.core.fingerprint import describe
from poptrain.core.protocols import Clone, Explore, Proposal
from poptrain.core.rng import rng
from poptrain.integrations.ray_tune import configs
from poptrain.integrations.ray_tune.configs import Config
from poptrain.integrations.ray_tune.space import keyed
from poptrain.space import Ordinal, Space
from poptrain.space.parameter import Parameter, plain


@dataclass(frozen=True, eq=False)
class Then:
    """An explore followed by a user's function ``f(config) -> config``; values outside the bounds are moved inside."""

    first: Explore[Space]
    function: Callable[[Config], Config]
    given: tuple[Config, ...]  # the config of each seat, as the user wrote it

    def describe(self) -> dict[str, object]:
        """Returns what the log records."""
        return {"type": "Then", "first": describe(self.first), "function": describe(self.function)}

    def propose(self, history: History, space: Space, clones: Sequence[Clone]) -> list[Proposal]:
        """Returns the proposals of `first`, changed by the function."""
        proposals = self.first.propose(history, space, clones)
        return [
            Proposal(*proposal)._replace(hparams=self._vary(history, space, clone, proposal[0]))
            for clone, proposal in zip(clones, proposals, strict=True)
        ]

    def _vary(self, history: History, space: Space, clone: Clone, hparams: Hparams) -> dict[str, Value]:
        root = history.task(history.ancestry(clone.parent)[0]).member
        config = configs.applied(configs.copied(self.given[root]), hparams)
        name = getattr(self.function, "__qualname__", repr(self.function))
        with keyed(int(rng(history.seed, clone.id, "custom_explore_fn").integers(2**53))):
            new = self.function(configs.copied(config))
        if not isinstance(new, Mapping):
            raise UsageError(f"custom_explore_fn {name} returned {type(new).__name__}; it must return the config.")
        varied = configs.given(new, space)
        missing = [each for each in space if each not in varied]
        if missing:
            raise UsageError(f"custom_explore_fn {name} dropped {missing[0]!r}; it must return the whole config.")
        other = configs.first_difference(configs.applied(config, hparams), configs.applied(new, hparams))
        if other:
            raise UsageError(
                f"custom_explore_fn {name} changed {other!r}, which is not explored; define its range in hyperparam_mutations."
            )
        return space.finish({each: _inside(space[each], value) for each, value in varied.items()})


def _inside(parameter: Parameter, value: object) -> object:
    """Returns the nearest value of a parameter. What is not a number is returned unchanged, for `finish` to check."""
    if not parameter.numeric:
        return value
    number = plain(value)
    if not is_number(number) or number != number:
        return number
    if isinstance(parameter, Ordinal):
        numbers = [option for option in parameter.options if is_number(option)]
        return min(numbers, key=lambda option: abs(option - number)) if numbers else number
    return parameter.snap(number)
