"""Grid search: one member for every point of a grid over the space, each trained to the budget.

    for each point of the product of the levels: train with it to the budget

Numeric parameters get equally spaced levels on their own scale (log for log types), with both ends. Choices, ordinals and
short integer ranges get all their values.
"""

from __future__ import annotations

from collections.abc import Mapping

from poptrain.algorithms.parts import turns
from poptrain.algorithms.parts.turns import FrozenDict
from poptrain.algorithms.random_search import Independent
from poptrain.core.answering import answering
from poptrain.core.errors import UsageError
from poptrain.core.interval import Interval
from poptrain.space import Space


@answering
def grid_search(space: Space, *, levels: int | Mapping[str, int] = 3, interval: Interval) -> Independent:
    """Returns grid search.

    Args:
        space: the hyperparameters and their ranges.
        levels: values per numeric parameter: one number for all, or one for each by name.
        interval: steps between two results of a member.
    """
    turns.check_space("grid_search", space)
    turns.check_interval("grid_search", interval)
    for level in levels.values() if isinstance(levels, Mapping) else (levels,):
        if isinstance(level, bool) or not isinstance(level, int) or level < 1:
            raise UsageError(
                f"grid_search: levels={levels!r}, expected a whole number from 1, or one for each parameter by name."
            )
    points = space.grid(levels)
    return Independent(space, interval, len(points), tuple(FrozenDict(point) for point in points))
