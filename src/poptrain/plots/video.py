"""Rendered frames as a GIF, small enough to be sent by mail."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from poptrain.core.errors import UsageError

WIDTH = 360  # pixels, at most
FRAMES = 400  # at most
FPS = 25
COLOURS = 64


def write_gif(frames: Iterable[object], path: str | Path, every: int = 2) -> int:
    """Writes frames as a GIF of 25 frames a second and returns how many it holds.

    Args:
        frames: arrays of shape (height, width, 3), uint8.
        every: one of this many frames is kept: 2 for environments of 50 steps a second.

    Raises:
        UsageError: there are no frames, or one has another type or shape.
    """
    images = [_image(frame) for frame in islice(frames, 0, FRAMES * every, every)]
    if not images:
        raise UsageError("no video: the trainable's render() returned no frames.")
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=1000 // FPS, loop=0)
    return len(images)


def _image(frame: object) -> Image.Image:
    array = np.asarray(frame)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UsageError(f"no video: render() returned {array.dtype} of shape {array.shape}, expected uint8 (height, width, 3).")
    image = Image.fromarray(array)
    if image.width > WIDTH:
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))))
    return image.quantize(COLOURS)
