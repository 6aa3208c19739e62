"""The manifest of a checkpoint: what it is, the sizes and hashes of its files, and the structure of its carry."""

from __future__ import annotations

import json
from typing import NotRequired, TypedDict, cast

from poptrain.core import Json

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
        ValueError, TypeError, LookupError, RecursionError: the bytes are not a manifest.
    """
    manifest = cast(Manifest, json.loads(data))
    if not isinstance(manifest["format"], int):
        raise ValueError(f"format {manifest['format']!r}")
    return manifest


def purpose(manifest: Manifest | None, lane: int | None) -> dict[str, int | None]:
    """Returns the task, the member and the step that a checkpoint, or one lane of it, was committed for; None if unknown."""
    found: dict[str, Json] = {name: None if manifest is None else manifest.get(name) for name in ("task", "member", "step")}
    if lane is None:
        return found
    return {name: row[lane] if row and lane < len(row) else None for name, row in found.items()}
