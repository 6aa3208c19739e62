"""Stable-Baselines3: an algorithm as a member whose hyperparameters really change while it trains.

Write ``make(hp, seed)``, which builds the algorithm. Every name in the space must then be one of the algorithm's
hyperparameters (``lr`` stands for ``learning_rate``), or be read by ``make``, or be listed in ``own``. A name that has no effect
is an error. The idea behind it is in `poptrain.integrations.adapter`.

The checkpoint holds parameters, optimisers, counters, normalisers and a replay buffer, without pickle: it stores none of the
algorithm's code or custom objects, because `make` builds them again. A simulator's state cannot be stored; every interval
starts with a seeded reset instead, so that a resumed run repeats.

=================  ====================================================================================================
`member`           `SB3Member`: the base of a trainable class around an algorithm
`hparams`          `apply_hparams` and `read_hparams`: every place where a hyperparameter takes effect
`episodes`         returns, and what the end of an interval does to open episodes
`state`            what a checkpoint holds of the algorithm
`parameters`       its weights and moments in a copy
`replay`           its replay buffer, also one of another length
`surroundings`     what is around it: attributes, callbacks, noise, what wrappers have counted
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import stable_baselines3  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.sb3 needs Stable-Baselines3: pip install 'poptrain[sb3]'") from error

from poptrain.integrations.sb3.hparams import apply_hparams, read_hparams
from poptrain.integrations.sb3.member import SB3Member

__all__ = ["SB3Member", "apply_hparams", "read_hparams"]
