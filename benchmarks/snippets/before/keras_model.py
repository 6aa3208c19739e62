import keras
import numpy as np

X = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
Y = X.sum(1, keepdims=True)

model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.01, 0.9), "mse")
model.fit(X, Y, batch_size=16, validation_data=(X, Y), epochs=6)
print(model.evaluate(X, Y))
