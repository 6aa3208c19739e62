"""A program for the tests of commands: `quadratic` from the command line, with a fault if it is asked for. It imports little."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(lr: float, steps: int, directory: Path, fault: str = "", above: float = -1.0) -> None:
    state = directory / "state.json"
    theta = json.loads(state.read_text()) if state.exists() else 0.9
    for _ in range(steps):
        theta -= 2 * lr * theta
    metrics = {"score": 1.2 - theta**2, "theta": theta}
    planted = fault if lr > above else ""
    if planted == "raise":
        raise ValueError("a planted fault")
    if planted in ("nan", "inf"):
        metrics["score"] = float(planted)
    if planted == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (directory.parent / "child").write_text(str(child.pid))
        print(f"pids {os.getpid()} {child.pid}", flush=True)
        time.sleep(600)
    if planted == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if planted == "leave":  # a child that holds the output open
        print("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
    if planted == "missing":
        metrics = {"sore": metrics["score"]}
    if planted == "string":
        metrics["score"] = "high"
    state.write_text(json.dumps(theta))
    print("trained", file=sys.stderr)
    print(json.dumps(metrics))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:5], *map(float, sys.argv[5:6]))
