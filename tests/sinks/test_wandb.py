"""W&B's offline files hold what the log says, once: read back row by row, after a kill and a resume too."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("wandb")
pytestmark = pytest.mark.heavy

import poptrain as pt  # noqa: E402
from poptrain.log.reader import read  # noqa: E402
from poptrain.sinks.points import PointReader  # noqa: E402

SCRIPT = """
import os, sys
import poptrain as pt
from poptrain.testing import quadratic

killed = {"after": int(sys.argv[2])}

def train(carry, hp, steps, seed):
    killed["after"] -= 1
    if killed["after"] == 0:
        os.kill(os.getpid(), 9)
    carry, metrics = quadratic(carry, hp, steps, seed)
    return carry, {**metrics, "step": 7.0, "_step": 8.0, "a/b": 9.0}

if __name__ == "__main__":
    directory = sys.argv[1]
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=2, interval=5, exploit=pt.truncation(0.5))
    sink = pt.sinks.WandB("test", mode="offline", directory=directory, patience=120)
    pt.run(algorithm, train, stop=pt.steps(25), directory=directory + "/run", sinks=[sink])
"""


def records(file: Path):
    """Yields the records of a W&B file: blocks of 32 KiB, each record in parts with a checksum, a length and a kind."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part = data[at + 7 : at + 7 + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        at, whole = at + 7 + length, whole + part
        if kind in (1, 4):  # complete, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def rows(directory: Path) -> dict[str, list[dict]]:
    """Returns every row of every W&B run, by its name."""
    found: dict[str, list[dict]] = {}
    for folder in sorted((directory / "wandb").glob("offline-run-*")):
        (file,) = folder.glob("*.wandb")
        name, here = "", []
        for record in records(file):
            if record.HasField("run"):
                name = record.run.display_name
            elif record.HasField("history"):
                items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                here.append(items)
        assert name not in found, f"two runs of {name}"
        found[name] = here
    return found


def expected(record) -> dict[str, dict[int, dict]]:
    """Returns the rows that the log says, by run and step."""
    made = defaultdict(lambda: defaultdict(dict))
    for point in PointReader(record).read_on(record):
        made["population" if point.member is None else f"member {point.member}"][point.step][point.name] = point.value
    return made


def session(directory: Path, after: int) -> int:
    (directory / "script.py").write_text(SCRIPT)
    env = {**os.environ, "WANDB_SILENT": "true"}
    return subprocess.run([sys.executable, str(directory / "script.py"), str(directory), str(after)], env=env).returncode


def test_every_row_is_there_once_after_a_kill_and_a_resume(tmp_path):
    assert session(tmp_path, 6) == -signal.SIGKILL
    assert session(tmp_path, 1000) == 0
    found, says = rows(tmp_path), expected(read(tmp_path / "run"))
    assert set(found) == set(says) == {"population", "member 0", "member 1"}
    for name, steps in says.items():
        here = [{k: v for k, v in row.items() if k[0] != "_"} for row in found[name]]
        assert [row["_step"] for row in found[name]] == sorted(steps), name
        for row, step in zip(here, sorted(steps), strict=True):
            donor = row.pop("lineage/donor_name", None)
            assert donor == (f"member {int(row['lineage/donor'])}" if "lineage/donor" in row else None)
            assert row == steps[step]
    assert any("lineage/donor" in row for name in ("member 0", "member 1") for row in found[name]), "there was a copy"


def test_a_missing_wandb_is_one_sentence(monkeypatch):
    from poptrain.sinks import wandb_runs

    monkeypatch.setattr(wandb_runs, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pt.sinks.WandB needs wandb: pip install 'poptrain\[wandb\]'"):
        pt.sinks.WandB()
