"""Large arrays are stored once, however many checkpoints hold them; every checkpoint stays complete and verified."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from faulty_fs import Crash, FaultyFS

from poptrain.checkpoints import shared
from poptrain.checkpoints.shared import SHARED_BYTES
from poptrain.checkpoints.store import DiskStore
from poptrain.core.errors import CheckpointDamaged

WORDS = SHARED_BYTES // 4


def chunk(i):
    return np.random.default_rng(i).integers(0, 1 << 32, WORDS, dtype=np.uint32)


def commit(store, name, carry):
    return store.commit(name, carry, task=0, member=0, step=0)


def written(directory):
    """Returns the bytes that files take, each counted once however many names it has."""
    return sum(
        {status.st_ino: status.st_size for path in directory.rglob("*") if (status := path.stat()) and path.is_file()}.values()
    )


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


def test_a_checkpoint_writes_only_what_is_new(tmp_path):
    store = DiskStore(tmp_path)
    carry = {"w": np.zeros(3), "a": chunk(0), "b": chunk(1)}
    refs, sizes = [commit(store, "c0", carry)], [written(tmp_path)]
    for i in range(1, 4):
        carry = carry | {"w": np.full(3, i), f"n{i}": chunk(10 + i)}
        refs.append(commit(store, f"c{i}", carry))
        sizes.append(written(tmp_path))
    assert all(SHARED_BYTES < grown < SHARED_BYTES + 4000 for grown in np.diff(sizes))
    assert equal(store.read(refs[-1]), carry)
    store.adopt(refs[-1:])  # removes the others
    assert equal(store.read(refs[-1]), carry) and written(tmp_path) < 5 * SHARED_BYTES + 8000


def test_a_large_array_is_written_while_it_is_hashed_and_shared_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "LARGE_BYTES", SHARED_BYTES)
    disk = FaultyFS()
    store = DiskStore(tmp_path, fs=disk)
    carry = {"x": chunk(0), "y": chunk(1), "same": chunk(0)}
    commits, sizes = [], []
    for name in ("a", "b", "c"):
        before = len(disk.operations)
        assert equal(store.read(commit(store, name, carry)), carry)
        commits.append([name for _, name in disk.operations[before:] if name == "fresh"])
        sizes.append(written(tmp_path))
    assert commits[0] and commits[1] and not commits[2], "what does not change is hashed first, and not written again"
    assert sizes[0] > 2 * SHARED_BYTES and sizes[2] < sizes[0] + 3000
    assert not list(tmp_path.rglob("fresh"))
    for at in range(len(disk.operations) // 3 + 2):
        there = tmp_path / str(at)
        there.mkdir()
        try:
            commit(DiskStore(there, fs=FaultyFS(at, None, half=True)), "a", carry)
        except Crash:
            kept = there / "checkpoints" / "a"
            assert not kept.exists() or (len(list(kept.glob("shared/*"))) == 2 and (kept / "MANIFEST.json").exists())


def test_another_process_that_has_read_a_checkpoint_shares_it_too(tmp_path):
    store = DiskStore(tmp_path)
    ref, before = commit(store, "a", {"x": chunk(0)}), written(tmp_path)
    worker = pickle.loads(pickle.dumps(store))
    commit(worker, "b", worker.read(ref))
    assert written(tmp_path) < before + 1000


def test_each_lane_of_a_population_is_shared_by_itself(tmp_path):
    store = DiskStore(tmp_path)
    whole = np.stack([chunk(0), chunk(1), chunk(2)])
    refs = store.commit_population("p", {"x": whole, "y": np.arange(3)}, 3, tasks=[0, 1, 2], members=[0, 1, 2], steps=[1, 1, 1])
    before = written(tmp_path)
    turned = store.commit_population("q", {"x": whole[[1, 1, 0]], "y": np.arange(3)}, 3)
    assert written(tmp_path) < before + 4000
    for lane, ref in enumerate(refs):
        np.testing.assert_array_equal(store.read(ref)["x"], whole[lane])
    np.testing.assert_array_equal(store.read_population(turned[0])["x"], whole[[1, 1, 0]])
    one = commit(store, "one", store.read(refs[2]))
    assert written(tmp_path) < before + 8000 and equal(store.read(one), {"x": whole[2], "y": np.int64(2)})


@pytest.mark.parametrize("array", [np.zeros((0, 5)), np.asfortranarray(np.ones((700, 600))), np.ones(WORDS * 4, bool)])
def test_every_large_array_comes_back_as_it_was(tmp_path, array):
    store = DiskStore(tmp_path)
    back = store.read(commit(store, "a", {"x": array}))["x"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype and back.flags.writeable


def test_a_damaged_shared_file_is_noticed_and_not_shared_again(tmp_path):
    store = DiskStore(tmp_path)
    ref = commit(store, "a", {"x": chunk(0)})
    (file,) = (tmp_path / "checkpoints" / "a" / "shared").iterdir()
    file.write_bytes(b"short")
    with pytest.raises(CheckpointDamaged, match="5 bytes instead of"):
        store.read(ref)
    again = commit(store, "b", {"x": chunk(0)})
    np.testing.assert_array_equal(store.read(again)["x"], chunk(0))


def test_a_disk_without_links_gets_complete_checkpoints(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    store = DiskStore(tmp_path)
    refs = [commit(store, name, {"x": chunk(0)}) for name in "ab"]
    for ref in refs:
        np.testing.assert_array_equal(store.read(ref)["x"], chunk(0))
    assert written(tmp_path) > 2 * SHARED_BYTES
