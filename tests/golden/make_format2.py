"""How the golden runs of format 2 were made: ``python make_format2.py``, once.

They were written on 28 November 2026 by the code after 0.1.0 that introduced version 2 of the log, and must never be written
again. They ran in a copy of this folder under ``/tmp/golden``, as those of format 1 did; `make_golden` says what was changed in
them afterwards, and holds all that both makers share.

A dozen runs are enough: one for each kind of line, field and place that version 2 changed. ``killed-resumed`` is the run
``format1/killed`` that this code continued, so its log has lines of both versions.
"""

from __future__ import annotations

import shutil
import signal
import sys

import make_golden as maker
from make_golden import HERE, pt, start, toys

FORMAT = HERE / "format2"
RUNS = (
    "pbt-controls", "pbt-hparams-alone", "pbt-weights-alone", "pbt_async-processes", "pbt-vectorized", "pbt-seconds",
    "fire_pbt-inline", "pb2-inline", "pb2_mix-inline", "raising", "diverging",
)  # fmt: skip


def special() -> None:
    """The runs that need more than one call."""
    toys.STOP[:] = [None] * 6 + [lambda: signal.raise_signal(signal.SIGINT)]
    try:
        start("suspended-resumed", FORMAT / "suspended-resumed")
    except pt.errors.Suspended as error:
        print(error)
    toys.STOP.clear()
    start("suspended-resumed", FORMAT / "suspended-resumed")

    shutil.copytree(HERE / "format1" / "killed", FORMAT / "killed-resumed")
    start("killed-resumed", FORMAT / "killed-resumed")

    lost = FORMAT / "lost"
    start("lost", lost, stop=pt.steps(8))
    run = pt.open_run(lost)
    checkpoint = run.history.result(run.best.task.id).checkpoint.partition(":")[0]
    (lost / "checkpoints" / checkpoint / "MANIFEST.json").write_text("{}")
    start("lost", lost)


def main() -> None:
    if FORMAT.exists():
        sys.exit(f"{FORMAT.name} exists: golden runs are written once.")
    maker.FORMAT, maker.WHOLE = FORMAT, ("fire_pbt-inline",)
    FORMAT.mkdir()
    for name in RUNS:
        start(name, FORMAT / name)
    special()
    maker.cleaned()
    maker.expectations()


if __name__ == "__main__":
    main()
