"""`TrainerMember`: the base of a trainable class around a Hugging Face `Trainer`."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from transformers import PrinterCallback, ProgressCallback, Trainer, set_seed
from transformers.utils import logging

from poptrain.core import Metrics
from poptrain.core.collector import settled
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError
from poptrain.integrations.adapter import Place, Reads, governed, plain
from poptrain.integrations.remade import Remade
from poptrain.integrations.stored import copy_files
from poptrain.integrations.torch.draws import Draws
from poptrain.integrations.torch.fresh import FreshOptimizer
from poptrain.integrations.torch.random_stream import Generators, stream
from poptrain.integrations.torch.rates import check_cycled, is_predicted
from poptrain.integrations.torch.state import load_state, save_state
from poptrain.integrations.transformers.interval import Interval
from poptrain.integrations.transformers.live import apply_late, counters, optimizer_of, places, schedulers_of

OWN_FILE = "poptrain"  # of what the trainer's own checkpoint does not have
CHANGES = ("_runtime", "_per_second", "_time")  # ends of metrics that measure time


class TrainerMember(Remade):
    """The base of a trainable class around a Hugging Face `Trainer`: write ``make(hp, seed)``, nothing else.

    One step is one update of the optimiser. After each interval the trainer evaluates, and its metrics are those of the member:
    ``metric="eval_loss"``. Override ``evaluate()`` for others. Schedules span the whole training, as ``stop=pt.steps(n)`` has it.
    """

    _why = "A callback or the trainer itself has set it."

    def __init__(self, hp: Mapping[str, Any], seed: int):
        super().__init__(hp)
        self._seed = seed
        self._random: Generators | None = None
        self._trainer: Trainer | None = None
        self._checkpoint: Path | None = None  # the trainer's, from which it goes on
        self._kind = ""  # of the optimiser in the checkpoint
        self._counted: dict[str, object] = {}  # by the trainer up to the checkpoint, outside of its own files
        self._budget: int | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="poptrain-trainer-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self._directory, True)

    def make(self, hp: Mapping[str, Any], seed: int) -> Trainer:
        """Returns a new trainer with these hyperparameters; the random generators are seeded."""
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must return the Trainer.")

    def evaluate(self) -> Metrics:
        """Returns the metrics of the model as it is: those of ``Trainer.evaluate``, without times."""
        if self.trainer.eval_dataset is None:
            raise UsageError(f"{type(self).__name__}: the Trainer has no eval_dataset: pass one, or override evaluate().")
        return {name: value for name, value in self.trainer.evaluate().items() if not name.endswith(CHANGES)}

    @property
    def trainer(self) -> Trainer:
        """The live trainer, with the model of this member."""
        if self._trainer is None:
            self._make()
            self._restore_model()
        assert self._trainer is not None
        return self._trainer

    def set_budget(self, steps: int | None) -> None:
        """Takes the steps of the whole training, over which schedules extend."""
        if steps != self._budget:
            self._budget, self._trainer = steps, None

    def train(self, hp: Mapping[str, Any], steps: int) -> Metrics:
        """Trains for `steps` updates with these values, and returns the metrics of an evaluation.

        Raises:
            UsageError: a value is not in force, or a hyperparameter has no effect.
        """
        if plain(hp) != self._hp:
            self._hp, self._trainer = plain(hp), None
        if self._trainer is None:
            self._make()
            if not steps:
                self._restore_model()
        assert self._trainer is not None
        with stream(self), _quiet():
            if steps:
                self._train(self._trainer, steps)
            metrics = dict(self.evaluate())
        self._verify(hp, trained=steps > 0)
        return metrics

    def save(self, directory: Path) -> None:
        """Writes the trainer's checkpoint, and the random state, into a directory."""
        if self._checkpoint is not None:
            copy_files(self._checkpoint, Path(directory))
        state = {"seed": self._seed, "random": self._random, "optimizer": self._kind, "counters": self._counted}
        save_state(state, Path(directory), OWN_FILE)

    def load(self, directory: Path) -> None:
        """Continues from what `save` wrote; this member keeps its own hyperparameters."""
        state = load_state(Path(directory), OWN_FILE)
        self._trainer, self._seed, self._random, self._kind = None, state["seed"], state["random"], state["optimizer"]
        self._counted = state.get("counters", {})
        self._checkpoint = None
        for old in self._directory.iterdir():
            shutil.rmtree(old)
        if (Path(directory) / "trainer_state.json").exists():
            self._checkpoint = self._directory / "loaded"
            shutil.rmtree(self._checkpoint, ignore_errors=True)
            own = shutil.ignore_patterns(f"{OWN_FILE}.*")
            copy_files(Path(directory), self._checkpoint, own)

    def close(self) -> None:
        """Frees the model, and removes the working directory."""
        self._trainer = None
        self._removed()

    # -- the trainer ------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Makes the trainer with the values of this member; a member that goes on keeps its random stream."""
        going_on, reads = self._random, Reads(self._hp)
        with stream(self, self._seed):
            trainer = self.make(reads, self._seed % 2**31)
            self._refuse(trainer)
            apply_late(trainer, self._hp, reads.seen)
            trainer.args.output_dir, trainer.args.save_strategy = str(self._directory / "trainer"), "no"
            trainer.args.seed = self._seed % 2**31
            if self._budget is not None:
                trainer.args.max_steps = self._budget
            for callback in (ProgressCallback, PrinterCallback):
                trainer.remove_callback(callback)
            trainer.create_optimizer()
            set_seed(self._seed % 2**32)  # a new trainer seeds the generators with its own seed, the same for all members
        if going_on is not None:
            self._random = going_on
        self._trainer, self._reads, self._loader = trainer, reads, None
        self._made = FreshOptimizer.of(optimizer_of(trainer), schedulers_of(trainer))
        self._governed = governed(places(trainer, self._hp, None), self._hp)
        self._interval = Interval(self._begun)
        trainer.add_callback(self._interval)
        if self._checkpoint is not None:
            self._made.check_kind(self._kind)
            vars(trainer).update(self._counted)

    def _refuse(self, trainer: Trainer) -> None:
        """Raises a `UsageError` for what cannot be continued."""
        who = type(self).__name__
        if not isinstance(trainer, Trainer):
            raise UsageError(f"{who}.make returned {type(trainer).__name__}, expected a transformers.Trainer.")
        if trainer.model_init is not None:
            raise UsageError(f"{who}: model_init makes a new model in every interval: pass model=… instead.")
        if trainer.args.load_best_model_at_end:
            raise UsageError(f"{who}: load_best_model_at_end would train on from an older model: leave it out.")
        if isinstance(trainer.train_dataset, Dataset) and (names := Draws(trainer.train_dataset).names):
            raise UsageError(
                f"{who}: train_dataset.{names[0]} is a random generator of the data alone. A Trainer fetches batches ahead, so "
                "it cannot go on exactly in a copy or a resumed run: draw with the global generator of numpy, PyTorch or Python. "
                "Each member has its own stream of these."
            )

    def _train(self, trainer: Trainer, steps: int) -> None:
        """Trains until `steps` more updates are done, and keeps the trainer's checkpoint of that moment."""
        before = _global_step(self._checkpoint)
        self._interval.until = before + steps
        _note_batch_size(self._checkpoint, trainer)
        with ExitStack() as self._spared:
            # A trainer searches the whole process for garbage when it begins, which takes a quarter of a second, so that an older
            # model makes room. One that has trained before has no older model.
            if self._loader is not None:
                self._spared.enter_context(settled())
            trainer.train(resume_from_checkpoint=None if self._checkpoint is None else str(self._checkpoint))
        if (reached := int(trainer.state.global_step)) != before + steps:
            raise UsageError(
                f"{type(self).__name__}: the Trainer ended at step {reached} of {before + steps}. {self._why_ended()}"
            )
        new = Path(trainer.args.output_dir) / f"checkpoint-{reached}"
        (new / "training_args.bin").unlink(missing_ok=True)  # a pickle, and nothing reads it
        _forget_the_past(new / "trainer_state.json")
        if self._checkpoint is not None:
            shutil.rmtree(self._checkpoint)
        self._checkpoint, self._kind = new.rename(self._directory / f"step-{reached}"), self._made.kind
        self._counted = counters(trainer)

    def _why_ended(self) -> str:
        """Returns why the trainer has stopped in the middle of an interval, and what to do."""
        trainer = self.trainer
        if trainer.state.global_step >= trainer.state.max_steps:
            lasts = f"Its schedule was made for {counted(trainer.state.max_steps, 'step')}"
            return f"{lasts}: end the run with stop=pt.steps(n), or pass a larger max_steps."
        fix = "Remove it: the run decides when training ends, with stop=."
        if (event := self._interval.ended_in) is not None:
            names = self._interval.suspects(trainer.callback_handler.callbacks)
            who = " or ".join(names) if names else "A callback"
            return f"{who} has set control.should_training_stop in {event}. {fix}"
        return "No callback has stopped it, and max_steps is larger: the training data may have ended."

    def _begun(self, loader: Any) -> None:
        """Puts the values of this member into what the trainer has loaded, and verifies them."""
        self._spared.close()
        self._loader = loader
        self._made.put_into(optimizer_of(self.trainer), schedulers_of(self.trainer))
        check_cycled(type(self).__name__, self._hp, self.places(self._hp), schedulers_of(self.trainer))
        self._verify(self._hp)

    def _options(self, trained: TrainerMember) -> object:
        self.set_budget(trained._budget)
        return repr(self._made) if all(map(is_predicted, schedulers_of(self.trainer))) else None

    def _places(self, hp: Mapping[str, Any]) -> Iterator[Place]:
        return places(self.trainer, hp, self._loader)

    def _restore_model(self) -> None:
        """Loads the weights without training."""
        if self._checkpoint is not None and self._trainer is not None:
            self._trainer._load_from_checkpoint(str(self._checkpoint))


@contextmanager
def _quiet() -> Iterator[None]:
    """Shows no progress bars inside the block: many members would fill the terminal with them."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _global_step(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(json.loads((checkpoint / "trainer_state.json").read_text())["global_step"])


def _forget_the_past(file: Path) -> None:
    """Removes what the trainer has logged so far: it grows with every interval, and holds times."""
    state = json.loads(file.read_text())
    state["log_history"] = []
    file.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")


def _note_batch_size(checkpoint: Path | None, trainer: Trainer) -> None:
    """Replaces the batch size of the parent in the trainer's own notes, about which it would warn."""
    if checkpoint is not None:
        file = checkpoint / "trainer_state.json"
        state = {**json.loads(file.read_text()), "train_batch_size": trainer._train_batch_size}
        file.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")
