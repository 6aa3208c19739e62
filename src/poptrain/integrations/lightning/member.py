"""`LightningMember`: the base of a trainable class around a `LightningModule`."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from poptrain.core import Metrics
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import Place, Reads, flattened, governed, plain
from poptrain.integrations.lightning.epochs import Epochs, schedulers_of
from poptrain.integrations.lightning.finetuning import Unfrozen, unfreeze, unfrozen
from poptrain.integrations.remade import Remade
from poptrain.integrations.torch.draws import Draws, State
from poptrain.integrations.torch.fresh import FreshOptimizer, optimizer_places
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.rates import check_cycled, is_predicted, is_scheduler
from poptrain.integrations.torch.state import load_state, save_state

CHECKPOINT, OWN_FILE = "lightning.ckpt", "poptrain"
AVERAGES = {"WeightAveraging", "StochasticWeightAveraging"}  # callbacks; the first is not in every version
OURS = {  # options of the trainer that the member sets unless `options` has others
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class LightningMember(Remade):
    """The base of a trainable class around a `LightningModule`: write ``make(hp, seed)``, nothing else.

    One step is one epoch. The metrics are those that the module has logged, under their names (``metric="val_loss"``).
    Override ``options(hp)`` for arguments of the `Trainer`. Schedules span the whole training, as ``stop=pt.steps(n)`` has it.
    """

    _why = "The module, a callback or the trainer itself has set it."

    def __init__(self, hp: Mapping[str, Any], seed: int):
        super().__init__(hp)
        self._seed = seed
        self._random: Generators | None = None
        self._made: tuple[LightningModule, Any] | None = None
        self._trainer: Trainer | None = None  # of the last interval
        self._epochs = 0  # of the whole lineage
        self._kinds: list[str] = []  # of the optimisers in the checkpoint
        self._steps: int | None = None  # of the optimiser in an epoch, up to the checkpoint
        self._budget: int | None = None
        self._draws: Draws | None = None  # of the training data, where they have generators of their own
        self._unfrozen: Unfrozen | None = None  # what of the module was trained at the end of the last interval
        self._drawn: State = None  # what they had drawn up to the end of the last interval
        self._directory = Path(tempfile.mkdtemp(prefix="poptrain-lightning-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self._directory, True)

    def make(self, hp: Mapping[str, Any], seed: int) -> tuple[LightningModule, Any]:
        """Returns a new module and its data; the random generators are seeded.

        The data are a `LightningDataModule`, a pair of data loaders for training and validation, or one for training.
        """
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must return the module and its data.")

    def options(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments of the `Trainer`, such as ``{"accelerator": "cpu", "gradient_clip_val": hp["clip"]}``."""
        return {}

    @property
    def module(self) -> LightningModule:
        """The live module of this member, with its weights."""
        if self._made is None:
            self._make()
            if (file := self._directory / CHECKPOINT).exists():
                assert self._made is not None
                state = TorchCheckpointIO().load_checkpoint(file, map_location="cpu", weights_only=True)
                self._made[0].load_state_dict(state["state_dict"])
        assert self._made is not None
        return self._made[0]

    def set_budget(self, steps: int | None) -> None:
        """Takes the epochs of the whole training, over which schedules extend."""
        self._budget = steps

    def train(self, hp: Mapping[str, Any], steps: int) -> Metrics:
        """Trains for `steps` epochs with these values, and returns what the module has logged.

        Raises:
            UsageError: a value is not in force, or a hyperparameter has no effect.
        """
        if plain(hp) != self._hp:
            self._hp, self._made = plain(hp), None
        module = self.module
        with stream(self), _quiet():
            options = {**OURS, **self.options(self._reads)}
            metrics = self._train(module, options, steps) if steps else self._validate(module, options)
        self._verify(hp, trained=steps > 0)
        return metrics

    def save(self, directory: Path) -> None:
        """Writes the trainer's checkpoint, and the random state, into a directory."""
        if (file := self._directory / CHECKPOINT).exists():
            shutil.copy2(file, directory)
        own = {"seed": self._seed, "random": self._random, "epochs": self._epochs}
        own |= {"optimizers": self._kinds, "steps": self._steps, "draws": self._drawn, "unfrozen": self._unfrozen}
        save_state(own, Path(directory), OWN_FILE)

    def load(self, directory: Path) -> None:
        """Continues from what `save` wrote; this member keeps its own hyperparameters."""
        state = load_state(Path(directory), OWN_FILE)
        self._seed, self._random, self._epochs, self._kinds = (state[k] for k in ("seed", "random", "epochs", "optimizers"))
        self._steps, self._drawn, self._unfrozen = state.get("steps"), state.get("draws"), state.get("unfrozen")
        self._made = self._trainer = None
        (self._directory / CHECKPOINT).unlink(missing_ok=True)
        if (file := Path(directory) / CHECKPOINT).exists():
            shutil.copy2(file, self._directory)

    def close(self) -> None:
        """Frees the module and its data, and removes the working directory."""
        self._made = self._trainer = None
        self._removed()

    # -- the trainer ------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Makes the module and its data with the values of this member; a member that goes on keeps its random stream."""
        going_on = self._random
        self._reads = Reads(self._hp)
        with stream(self, self._seed):
            made = self.make(self._reads, self._seed)
        if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], LightningModule):
            who, got = type(self).__name__, type(made).__name__
            raise UsageError(f"{who}.make returned {got}, expected the pair (LightningModule, its data).")
        if going_on is not None:
            self._random = going_on
        self._made, self._governed = made, frozenset()
        self._follow(made[1])

    def _follow(self, data: object) -> None:
        """Lets the training data go on drawing where the last interval ended. A data module makes a loader in every interval."""
        if isinstance(data, LightningDataModule):
            make = data.train_dataloader
            data.train_dataloader = lambda: self._continued(make())  # type: ignore[method-assign]
        else:
            self._continued(data[0] if isinstance(data, tuple) else data)

    def _continued(self, loader: object) -> object:
        self._draws = Draws(loader) if isinstance(loader, DataLoader) else None
        if self._draws is not None and self._drawn:
            self._draws.put_own(self._drawn)
        return loader

    def _train(self, module: LightningModule, options: dict[str, Any], steps: int) -> dict[str, float]:
        until, file = self._epochs + steps, self._directory / CHECKPOINT
        epochs = Epochs(until, self._kinds, self._steps, self._begun)
        callbacks = [*_checked(type(self).__name__, options.pop("callbacks", None)), epochs]
        most = max(self._budget, until) if self._budget else -1
        root = str(self._directory)
        ours = {"max_epochs": most, "enable_checkpointing": False, "default_root_dir": root}
        self._trainer = Trainer(**{**options, **ours}, callbacks=callbacks)
        ckpt = {"ckpt_path": str(file), "weights_only": True} if file.exists() else {}
        try:
            self._trainer.fit(module, **self._data(), **ckpt)
        except ValueError as error:
            if ended := _ended_schedule(self._trainer):
                raise UsageError(f"{type(self).__name__}: {ended}") from error
            raise
        if self._trainer.current_epoch != until:
            raise UsageError(
                f"{type(self).__name__}: training ended after epoch {self._trainer.current_epoch} of {until}: something else "
                "stops the Trainer, such as an EarlyStopping callback or max_steps."
            )
        self._epochs, self._kinds, self._steps = until, [made.kind for made in epochs.made], epochs.steps
        self._unfrozen = unfrozen(module, callbacks)
        self._drawn = None if self._draws is None or not self._draws.has_own else self._draws.read_own()
        self._trainer.save_checkpoint(file)
        return _numbers(self._trainer.callback_metrics)

    def _validate(self, module: LightningModule, options: dict[str, Any]) -> dict[str, float]:
        trainer = Trainer(**{**options, "enable_checkpointing": False, "default_root_dir": str(self._directory)})
        data = self._data()
        loaders = {"datamodule": data["datamodule"]} if "datamodule" in data else {"dataloaders": data.get("val_dataloaders")}
        trainer.validate(module, **loaders, verbose=False)
        return _numbers(trainer.callback_metrics)

    def _data(self) -> dict[str, Any]:
        """Returns the data as ``Trainer.fit`` takes them."""
        assert self._made is not None
        data = self._made[1]
        if isinstance(data, LightningDataModule):
            return {"datamodule": data}
        training, validation = data if isinstance(data, tuple) else (data, None)
        return {"train_dataloaders": training, "val_dataloaders": validation}

    def _begun(self, trainer: Trainer) -> None:
        """Notes which places hyperparameters govern: those that held their values when all was new."""
        self._trainer = trainer
        unfreeze(trainer.lightning_module, self._unfrozen)
        if not self._governed:
            self._governed = governed(self._places(self._hp), self._hp)
        check_cycled(type(self).__name__, self._hp, self.places(self._hp), schedulers_of(trainer))

    def _options(self, trained: LightningMember) -> object:
        trainer = trained._trainer
        assert trainer is not None
        self.set_budget(trained._budget)
        self.module.trainer = trainer
        found = list(_inside(self.module.configure_optimizers()))
        optimizers = [each for each in found if isinstance(each, Optimizer)]
        schedulers = [each for each in found if is_scheduler(each)]
        if not all(map(is_predicted, schedulers)):
            return None
        scheduled = [each.optimizer for each in schedulers]
        for made, live in zip(optimizers, trainer.optimizers, strict=True):
            rates = [[group["lr"] for group in each.param_groups] for each in (made, live)]
            if made not in scheduled and rates[0] != rates[1]:
                return None  # code sets them, such as an optimizer_step of the user's own
        return [repr(FreshOptimizer.of(each)) for each in optimizers], [repr(each.state_dict()) for each in schedulers]

    def _places(self, hp: Mapping[str, Any]) -> Iterator[Place]:
        trainer = self._trainer
        schedulers = [] if trainer is None else schedulers_of(trainer)
        for name, _ in flattened(hp):
            for index, optimizer in enumerate([] if trainer is None else trainer.optimizers):
                yield from optimizer_places(optimizer, name, name, _label(index), schedulers)
            if self._made is not None and name in self._made[0].hparams:
                yield Place(name, f"module.hparams.{name}", self._made[0].hparams[name])
            if trainer is not None and name == "batch_size" and hasattr(trainer.train_dataloader, "batch_size"):
                yield Place(name, "train_dataloader.batch_size", trainer.train_dataloader.batch_size)
            if trainer is not None and isinstance(held := vars(trainer).get(name), (int, float, str)):
                yield Place(name, f"trainer.{name}", held)


