"""Keras on the backend that KERAS_BACKEND names: the laws of every adapter, and what is special about it.

`test_the_other_backend_obeys_the_laws` runs this file again in another process.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.heavy

import numpy as np  # noqa: E402
from going_on import check_goes_on  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations.keras import KerasMember  # noqa: E402
from poptrain.testing import AdapterContract  # noqa: E402

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = X.sum(1, keepdims=True)
FIRST = {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.01, "batch_size": 16, "dropout": 0.1}
SECOND = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.001, "batch_size": 8, "dropout": 0.3}


class Member(KerasMember):
    def make(self, hp, seed):
        layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(hp["dropout"]), keras.layers.BatchNormalization()]
        model = keras.Sequential([keras.layers.Input((4,)), *layers, keras.layers.Dense(1)])
        optimizer = keras.optimizers.SGD(hp["lr"], hp["momentum"], weight_decay=hp["weight_decay"])
        model.compile(optimizer, "mse")
        return model, {"x": X, "y": Y, "batch_size": hp["batch_size"], "validation_data": (X, Y)}

    def train(self, hp, steps):
        metrics = super().train(hp, steps)
        return {**metrics, "score": -metrics["val_loss"], "weights": weights(self)}


def weights(member) -> float:
    return float(sum(np.abs(array, dtype=float).sum() for array in member.model.get_weights()))


class TestContract(AdapterContract):
    steps = 2

    def member(self):
        return Member

    def values(self):
        return FIRST, SECOND


def test_intervals_train_as_one_fit_does():
    whole, parts = Member(FIRST, 5), Member(FIRST, 5)
    expected = whole.train(FIRST, 6)
    for _ in range(3):
        found = parts.train(FIRST, 2)
    assert found["weights"] == expected["weights"]


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "dropout"])
def test_a_new_value_acts_and_not_only_reads_back(name):
    """The steps of two members that differ in one value differ, after the function was compiled with the first value."""
    kept, changed = Member(FIRST, 5), Member(FIRST, 5)
    assert kept.train(FIRST, 1) == changed.train(FIRST, 1)
    other = {**FIRST, name: SECOND[name]}
    assert kept.train(FIRST, 1)["weights"] != changed.train(other, 1)["weights"]


class Averaged(Member):
    """Averages of the weights, clipped gradients, an accumulator, and a metric whose variables the first batch builds."""

    def make(self, hp, seed):
        model, options = super().make(hp, seed)
        options_of_adam = {"weight_decay": hp["weight_decay"], "clipnorm": 1.0, "gradient_accumulation_steps": 2}
        adam = keras.optimizers.Adam(hp["lr"], hp["momentum"], use_ema=True, ema_momentum=0.9, **options_of_adam)
        model.compile(adam, "mse", metrics=[keras.metrics.R2Score()])
        return model, {**options, "callbacks": [keras.callbacks.SwapEMAWeights()]}


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiling takes minutes; see test_the_other_backend_obeys_the_laws")
class TestContractOfAverages(TestContract):
    read_by_code = ("momentum",)

    def member(self):
        return Averaged


def test_intervals_with_averages_train_as_one_fit_does_also_after_a_checkpoint(tmp_path):
    whole, first, parts = Averaged(FIRST, 5), Averaged(FIRST, 5), Averaged(FIRST, 6)
    expected = whole.train(FIRST, 6)
    first.train(FIRST, 2)
    first.train(FIRST, 2)
    first.save(tmp_path)
    parts.load(tmp_path)
    assert parts.train(FIRST, 2) == expected
    averages = parts.model.optimizer._model_variables_moving_average
    for variable, average in zip(parts.model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(average))


def test_a_callback_that_leaves_averages_in_the_model_is_named():
    class Swapping(Averaged):
        def make(self, hp, seed):
            model, options = super().make(hp, seed)
            return model, {**options, "callbacks": [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]}

    with pytest.raises(pt.UsageError, match=r"swap_on_epoch=True.*Use SwapEMAWeights\(\)"):
        Swapping(FIRST, 1).train(FIRST, 1)


def test_a_schedule_goes_on_with_its_new_values():
    class Scheduled(Member):
        def make(self, hp, seed):
            model, options = super().make(hp, seed)
            schedule = keras.optimizers.schedules.CosineDecay(hp["lr"], 4 * self.budget)
            model.compile(keras.optimizers.SGD(schedule, hp["momentum"], weight_decay=hp["weight_decay"]), "mse")
            return model, options

    member = Scheduled(FIRST, 1)
    member.set_budget(8)
    member.train(FIRST, 4)
    assert float(member.model.optimizer.learning_rate) == pytest.approx(FIRST["lr"] / 2)
    member.train({**FIRST, "lr": 0.01}, 2)
    assert float(member.model.optimizer.learning_rate) == pytest.approx(0.01 * (1 + np.cos(np.pi * 6 / 8)) / 2)


def test_a_callback_that_changes_a_tuned_value_is_named():
    class Changing(Member):
        def make(self, hp, seed):
            model, options = super().make(hp, seed)
            return model, {**options, "callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5)]}

    with pytest.raises(pt.UsageError, match=r"lr=0.02, but optimizer.learning_rate is 0.5.*keras.optimizers.schedules"):
        Changing(FIRST, 1).train(FIRST, 1)


class Borrowing(keras.callbacks.Callback):
    """It sets another rate for the steps of an epoch, and puts the tuned one back before the epoch ends."""

    def on_epoch_begin(self, epoch, logs=None):
        self.tuned = float(self.model.optimizer.learning_rate)
        self.model.optimizer.learning_rate = 0.5

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.tuned


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_a_value_that_is_wrong_only_during_the_steps_is_named(scaled):
    class Changing(Member):
        def make(self, hp, seed):
            model, options = super().make(hp, seed)
            if scaled:
                model.compile(keras.optimizers.LossScaleOptimizer(model.optimizer), "mse")
            return model, {**options, "callbacks": Borrowing()}

    with pytest.raises(pt.UsageError, match=r"lr=0.02, but optimizer(.inner_optimizer)?.learning_rate is 0.5"):
        Changing(FIRST, 1).train(FIRST, 1)


def test_a_schedule_that_decides_a_tuned_rate_is_named():
    class Fixed(Member):
        def make(self, hp, seed):
            model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dropout(hp["dropout"]), keras.layers.Dense(1)])
            schedule = keras.optimizers.schedules.CosineDecay(0.05, 100)
            model.compile(keras.optimizers.SGD(schedule, hp["momentum"], weight_decay=hp["weight_decay"]), "mse")
            return model, {"x": X, "y": Y, "batch_size": hp["batch_size"]}

        train = KerasMember.train

    with pytest.raises(pt.UsageError, match="no code read 'lr', because the schedule CosineDecay of the optimizer decides it"):
        Fixed(FIRST, 1).train(FIRST, 1)


def test_a_loaded_member_says_what_its_values_are(tmp_path):
    member, loaded = Member(FIRST, 1), Member(SECOND, 2)
    member.train(FIRST, 1)
    member.save(tmp_path)
    loaded.load(tmp_path)
    assert loaded.effective(SECOND)["optimizer.learning_rate"] == pytest.approx(SECOND["lr"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model, options: model, "expected the pair"),
        (lambda model, options: (keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)]), options), "model.compile"),
        (lambda model, options: (model, {**options, "callbacks": [Stopping()]}), "fit ended before epoch 3"),
    ],
)
def test_what_cannot_be_trained_is_refused(change, words):
    class Bad(Member):
        def make(self, hp, seed):
            return change(*super().make(hp, seed))

    with pytest.raises(pt.UsageError, match=words):
        Bad(FIRST, 1).train(FIRST, 3)


class Stopping(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def test_another_kind_of_optimiser_is_refused_with_the_fix(tmp_path):
    class Choosing(Member):
        def make(self, hp, seed):
            model, options = super().make(hp, seed)
            model.compile({"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[hp["kind"]](hp["lr"]), "mse")
            return model, options

    member, copied = Choosing({**FIRST, "kind": "adam"}, 1), Choosing({**FIRST, "kind": "sgd"}, 2)
    member.train({**FIRST, "kind": "adam"}, 1)
    member.save(tmp_path)
    copied.load(tmp_path)
    with pytest.raises(pt.UsageError, match="other variables of the optimizer than make.. builds.*static=True"):
        copied.train({**FIRST, "kind": "sgd"}, 1)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="it is the other backend already")
def test_the_other_backend_obeys_the_laws():
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "pytest", "-q", __file__, "-k", "TestContract", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "torch"}, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0 and "[100%]" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("rate", [0.01, keras.optimizers.schedules.CosineDecay(0.01, 100)])
def test_a_rate_that_was_read_and_that_the_optimiser_ignores_is_named(rate):
    class Ignores(KerasMember):
        def make(self, hp, seed):
            hp = dict(hp)
            model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(rate), "mse")
            return model, {"x": X, "y": Y}

    with pytest.raises(pt.UsageError, match="Ignores does not train .* lr=0.3 was read, but the optimiser is the same"):
        Ignores({"lr": 0.3}, 1).train({"lr": 0.3}, 1)


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate * keras.ops.cast(step, "float32")


def test_a_rate_that_acts_in_another_way_is_left_alone():
    def half(hp):
        return hp["lr"] / 2, []

    def schedule(hp):
        return Rising(hp["lr"]), []

    def callback(hp):
        return 0.01, [keras.callbacks.LearningRateScheduler(lambda epoch: hp["lr"] * 0.9**epoch)]

    for way in (half, schedule, callback):

        class Follows(KerasMember):
            def make(self, hp, seed, way=way):
                rate, callbacks = way(hp)
                model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
                model.compile(keras.optimizers.SGD(rate), "mse")
                return model, {"x": X, "y": Y, "callbacks": callbacks}

        Follows({"lr": 0.003}, 1).train({"lr": 0.003}, 1)


class Ordered(keras.utils.PyDataset):
    """It draws its order and its noise with generators of its own, and counts epochs."""

    def __init__(self):
        super().__init__()
        self.random, self.epoch = np.random.default_rng(3), 0
        self.order = self.random.permutation(64)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = self.order[16 * index : 16 * index + 16]
        return X[rows] + self.random.normal() * 0.1 + self.epoch, Y[rows]

    def on_epoch_end(self):
        self.random.shuffle(self.order)
        self.epoch += 1


def batches():
    generator = np.random.default_rng(3)
    while True:
        rows = generator.integers(0, 64, 16)
        yield X[rows], Y[rows]


def loader(**options):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(data, 16, shuffle=True, **{name: make(torch) for name, make in options.items()})


DATA = {
    "a data set with an order and noise": lambda: {"x": Ordered()},
    "a generator": lambda: {"x": batches(), "steps_per_epoch": 4},
    "a loader": lambda: {"x": loader()},
    "a loader with its own generator": lambda: {"x": loader(generator=lambda torch: torch.Generator().manual_seed(4))},
}


@pytest.mark.parametrize("kind", DATA)
def test_data_with_a_state_of_their_own_go_on(kind, tmp_path):
    class Fed(KerasMember):
        def make(self, hp, seed):
            model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
            model.compile(keras.optimizers.Adam(hp["lr"]), "mse")
            return model, DATA[kind]()

        def train(self, hp, steps):
            return {**super().train(hp, steps), "weights": weights(self)}

    old, new = {"lr": 0.01}, {"lr": 0.03}
    found, _ = check_goes_on(Fed, old, new, tmp_path)
    if not (kind == "a generator" and keras.backend.backend() == "torch"):  # there a new `fit` loses a batch
        assert Fed(old, 1).train(old, 4) == found
