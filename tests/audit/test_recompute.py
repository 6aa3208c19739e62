"""All lines looked at together, by several processes, give what reading them one by one gives."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from often import LONG, often

import poptrain as pt
from poptrain.audit.recompute import line_by_line, walk
from poptrain.audit.several import known
from poptrain.audit.trace import Trace
from poptrain.audit.verify import _seeds_of_members, _space
from poptrain.engine.loop import execute, resume
from poptrain.engine.open_log import continuing
from poptrain.engine.replay import rebuilt
from poptrain.log.codec import decode_line, encode_line
from poptrain.testing import Faulty, quadratic

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
from golden_experiments import EXPERIMENTS  # noqa: E402

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), size=pt.Int(1, 9), kind=pt.Choice("a", "b", static=True))
ALL_RUNS = [
    path for folder in sorted(GOLDEN.glob("format*")) for path in sorted(folder.iterdir()) if (path / "log-000001.jsonl").exists()
]
RUNS = ALL_RUNS if LONG else [path for number, path in enumerate(ALL_RUNS) if number % 4 == 0]


def traced(directory):
    trace = Trace(directory)
    trace.refresh()
    return trace


def stated(walk):
    """Returns everything that a walk found."""
    history = walk.history and (
        walk.history.n,
        walk.history.lines,
        walk.history.budget,
        walk.history.best(),
        *walk.history.heads(),
    )
    return walk.decisions, walk.tasks, walk.results, walk.facts, walk.difference, walk.differing, history


def both(directory, algorithm):
    """Returns what is stated about a log: line by line, and about all lines together; and whether its facts are possible."""
    trace = traced(directory)
    replayed = rebuilt(trace.run.get("algorithm"))
    keyed = replayed is None and not _seeds_of_members(trace)
    arguments = trace, replayed or algorithm, _space(trace), keyed
    slow = line_by_line(*arguments)
    return stated(slow), stated(walk(*arguments, processes=1)), slow.facts is None


# -- logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RUNS, ids=[f"{path.parent.name}-{path.name}" for path in RUNS])
def test_golden_runs(path):
    if path.name.startswith("optuna"):
        pytest.importorskip("optuna")
    experiment = EXPERIMENTS[path.name]() if path.name in EXPERIMENTS else None
    slow, fast, possible = both(path, experiment and continuing(experiment, traced(path).run).algorithm)
    assert fast == slow and possible


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The lines of a run with copies, failures, a lost checkpoint and a larger budget, and its algorithm."""
    directory = tmp_path_factory.mktemp("written") / "run"
    algorithm = pt.pbt(SPACE, population=6, interval=5, sync=False, exploit=pt.truncation(0.5))
    trainable = Faulty("nan", above=0.08)
    run = execute(pt.Experiment(algorithm, trainable, stop=pt.steps(10), seed=2), directory)
    for id in [id for id in run.history.heads().tolist() if run.history.ok(id)][:3]:
        name = run.history.result(id).checkpoint.partition(":")[0]
        (directory / "checkpoints" / name / "arrays.safetensors").write_bytes(b"gone")
    resume(pt.Experiment(algorithm, trainable, stop=pt.steps(20), seed=2), directory)
    entries, crc = [], 0
    for text in (directory / "log-000001.jsonl").read_bytes().splitlines():
        entry = decode_line(text, crc)
        crc = entry.crc
        entries.append({"t": entry.type, "d": entry.data, "e": entry.epoch, "w": entry.wall})
    assert {"tasks", "results", "lost", "budget", "end", "open"} <= {entry["t"] for entry in entries}
    return entries, algorithm


def write(directory, entries):
    crc, out = 0, b""
    for number, entry in enumerate(entries):
        text, crc = encode_line(entry["t"], entry["d"], seq=number, epoch=entry["e"], wall=entry["w"], crc=crc)
        out += text
    (directory / "log-000001.jsonl").write_bytes(out)


