"""A Flax NNX network on scikit-learn's digits, tuned by PBT. It needs `pip install 'poptrain[nnx]' scikit-learn`.

    poptrain run examples/nnx_digits.py

The training step is compiled once for each batch size and dropout: the values of the optimiser are in its state, and set there.
"""

import numpy as np
from sklearn.datasets import load_digits

import poptrain as pt
from poptrain.integrations.nnx import Batches, NNXMember

import jax  # isort: skip  # after poptrain, which sets what JAX must know before it starts
import optax  # isort: skip
from flax import nnx  # isort: skip

pixels, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(pixels))
images, digits = (pixels[order] / 16 - 0.5).astype(np.float32).reshape(-1, 8, 8, 1), labels[order]
held_out = slice(1200, None)

ADAMW = optax.inject_hyperparams(optax.adamw)(1e-3)


class Net(nnx.Module):
    def __init__(self, dropout, rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.last = nnx.Linear(512, 10, rngs=rngs)

    def __call__(self, images):
        features = nnx.relu(self.second(nnx.relu(self.first(images))))
        return self.last(self.dropout(features.reshape(len(images), -1)))


@nnx.jit
def update(net, optimizer, images, digits):
    def loss(net):
        return optax.softmax_cross_entropy_with_integer_labels(net(images), digits).mean()

    optimizer.update(net, nnx.grad(loss)(net))


@nnx.jit
def evaluate(net, images, digits):
    logits = nnx.view(net, deterministic=True)(images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, digits).mean()
    return loss, (logits.argmax(1) == digits).mean()


class Digits(NNXMember):
    def make(self, hp, seed):
        self.net = Net(hp["dropout"], nnx.Rngs(seed))
        self.optimizer = nnx.Optimizer(self.net, ADAMW, wrt=nnx.Param)
        self.batches = Batches(1200, hp["batch_size"])

    def fit(self, hp, steps):
        for _ in range(steps * 1200 // self.batches.size):
            rows = next(self.batches)
            update(self.net, self.optimizer, images[rows], digits[rows])
        loss, accuracy = jax.device_get(evaluate(self.net, images[held_out], digits[held_out]))
        return {"loss": loss, "accuracy": accuracy}


experiment = pt.Experiment(
    algorithm=pt.pbt(
        pt.Space(
            lr=pt.LogUniform(1e-4, 1e-1),
            weight_decay=pt.LogUniform(1e-4, 1e-1),
            beta1=pt.Uniform(0.8, 0.99),
            dropout=pt.Ordinal(0.0, 0.1, 0.2, 0.3, 0.4),
            batch_size=pt.Ordinal(16, 32, 64),
        ),
        population=4,
        interval=2,
    ),
    trainable=Digits,
    metric="loss",
    mode="min",
    stop=pt.steps(16),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"loss {run.best.score:.3f}, accuracy {run.best.metrics['accuracy']:.3f} with {run.best.hparams}")
