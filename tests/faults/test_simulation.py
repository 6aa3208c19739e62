"""A1, A4, C6: whole runs in simulated worlds; every invariant holds after every session, and every run ends."""

from __future__ import annotations

import pytest
import simulation
from simulation import ALGORITHMS, simulate

from poptrain.checkpoints.store import DiskStore
from poptrain.log import writer
from poptrain.log.disk import FS

SEEDS = range(3)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ALGORITHMS)
def test_whole_runs_in_simulated_worlds(name, tmp_path):
    worlds = [simulate(name, seed, tmp_path / str(seed)) for seed in SEEDS]
    assert sum(world.sessions for world in worlds) > len(SEEDS), "no world was ever interrupted"


def second_writers(monkeypatch):
    monkeypatch.setattr(writer, "take_lock", lambda path, fs: -1)


def hasty_collection(monkeypatch):
    keep = DiskStore.keep
    monkeypatch.setattr(DiskStore, "keep", lambda self, needed, *rest, **named: keep(self, set(), *rest, flush=True))


def seeds_by_arrival(monkeypatch):
    monkeypatch.setattr("poptrain.algorithms.parts.turns.member_seeds", lambda *_: None)


def names_not_flushed(monkeypatch):
    monkeypatch.setattr(FS, "fsync_dir", lambda self, path: None)


def lines_not_flushed(monkeypatch):
    monkeypatch.setattr(FS, "sync", lambda self, fd, path: None)


MUTANTS = {
    "names of checkpoints are not flushed": (names_not_flushed, "pbt"),
    "lines of the log are not flushed": (lines_not_flushed, "pbt"),
    "two writers": (second_writers, "pbt"),
    "collected too early": (hasty_collection, "pbt"),
    "seeds follow the order of arrival": (seeds_by_arrival, "random"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_removed_is_noticed(mutant, tmp_path, monkeypatch):
    change, name = MUTANTS[mutant]
    change(monkeypatch)
    with pytest.raises(AssertionError, match=f"repeat it with: python tests/simulation.py {name}"):
        for seed in range(4):
            (tmp_path / str(seed)).mkdir()
            simulate(name, seed, tmp_path / str(seed))


def test_a_world_repeats(tmp_path):
    first, second = (simulate("random", 5, tmp_path / side) for side in "ab" if not (tmp_path / side).mkdir())
    assert [(session, text[:9]) for session, text in first.events] == [(session, text[:9]) for session, text in second.events]
    assert simulation.essence(simulation.read(first.directory)) == simulation.essence(simulation.read(second.directory))
