"""`KerasMember`: the base of a trainable class around a Keras model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras

from poptrain.core import Carry, Metrics
from poptrain.core.errors import UsageError
from poptrain.integrations import generators
from poptrain.integrations.adapter import Place, Reads, flattened, governed, plain
from poptrain.integrations.keras import state as states
from poptrain.integrations.keras.data import Data
from poptrain.integrations.keras.live import Watch, optimizers, options_of, rates_of
from poptrain.integrations.remade import Remade
from poptrain.integrations.stored import load_tree, save_tree

ALIASES = {"lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon", "dropout": "rate"}


class KerasMember(Remade):
    """The base of a trainable class around a Keras model: write ``make(hp, seed)``, nothing else.

    One step is one epoch. The metrics are those of ``fit``, under Keras's names: ``metric="val_accuracy"``. Callbacks begin anew
    in each interval; epochs are counted from the beginning of the whole training.
    """

    _why = "A callback has set it. Use a schedule of keras.optimizers.schedules instead of a callback that changes tuned values."
    budget: int | None = None  # epochs of the whole training, for schedules that `make` builds; None: unknown

    def __init__(self, hp: Mapping[str, Any], seed: int):
        super().__init__(hp)
        self._seed = seed
        self._random: generators.Generators | None = None
        self._seeds: Carry = None  # of Keras's own generator
        self._torch: Any = None  # the member's stream in PyTorch, if that is the backend
        self._made: tuple[keras.Model, dict[str, Any]] | None = None
        self._saved: dict[str, Carry] | None = None  # the state for a model that is not made yet
        self._weights: list[Carry] | None = None  # without the averages that stand in the model after a fit with use_ema=True
        self._epochs = 0
        self._data: Data | None = None  # of the live model
        self._given: Carry = None  # what its training data had drawn and given up to the end of the last interval

    def make(self, hp: Mapping[str, Any], seed: int) -> tuple[keras.Model, dict[str, Any]]:
        """Returns a new compiled model, and the arguments of its ``fit``; the random generators are seeded.

        The arguments are such as ``{"x": X, "y": Y, "batch_size": hp["batch_size"], "validation_data": (VX, VY)}``.
        """
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must return the model and fit's arguments.")

    @property
    def model(self) -> keras.Model:
        """The live model of this member, with its weights."""
        if self._made is None:
            self._make()
        assert self._made is not None
        return self._made[0]

    def set_budget(self, steps: int | None) -> None:
        """Takes the epochs of the whole training."""
        if steps != self.budget:
            self._forget_model()
            self.budget = steps

    def train(self, hp: Mapping[str, Any], steps: int) -> Metrics:
        """Trains for `steps` epochs with these values, and returns the metrics of the last one.

        Raises:
            UsageError: a value is not in force, or a hyperparameter has no effect.
        """
        if plain(hp) != self._hp:
            self._forget_model()
            self._hp = plain(hp)
        model = self.model
        self._verify(hp)
        with self._stream():
            metrics = self._fit(model, steps) if steps else self._evaluate(model)
        self._verify(hp, trained=steps > 0)
        return metrics

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        random = {"random": self._random, "seeds": self._seeds, "torch": self._torch, "data": self._given}
        state = self._saved if self._made is None else states.read(self._made[0])
        save_tree(
            {"seed": self._seed, "epochs": self._epochs, "state": state, "weights": self._weights, **random}, Path(directory)
        )

    def load(self, directory: Path) -> None:
        """Continues from what `save` wrote; this member keeps its own hyperparameters."""
        tree = load_tree(Path(directory))
        self._made, self._saved = None, tree["state"]
        self._seed, self._epochs, self._weights = tree["seed"], tree["epochs"], tree.get("weights")
        self._random, self._seeds, self._torch = tree["random"], tree["seeds"], tree["torch"]
        self._given = tree.get("data")

    def close(self) -> None:
        """Frees the model."""
        self._made = None

    # -- the model --------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Makes the model with the values of this member, and puts the state of the old one into it."""
        going_on = (self._random, self._seeds, self._torch)
        self._reads = Reads(self._hp)
        with self._stream(self._seed):
            made = self.make(self._reads, self._seed)
        if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], keras.Model):
            who, got = type(self).__name__, type(made).__name__
            raise UsageError(f"{who}.make returned {got}, expected the pair (keras.Model, arguments of fit).")
        if getattr(made[0], "optimizer", None) is None:
            raise UsageError(f"{type(self).__name__}.make returned a model without an optimiser: call model.compile(…) in it.")
        if any(getattr(each, "swap_on_epoch", False) for each in _callbacks(made[1])):
            raise UsageError(
                f"{type(self).__name__}: SwapEMAWeights(swap_on_epoch=True) leaves averages in the model between two intervals, "
                "and training would go on from them. Use SwapEMAWeights(), which evaluates with the averages too."
            )
        self._data = Data(made[1].get("x"))
        made[1].update({} if made[1].get("x") is None else {"x": self._data.given})
        fresh = self._data.read()
        with self._stream():  # Keras looks at a batch before its first epoch, which moves the order of the data
            made[0].fit(**{**made[1], "verbose": 0, "callbacks": [], "epochs": 0})
        if going_on[0] is not None:
            self._random, self._seeds, self._torch = going_on
        self._given = self._given or fresh
        if self._saved is not None:
            states.put(made[0], self._saved)
        self._made, self._saved = made, None
        self._data.put(self._given)
        self._governed = governed(self._places(self._hp), self._hp)

    def _forget_model(self) -> None:
        """Keeps the state of the model, and makes another one when it is needed."""
        if self._made is not None:
            self._saved, self._made = states.read(self._made[0]), None

    def _fit(self, model: keras.Model, steps: int) -> dict[str, float]:
        assert self._made is not None and self._data is not None
        until = self._epochs + steps
        with states.unaveraged(model, self._weights) as weights:
            options = {"verbose": 0, **self._made[1], "callbacks": [Watch(self._check, self._go_on), *_callbacks(self._made[1])]}
            history = model.fit(**options, initial_epoch=self._epochs, epochs=until).history
        self._weights, self._given = weights or None, self._data.read()
        if not history or len(next(iter(history.values()))) != steps:
            raise UsageError(
                f"{type(self).__name__}: fit ended before epoch {until}: a callback such as EarlyStopping must not stop it."
            )
        self._epochs = until
        return {name: float(values[-1]) for name, values in history.items()}

    def _evaluate(self, model: keras.Model) -> dict[str, float]:
        assert self._made is not None
        data = self._made[1].get("validation_data")
        if data is None:
            return {}
        arrays = dict(zip(("x", "y", "sample_weight"), data, strict=False)) if isinstance(data, tuple) else {"x": data}
        found = model.evaluate(**arrays, verbose=0, return_dict=True)
        return {f"val_{name}": float(value) for name, value in found.items()}

    def _places(self, hp: Mapping[str, Any]) -> Iterator[Place]:
        model = self.model  # a member that was loaded makes it now
        assert self._made is not None
        options = self._made[1]
        for name, _ in flattened(hp):
            option = ALIASES.get(name, name)
            for label, optimizer in optimizers(model.optimizer):
                yield from (Place(name, place, held) for place, held in options_of(optimizer, option, label))
            if name in options:
                yield Place(name, f"fit.{name}", options[name])
            for index, layer in enumerate(model._flatten_layers(include_self=False)):
                if isinstance(held := vars(layer).get(option), (int, float, str)):
                    yield Place(name, f"layers[{index}].{option} of {type(layer).__name__}", held)

    def _options(self, trained: KerasMember) -> object:
        self.set_budget(trained.budget)
        made, live = rates_of(self.model), rates_of(trained.model)
        set_by_code = any(ours != theirs for ours, theirs in zip(made, live, strict=True) if isinstance(ours, float))
        return None if set_by_code else made

    def _decider(self, name: str) -> str:
        if ALIASES.get(name, name) != "learning_rate":
            return ""
        rates = [optimizer._learning_rate for _, optimizer in optimizers(self.model.optimizer)]
        return next((f"the schedule {type(rate).__name__} of the optimizer" for rate in rates if callable(rate)), "")

    def _go_on(self) -> None:
        """Puts the data to where the last interval ended: `fit` has looked at a batch, which moves them."""
        assert self._data is not None
        self._data.put(self._given)

    def _check(self) -> None:
        self._verify(self._hp)

    @contextmanager
    def _stream(self, seed: int | None = None) -> Iterator[None]:
        """Uses the member's own random streams: numpy's, Python's, Keras's and, where it trains, PyTorch's."""
        with ExitStack() as stack:
            stack.enter_context(generators.stream(self, seed))
            if "torch" in sys.modules:  # the backend, or a DataLoader
                stack.enter_context(_torch_stream(self, seed))
            outside = states.seeds()
            try:
                if seed is None:
                    states.put_seeds(self._seeds)
                else:
                    keras.utils.set_random_seed(seed % 2**32)
                yield
                self._seeds = states.seeds()
            finally:
                states.put_seeds(outside)


def _callbacks(options: Mapping[str, object]) -> list[keras.callbacks.Callback]:
    """Returns the callbacks among the arguments of `fit`, which may be one, a list, or a list of Keras's own."""
    given = options.get("callbacks")
    return list(getattr(given, "callbacks", None) or keras.tree.flatten(given or []))


@contextmanager
def _torch_stream(member: KerasMember, seed: int | None) -> Iterator[None]:
    import torch

    outside = torch.get_rng_state()
    try:
        if seed is not None:
            torch.manual_seed(seed)
        elif member._torch is not None:
            torch.set_rng_state(torch.from_numpy(member._torch.copy()))
        yield
        member._torch = torch.get_rng_state().numpy()
    finally:
        torch.set_rng_state(outside)
