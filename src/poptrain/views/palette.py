"""The colours of all pictures: readers with any kind of colour vision can tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe & Ito's palette, without its yellow (too pale on white); the best lineage has a colour of its own.
BEST = "#D55E00"
MEMBERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A4C93", "#1B7F79", "#8C6D31")
GRID, INK, NOTE, GREY = "#E8EAED", "#24292F", "#6A737D", "#8A93A0"
FAILED = "#7A1F1F"
FEW = len(MEMBERS)  # up to so many members have a colour and a name each

# The parts of the time that `overhead` tells apart.
TIMES = {"training": "#0072B2", "saving": "#E69F00", "queued": "#CC79A7", "waiting": "#C9CDD3", "deciding": "#D55E00"}


def colours(members: Sequence[int]) -> dict[int, str]:
    """Returns a colour for each member: its own if they are few, else one grey for all."""
    if len(members) > FEW:
        return dict.fromkeys(members, GREY)
    return {member: MEMBERS[index] for index, member in enumerate(sorted(members))}
