"""RLlib: the hyperparameters of a config are applied to the live algorithm after every load, and read back from it.

A clone loads its donor's optimiser state and with it the donor's learning rate. RLlib's first update after that uses this
rate, whatever the config says. `Applied` corrects it and reports what the algorithm really trains with as ``effective/…``; if
that differs from the config, training stops with the difference. Pass it to the config: ``config.callbacks(Applied)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isclose
from typing import Any, TypeVar

from poptrain.core.errors import MissingExtra, PoptrainError

try:
    from ray.rllib.callbacks.callbacks import RLlibCallback
except ImportError as error:
    raise MissingExtra("poptrain.integrations.rllib needs RLlib: pip install 'poptrain[rllib]'") from error

LiveAlgorithm = Any  # RLlib's, whose attributes depend on its class
LiveLearner = Any  # the same

LOSS_OPTIONS = ("clip_param", "vf_clip_param", "vf_loss_coeff", "entropy_coeff", "grad_clip")  # read by the loss at every update
LOOP_OPTIONS = ("train_batch_size_per_learner", "minibatch_size", "num_epochs")  # read by the training step
CLOSE = 1e-6  # relative: an optimiser may hold its rate in single precision

Answer = TypeVar("Answer")


class Ignored(PoptrainError):
    """A hyperparameter of the config has no effect on the live algorithm."""


class Applied(RLlibCallback):
    """Applies the config's learning rate after a checkpoint was loaded, and reports the effective hyperparameters."""

    def on_checkpoint_loaded(self, *, algorithm: LiveAlgorithm, **_: object) -> None:
        """Sets what the checkpoint overwrote, and checks it."""
        apply_learning_rate(algorithm)
        checked_effective(algorithm)

    def on_train_result(self, *, algorithm: LiveAlgorithm, result: dict[str, object], **_: object) -> None:
        """Adds the effective hyperparameters to a result, after checking them."""
        result["effective"] = checked_effective(algorithm)


def apply_learning_rate(algorithm: LiveAlgorithm) -> None:
    """Sets the learning rate of every optimiser to that of the config; a schedule in the config is left unchanged."""

    def set_rates(learner: LiveLearner, **_: object) -> None:
        for optimiser, config in _optimisers(learner):
            if isinstance(config.lr, (int, float)):
                learner._set_optimizer_lr(optimiser, lr=config.lr)

    _on_each_learner(algorithm, set_rates)


def effective(algorithm: LiveAlgorithm) -> dict[str, float]:
    """Returns the hyperparameters that the live algorithm trains with, by the config's names; with several modules, the first's.

    These are the optimiser's rate, λ and γ of the advantage estimator, and the options of the loss and of the training step.
    """

    def read(learner: LiveLearner, **_: object) -> dict[str, object]:
        optimiser, config = next(_optimisers(learner))
        found: dict[str, object] = {"lr": float(optimiser.param_groups[0]["lr"])}
        found |= {name: getattr(config, name, None) for name in LOSS_OPTIONS}
        for piece in getattr(learner._learner_connector, "connectors", ()):
            if hasattr(piece, "lambda_"):
                found |= {"lambda": piece.lambda_, "gamma": piece.gamma}
        return found

    found = _on_each_learner(algorithm, read) | {name: getattr(algorithm.config, name, None) for name in LOOP_OPTIONS}
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}


def checked_effective(algorithm: LiveAlgorithm) -> dict[str, float]:
    """Returns the effective hyperparameters.

    Raises:
        Ignored: one of them differs from the config.
    """
    found = effective(algorithm)
    for name, value in found.items():
        wanted = getattr(algorithm.config, "lambda_" if name == "lambda" else name)
        if isinstance(wanted, (int, float)) and not isclose(value, wanted, rel_tol=CLOSE):
            raise Ignored(f"{name}={wanted!r} in the config, and the live algorithm trains with {value!r}.")
    return found


def _on_each_learner(algorithm: LiveAlgorithm, function: Callable[..., Answer]) -> Answer:
    """Calls a function with every learner and returns the answer of the first one."""
    answers: list[Answer] = [answer.get() for answer in algorithm.learner_group.foreach_learner(func=function)]
    return answers[0]


def _optimisers(learner: LiveLearner) -> Iterator[tuple[Any, Any]]:
    """Yields every optimiser with the config of its module."""
    for module, names in learner._module_optimizers.items():
        for name in names:
            yield learner._named_optimizers[name], learner.config.get_config_for_module(module)