def altered(entries, number):
    """Returns a log with one change: a value, or a line that is dropped, doubled, or swapped with its neighbour."""
    draw = pt.rng(0, "altered", number)
    entries = deepcopy(entries)
    at = int(draw.integers(2, len(entries) - 1))
    fact = entries[at]["d"][0] if isinstance(entries[at]["d"], list) else entries[at]["d"]
    kind = int(draw.integers(8))
    if kind == 0:
        del entries[at]
    elif kind == 1:
        entries.insert(at, entries[at])
    elif kind == 2:
        entries[at], entries[at + 1] = entries[at + 1], entries[at]
    elif not isinstance(fact, dict):  # a lost checkpoint
        entries[at]["d"] = [int(draw.integers(30))] if isinstance(entries[at]["d"], list) else int(draw.integers(30))
    elif kind == 3 and "hparams" in fact:
        fact["hparams"][list(SPACE)[int(draw.integers(3))]] = [0.5, 1e-3, 3, True, "a", "b", None][int(draw.integers(7))]
    else:
        name = sorted(fact)[int(draw.integers(len(fact)))]
        fact[name] = [None, 0, 1, 5, 10, 10**30, -1.5, "x", True, float("nan"), [[5, 0.5]]][int(draw.integers(11))]
    return entries


def test_altered_logs(written, tmp_path):
    entries, algorithm = written
    write(tmp_path, entries)
    slow, fast, possible = both(tmp_path, algorithm)
    assert fast == slow and possible and slow[0] > 4 and slow[4] is None
    read, wrong, different = 0, 0, 0
    for number in range(cases := often(300)):
        write(tmp_path, altered(entries, number))
        try:
            slow, fast, possible = both(tmp_path, algorithm)
        except pt.PoptrainError:
            continue  # not even a log
        assert fast == slow, number
        read, wrong, different = read + 1, wrong + (not possible), different + (slow[4] is not None)
    assert read > cases / 2 and wrong > cases / 8 and different > cases / 8


class Failing:
    """An algorithm that raises an error from some task on."""

    def __init__(self, algorithm, after):
        self.algorithm, self.after = algorithm, after

    def ask(self, history):
        if history.n >= self.after:
            raise RuntimeError("on purpose")
        return self.algorithm.ask(history)


@pytest.mark.parametrize("after", [0, 8, 15])
def test_an_algorithm_that_raises_is_not_asked_again(written, tmp_path, after):
    write(tmp_path, written[0])
    slow, fast, _ = both(tmp_path, Failing(written[1], after))
    assert fast == slow and "on purpose" in slow[4].text


# -- processes ------------------------------------------------------------------------------------------------------------


def test_several_processes(written, tmp_path):
    """In a process of its own, because this one may have loaded JAX."""
    write(tmp_path, written[0])
    program = Path(__file__).with_name("in_several_processes.py")
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and not done.stderr, done.stderr


class Mine(type(pt.pbt(SPACE, population=2, interval=5))):
    """A subclass of a user."""


def test_only_algorithms_that_compute_with_numpy_alone_are_asked_by_several_processes():
    def pbt(space=SPACE, **options):
        return pt.pbt(space, population=4, interval=5, **options)

    yes = (
        pbt(),
        pbt(explore=pt.perturb({"lr": (0.5, 2), "size": (0.5, 2)}), exploit=pt.welch(), initial=[{"lr": 0.01}], plateau="search"),
        pbt(explore=None, exploit=pt.tournament(), controls=1, as_in="paper"),
        pt.pbt(SPACE, population=4, interval=pt.seconds(5)),
        pt.random_search(SPACE, population=3, interval=5),
    )
    no = (
        pbt(explore=lambda hparams, generator: hparams),
        pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1), repair=lambda hparams: hparams)),
        pt.pb2(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=5),
        pt.fire_pbt(SPACE, (4, 4), interval=5, evals=5, exploit=pt.truncation(0.5)),
        Mine(*(getattr(pbt(), name) for name in ("space", "population", "interval", "sync", "exploit", "explore"))),
        Failing(pbt(), 3),
    )
    assert all(map(known, yes)) and not any(map(known, no))


def test_a_run_in_this_process_needs_no_second_one(tmp_path):
    execute(pt.Experiment(pt.pbt(SPACE, population=3, interval=5), quadratic, stop=pt.steps(10)), tmp_path / "run")
    assert pt.verify(tmp_path / "run").ok
