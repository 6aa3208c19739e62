"""How much a teacher still counts while a student is distilled from it (BG-PBT, arXiv 2207.09405, section 3.2)."""

from __future__ import annotations

from poptrain.core.answering import answering
from poptrain.core.errors import UsageError

LAST_WEIGHT = 0.05
FALL = 0.8  # of the distillation, over which the weight falls


@answering
def teacher_weight(progress: tuple[float, float], part: float = 0.0) -> float:
    """Returns the weight alpha of the teacher: it falls in a straight line from 1 to 0.05 over the first 0.8, and stays there.

    The weight follows from the task alone. So it goes on where the task before ended, also after the run was resumed.

    Args:
        progress: what `distill` received: where these steps begin and end in the whole distillation, in [0, 1].
        part: how much of these steps is done, in [0, 1]: ``step / steps``.

    >>> [round(teacher_weight((0.0, 0.5), step / 4), 3) for step in range(5)]
    [1.0, 0.852, 0.703, 0.555, 0.406]
    """
    if not 0.0 <= part <= 1.0:
        raise UsageError(f"teacher_weight: part={part!r}, expected a number from 0 to 1, such as step / steps.")
    begin, end = progress
    return max(1.0 - (1.0 - LAST_WEIGHT) * (begin + (end - begin) * part) / FALL, LAST_WEIGHT)
