"""Learning-rate schedules for a small residual network: handwritten digits, a fifth of whose training labels are wrong.

    poptrain run examples/image_classification.py --dir runs/digits    # FIRE PBT with 22 workers
    python -m examples.image_classification                            # the same, and its schedule on all training images

At a high learning rate, noise keeps the weights from settling. A lower rate is better at once, but a network that was trained
longer at a high rate ends with a higher accuracy; FIRE PBT finds such schedules. A step is one minibatch, drawn with
replacement, with every image shifted by up to one pixel. The hyperparameter is λ; the optimiser, momentum SGD in JAX, uses the
rate λ · BATCH / 256. All members train in one program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

import poptrain as pt
from poptrain._jax import jax, jnp  # not `import jax`: poptrain sets XLA's flags before its backend starts

BATCH, EPOCH, EPOCHS = 64, 12, 90  # images in a step, steps in an epoch (of 768 training images), epochs
STEPS = EPOCH * EPOCHS
TRAIN, VALIDATION = 768, 400  # images; the other 629 are the test split
FLIPPED = 0.2  # share of the training labels that are wrong
CHANNELS, BLOCKS = 8, 2
MOMENTUM, DECAY = 0.9, 1e-3

FIRST = (0.05, 1.5)  # the range of λ from which all members start

space = pt.Space(lr=pt.LogUniform(1e-4, 10.0, init=FIRST))
greedy = dict(interval=20, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0))


# -- data -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the splits by name: images (n, 64) of mean 0 and variance 1, labels (n,).

    "train" and "all" (train and validation together) contain wrong labels, and hold every image in its 9 shifts: (9, n,
    64). Labels of "validation" and "test" are right.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("this example needs scikit-learn, for its digits: pip install scikit-learn") from error
    images, labels = load_digits(return_X_y=True)
    draw = pt.rng(0, "digits")
    order = draw.permutation(len(labels))
    images, labels = images[order].astype(np.float32), labels[order]
    wrong = draw.random(len(labels)) < FLIPPED
    noisy = np.where(wrong, (labels + draw.integers(1, 10, len(labels))) % 10, labels)
    blank = -images.mean() / images.std()
    images = (images - images.mean()) / images.std()
    known = TRAIN + VALIDATION
    return {
        "train": (_shifted(images[:TRAIN], blank), noisy[:TRAIN]),
        "all": (_shifted(images[:known], blank), noisy[:known]),
        "validation": (images[TRAIN:known], labels[TRAIN:known]),
        "test": (images[known:], labels[known:]),
    }


def _shifted(images: np.ndarray, blank: float) -> np.ndarray:
    """Returns images (n, 64) shifted by -1, 0 and 1 pixels in both directions: (9, n, 64)."""
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=blank)
    return np.stack([padded[:, y : y + 8, x : x + 8].reshape(-1, 64) for y in range(3) for x in range(3)])


# -- the network ------------------------------------------------------------------------------------------------------


def _taps(size: int, stride: int) -> np.ndarray:
    """Returns which of the 9 weights of a 3 × 3 convolution joins each input pixel with each output pixel; 9: none of them."""
    places = range(0, size, stride)
    joined = [
        3 * (y - v + 1) + x - u + 1 if abs(y - v) <= 1 and abs(x - u) <= 1 else 9
        for y in range(size)
        for x in range(size)
        for v in places
        for u in places
    ]
    return np.array(joined).reshape(size * size, len(places) ** 2)


STEM, BODY = _taps(8, 2), _taps(4, 1)


def convolved(x: Any, kernel: Any, taps: np.ndarray) -> Any:
    """Returns a 3 × 3 convolution of flat images (n, pixels · channels); `kernel` is (9, channels in, channels out).

    Written as one product with a matrix over all pixels: on images this small, with kernels of many members at once, it takes
    a quarter of the time of XLA's own convolutions on a CPU.
    """
    padded = jnp.concatenate([kernel, jnp.zeros((1, *kernel.shape[1:]))])
    matrix = padded[taps].transpose(0, 2, 1, 3)  # pixel in, channel in, pixel out, channel out
    return x @ matrix.reshape(x.shape[-1], -1)


def fresh(key: Any) -> dict[str, Any]:
    """Returns new weights; every residual branch is weighted 0 at first (De & Smith 2020, "SkipInit")."""
    keys = jax.random.split(key, 2 * BLOCKS + 1)
    width = np.sqrt(2 / (9 * CHANNELS))
    return {
        "stem": jax.random.normal(keys[0], (9, 1, CHANNELS)) * np.sqrt(2 / 9),
        "kernels": [jax.random.normal(each, (9, CHANNELS, CHANNELS)) * width for each in keys[1:]],
        "biases": jnp.zeros((2 * BLOCKS + 1, CHANNELS)),
        "scales": jnp.zeros(BLOCKS),
        "head": jnp.zeros((CHANNELS, 10)),
        "offset": jnp.zeros(10),
    }


def logits(w: dict[str, Any], x: Any) -> Any:
    """Returns the outputs (n, 10) for images (n, 64): a stem that halves the image, residual blocks, the mean over pixels."""
    pixels = BODY.shape[0]
    x = convolved(x, w["stem"], STEM) + jnp.tile(w["biases"][-1], pixels)
    for block in range(BLOCKS):
        y = x
        for layer in (2 * block, 2 * block + 1):
            y = convolved(jax.nn.relu(y), w["kernels"][layer], BODY) + jnp.tile(w["biases"][layer], pixels)
        x = x + w["scales"][block] * y
    return jax.nn.relu(x).reshape(len(x), pixels, CHANNELS).mean(1) @ w["head"] + w["offset"]


# -- training ---------------------------------------------------------------------------------------------------------


def by_hand(step: Any) -> Any:
    """Returns the paper's schedule, as a factor of λ: 5 of 90 epochs of warm-up, a tenth from epochs 30, 60 and 80 on each."""
    epoch = step / EPOCH * 90 / EPOCHS
    return jnp.minimum(1.0, epoch / 5) * 0.1 ** sum((epoch >= drop) * 1.0 for drop in (30, 60, 80))


