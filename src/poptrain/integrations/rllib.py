"""RLlib: the hyperparameters of a config are applied to the live algorithm after every load, and read back from it.

A clone loads its donor's optimiser state, and with it the donor's learning rate: RLlib's first update after it uses that,
whatever the config says. `Applied` sets it right and reports what the algorithm really trains with as ``effective/…``; if
that is not what the config says, training stops with the difference. Give it to the config: ``config.callbacks(Applied)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from typing import Any

from poptrain.core.errors import MissingExtra, PoptrainError

try:
    from ray.rllib.callbacks.callbacks import RLlibCallback
except ImportError as error:
    raise MissingExtra("poptrain.integrations.rllib needs RLlib: pip install 'poptrain[rllib]'") from error


LOSS = ("clip_param", "vf_clip_param", "vf_loss_coeff", "entropy_coeff", "grad_clip")  # read by the loss at every update
LOOP = ("train_batch_size_per_learner", "minibatch_size", "num_epochs")  # read by the training step
CLOSE = 1e-6  # relative: an optimiser may hold its rate in single precision


class Ignored(PoptrainError):
    """A hyperparameter of the config has no effect on the live algorithm."""


class Applied(RLlibCallback):
    """Applies the config's learning rate after a checkpoint was loaded, and reports the effective hyperparameters."""

    def on_checkpoint_loaded(self, *, algorithm: Any, **_: Any) -> None:
        """Sets what the checkpoint overwrote, and checks it."""
        apply(algorithm)
        check(algorithm)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **_: Any) -> None:
        """Adds the effective hyperparameters to a result, after checking them."""
        result["effective"] = check(algorithm)


def apply(algorithm: Any) -> None:
    """Sets the learning rate of every optimiser to that of the config; a schedule in the config is left alone."""

    def on(learner: Any, **_: Any) -> None:
        for optimiser, config in _optimisers(learner):
            if isinstance(config.lr, (int, float)):
                learner._set_optimizer_lr(optimiser, lr=config.lr)

    _each(algorithm, on)


def effective(algorithm: Any) -> dict[str, float]:
    """Returns what the live algorithm trains with: the optimiser's rate, λ and γ of the advantage estimator, what the loss
    and the training step read. With several modules, of the first."""

    def of(learner: Any, **_: Any) -> dict[str, float]:
        optimiser, config = next(_optimisers(learner))
        found = {"lr": float(optimiser.param_groups[0]["lr"])}
        found |= {name: getattr(config, name, None) for name in LOSS}
        for piece in getattr(learner._learner_connector, "connectors", ()):
            if hasattr(piece, "lambda_"):
                found |= {"lambda": piece.lambda_, "gamma": piece.gamma}
        return found

    found = _each(algorithm, of) | {name: getattr(algorithm.config, name, None) for name in LOOP}
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}


def check(algorithm: Any) -> dict[str, float]:
    """Returns the effective hyperparameters.

    Raises:
        Ignored: one of them is not what the config says.
    """
    found = effective(algorithm)
    for name, value in found.items():
        wanted = getattr(algorithm.config, "lambda_" if name == "lambda" else name)
        if isinstance(wanted, (int, float)) and not isclose(value, wanted, rel_tol=CLOSE):
            raise Ignored(f"{name}={wanted!r} in the config, and the live algorithm trains with {value!r}.")
    return found


def _each(algorithm: Any, function: Any) -> Any:
    """Calls a function with every learner and returns what the first one answers."""
    answers = [answer.get() for answer in algorithm.learner_group.foreach_learner(func=function)]
    return answers[0]


def _optimisers(learner: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every optimiser with the config of its module."""
    for module, names in learner._module_optimizers.items():
        for name in names:
            yield learner._named_optimizers[name], learner.config.get_config_for_module(module)
