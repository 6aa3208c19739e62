"""Linear algebra on one thread."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Returns a context in which linear algebra uses one thread of this process.

    These matrices are small. A second thread gains little on an idle machine. If another process uses the second core, it costs
    ten times the time, because threads spin while they wait for each other. It would also sum in another order.
    """
    limited: AbstractContextManager[object] = _pools().limit(limits=1, user_api="blas")
    return limited


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()  # finds the libraries that are loaded; the imports above loaded that of scipy
