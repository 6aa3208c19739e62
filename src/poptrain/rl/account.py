"""What a carry remembers of a member's past besides what it learned, and the metrics of an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.trees import Parts, all_finite, take


def fresh_account(members: int, diagnostics: Sequence[str]) -> Parts:
    """Returns the account of P fresh members; every array is (P,)."""
    return {
        "score": np.full(members, np.nan),
        "episode_length": np.full(members, np.nan),
        "updates": np.zeros(members, np.int64),
        "diagnostics": {name: np.full(members, np.nan, np.float32) for name in diagnostics},
    }


def evaluation_only(carry: Parts, returns: list[np.ndarray]) -> IntervalOutcome:
    """Returns the interval of members that were evaluated and not trained.

    Args:
        returns: of each member's episodes, (episodes,) each.
    """
    score, nothing = np.asarray([each.mean() for each in returns]), np.zeros(len(returns), int)
    kept = [[float(x) for x in each] for each in returns]
    return IntervalOutcome(kept, score, score, carry["episode_length"], nothing, nothing, carry["diagnostics"])


def account(carry: Parts, happened: IntervalOutcome, more: Parts | None = None) -> tuple[Parts, Parts]:
    """Returns the carry with the interval added, and its metrics; members without new episodes keep their last known score.

    Args:
        carry: after the interval.
        more: further metrics, (P,) each.
    """
    score, length = known(happened.score, carry["score"]), known(happened.episode_length, carry["episode_length"])
    finite = np.asarray([all_finite(take(carry["params"], i)) for i in range(len(score))])
    updated = happened.updates > 0
    diagnostics = {
        name: np.where(updated, happened.diagnostics[name], old).astype(np.float32) for name, old in carry["diagnostics"].items()
    }
    carry = carry | {
        "score": score,
        "episode_length": length,
        "updates": carry["updates"] + happened.updates,
        "diagnostics": diagnostics,
    }
    return carry, {
        "score": np.where(finite, known(score, happened.running), np.nan),
        "returns": happened.returns,
        "steps": happened.steps,
        "updates": carry["updates"],
        "episode_length": length,
        **(more or {}),
        **diagnostics,
    }


def known(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Returns the new values where they are finite, and else the old ones."""
    return np.where(np.isfinite(new), new, old)
