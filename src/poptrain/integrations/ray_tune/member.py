"""A poptrain trainable class as a Trainable of Ray Tune, so that one class serves `pt.run` and `tune.Tuner`."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

from ray import tune

from poptrain.core.errors import UsageError
from poptrain.integrations.ray_tune.configs import Config, Report
from poptrain.trainable import MemberClass


def tune_trainable(member: type[MemberClass], steps: int = 1) -> type[tune.Trainable]:
    """Returns a Trainable that makes, trains, saves and loads a `member`, and may be reused for another config.

    Args:
        member: a class with ``__init__(hp, seed)``, ``train(hp, steps)``, ``save(directory)`` and ``load(directory)``, such as a
            `TorchMember` or an `SB3Member`; `hp` is the whole config.
        steps: the member's own steps in one iteration of Ray Tune.

    Raises:
        UsageError: it is not such a class.
    """
    missing = [name for name in ("train", "save", "load") if not callable(getattr(member, name, None))]
    if not isinstance(member, type) or missing:
        raise UsageError(
            f"tune_trainable({member!r}): expected a class with train, save and load; missing: {', '.join(missing)}."
        )

    class Member(tune.Trainable):
        def setup(self, config: Config) -> None:
            self.member = member(config, crc32(str(self.trial_id).encode()))

        def step(self) -> Report:
            return dict(self.member.train(self.config, steps))

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            self.member.save(Path(checkpoint_dir))

        def load_checkpoint(self, checkpoint: str) -> None:  # type: ignore[override]  # Ray's own annotation is older
            self.member.load(Path(checkpoint))

        def reset_config(self, new_config: Config) -> bool:
            self.setup(new_config)
            return True

    Member.__name__ = Member.__qualname__ = member.__name__
    return Member
