"""The colours of all pictures: readers with any kind of colour vision can distinguish them."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe & Ito's palette, without its yellow (too pale on white); the best lineage has a colour of its own.
BEST = "#D55E00"
MEMBERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A4C93", "#1B7F79", "#8C6D31")
GRID, INK, NOTE, GREY, FAINT = "#E8EAED", "#24292F", "#6A737D", "#8A93A0", "#CDD1D6"
COPIES = "#5B6470"
FAILED = "#7A1F1F"
LESSONS = "#6A4C93"  # from teachers to students

# Cividis from yellow to blue, without its palest end: from the worst to the best score.
SCORES = ("#E4CF5B", "#CBBA69", "#B2A770", "#9A9475", "#848279", "#6F717A", "#5A616F", "#44506C", "#29406B", "#00306F", "#00204C")
STEPS = ("#9CC9E3", "#003B5C")  # from early to late

# The parts of the time that `overhead` distinguishes.
TIMES = {"training": "#0072B2", "saving": "#E69F00", "queued": "#CC79A7", "waiting": "#C9CDD3", "deciding": "#D55E00"}


def colours(members: Sequence[int]) -> dict[int, str]:
    """Returns a colour for each member: a different one each if there are enough colours, else one grey for all."""
    if len(members) > len(MEMBERS):
        return dict.fromkeys(members, GREY)
    return {member: MEMBERS[index] for index, member in enumerate(sorted(members))}


def colour(index: int) -> str:
    """Returns the colour of the method, schedule or sub-population with this index; the colours are used again and again."""
    return MEMBERS[index % len(MEMBERS)]
