"""Whether episodes end inside intervals: if none does, the score of an interval says nothing about what was trained in it."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from poptrain.core.counting import counted

USUAL = "return the score of whole episodes of an evaluation"  # what a trainable can do that knows no better


class EpisodeLimit(NamedTuple):
    """How long an episode may be, and how an interval is shared by the environments of a member."""

    longest: int  # steps of one episode
    environments: int
    rollout: int = 1  # steps of all environments: an interval is rounded up to a multiple of it

    def too_short(self, interval: int, fix: str) -> str | None:
        """Returns what is wrong with an interval of this number of steps; None if an episode fits into it.

        >>> EpisodeLimit(500, 8, 256).too_short(4096, "evaluate") is None
        True
        """
        trained = -(-interval // self.rollout) * self.rollout
        each, enough = trained // self.environments, self.longest * self.environments
        if each >= self.longest:
            return None
        one = self.environments == 1
        shares = (
            f"is {counted(trained, 'step')}"
            if one
            else f"gives each of {counted(self.environments, 'environment')} {counted(each, 'step')}"
        )
        fewer = "" if one else ", fewer environments"
        return (
            f"an interval of {counted(interval, 'step')} {shares}, and an episode may have {self.longest:,}: "
            "while none ends, scores "
            f"stay as they were. Use an interval of {counted(enough, 'step')} or more{fewer}, or {fix}"
        )


@runtime_checkable
class CountsEpisodes(Protocol):
    """A trainable class or population whose scores are those of the training episodes that ended in an interval.

    Its attribute `whole_episodes` says how they become those of whole episodes, as an instruction: "set …".
    """

    def episode_limit(self) -> EpisodeLimit | None:
        """Returns how long its episodes may be; None if that is unknown, or if its scores do not depend on it."""
        ...


def counts_returns(trainable: object) -> bool:
    """Returns whether a trainable always reports the returns of the episodes that ended, so that none means that none ended."""
    return hasattr(trainable, "whole_episodes")


def fix_of(trainable: object) -> str:
    """Returns how the scores of a trainable become those of whole episodes."""
    return str(getattr(trainable, "whole_episodes", USUAL))
