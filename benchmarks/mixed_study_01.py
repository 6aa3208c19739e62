"""`mixed_study` with the methods of release 0.1, whose runs are stored: what was found before the defaults changed.

python -m benchmarks.mixed_study_01 --report --plot --json
"""

from __future__ import annotations

from typing import Any

import poptrain as pt
from benchmarks.mixed_study import SHARED, Methods, cells, figures, judge, starter
from benchmarks.study import Study, main

EARLIER: dict[str, Any] = SHARED | dict(exploit=pt.truncation(0.25))
METHODS: Methods = {
    "pbt": lambda space: pt.pbt(space, **EARLIER, explore=pt.perturb(), starts="random"),
    "pb2-random": lambda space: pt.pb2(space, **EARLIER, as_in="paper"),
    "pb2-mult": lambda space: pt.pb2_mult(space, **EARLIER, as_in="paper"),
    "pb2-mix": lambda space: pt.pb2_mix(space, **EARLIER, as_in="paper"),
}

if __name__ == "__main__":
    main(
        Study("mixed_study_01", cells(METHODS, "pb2-random", 20), starter(30), judge, figures),
        Study("mixed_study_01", cells(METHODS, "pb2-random", 1), starter(3), judge, figures),
        __doc__.splitlines()[0],
    )
