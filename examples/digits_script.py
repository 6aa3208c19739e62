"""An ordinary training script, which knows nothing of poptrain: a network of one hidden layer on scikit-learn's digits.

    python examples/digits_script.py --lr 0.1 --epochs 5 --output /tmp/digits

It prints one line of JSON when it ends, and continues from the file `model.npz` in its output directory if that exists.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, required=True)
options = parser.parse_args()

pixels, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(pixels))
x, y = (pixels[order] / 16 - 0.5).astype(np.float32), np.eye(10, dtype=np.float32)[labels[order]]
(x, held_x), (y, held_y) = (x[:1200], x[1200:]), (y[:1200], y[1200:])

rng = np.random.default_rng(options.seed)
shapes = {"w1": (64, 32), "b1": (32,), "w2": (32, 10), "b2": (10,)}
weights = {name: (rng.normal(size=shape) / 8).astype(np.float32) for name, shape in shapes.items()}
velocity = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
model = options.output / "model.npz"
if model.exists():
    with np.load(model) as saved:
        weights = {name: saved[name] for name in shapes}
        velocity = {name: saved[f"velocity {name}"] for name in shapes}


def forward(x):
    hidden = np.maximum(x @ weights["w1"] + weights["b1"], 0)
    scores = np.exp((logits := hidden @ weights["w2"] + weights["b2"]) - logits.max(1, keepdims=True))
    return hidden, scores / scores.sum(1, keepdims=True)


for _ in range(options.epochs):
    for batch in np.array_split(rng.permutation(len(x)), 30):
        hidden, chances = forward(x[batch])
        error = (chances - y[batch]) / len(batch)
        back = error @ weights["w2"].T * (hidden > 0)
        slopes = {"w1": x[batch].T @ back, "b1": back.sum(0), "w2": hidden.T @ error, "b2": error.sum(0)}
        for name, slope in slopes.items():
            velocity[name] = options.momentum * velocity[name] + slope + options.weight_decay * weights[name]
            weights[name] = weights[name] - options.lr * velocity[name]

options.output.mkdir(exist_ok=True)
np.savez(model, **weights, **{f"velocity {name}": value for name, value in velocity.items()})
chances = forward(held_x)[1]
loss = -np.log((chances * held_y).sum(1) + 1e-9).mean()
print(json.dumps({"accuracy": float((chances.argmax(1) == held_y.argmax(1)).mean()), "loss": float(loss)}))
