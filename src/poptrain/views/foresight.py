"""Foresight: is a model's proposal worth more than a redraw? What the model of PB2 expected, against what was observed.

Gains shrink as training goes on, so proposals are compared with others of about the same time: ranks are taken inside a round,
and inside groups of four rounds that have one proposal each. A model that knows nothing has a rank correlation of 0 there. Its
choice is then as good as a redraw, because it is one of several points that were drawn as `pbt` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from poptrain.core.counting import counted
from poptrain.views.format import clean, short

GROUP = 4  # rounds with one proposal each that are compared together
ENOUGH = 12  # proposals, below which there is no sentence
SURE = 0.05  # one-sided level at which the model is worth more than a redraw

Foretold = tuple[float, float, int]  # predicted gain, observed gain, the step at which the interval ended


@dataclass(frozen=True)
class Foresight:
    """Predictions of a model against observed gains, of the proposals whose interval is over. Gains are maximised."""

    proposals: int
    correlation: float | None  # rank correlation inside groups, -1 to 1; None: too few proposals, or all are equal
    p: float | None  # one-sided: the model knows nothing, and any order of the observed gains of a group is equally probable
    gain: float | None  # observed gain of the proposals that it rated in the upper half of their group, minus the lower half
    pays: bool | None = None  # clearly worth more than a redraw: by ranks, and by `gain`; None: there is too little to say
    followed: int = 0  # proposals of the model, with those whose interval is not over
    unfollowed: int = 0  # proposals that were drawn as `pbt` draws, because the model had nothing to say
    why: str | None = None  # why the newest of these was

    def sentences(self) -> tuple[str, ...]:
        """Returns what it means, for people: how often the model was followed at all, and whether that was worth it."""
        worth = self.sentence()
        return tuple(each for each in (self._of_rounds_without(), worth) if each is not None)

    def _of_rounds_without(self) -> str | None:
        if not self.unfollowed:
            return None
        whole = counted(self.followed + self.unfollowed, "proposal")
        newest = "" if self.why is None else f" (newest reason: {clean(self.why, 200)})"
        return f"The model chose the values of {self.followed:,} of {whole}; the others were drawn without it{newest}."

    def sentence(self) -> str | None:
        """Returns what it means, for people; None if there is too little to say."""
        if self.pays is None or self.correlation is None:
            return None
        measured = (
            f"predicted and observed gains of {counted(self.proposals, 'proposal')} have a rank correlation of "
            f"{self.correlation:.2f}"
        )
        if not self.pays:
            but = ""
            if self.p is not None and self.p < SURE:  # by ranks alone it would be worth more
                but = f", but proposals that it rated higher gained {short(-(self.gain or 0.0), 3)} less in an interval"
            return f"The model is not clearly better than a redraw here: {measured} (p = {self.p:.2g}){but}."
        more = f"proposals that it rated higher gained {short(self.gain, 3)} more in an interval"
        return f"The model is worth more than a redraw: {measured} (p = {self.p:.2g}), and {more}."


def foresight_of(foretold: Sequence[Foretold]) -> Foresight:
    """Returns the foresight of a model from its proposals, in the order in which they were reported."""
    if len(foretold) < 2:
        return Foresight(len(foretold), None, None, None)
    predicted, observed, step = np.asarray(sorted(foretold, key=lambda each: each[2]), float).T
    groups = _groups(step)
    count = int(groups.max()) + 1
    a, b = np.zeros(len(step)), np.zeros(len(step))
    differences, chance = [], 0.0  # `chance`: the variance of a · b if the model knows nothing
    for group in range(count):
        here = groups == group
        a[here], b[here] = centred_ranks(predicted[here]), centred_ranks(observed[here])
        gains = observed[here]
        if len(gains) > 1:
            chance += float(a[here] @ a[here]) * float(b[here] @ b[here]) / (len(gains) - 1)
        if (a[here] > 0).any():
            differences.append(float(gains[a[here] > 0].mean() - gains[a[here] < 0].mean()))
    scale = sqrt(float(a @ a) * float(b @ b))
    if scale == 0 or chance == 0:
        return Foresight(len(foretold), None, None, None)
    p = 0.5 * erfc(float(a @ b) / sqrt(2 * chance))
    gain = float(np.mean(differences))
    pays = None if len(foretold) < ENOUGH else p < SURE and gain > 0  # a few heavy losses outweigh many good ranks
    return Foresight(len(foretold), float(a @ b) / scale, p, gain, pays)


def _groups(step: np.ndarray) -> np.ndarray:
    """Returns the group of each proposal: those of one round, and four together if their rounds have only one each."""
    groups, singles, group, open = np.zeros(len(step), int), 0, -1, -1
    for each in np.unique(step):
        here = np.flatnonzero(step == each)
        if len(here) > 1:
            group += 1
            groups[here] = group
            continue
        if singles % GROUP == 0:
            group += 1
            open = group
        singles += 1
        groups[here] = open
    return groups


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks minus their mean, equal values sharing a rank; shape (n,)."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2
    centred: np.ndarray = ranks - ranks.mean()
    return centred
