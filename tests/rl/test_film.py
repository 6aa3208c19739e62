"""A film shows the episode of median length, and plays as long as the episode took."""

import numpy as np
from PIL import Image

from poptrain.rl.film import EVERY, WIDTH, film


class Screen:
    """Draws an episode of 30 pictures more for each seed, the shortest for seed 1."""

    lengths = (90, 30, 150)

    def render(self, carry, hparams=None, seed=0):
        for number in range(self.lengths[seed]):
            picture = np.zeros((60, 90, 3), np.uint8)
            picture[:, : 1 + number % 90] = 255
            yield picture


def test_film_shows_the_median_episode(tmp_path):
    made = film(Screen(), None, tmp_path / "walk.webp", tried=3)
    assert (made.seed, made.lengths, made.pictures) == (0, (30, 90, 150), 90 // EVERY)
    with Image.open(made.path) as shown:
        assert shown.size == (WIDTH, 280) and shown.n_frames == made.pictures
