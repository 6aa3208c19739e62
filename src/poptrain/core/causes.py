"""The cause of an error: its text without what differs each time, so that failures of one cause are counted together."""

from __future__ import annotations

import re

_VARYING = re.compile(
    r"""'[^'\n]*/[^'\n]*'                  # a path in quotes
    |(?:~?/|\b[\w.~+-]+/)[\w./~+=@:-]*     # a path
    |0x[0-9a-fA-F]+                        # an address
    |\b(?=[a-f]*\d)[0-9a-f]{6,}\b          # a hash
    |[-+]?\d[\d_,]*(?:\.\d*)?(?:[eE][-+]?\d+)?(?![\w]*[A-Za-z]{3})  # a number
    """,
    re.VERBOSE,
)


def diverged(metric: str, score: float) -> str:
    """Returns why a result without an error is not a healthy one.

    Args:
        metric: the user's name of the score.
        score: in the user's sign, as training returned it.

    >>> diverged("mse", float("inf")), diverged("score", float("nan"))
    ('mse was inf', 'the score was nan')
    """
    return f"{'the score' if metric == 'score' else metric} was {score}"


def cause(text: str) -> str:
    """Returns the text of an error with one sign for each path, number, address or hash.

    >>> cause("ValueError: bad value 0.31 in /tmp/x7/data.csv") == cause("ValueError: bad value 2e-05 in /tmp/y/data.csv")
    True
    """
    return _VARYING.sub("…", text)
