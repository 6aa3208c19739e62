"""The hyperparameters of several members, as a population trainable takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.core import Hparams, Value

HparamColumns = dict[str, np.ndarray | Value]  # by name: an array of shape (P,), or the one value that all P members share


def hparam_columns(rows: Sequence[Hparams], shared: tuple[str, ...] = ()) -> HparamColumns:
    """Returns the hyperparameters of P members as a population takes them: arrays of shape (P,), one value for `shared` names."""
    return {name: rows[0][name] if name in shared else np.array([row[name] for row in rows]) for name in rows[0]}
