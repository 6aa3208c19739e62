"""The order of scores: only ranks count, and ties are broken at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poptrain.core.answering import answering

if TYPE_CHECKING:
    import numpy.typing as npt


@answering
def rank(scores: npt.ArrayLike, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Returns indices from worst to best; non-finite scores first, ties in an order drawn from `generator`. Shape (n,).

    Only the order of the scores matters, so the result is invariant to strictly increasing transforms.
    """
    scores = np.asarray(scores, float)
    key = np.where(np.isfinite(scores), scores, -np.inf)
    return np.lexsort((generator.permutation(len(scores)), key))
