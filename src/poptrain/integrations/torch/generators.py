"""The random generators that a member may keep, of three libraries, and their states."""

from __future__ import annotations

import random

import numpy as np
import torch

from poptrain.integrations.torch.tree import Live, Tree

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def read_generator(part: Live) -> Tree:
    """Returns the state of a random generator."""
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    return list(part.get_state()) if isinstance(part, np.random.RandomState) else part.getstate()


def put_generator(part: Live, state: Tree) -> None:
    """Sets the state of a random generator."""
    if isinstance(part, torch.Generator):
        part.set_state(torch.as_tensor(state))
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif isinstance(part, np.random.RandomState):
        part.set_state(tuple(state))
    else:
        version, words, gauss = state
        part.setstate((version, tuple(words), gauss))
