"""The smallest experiment: a function that trains, a space of hyperparameters, and PBT. It needs only poptrain.

    poptrain run examples/quickstart.py

The model is a logistic regression on two overlapping clouds of points, trained by stochastic gradient descent. PBT tunes its
learning rate and its weight decay during training.
"""

import numpy as np

import poptrain as pt

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(-0.5, 1, (500, 10)), rng.normal(0.5, 1, (500, 10))])
Y = np.repeat([0.0, 1.0], 500)
order = rng.permutation(1000)
X, Y = X[order], Y[order]
train_x, train_y, valid_x, valid_y = X[:700], Y[:700], X[700:], Y[700:]


def train(carry, hp, steps, seed):
    """Trains for `steps` passes over the data. `carry` is None for a new member, and else what the last call returned."""
    weights = np.zeros(10) if carry is None else carry
    shuffle = np.random.default_rng(seed)
    for _ in range(steps):
        for batch in np.array_split(shuffle.permutation(len(train_x)), 20):
            error = 1 / (1 + np.exp(-train_x[batch] @ weights)) - train_y[batch]
            weights = weights - hp["lr"] * (train_x[batch].T @ error / len(batch) + hp["decay"] * weights)
    odds = valid_x @ weights
    return weights, {"log_likelihood": float(np.mean(valid_y * odds - np.logaddexp(0, odds)))}


space = pt.Space(lr=pt.LogUniform(1e-4, 1.0), decay=pt.LogUniform(1e-5, 1e-1))

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=8, interval=2),
    trainable=train,
    metric="log_likelihood",
    stop=pt.steps(40),
)
