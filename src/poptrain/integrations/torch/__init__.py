"""PyTorch: hyperparameters that really reach the optimiser, and a checkpoint that holds all of the state.

A classic bug: a clone loads its parent's optimiser and with it the parent's learning rate, so the rate that was chosen for
the clone never takes effect. Here ``__init__`` makes every copy with its own values, the state is put into it in place, and
what the live optimisers hold is read back. The idea behind it is in `poptrain.integrations.adapter`.

=================  ====================================================================================================
`member`           `TorchMember`: the base of a trainable class with PyTorch in it
`hparams`          `apply_hparams` and `read_hparams`: which option of which parameter group a hyperparameter sets
`contents`         what a member consists of, and how the state of another one is put into it
`tree`             plain values, tensors and containers; `parts`: modules and generators; `optimizers`; `rates`: schedulers
`merge`            what a copy takes from its parent, and what its own hyperparameters decide
`batches`          `Batches`: a position in the data that a checkpoint holds
`state`            `save_state` and `load_state`: ``state_dict()`` on the disk, without pickle
`random_stream`    a random stream for each member
`teachers`         `imitation`: members that learn from another one
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.torch needs PyTorch: pip install 'poptrain[torch]'") from error

from poptrain.integrations.torch.batches import Batches
from poptrain.integrations.torch.hparams import apply_hparams, read_hparams
from poptrain.integrations.torch.member import TorchMember
from poptrain.integrations.torch.state import load_state, save_state
from poptrain.integrations.torch.teachers import imitation

__all__ = ["Batches", "TorchMember", "apply_hparams", "imitation", "load_state", "read_hparams", "save_state"]
