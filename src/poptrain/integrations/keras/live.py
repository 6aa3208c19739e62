"""Where hyperparameters act in a live optimiser of Keras, and the callback that looks while the model trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import keras

from poptrain.integrations.adapter import flattened


def optimizers(optimizer: keras.Optimizer, label: str = "optimizer") -> Iterator[tuple[str, keras.Optimizer]]:
    """Yields an optimiser and those inside it with their names; one that scales the loss has its options from the one inside."""
    yield label, optimizer
    if (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
        yield from optimizers(inner, f"{label}.inner_optimizer")
    for index, each in enumerate(getattr(optimizer, "optimizers", ())):
        yield from optimizers(each, f"{label}.optimizers[{index}]")


def options_of(optimizer: keras.Optimizer, option: str, label: str) -> Iterator[tuple[str, object]]:
    """Yields the places of an option in one optimiser, and what is there; a schedule has the numbers that it was made with."""
    if option != "learning_rate":
        if (held := vars(optimizer).get(option)) is not None:
            yield f"{label}.{option}", held
    elif callable(rate := optimizer._learning_rate):
        for name, value in flattened(_config(rate)):
            for index, number in enumerate(value if isinstance(value, (list, tuple)) else [value]):
                if isinstance(number, float):
                    yield f"{label}.learning_rate.{name}" + (f"[{index}]" if value is not number else ""), number
    else:
        yield f"{label}.learning_rate", float(rate)


def rates_of(model: keras.Model) -> list[float | list[float]]:
    """Returns the rate of each optimiser of a model; of a schedule the rates of steps near and far."""
    found: list[float | list[float]] = []
    for _, optimizer in optimizers(model.optimizer):
        rate = optimizer._learning_rate
        steps = (0, 1, *(10**power for power in range(1, 7)))
        found.append([float(rate(step)) for step in steps] if callable(rate) else float(rate))
    return found


def _config(schedule: keras.optimizers.schedules.LearningRateSchedule) -> Mapping[str, object]:
    """Returns the arguments of a schedule; one of the user's own need not have them."""
    try:
        config: Mapping[str, object] = schedule.get_config()
    except (NotImplementedError, AttributeError):
        return {}
    return config


class Watch(keras.callbacks.Callback):
    """Looks at the live values in the first step and at the end of each epoch, before another callback can put them back.

    It must be the first of the callbacks: at the end of a step and of an epoch, it sees what was in force.

    Args:
        check: raises an error if a value is not in force.
        begun: is called when `fit` is about to take its first batch.
    """

    def __init__(self, check: Callable[[], None], begun: Callable[[], None]):
        super().__init__()
        self._check, self._begun = check, begun

    def on_train_begin(self, logs: object = None) -> None:
        self._begun()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == 0:
            self._look()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self._look()

    def _look(self) -> None:
        assert self.model is not None  # on JAX, to ask for the model puts the state of the step into its variables
        self._check()
