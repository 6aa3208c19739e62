import keras
import numpy as np

import poptrain as pt
from poptrain.integrations.keras import KerasMember

X = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


class Regressor(KerasMember):
    def make(self, hp, seed):
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp["lr"], hp["momentum"]), "mse")
        return model, {"x": X, "y": Y, "batch_size": 16, "validation_data": (X, Y)}


space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), momentum=pt.Uniform(0.5, 0.95))
run = pt.run(pt.pbt(space, population=2, interval=2), Regressor, metric="val_loss", mode="min", stop=pt.steps(6))
print(run.best.score, run.best.hparams)
