"""Pictures as a GIF, small enough to be sent around."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from poptrain.core.errors import UsageError

WIDTH, FRAMES, FPS, COLOURS = 360, 400, 25, 64  # pixels, at most so many frames, frames a second


def write_gif(frames: Iterable[Any], path: str | Path, every: int = 2) -> int:
    """Writes pictures as a GIF of 25 frames a second and returns how many it holds.

    Args:
        frames: arrays (height, width, 3), uint8.
        every: of so many pictures one is kept: 2 for environments of 50 steps a second.

    Raises:
        UsageError: there are none, or one is no picture.
    """
    images = [_image(frame) for frame in islice(frames, 0, FRAMES * every, every)]
    if not images:
        raise UsageError("no video: the trainable's render gave no pictures.")
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=1000 // FPS, loop=0)
    return len(images)


def _image(frame: Any) -> Image.Image:
    array = np.asarray(frame)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UsageError(f"no video: render gave {array.dtype} of shape {array.shape}, expected uint8 (height, width, 3).")
    image = Image.fromarray(array)
    if image.width > WIDTH:
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))))
    return image.quantize(COLOURS)
