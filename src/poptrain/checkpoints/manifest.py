"""The manifest of a checkpoint: what it is, the sizes and hashes of its files, and the structure of its carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NotRequired, TypedDict, cast

from poptrain.core import Json
from poptrain.core.counting import counted

MANIFEST_FORMAT = 1
SHARING_FORMAT = 2  # of a manifest with shared arrays; the others stay readable for older versions
MANIFEST, ARRAYS, USER, SHARED = "MANIFEST.json", "arrays.safetensors", "user", "shared"


class FileEntry(TypedDict):
    """One file of a checkpoint."""

    size: int
    sha256: str


class SharedArray(TypedDict):
    """An array whose files several checkpoints may hold; together they are its bytes."""

    dtype: str
    shape: list[int]
    files: list[str]  # SHA-256 of each


class Purpose(TypedDict, total=False):
    """What a checkpoint was committed for; lists hold one entry for each lane of a population."""

    task: int | list[int]
    member: int | list[int]
    step: int | list[int]
    lanes: int


class Manifest(Purpose):
    """The content of MANIFEST.json."""

    format: int
    name: str
    files: dict[str, FileEntry]
    shared: NotRequired[dict[str, SharedArray]]  # by the name of the array in `carry`
    carry: NotRequired[Json]  # its structure; without it the files are those of a trainable class


def written(manifest: Manifest) -> bytes:
    """Returns a manifest as it is stored."""
    return json.dumps(manifest, allow_nan=False, separators=(",", ":")).encode()


def parsed(data: bytes) -> Manifest:
    """Returns a stored manifest.

    Raises:
        ValueError, TypeError, AttributeError, LookupError, RecursionError: the bytes are not a manifest.
    """
    manifest = cast(Manifest, json.loads(data))
    if not isinstance(manifest["format"], int):
        raise ValueError(f"format {manifest['format']!r}")
    for name, entry in manifest["files"].items():
        if not isinstance(entry["size"], int) or not isinstance(entry["sha256"], str):
            raise ValueError(f"its entry of the file {name!r}")
    return manifest


def purpose(manifest: Manifest | None, lane: int | None) -> dict[str, int | None]:
    """Returns the task, the member and the step that a checkpoint, or one lane of it, was committed for; None if unknown."""
    found: dict[str, Json] = {name: None if manifest is None else manifest.get(name) for name in ("task", "member", "step")}
    if lane is None:
        return found
    return {name: row[lane] if row and lane < len(row) else None for name, row in found.items()}


def misfit(files: Mapping[str, FileEntry], found: Mapping[str, int], exclusive: bool) -> tuple[str, str] | None:
    """Returns the first file that is not as the manifest says, and what is wrong with it; None if all are.

    Args:
        found: the sizes of the files that exist, -1 for what is not a regular file.
        exclusive: there may be no other file.
    """
    if exclusive and (added := sorted(found.keys() - files.keys() - {MANIFEST})):
        return added[0], "was added after the checkpoint was committed"
    for file, expected in files.items():
        size = found.get(file, -1)
        if size != expected["size"]:
            return file, "is missing" if size < 0 else f"has {counted(size, 'byte')} instead of {expected['size']:,}"
    return None