def _checked(who: str, given: Any) -> list[Any]:
    """Returns the callbacks of `options`.

    Raises:
        UsageError: one of them ends each interval with averages in the module, from which training would go on.
    """
    callbacks = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for each in callbacks:
        if AVERAGES & {kind.__name__ for kind in type(each).__mro__}:
            raise UsageError(
                f"{who}: {type(each).__name__} ends each interval with averages in the module, and training would go on from "
                "them. Keep the averages in the module instead: torch.optim.swa_utils.AveragedModel."
            )
    return callbacks


def _ended_schedule(trainer: Trainer) -> str:
    """Returns which schedule has come to its end, and what to do; "" if none has."""
    for config in trainer.lr_scheduler_configs:
        total = getattr(config.scheduler, "total_steps", None)
        if total is not None and config.scheduler.last_epoch >= total:
            return (
                f"{type(config.scheduler).__name__} was made for {counted(total, 'step')}, and the training has "
                "more. Make it with "
                "total_steps=self.trainer.estimated_stepping_batches, which follows stop=pt.steps(n) and the batch size."
            )
    return ""


def _label(index: int) -> str:
    return "optimizer" if index == 0 else f"optimizer_{index}"


def _inside(made: object) -> Iterator[object]:
    """Yields what ``configure_optimizers`` has returned, in whatever containers: optimisers, schedulers and their settings."""
    if isinstance(made, Mapping):
        made = list(made.values())
    if not isinstance(made, (list, tuple)):
        yield made
        return
    for each in made:
        yield from _inside(each)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(metrics.items())}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides Lightning's remarks on each new trainer: devices, loggers and numbers of workers."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
