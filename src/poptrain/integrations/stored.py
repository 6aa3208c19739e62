"""Trees of arrays in the checkpoint directory of a member: JSON and safetensors, nothing pickled; see `checkpoints.carry`.

And the files of a framework, which get a second name in another directory where that is possible.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
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


def copy_files(source: Path, target: Path, ignore: Callable[[str, list[str]], Iterable[str]] | None = None) -> None:
    """Copies a directory. Large files that are never changed in place, such as weights, are linked and not written again."""
    shutil.copytree(source, target, copy_function=_linked_or_copied, ignore=ignore, dirs_exist_ok=True)


def _linked_or_copied(source: str, target: str) -> None:
    if not source.endswith(".json"):  # adapters write JSON again
        try:
            os.link(source, target)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(source, target)
