"""Do episodes end inside an interval? If none does, its score is an older one, and selection cannot see what was trained."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from poptrain.audit.verdict import Verdict
from poptrain.core import Hparams
from poptrain.core.counting import counted
from poptrain.executors.adapters import form_of
from poptrain.preflight.lab import Probe
from poptrain.trainable import AnyTrainable, is_population
from poptrain.trainable.episodes import CountsEpisodes, EpisodeLimit, fix_of


def inside(
    trainable: AnyTrainable, hparams: Hparams, seed: int, interval: int | None, curves: Sequence[Sequence[Probe]], steps: int
) -> Verdict | None:
    """Returns what is wrong with the interval; None if nothing is, or if the trainable does not count episodes.

    Args:
        hparams: of a member that is made to ask it for the limit of its episodes; it is not trained.
        interval: steps; None: it is a length of time.
        curves: the probes of some members.
        steps: of one probe.
    """
    if interval is None:
        return None
    fix = fix_of(trainable)
    limit = _limit(trainable, hparams, seed)
    if limit is not None and (text := limit.too_short(interval, fix)) is not None:
        return Verdict("episodes", "unclear", text)
    counts = [probe.result.metrics["episodes"] for curve in curves for probe in curve if "episodes" in probe.result.metrics]
    if steps < interval or not counts or all(counts):
        return None
    without = sum(not count for count in counts)
    text = (
        f"no episode ended in {without} of {counted(len(counts), 'training')} of {counted(steps, 'step')}, so "
        "their scores are not their own: use a "
        f"longer interval or fewer environments, or {fix}"
    )
    return Verdict("episodes", "unclear", text)


def _limit(trainable: AnyTrainable, hparams: Hparams, seed: int) -> EpisodeLimit | None:
    """Returns the limit that a population knows, or a member, after making one."""
    if is_population(trainable) and isinstance(trainable, CountsEpisodes):
        return trainable.episode_limit()
    if isinstance(trainable, type) and issubclass(trainable, CountsEpisodes):
        with contextlib.suppress(Exception):  # of user code; whether members can be made is another check
            form = form_of(trainable)
            member = form.fresh(hparams, seed)
            try:
                limit: EpisodeLimit | None = member.episode_limit()
            finally:
                form.close(member)
            return limit
    return None
