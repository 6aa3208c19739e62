"""Keras 3 on JAX, PyTorch or TensorFlow: a member is a compiled model and the arguments of its `fit`.

Keras compiles the training step once, with most of an optimiser's options as constants: a momentum that is set afterwards can be
read back, and never acts. So a member with new values is a new model, into which the state is put.

=================  ====================================================================================================
`member`           `KerasMember`: the base of a trainable class around a Keras model
`live`             where hyperparameters act in a live optimiser; the callback that looks while the model trains
`data`             what training data with a state of their own have drawn and given
`state`            what a model carries: weights, moments, counters, seeds of layers
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import keras

    if keras.backend.backend() == "jax":
        from poptrain import _jax  # noqa: F401  # it sets what JAX must know before its first computation
except ImportError as error:
    raise MissingExtra(
        "poptrain.integrations.keras needs Keras and one of its backends: pip install 'poptrain[keras]'"
    ) from error

from poptrain.integrations.keras.member import KerasMember

__all__ = ["KerasMember"]
