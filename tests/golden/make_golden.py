"""How the golden runs were made: ``python make_golden.py``, once for each format of the run directory.

It ran in a copy of this folder under ``/tmp/golden``, because some messages in a log hold paths.

``format1`` was written by poptrain 0.1.0 and must never be written again: it stands for what users of that release have on
their disks. A format that comes later gets a folder of its own beside it, with a maker of its own if this one no longer fits.

A run is as 0.1.0 left it, except for these changes, none of which touches a log line or a checkpoint:

* ``log.reserve`` (1 MiB of zeros) is removed from every run; ``lock``, and ``digest.json``, which is derived from the log, are
  removed from most;
* in ``errors/``, the folders of the sources are cut off the paths;
* ``killed`` ends in half a line, added by hand, as a power cut leaves it;
* ``memory-url.store`` is a copy of what the run ``memory-url`` keeps at its URL.

The name of the host is made up.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FORMAT = HERE / "format1"
WHOLE = ("pbt-inline", "fire_pbt-inline", "pb2-inline", "raising", "extended")
sys.path.insert(0, str(HERE))
platform.node = lambda: "golden"

import golden_toys as toys  # noqa: E402
from golden_experiments import EXPERIMENTS  # noqa: E402
from golden_said import command, machine, said  # noqa: E402

import poptrain as pt  # noqa: E402


def start(name: str, directory: Path, **options) -> None:
    """Runs one experiment to its end in a directory."""
    experiment = EXPERIMENTS[name]()
    fields = ("metric", "mode", "stop", "executor", "seed", "checkpoints")
    arguments = {field: getattr(experiment, field) for field in fields} | options
    pt.run(experiment.algorithm, experiment.trainable, directory=directory, **arguments)


def special() -> None:
    """The runs that need more than one call."""
    interrupt = lambda: signal.raise_signal(signal.SIGINT)
    for name in ("suspended", "suspended-resumed"):
        toys.STOP[:] = [None] * 6 + [interrupt]
        try:
            start(name, FORMAT / name)
        except pt.errors.Suspended as error:
            print(name, error)
    toys.STOP.clear()
    start("suspended-resumed", FORMAT / "suspended-resumed")

    subprocess.run([sys.executable, __file__, "--killed", str(FORMAT / "killed")], check=False)
    log = FORMAT / "killed" / "log-000001.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    log.write_text(log.read_text() + f'{{"v":1,"q":{last["q"] + 1},"e":1,"w":"{last["w"]}","t":"resul')
    shutil.copytree(FORMAT / "killed", FORMAT / "killed-resumed")
    start("killed-resumed", FORMAT / "killed-resumed")

    for steps in (6, 12, 16):
        start("extended", FORMAT / "extended", stop=pt.steps(steps))
    try:
        start("hopeless", FORMAT / "hopeless")
    except pt.errors.RunFailed as error:
        print("hopeless", error)

    lost = FORMAT / "lost"
    start("lost", lost, stop=pt.steps(8))
    run = pt.open_run(lost)
    checkpoint = run.history.result(run.best.task.id).checkpoint.partition(":")[0]
    (lost / "checkpoints" / checkpoint / "MANIFEST.json").write_text("{}")
    start("lost", lost)

    start("kept", FORMAT / "kept", keep=(0, 5))
    start("memory-url", FORMAT / "memory-url")
    import fsspec

    fsspec.filesystem("memory").get("/poptrain-golden-format1", str(FORMAT / "memory-url.store"), recursive=True)

    file = HERE / "golden_file.py"
    print(command("run", file, "--dir", FORMAT / "cli", "--seed", 5, "--quiet"))
    print(command("resume", FORMAT / "cli", "--steps", 16, "--quiet"))
    pt.replay(pt.open_run(FORMAT / "pbt-inline"), toys.climb, same_seeds=True, directory=FORMAT / "replayed")
    pt.replay(FORMAT / "pbt_async-inline", toys.climb, final=True, stop=pt.steps(12), directory=FORMAT / "replayed-final")


def cleaned() -> None:
    """Removes what is only large, and the paths of this machine."""
    for directory in (path for path in FORMAT.iterdir() if path.is_dir()):
        (directory / "log.reserve").unlink(missing_ok=True)
        if directory.name not in WHOLE:
            (directory / "digest.json").unlink(missing_ok=True)
            (directory / "lock").unlink(missing_ok=True)
        for empty in [path for path in directory.rglob("*") if path.is_dir() and not any(path.iterdir())]:
            empty.rmdir()
        for path in directory.glob("errors/*"):
            sources = Path(pt.__file__).parent.parent
            path.write_text(path.read_text().replace(f"{sources}/", "").replace(f"{HERE}/", ""))


def expectations() -> None:
    """Writes what this poptrain says about every run; one view a line, so that differences can be read."""
    found = {}
    for directory in sorted(path for path in FORMAT.iterdir() if (path / "log-000001.jsonl").is_file()):
        name = directory.name
        found[name] = said(name, directory, EXPERIMENTS[name]() if name in EXPERIMENTS else None)
    lines = []
    for name, each in found.items():
        views = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in each.items())
        lines.append(f"{json.dumps(name)}: {{\n{views}\n}}")
    (FORMAT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    (FORMAT / "machine.json").write_text(json.dumps(machine()) + "\n")


def main() -> None:
    if sys.argv[1:2] == ["--killed"]:
        toys.STOP[:] = [None] * 6 + [lambda: os._exit(9)]
        return start("killed", Path(sys.argv[2]))
    if FORMAT.exists():
        sys.exit(f"{FORMAT.name} exists: golden runs are written once.")
    if pt.__version__ != "0.1.0":
        sys.exit(f"this is poptrain {pt.__version__}, and {FORMAT.name} is what 0.1.0 wrote.")
    FORMAT.mkdir()
    later = {"suspended", "suspended-resumed", "killed", "killed-resumed", "extended", "hopeless", "lost", "kept", "memory-url"}
    for name in EXPERIMENTS:
        if name not in later:
            start(name, FORMAT / name)
    special()
    cleaned()
    expectations()


if __name__ == "__main__":
    main()
