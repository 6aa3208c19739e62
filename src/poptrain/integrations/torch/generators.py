"""The random generators that a member may keep, of three libraries, and their states."""

from __future__ import annotations

import torch

from poptrain.integrations import generators
from poptrain.integrations.torch.tree import Live, Tree

GENERATORS = (torch.Generator, *generators.GENERATORS)


def read_generator(part: Live) -> Tree:
    """Returns the state of a random generator."""
    return part.get_state().numpy() if isinstance(part, torch.Generator) else generators.read_generator(part)


def put_generator(part: Live, state: Tree) -> None:
    """Sets the state of a random generator. That of PyTorch's may be a tensor, as older checkpoints have it."""
    if isinstance(part, torch.Generator):
        part.set_state(torch.as_tensor(state))
    else:
        generators.put_generator(part, state)
