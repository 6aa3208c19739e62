"""The example of supervised training: its convolution, its data, its hand-made schedule, and that a search over it learns."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import poptrain as pt
from examples import image_classification as example
from poptrain._jax import jax


@pytest.mark.heavy
@pytest.mark.parametrize("size, stride, taps", [(8, 2, example.STEM), (4, 1, example.BODY)], ids=["stem", "body"])
def test_a_convolution_is_that_of_xla_and_so_is_its_gradient(size, stride, taps):
    draw = pt.rng(0, "convolution")
    x = draw.normal(size=(5, size, size, 3)).astype(np.float32)
    kernel = draw.normal(size=(9, 3, 6)).astype(np.float32)
    weights = draw.normal(size=(5, (size // stride) ** 2 * 6)).astype(np.float32)

    def theirs(kernel):
        padding = [(1, 1), (1, 1)]  # and not "SAME", which begins a strided convolution at the second pixel
        shape = ("NHWC", "HWIO", "NHWC")
        made = jax.lax.conv_general_dilated(x, kernel.reshape(3, 3, 3, 6), (stride, stride), padding, dimension_numbers=shape)
        return made[:, : size // stride, : size // stride].reshape(5, -1)

    def mine(kernel):
        return example.convolved(x.reshape(5, -1), kernel, taps)

    np.testing.assert_allclose(mine(kernel), theirs(kernel), atol=1e-4)
    slopes = [jax.grad(lambda kernel, f=f: (f(kernel) * weights).sum())(kernel) for f in (mine, theirs)]
    np.testing.assert_allclose(*slopes, atol=1e-3)


def test_splits_are_disjoint_and_only_training_labels_are_wrong():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    truth = {image.astype(int).tobytes(): label for image, label in zip(images, labels, strict=True)}
    splits, seen = example.digits(), []
    for name, size in (("train", example.TRAIN), ("validation", example.VALIDATION), ("test", 629), ("all", 1168)):
        x, y = splits[name]
        x = x if x.ndim == 2 else x[4]  # the shift by nothing
        raw = np.rint(x * images.std() + images.mean()).astype(int)
        right = np.mean([truth[image.tobytes()] == label for image, label in zip(raw, y, strict=True)])
        assert len(y) == size and (right == 1 if name in ("validation", "test") else abs(right - 0.8) < 0.03)
        seen.append({image.tobytes() for image in raw})
    train, validation, test, everything = seen
    assert not train & validation and not train & test and not validation & test and everything == train | validation


def test_every_image_comes_in_its_nine_shifts():
    x = np.arange(64.0)[None]
    shifts = example._shifted(x, -1.0).reshape(9, 8, 8)
    np.testing.assert_array_equal(shifts[4], x.reshape(8, 8))
    np.testing.assert_array_equal(shifts[0][1:, 1:], x.reshape(8, 8)[:-1, :-1])
    assert (shifts[0][0] == -1).all() and len({shift.tobytes() for shift in shifts}) == 9


def test_the_schedule_by_hand_is_the_papers():
    epochs = np.array([0, 2.5, 5, 29.9, 30, 59.9, 60, 79.9, 80, 89.9])
    factors = [float(example.by_hand(jax.numpy.float32(epoch * example.EPOCH))) for epoch in epochs]
    assert factors == pytest.approx([0, 0.5, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.heavy
def test_a_network_that_diverged_has_no_score():
    def judged(offset):
        weights = example.fresh(jax.random.PRNGKey(0))
        return example.accuracy({**weights, "offset": weights["offset"] + offset}, "test")

    alive, diverged = jax.jit(jax.vmap(judged))(np.array([0, np.nan], np.float32))
    assert 0.05 < alive < 0.2 and np.isnan(diverged)


@pytest.mark.heavy
def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; from examples.image_classification import digits; digits()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install scikit-learn" in done.stderr


@pytest.mark.heavy
def test_fire_learns_resumes_and_its_schedule_is_replayed(tmp_path):
    greedy = {**example.greedy, "exploit": pt.truncation(0.34)}
    algorithm = pt.fire_pbt(example.space, (4, 4), evals=10, release=False, **greedy)  # a release depends on the budget

    def run(steps, directory=None):
        return pt.run(algorithm, example.network(), stop=pt.steps(steps), executor="vectorized", directory=directory)

    run(60, tmp_path / "run")
    resumed, straight = run(120, tmp_path / "run"), run(120)
    np.testing.assert_array_equal(resumed.history.scores, straight.history.scores)
    assert straight.best.score > 0.3
    assert example.replayed(straight.schedule(), networks=2).shape == (2,)
