"""The smallest experiment: a function that trains, a space of hyperparameters, and PBT. It needs only poptrain.

    poptrain run examples/quickstart.py

The model is a logistic regression on two overlapping clouds of points, trained by stochastic gradient descent. PBT tunes its
learning rate and its weight decay during training.
"""

import numpy as np

import poptrain as pt

rng = np.random.default_rng(0)
y = rng.integers(0, 2, 1000)  # labels of 1000 points; the first 700 are for training, the others for the score
x = rng.normal(y[:, None] - 0.5, 1, (1000, 10))


def train(carry, hp, steps, seed):
    """Trains `steps` times 20 minibatches. `carry` is None for a new member, and else what the last call returned."""
    weights = np.zeros(10) if carry is None else carry
    for rows in np.random.default_rng(seed).integers(0, 700, (20 * steps, 35)):
        error = 1 / (1 + np.exp(-x[rows] @ weights)) - y[rows]
        weights = weights - hp["lr"] * (x[rows].T @ error / 35 + hp["decay"] * weights)
    odds = x[700:] @ weights
    return weights, {"log_likelihood": np.mean(y[700:] * odds - np.logaddexp(0, odds))}


space = pt.Space(lr=pt.LogUniform(1e-4, 1.0), decay=pt.LogUniform(1e-5, 1e-1))

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=8, interval=2),
    trainable=train,
    metric="log_likelihood",
    stop=pt.steps(40),
)
