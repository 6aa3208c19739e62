"""Flax NNX and optax: a member is the modules, optimisers and random streams that ``make`` keeps in attributes.

Hyperparameters that `optax.inject_hyperparams` puts into an optimiser's state are set there and read back from there. All others
are Python values of a model, or of a function that JAX compiles: for new ones a member is made anew, with the state put into it.

=================  ====================================================================================================
`member`           `NNXMember`: the base of a trainable class around NNX modules
`batches`          `Batches`: the order of the data, and the position in it
`contents`         what the attributes of a member hold: variables, optimiser states, generators, plain values
`live`             where hyperparameters act in live optimisers, modules and batches
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    from poptrain import _jax  # noqa: F401  # before Flax: it sets what JAX must know before it starts

    import flax.nnx  # noqa: F401  # isort: skip
    import optax  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.nnx needs Flax and optax: pip install 'poptrain[nnx]'") from error

from poptrain.integrations.nnx.batches import Batches
from poptrain.integrations.nnx.member import NNXMember

__all__ = ["Batches", "NNXMember"]
