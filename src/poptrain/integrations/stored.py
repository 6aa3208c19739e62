"""Trees of arrays in the checkpoint directory of a member: JSON and safetensors, nothing pickled; see `checkpoints.carry`."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import load_file, save_file

from poptrain.checkpoints import carry as carries
from poptrain.core import Carry


def save_tree(tree: Carry, directory: Path, name: str = "state") -> None:
    """Writes a tree as ``NAME.json`` and ``NAME.safetensors``.

    Raises:
        TypeError: the tree holds something that cannot be stored exactly; the message has its path.
    """
    structure, arrays = carries.flatten(tree)
    save_file(arrays, str(Path(directory) / f"{name}.safetensors"))
    (Path(directory) / f"{name}.json").write_text(json.dumps(structure))


def load_tree(directory: Path, name: str = "state") -> Carry:
    """Returns what `save_tree` wrote."""
    structure = json.loads((Path(directory) / f"{name}.json").read_text())
    return carries.unflatten(structure, load_file(str(Path(directory) / f"{name}.safetensors")))
