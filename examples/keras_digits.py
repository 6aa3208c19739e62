"""A Keras 3 network on scikit-learn's digits, tuned by PBT. Install `poptrain[keras]`, scikit-learn, and JAX or PyTorch.

    poptrain run examples/keras_digits.py
    KERAS_BACKEND=torch poptrain run examples/keras_digits.py

The model is an ordinary one. `KerasMember` is what it takes to tune it.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import poptrain as pt
from poptrain.integrations.keras import KerasMember

pixels, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(pixels))
images, digits = (pixels[order] / 16 - 0.5).astype(np.float32).reshape(-1, 8, 8, 1), labels[order]
training, held_out = slice(0, 1200), slice(1200, None)


class Digits(KerasMember):
    def make(self, hp, seed):
        model = keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Conv2D(16, 3, padding="same", activation="relu"),
                layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
                layers.Flatten(),
                layers.Dropout(hp["dropout"]),
                layers.Dense(10),
            ]
        )
        optimizer = keras.optimizers.AdamW(hp["lr"], weight_decay=hp["weight_decay"])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        data = {"x": images[training], "y": digits[training], "validation_data": (images[held_out], digits[held_out])}
        return model, {**data, "batch_size": hp["batch_size"]}


experiment = pt.Experiment(
    algorithm=pt.pbt(
        pt.Space(
            lr=pt.LogUniform(1e-4, 1e-1),
            weight_decay=pt.LogUniform(1e-4, 1e-1),
            dropout=pt.Uniform(0.0, 0.5),
            batch_size=pt.Ordinal(16, 32, 64),
        ),
        population=4,
        interval=2,
    ),
    trainable=Digits,
    metric="val_loss",
    mode="min",
    stop=pt.steps(12),
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"loss {run.best.score:.3f}, accuracy {run.best.metrics['val_accuracy']:.3f} with {run.best.hparams}")
