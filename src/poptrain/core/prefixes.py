"""The prefixes of a history, one after another, as a run saw them while it grew.

`History.at` returns any prefix, but one that is far from the end looks for the newest task of each seat from the end backwards.
To grow a history again line by line takes 10 µs for each line. Here the columns of the whole history are used for all prefixes,
and only the newest tasks follow the lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poptrain.core.columns import Columns
from poptrain.core.history import History


class _Prefix(Columns):
    """Columns that hold more than a prefix: only the newest tasks are its own."""

    newest = 0

    @property
    def lines(self) -> int:
        return -1  # so a prefix that grows in another way gets columns of its own


def prefixes(history: History, begin: int = 0) -> Iterator[History]:
    """Yields the prefixes of the first `begin` lines, of one line more, and so on, up to the whole history.

    Each of them remembers what `History.fold` has computed for the ones before.

    >>> from poptrain.core import History, Task
    >>> history = History().add([Task(0, 0, {}, None, 5, 0)])
    >>> [len(each) for each in prefixes(history)]
    [0, 1]
    """
    c = _Prefix.__new__(_Prefix)
    vars(c).update(vars(history._columns))
    c.memo, c.units = {}, {}
    n, member, total = c.size_at[begin], c.member, history.n
    c.head = np.full(len(c.head), -1, np.int64)
    c.head[member[:n]] = np.arange(n)  # of several tasks of a seat, the last one stays
    c.width = int(member[:n].max(initial=-1)) + 1
    ids = np.arange(total)
    for lines in range(begin, history.lines):
        c.newest = lines
        yield history._view(c, lines, n)
        if (now := c.size_at[lines + 1]) > n:
            seats = member[n:now]
            c.head[seats] = ids[n:now]
            c.width = max(c.width, int(seats.max()) + 1)
            n = now
    c.newest = history.lines
    yield history._view(c, history.lines, n)