def network(train: str = "train", score: str = "validation", factor: Callable[[Any], Any] | None = None) -> pt.JaxTrainable:
    """Returns the trainable: trains on one split of `digits`, its score is the accuracy on another.

    Args:
        factor: of the rate, by the number of steps that the weights were trained; default 1 throughout.
    """

    def init(hp: dict[str, Any], key: Any) -> Any:
        weights = fresh(key)
        return {"weights": weights, "momentum": jax.tree.map(jnp.zeros_like, weights), "step": jnp.int32(0)}

    def step_by(carry: Any, hp: dict[str, Any], steps: int, key: Any) -> tuple[Any, dict[str, Any]]:
        images, labels = map(jnp.asarray, digits()[train])
        drawn = jax.random.randint(key, (steps, BATCH, 2), 0, jnp.array(images.shape[:2]))

        def entropy(weights: Any, shift: Any, index: Any) -> Any:
            chances = jax.nn.log_softmax(logits(weights, images[shift, index]))
            return -jnp.take_along_axis(chances, labels[index][:, None], 1).mean()

        def step(carry: Any, batch: Any) -> tuple[Any, None]:
            weights, momentum, done = carry["weights"], carry["momentum"], carry["step"]
            rate = hp["lr"] * BATCH / 256 * (1.0 if factor is None else factor(done))
            slope = jax.grad(entropy)(weights, batch[:, 0], batch[:, 1])
            momentum = jax.tree.map(lambda m, g, w: MOMENTUM * m + g + DECAY * w, momentum, slope, weights)
            weights = jax.tree.map(lambda w, m: w - rate * m, weights, momentum)
            return {"weights": weights, "momentum": momentum, "step": done + 1}, None

        carry, _ = jax.lax.scan(step, carry, drawn)
        return carry, {"score": accuracy(carry["weights"], score)}

    return pt.jax_trainable(init, step_by)


def accuracy(weights: Any, split: str) -> Any:
    """Returns the share of a split's images that are classified rightly."""
    images, labels = digits()[split]
    right = (logits(weights, jnp.asarray(images)).argmax(-1) == labels).mean()
    sound = jnp.isfinite(weights["offset"]).all()  # a network that diverged answers with its first class
    return jnp.where(sound, right, jnp.nan)


# -- the experiment ---------------------------------------------------------------------------------------------------

experiment = pt.Experiment(
    algorithm=pt.fire_pbt(space, subpopulations=(8, 8), evals=10, **greedy),
    trainable=network(),
    stop=pt.steps(STEPS),
    executor="vectorized",
)


def replayed(schedule: pt.views.Schedule, networks: int = 8, seed: int = 0, factor: Any = None) -> np.ndarray:
    """Returns the test accuracies of fresh networks, trained by a schedule on all but the test images; NaN: diverged."""
    algorithm = pt.schedule_replay([schedule] * networks, interval=greedy["interval"], space=space)
    run = pt.run(algorithm, network("all", "test", factor), stop=pt.steps(schedule.step), executor="vectorized", seed=seed)
    return np.array([run.history.score(int(head)) for head in run.history.heads()])


if __name__ == "__main__":
    run = pt.run(experiment, directory="runs/digits")
    test = float(accuracy(run.best.load()["weights"], "test"))
    print(f"best validation accuracy {run.best.score:.1%} at step {run.best.step}; test accuracy {test:.1%}")
    for segment in run.schedule().segments:
        print(f"from step {segment.start:5d}: λ = {segment.hparams['lr']:.3g}")
    again = replayed(run.schedule())
    print(f"the schedule on all training images, {len(again)} networks: test accuracy {again.mean():.1%} ± {again.std():.1%}")
