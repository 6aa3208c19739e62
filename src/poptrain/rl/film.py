"""A policy as a film: the episode of median length, as an animated picture that every browser plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from poptrain.core.answering import answering
from poptrain.core.errors import UsageError

TRIED = 9  # episodes, of which the one of median length is shown: neither the luckiest nor the worst
EVERY = 3  # of the simulator's 50 pictures a second, one in 3 is kept
WIDTH = 420  # pixels


class Drawn(Protocol):
    """What a film needs of an agent."""

    def render(self, carry: Any, hparams: Any = None, seed: int = 0) -> Iterator[np.ndarray]:
        """Yields the pictures of one episode, uint8 of shape (height, width, 3)."""


class Film(NamedTuple):
    """A film that was written."""

    path: Path
    pictures: int
    seed: int  # of the episode
    lengths: tuple[int, ...]  # pictures of all episodes that were tried, ascending


@answering
def film(agent: Drawn, carry: Any, path: Path | str, *, hparams: Any = None, tried: int = TRIED) -> Film:
    """Writes one episode of a policy into a file (WebP or GIF, by its ending) and returns what was written.

    The episode is the one of median length among the seeds 0 to `tried` - 1, which no training ever used.

    Args:
        agent: whose policy it is, for example `poptrain.rl.PPO`.
        carry: of one member, for example ``run.best.load()``.

    Raises:
        UsageError: the environment cannot draw pictures.
    """
    if Path(path).suffix.lower() not in (".webp", ".gif"):
        raise UsageError(f"film: path={str(path)!r:.80}, expected the name of a file that ends in .webp or .gif.")
    if isinstance(tried, bool) or not isinstance(tried, int) or tried < 1:
        raise UsageError(f"film: tried={tried!r}, expected a whole number of episodes from 1.")
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("films need Pillow: pip install 'poptrain[rl]'") from error
    drawn = ((_episode(agent.render(carry, hparams, seed)), seed) for seed in range(tried))
    episodes = sorted(drawn, key=lambda each: (each[0].length, each[1]))
    median, seed = episodes[tried // 2]
    frames = [Image.fromarray(each) for each in median.kept]
    size = WIDTH, round(frames[0].height * WIDTH / frames[0].width)
    small = [each.resize(size, Image.Resampling.LANCZOS) for each in frames]
    small[0].save(path, save_all=True, append_images=small[1:], duration=1000 * EVERY // 50, loop=0, quality=55, method=2)
    return Film(Path(path), len(small), seed, tuple(each.length for each, _ in episodes))


class _Episode(NamedTuple):
    length: int
    kept: list[np.ndarray]


def _episode(pictures: Iterator[np.ndarray]) -> _Episode:
    """Returns the number of pictures, and one in `EVERY`."""
    length, kept = 0, []
    for length, picture in enumerate(pictures, 1):
        if length % EVERY == 1:
            kept.append(picture)
    return _Episode(length, kept)
