"""Gauges: how much of the gain came from selection, how greedy the selection was, and how much diversity is left.

The mean score of the members rises in two ways only: a member takes over a better one's weights (selection), and members train.
The two add up exactly (the Price equation of population genetics, Price 1970, Nature 227: 520), so "40 % of the gain came at the
copies" is bookkeeping, not an estimate. What would have happened without exploring, or without copying, needs a
control experiment: `poptrain compare` with runs of ``explore=None`` or of `pt.random_search`, or ``pt.pbt(…, controls=2)``.

Whether *exploring* helps can be seen in one run: right after a copy, donor and clone continue from the same weights with
different hyperparameters, which is a paired experiment of one interval. Whether a *model* helps is in `foresight`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from poptrain.core.brief import in_lines
from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.statistics import sign_test
from poptrain.views.foresight import Foresight, centred_ranks, foresight_of
from poptrain.views.format import short
from poptrain.views.sources import of_run
from poptrain.views.state import RunState, state_of
from poptrain.views.tally import Diversity, common_ancestor

MUCH_BACK = 1 / 3  # of the steps that were trained: from here on a sentence says that members went back


@dataclass(frozen=True)
class Gauges:
    """Scores have the user's sign. None: not measurable. Control members count in `controls` and `ahead` only."""

    members: int
    gain: float | None  # of the members' mean score, from first results to now; positive is better
    selection: float  # the part of it that copying better members brought at the moment of the copy
    share: float | None  # selection / gain; None: there is no gain
    pressure: float | None  # greediness: share of the decisions that replaced a healthy member
    persistence: float | None  # rank correlation of members' scores with their own one interval later, -1 to 1
    explored: int  # clones with new hyperparameters whose donor went on from the same weights with its own
    explored_better: int  # of them, those ahead of their donor one interval later
    explored_p: float | None  # two-sided sign test that it is even
    controls: int  # members that keep their first hyperparameters
    ahead: float | None  # best of the others minus best control, as held now; positive is better
    founders: int  # number of first members that the weights of all members descend from
    effective: float | None  # effective number of lineages
    one_since: int | None  # the step since which all descend from one first member
    common_step: int | None  # the step of their newest common ancestor
    back: int  # steps by which members went back, because they copied one with fewer (asynchronous runs)
    back_share: float | None  # of all steps that were trained
    anew: int  # times that a member drew all its values again, because every member had become worse than at first
    foresight: Foresight  # of a model: what it predicted against what was observed
    history: tuple[Diversity, ...] = field(repr=False)  # of every decision that changed it

    __repr__ = in_lines

    def sentences(self) -> tuple[str, ...]:
        """Returns what the gauges mean, for people; () if there is nothing to say."""
        found = [*self._of_copies()] if self.pressure else []
        found += self.foresight.sentences()
        if self.back_share is not None and self.back_share >= MUCH_BACK:
            back = f"{counted(self.back, 'step')} in all, {100 * self.back_share:.0f} % of what was trained"
            found.append(
                f"Members went back by {back}, because they copied members with fewer steps. If scores fall at first, those "
                "always win: use sync=True, or a warmup."
            )
        if self.anew:
            times = counted(self.anew, "time")
            found.append(f"Every member had become worse than at first, so members drew values from the whole ranges {times}.")
        if self.ahead is not None:
            way = f"{short(abs(self.ahead), 3)} {'better' if self.ahead > 0 else 'worse'} than"
            found.append(
                f"The best member is {'as good as' if self.ahead == 0 else way} the best of {counted(self.controls, 'control')}."
            )
        return tuple(found)

    def _of_copies(self) -> Iterator[str]:
        if self.share is not None:
            copies = f"At the moment of each copy the mean score changes: by {short(self.selection, 3)} over all copies"
            whole = f"of its gain of {short(self.gain, 3)} since the first results"
            if self.share <= 1:
                yield f"{copies}, which is {100 * self.share:.0f} % {whole}; training brought the rest."
            else:
                yield f"{copies}, more than all {whole}: between the copies, training lowered it."
            yield "What training would have reached without copies is not known from one run: `poptrain compare` tells."
        if self.explored:
            word = "more" if 2 * self.explored_better > self.explored else "fewer"
            chance = "no clear difference" if self.explored_p is None or self.explored_p > 0.05 else f"{word} than chance"
            pairs = f"{self.explored_better:,} of {counted(self.explored, 'pair')} ({chance})"
            yield f"From the same weights, explored values beat the donor's values in {pairs}."
        if self.persistence is not None:
            replaced = f"{100 * (self.pressure or 0):.0f} % of the decisions replaced a member"
            yield f"{replaced}; the order of scores after one interval has a rank correlation of {self.persistence:.2f}."
        if self.one_since is None:
            worth = f"which is as diverse as {self.effective:.1f} equal lineages"
            yield f"The {counted(self.members, 'member')} descend from {counted(self.founders, 'first member')}, {worth}."
        elif self.members > 1:
            common = "" if self.common_step is None else f"; their newest common ancestor is at step {self.common_step:,}"
            yield f"All {counted(self.members, 'member')} descend from one since step {self.one_since:,}{common}."


