"""How the golden run ``format2/host-ppo`` was made: ``python make_host.py``, once.

PPO next to a simulator on the host, EnvPool's. It was written on 1 December 2026 by the code after 0.1.0, and must never be
written again. What the simulator, JAX and the processor make of it may differ elsewhere: tests read it, verify it and continue
it, and never repeat it. It ran in a copy of this folder, as the others did; `make_golden` says what was changed afterwards.
"""

from __future__ import annotations

import json
import sys

import make_golden as maker
from golden_experiments import LATER
from golden_said import said
from make_golden import EXPERIMENTS, HERE, start

FORMAT, NAME = HERE / "format2", "host-ppo"


def main() -> None:
    if (FORMAT / NAME).exists():
        sys.exit(f"{NAME} exists: golden runs are written once.")
    EXPERIMENTS.update(LATER)  # in this process only: those of format 1 stay as they are
    maker.FORMAT = HERE / "new"
    maker.FORMAT.mkdir()
    start(NAME, maker.FORMAT / NAME)
    maker.cleaned()
    (maker.FORMAT / NAME).rename(FORMAT / NAME)
    maker.FORMAT.rmdir()
    found = said(NAME, FORMAT / NAME, LATER[NAME]())
    views = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in found.items())
    text = (FORMAT / "expected.json").read_text().removesuffix("\n}\n")
    (FORMAT / "expected.json").write_text(f"{text},\n{json.dumps(NAME)}: {{\n{views}\n}}\n}}\n")


if __name__ == "__main__":
    main()
