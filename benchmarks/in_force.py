"""Are the values of each task in force in every step, over copies and kills, and what does an adapter cost?

    python -m benchmarks.in_force --json

For each adapter a population of four is trained, with copies at every interval. It is killed (SIGKILL) three times, after a
segment and before its result is logged, and continued. Hooks of the framework note what acts in every step; see
`in_force_members`. A segment is wrong if a value differs from that of its task in a single step, or was never noticed.

The cost is the CPU time of an interval beyond that of the same steps without intervals, for a member that stays in its slot:
checks, the framework's own beginning, evaluation and end, and saving for the next interval. It is compared with 10 s.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import poptrain as pt
from benchmarks.common import figure, installed, main
from benchmarks.in_force_members import LOOKS, MEMBERS
from poptrain.integrations.adapter import same_value

INTERVALS, KILLS = 6, (5, 11, 17)  # of each member; segments after which the process is killed
COST, INTERVAL_S = 0.02, 10.0  # most of an interval that the adapter may take


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of every adapter whose package is installed; `quick` kills once."""
    figures: list[dict[str, Any]] = []
    for name in MEMBERS:
        if installed(name):
            figures += adapter(name, KILLS[:1] if quick else KILLS)
    return figures


def adapter(name: str, kills: Sequence[int]) -> list[dict[str, Any]]:
    """Returns the figures of one adapter."""
    with tempfile.TemporaryDirectory() as place:
        seen = Path(place, "seen.jsonl")
        for kill in (*kills, 0):
            code = child("train", name, place, str(kill))
            assert code == (-signal.SIGKILL if kill else 0), f"{name} ended with {code}"
        segments = [json.loads(line) for line in seen.read_text().splitlines()]
        history = pt.open_run(Path(place, "run")).history
        child("cost", name, place, "0")
        cost = json.loads(Path(place, "cost.json").read_text())
    wrong = sum(not right(each["hp"], each["looks"]) for each in segments)
    tasks = [history.task(id) for id in range(history.n)]
    copies = sum(task.parent is not None and tasks[task.parent].member != task.member for task in tasks)
    failed = sum(not history.ok(task.id) for task in tasks)
    return [
        figure(f"tasks that failed, {name}", failed, "tasks", "= 0", failed == 0, len(tasks)),
        figure(f"copies with new values, {name}", copies, "tasks", "> 0", copies > 0, len(tasks)),
        figure(f"segments with a wrong value, {name}", wrong, "segments", "= 0", wrong == 0, len(segments)),
        figure(f"cost of an interval, {name}", cost, "s", f"<= {COST * INTERVAL_S:g}", cost <= COST * INTERVAL_S),
    ]


def right(hp: Mapping[str, float], looks: Mapping[str, Sequence[float]]) -> bool:
    """True if each value of a task, and no other, was noted in its segment."""
    return all(name in looks and all(same_value(look, float(value)) for look in looks[name]) for name, value in hp.items())


def child(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "benchmarks.in_force", "--child", *arguments], capture_output=True).returncode


def train(name: str, place: Path, kill: int) -> None:
    """Trains or continues the population; ends the process after `kill` segments in all, unless that is 0."""
    member, space, steps = MEMBERS[name]()
    seen = place / "seen.jsonl"

    class Watched(member):  # type: ignore[misc, valid-type]
        def train(self, hp: Any, steps: int) -> Any:
            LOOKS.clear()
            metrics = super().train(hp, steps)
            line = {"hp": dict(hp), "looks": {key: sorted(values) for key, values in LOOKS.items()}}
            with seen.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if len(seen.read_text().splitlines()) == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            return metrics

    algorithm = pt.pbt(space, population=4, interval=steps, exploit=pt.truncation(0.5), explore=pt.resample())
    pt.run(algorithm, Watched, stop=pt.steps(INTERVALS * steps), directory=place / "run", progress=False)


def cost(name: str, place: Path) -> None:
    """Writes the CPU seconds that an interval of a member takes beyond its steps; the median of three measurements."""
    member, space, steps = MEMBERS[name]()
    hp = pt.nested(space.sample(pt.rng(0)))
    found = []
    for _ in range(3):
        parts, whole = member(hp, 1), member(hp, 1)
        for each in (parts, whole):
            each.train(hp, steps)  # what is compiled or opened once does not count
        began = time.process_time()
        for _ in range(4):
            parts.train(hp, steps)
        cut = time.process_time()
        whole.train(hp, 4 * steps)
        found.append((cut - began - (time.process_time() - cut)) / 4)
    (place / "cost.json").write_text(json.dumps(median(found)))


if __name__ == "__main__":
    if "--child" in sys.argv:
        verb, name, place, kill = sys.argv[-4:]
        train(name, Path(place), int(kill)) if verb == "train" else cost(name, Path(place))
    else:
        main("in_force", measure, __doc__)