@of_run
def gauges(record: Record) -> Gauges:
    """Returns the gauges of a run as its record was read."""
    return gauges_of(state_of(record))


def gauges_of(state: RunState) -> Gauges:
    """Returns the gauges of a state."""
    sums, sign, seats = state.tally, state.sign, len(state.tally.roots)
    gain = sign * sum(sums.held[seat] - sums.first[seat] for seat in sums.held) / seats if sums.held and seats else None
    selection = sign * sums.selection / seats if seats else 0.0
    last = sums.history[-1] if sums.history else None
    one = last is not None and last.effective == 1 and seats > 1
    return Gauges(
        members=seats,
        gain=gain,
        selection=selection,
        share=selection / gain if gain is not None and gain > 0 else None,
        pressure=sums.replaced / sums.decisions if sums.decisions else None,
        persistence=_persistence(sums.lasting),
        explored=sums.pairs,
        explored_better=sums.better,
        explored_p=sign_test(sums.better, sums.worse) if sums.pairs else None,
        controls=len(sums.controls),
        ahead=_ahead(state) if sums.controls else None,
        founders=last.founders if last else 0,
        effective=last.effective if last else None,
        one_since=last.step if one and last else None,
        common_step=_common_step(state) if one else None,
        back=sums.back,
        back_share=sums.back / state.steps if state.steps else None,
        anew=sums.anew,
        foresight=replace(
            foresight_of(sums.foretold), followed=sums.followed, unfollowed=sums.unfollowed, why=sums.unfollowed_why
        ),
        history=tuple(sums.history),
    )


def _ahead(state: RunState) -> float | None:
    scores = {seat: state.sign * state.known[id].score for seat, id in state.held().items()}
    controls = [score for seat, score in scores.items() if seat in state.tally.controls]
    others = [score for seat, score in scores.items() if seat not in state.tally.controls]
    return max(others) - max(controls) if controls and others else None


def _common_step(state: RunState) -> int | None:
    """Returns the step of the newest task that the weights of all members descend from."""
    id = common_ancestor(state.known, (id for seat, id in state.held().items() if seat in state.tally.roots))
    return None if id is None else state.known[id].end


def _persistence(pairs: deque[tuple[float, float, int]]) -> float | None:
    """Returns the rank correlation inside rounds (results that end at one step), over all of them."""
    if len(pairs) < 4:
        return None
    before, after, step = np.asarray(pairs, float).T
    ranks_before, ranks_after = np.zeros(len(step)), np.zeros(len(step))
    for each in np.unique(step):
        here = step == each
        ranks_before[here], ranks_after[here] = centred_ranks(before[here]), centred_ranks(after[here])
    scale = np.sqrt((ranks_before**2).sum() * (ranks_after**2).sum())
    return float(ranks_before @ ranks_after / scale) if scale > 0 else None
