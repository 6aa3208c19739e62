"""Hugging Face `Trainer`: a member is a trainer that stops after each interval and goes on from its own checkpoint.

The trainer's files are its own: model, optimiser, schedule, random state, and the position in the data. What a copy must not
take from its parent is put right when the trainer has loaded them: the options of the optimiser, and the base of the schedule.

=================  ====================================================================================================
`member`           `TrainerMember`: the base of a trainable class around a `Trainer`, or around TRL's `SFTTrainer`
`live`             where hyperparameters act in a live trainer: set there, and read back
`interval`         the callback that puts values right when training begins, and ends the interval
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import accelerate  # noqa: F401
    import transformers  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        "poptrain.integrations.transformers needs Transformers and Accelerate: pip install 'poptrain[transformers]'"
    ) from error

from poptrain.integrations.transformers.member import TrainerMember

__all__ = ["TrainerMember"]
