"""What the poptrain at hand says about a golden run, as JSON: kept in ``expected.json`` when the run was written.

Left out is what may change with the words of a release (prose), with the clock, or with the machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import poptrain as pt

VERBS = ("status", "schedule", "lineage", "verify")
WITHOUT = {
    "status": ("directory", "elapsed", "left", "steps_per_second", "steps_per_second_overall", "writer", "warnings",
               "last_exploits", "last_suggestions"),
    "schedule": (),
    "lineage": (),
    "verify": ("directory", "notes"),
}  # fmt: skip


def command(*arguments: Any) -> tuple[int, str]:
    """Returns the exit code and the output of ``python -m poptrain``, run in this process."""
    before, out = sys.argv, io.StringIO()
    sys.argv = ["poptrain", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_module("poptrain", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    finally:
        sys.argv = before
    return 0, out.getvalue()


def machine() -> dict[str, Any]:
    """Returns what the last digit of a model's suggestion may depend on."""
    import scipy
    from threadpoolctl import threadpool_info

    blas = sorted({info["architecture"] for info in threadpool_info() if "architecture" in info})
    return {"numpy": np.__version__, "scipy": scipy.__version__, "blas": blas}


def bucket(directory: Path) -> None:
    """Puts what the run ``memory-url`` kept at its URL back there: a file system in the memory of this process."""
    import fsspec

    for path in (path for path in directory.rglob("*") if path.is_file()):
        place = f"/poptrain-golden-format1/{path.relative_to(directory).as_posix()}"
        fsspec.filesystem("memory").pipe(place, path.read_bytes())


def said(name: str, directory: Path, experiment: pt.Experiment | None) -> dict[str, Any]:
    """Returns everything that is compared about one run."""
    if name == "memory-url":
        bucket(directory.with_name("memory-url.store"))
    run = pt.open_run(directory, None if experiment is None else experiment.trainable)
    found = {**facts(run), **{verb: view(verb, directory, experiment) for verb in VERBS}}
    if "pb2" in name:
        found["suggestions"] = [json.loads(pt.views.dumps(each)) for each in pt.views.suggestions(run.record)]
    if "fire" in name:
        found["subpopulations"] = json.loads(pt.views.dumps(pt.views.subpopulations(run.record)))
    return found


def facts(run: Any) -> dict[str, Any]:
    """Returns what the opened run says: the best, the members, what is in their checkpoints, and every task and result."""
    history = run.history
    told = [history.result(id) for id in range(history.n)]
    best = run.best
    return {
        "best": {"task": best.task.id, "score": best.score, "step": best.step, "hparams": best.hparams},
        "final_best": _final(run),
        "tasks": history.n,
        "results": sum(result is not None for result in told),
        "lines": history.lines,
        "budget": history.budget,
        "members": [_member(run, seat) for seat in range(history.seats)],
        "carries": [_carry(run, seat) for seat in range(history.seats)],
        "asked": _hash([_task(history.task(id)) for id in range(history.n)]),
        "told": _hash([result and _result(result) for result in told]),
    }


def _final(run: Any) -> int | None:
    with contextlib.suppress(pt.errors.UsageError):
        return run.final_best.task.id
    return None


def _member(run: Any, seat: int) -> int | None:
    with contextlib.suppress(pt.errors.UsageError):
        return run.member(seat).task.id
    return None


def _carry(run: Any, seat: int) -> str | None:
    with contextlib.suppress(pt.errors.UsageError, pt.errors.CheckpointDamaged):
        loaded = run.member(seat).load()
        return _hash(_plain(loaded if not hasattr(loaded, "save") else {k: v for k, v in vars(loaded).items() if k != "seed"}))
    return None


def _task(task: Any) -> Any:
    names = ("id", "member", "parent", "steps", "seed", "evals")
    return [*(getattr(task, name) for name in names), dict(task.hparams)]


def _result(result: Any) -> Any:
    names = ("task", "score", "step", "error", "checkpoint")
    return [*(repr(getattr(result, name)) for name in names), repr([(s, float(y)) for s, y in result.curve]),
            repr(list(map(float, result.returns))), sorted(result.metrics.items())]  # fmt: skip


def _plain(tree: Any) -> Any:
    """Returns a carry as JSON: arrays by type, shape and bytes."""
    if isinstance(tree, (np.ndarray, np.generic)):
        array = np.asarray(tree)
        return [str(array.dtype), list(array.shape), sha256(array.tobytes()).hexdigest()[:16]]
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [type(tree).__name__, *map(_plain, tree)]
    return repr(tree)


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, allow_nan=True).encode()).hexdigest()[:16]


def view(verb: str, directory: Path, experiment: pt.Experiment | None) -> Any:
    """Returns what a command prints with ``--json``, without what may change.

    `verify` is called from Python, where it can be given an experiment. A run without one needs none, or it was started from
    the file `golden_file.py`, which the command executes because it is named.
    """
    code = 0
    if verb == "verify" and experiment is not None:
        found = json.loads(pt.views.dumps(pt.verify(directory, experiment)))
    else:
        file = Path(__file__).with_name("golden_file.py")
        named = ("--experiment", file) if verb == "verify" and directory.name == "cli" else ()
        code, out = command(verb, directory, "--json", *named)
        found = json.loads(out)
    if verb == "verify":
        found["checks"] = {check["name"]: check["state"] for check in found["checks"]}
    if verb == "status":
        found["members"] = [{**member, "error": member["error"] is not None} for member in found["members"]]
    return {"exit": code, **{key: value for key, value in found.items() if key not in WITHOUT[verb]}}
