"""What a Keras model carries: weights and statistics, seeds of layers, moments and the counter of the optimiser.

The learning rate is a variable of the optimiser too. It is a value of the member, not its state, so it stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from poptrain.core import Carry
from poptrain.core.errors import UsageError
from poptrain.integrations.keras.live import optimizers

SEEDS = "global_seed_generator"  # Keras's name for the generator of everything that has no seed of its own


def read(model: keras.Model) -> dict[str, Carry]:
    """Returns the state of a model."""
    _build(model)
    return {group: [[_kind(v), np.array(keras.ops.convert_to_numpy(v))] for v in found] for group, found in _variables(model)}


def put(model: keras.Model, state: dict[str, Carry]) -> None:
    """Puts a state into a model.

    Raises:
        UsageError: the model has other variables.
    """
    _build(model)
    for group, found in _variables(model):
        saved = state[group]
        shapes = [(_kind(variable), tuple(variable.shape)) for variable in found]
        before = [(kind, array.shape) for kind, array in saved]
        if shapes != before:
            changed = next((pair for pair in zip(before, shapes, strict=False) if pair[0] != pair[1]), (len(before), len(shapes)))
            raise UsageError(
                f"the checkpoint has other variables of the {group} than make() builds: {changed[0]} is now {changed[1]}. A "
                "hyperparameter that changes the model or the kind of optimiser must be static=True."
            )
        for variable, (_, array) in zip(found, saved, strict=True):
            variable.assign(array)


@contextmanager
def unaveraged(model: keras.Model, before: list[Carry] | None) -> Iterator[list[Carry]]:
    """Trains with the weights that the last training left, and yields a list that gets those of this one.

    With ``use_ema=True``, Keras ends each ``fit`` with the averages in the place of the weights. A model that is used afterwards
    should have the averages; a training that goes on must not begin from them.
    """
    after: list[Carry] = []
    optimizer = model.optimizer
    if not _averages(optimizer):
        yield after
        return
    for variable, array in zip(model.trainable_variables, before or (), strict=before is not None):
        variable.assign(array)
    finalize = optimizer.finalize_variable_values

    def keeping(variables: list[Any]) -> None:
        after[:] = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        finalize(variables)

    optimizer.finalize_variable_values = keeping
    try:
        yield after
    finally:
        del optimizer.finalize_variable_values


def _averages(optimizer: Any) -> bool:
    """True if an optimiser, or one inside it, keeps moving averages of the weights."""
    return any(getattr(each, "use_ema", False) for _, each in optimizers(optimizer))


def seeds() -> Carry:
    """Returns the state of Keras's own generator; None if nothing has used it."""
    generator = global_state.get_global_attribute(SEEDS)
    return None if generator is None else np.array(keras.ops.convert_to_numpy(generator.state))


def put_seeds(state: Carry) -> None:
    """Sets Keras's own generator."""
    if state is None:
        global_state.set_global_attribute(SEEDS, None)
        return
    from keras.src.random.seed_generator import global_seed_generator

    global_seed_generator().state.assign(state)


def _build(model: keras.Model) -> None:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _variables(model: keras.Model) -> Iterator[tuple[str, list[Any]]]:
    yield "model", list(model.variables)
    yield "optimizer", [variable for variable in model.optimizer.variables if _kind(variable) != "learning_rate"]


def _kind(variable: Any) -> str:
    """Returns the last part of a variable's name, without the numbers that Keras adds to names of layers."""
    return (
        "".join(letter for letter in str(variable.path).rpartition("/")[2] if not letter.isdigit()).strip("_").replace("__", "_")
    )
