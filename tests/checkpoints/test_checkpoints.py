"""Checkpoints: a carry comes back bit for bit or not at all, and nothing that is needed is ever collected."""

from __future__ import annotations

import ast
import errno
import os
import pickle
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import pytest
from faulty_fs import BAD_NAMES, Crash, FaultyFS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from often import often
from stored import ABOUT, CARRY, keeps_what_is_wanted, same, staged

import poptrain
from poptrain.checkpoints import carry as trees
from poptrain.checkpoints import store as stores
from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.store import DiskStore
from poptrain.checkpoints.url import UrlStore
from poptrain.core import Result, Task
from poptrain.core.errors import CheckpointDamaged, PoptrainError, Suspended, UsageError
from poptrain.log.writer import Log, exists


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch):
    """What is kept for a full disk is small here, so that a log has a size that can be reasoned about."""
    monkeypatch.setattr("poptrain.log.writer._RESERVE", 100)


@pytest.fixture(params=["disk", "memory", "file://", "memory://"])
def store(request, tmp_path):
    if "://" not in request.param:
        return DiskStore(tmp_path) if request.param == "disk" else MemoryStore()
    pytest.importorskip("fsspec")
    store = UrlStore(f"{request.param}{tmp_path}/bucket", "me")
    store.claim()
    return store


# -- trees -----------------------------------------------------------------------------------------------------------

dtypes = (
    hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.complex_number_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64)) | hnp.unicode_string_dtypes(max_len=4) | hnp.byte_string_dtypes(max_len=3)
    | hnp.datetime64_dtypes()
)  # fmt: skip
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
leaves = (
    st.none() | st.booleans() | st.integers() | st.integers(10**30, 10**60) | st.floats() | st.text()
    | st.characters(categories=["Cs"]) | arrays | arrays.map(lambda a: a.T)
    | arrays.map(lambda a: a[()] if a.ndim == 0 else a[::2])
)  # fmt: skip
carries = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=3) | st.sampled_from(["a/b", "~", "", "__metadata__"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=often(150), deadline=None)
@given(carries)
@example([float("nan"), float("inf"), (float("-inf"), -0.0), 10**40, {"a/b": np.zeros((2, 0)), "~": np.float32(1)}])
def test_a_carry_comes_back_exactly(tmp_path_factory, carry):
    store = DiskStore(tmp_path_factory.mktemp("run"), durable=False)
    assert same(store.read(store.commit("a", carry, **ABOUT)), carry)
    assert same(trees.copy(carry), carry)


def test_numpy_extension_types_and_jax_arrays_come_back_as_numpy(store):
    jax = pytest.importorskip("jax")
    import ml_dtypes

    carry = {
        "b": np.array([1.5, nan], ml_dtypes.bfloat16), "f8": np.array([[0.5]], ml_dtypes.float8_e4m3fn),
        "j": jax.numpy.arange(3), "jb": jax.numpy.ones((2,), "bfloat16"), "key": jax.random.PRNGKey(3),
        "empty": np.zeros((0, 3)), "f8e5": np.array([0.5, -2.0], ml_dtypes.float8_e5m2),
        "i4": np.array([-8, 7], ml_dtypes.int4),
    }  # fmt: skip
    back = store.read(store.commit("a", carry, **ABOUT))
    assert all(type(array) is np.ndarray for array in back.values())
    assert same(back, {name: np.asarray(array) for name, array in carry.items()})


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
def test_typed_random_keys_come_back_as_they_were(store, generator):
    jax = pytest.importorskip("jax")
    key = jax.random.key(3, impl=generator)
    for carry in ({"k": [key, jax.random.split(key, (2, 3))]}, {"k": [jax.random.split(key, 0)]}):
        back = store.read(store.commit(f"c{len(carry['k'])}", carry, **ABOUT))
        for found, expected in zip(back["k"], carry["k"], strict=True):
            assert found.dtype == expected.dtype and found.shape == expected.shape
            assert (jax.random.key_data(found) == jax.random.key_data(expected)).all()
    assert jax.random.uniform(trees.copy([key])[0]) == jax.random.uniform(key)
    both = {"k": jax.random.split(key, 2)}
    assert jax.random.uniform(trees.lane(both, 1)["k"]) == jax.random.uniform(both["k"][1])
    assert trees.stacked({"k": key})["k"].shape == (1,)


class Point(tuple):
    __slots__ = ()


@dataclass
class Pair:
    a: int
    b: int


REFUSED = [
    ({"a": [{"b": Point((1, 2))}]}, r"carry\['a'\]\[0\]\['b'\]: Point .*convert it to a dict or a tuple.*class form"),
    ({1: 2}, r"carry: the key 1 is int; the keys of a carry must be str"),
    ({"a": {(1,): 2}}, r"carry\['a'\]: the key \(1,\)"), ({"s": {1, 2}}, r"carry\['s'\]: set"), (b"x", r"carry: bytes"),
    ([object()], r"carry\[0\]: object"), (lambda: 0, "carry: function"), (1j, "carry: complex"),
    (np.array([None]), "Python objects"), (np.zeros(2, [("a", "f4"), ("b", "i4")]), "records"),
    ([{"p": Pair(1, 2)}], r"carry\[0\]\['p'\]: Pair .*dataclass cannot be restored without its class.*jax_trainable"),
    (np.ma.array([1.0]), "MaskedArray"), (type("D", (dict,), {})(), "carry: D"),
]  # fmt: skip


@pytest.mark.parametrize(("carry", "message"), REFUSED)
def test_what_cannot_be_stored_exactly_is_refused_by_path(store, carry, message):
    with pytest.raises(TypeError, match=message):
        store.commit("a", carry, **ABOUT)
    assert isinstance(store, MemoryStore) or store.fs.walk(store.root.parent).keys() <= {"run.json"}


def test_copies_and_stored_carries_share_nothing(store):
    carry = {"w": np.zeros(2), "l": [1]}
    ref = store.commit("a", carry, **ABOUT)
    for tree in (carry, trees.copy(carry), store.read(ref)):
        tree["w"][:] = 9
        tree["l"].append(9)
    assert same(store.read(ref), {"w": np.zeros(2), "l": [1]})


def test_lanes_are_members_of_a_population(store):
    population = {"w": np.arange(6.0).reshape(3, 2), "t": np.array([1, 2, 3]), "s": "all"}
    refs = store.commit_population("g", population, 2, tasks=[4, 5], members=[0, 1], steps=[10, 20])
    assert [ref.partition(":")[0] for ref in refs] == ["g/0", "g/1"]
    for lane, ref in enumerate(refs):
        one = store.read(ref)
        assert same(one, {"w": population["w"][lane], "t": np.array(population["t"][lane]), "s": "all"})
        assert same(trees.lane(trees.stacked(one), 0), one) and one["w"].base is None
    assert same(store.read_population(refs[1]), population)
    with pytest.raises(ValueError, match=r"carry\['t'\].*no member 3"):
        trees.lane({"t": population["t"]}, 3)


def test_the_lanes_of_a_population_live_until_none_is_needed(store):
    population = {"w": np.arange(6.0).reshape(3, 2)}
    refs = store.commit_population("g", population, 3, tasks=[0, 1, 2], members=[0, 1, 2], steps=[1, 1, 1])
    store.add(refs)
    for kept in (refs[:2], refs[1:2]):
        store.keep(kept, lambda names: None, flush=True)
        assert same(store.read(kept[-1]), {"w": population["w"][1]})
    store.keep([], lambda names: None, flush=True)
    assert not store.verify(refs[1])


# -- committing and reading ------------------------------------------------------------------------------------------


def test_files_of_a_class_come_back(store):
    ref = staged(store, "a")
    path = store.path(ref)
    assert (path / "model.pt").read_bytes() == b"weights" * 1000
    assert (path / "deep" / "er" / ".hidden name").read_bytes() == b""
    assert store.is_directory(ref) and store.verify(ref)
    assert not store.is_directory(store.commit("b", 1, **ABOUT))
    with pytest.raises(PoptrainError):
        store.read(ref)
    with pytest.raises(PoptrainError):
        store.path(store.commit("c", 1, **ABOUT))


def test_links_in_a_saved_directory_are_refused(store, tmp_path):
    path = store.stage("a")
    (path / "latest").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="user/latest, a link"):
        store.commit_staged("a", **ABOUT)
    assert same(store.read(store.commit("a", CARRY, **ABOUT)), CARRY)  # nothing of it is left


def test_a_name_is_used_once_and_must_be_a_name(store):
    store.commit("a", 1, **ABOUT)
    with pytest.raises(PoptrainError, match="used once"):
        store.commit("a", 2, **ABOUT)
    for name in BAD_NAMES:
        with pytest.raises(UsageError):
            store.commit(name, 1, **ABOUT)
        with pytest.raises(UsageError):
            store.stage(name)
        with pytest.raises(UsageError):
            store.read(f"{name}:0" if isinstance(name, str) else "a")
    for ref in ("a", "a/x:1", "a/-1:1", "a/1/2:3", "a/٣:1", "../a:1", "/a:0"):
        with pytest.raises(UsageError, match="reference|name"):
            store.read(ref)


def test_a_carry_without_arrays_is_one_file(tmp_path):
    store = DiskStore(tmp_path)
    store.commit("a", {"x": 0.5}, **ABOUT)
    assert store.fs.walk(store.root).keys() == {"a/MANIFEST.json"}
    store.commit("b", CARRY, **ABOUT)
    assert set(os.listdir(store.root / "b")) == {"MANIFEST.json", "arrays.safetensors"}


def test_a_store_travels_to_workers(tmp_path):
    store = DiskStore(tmp_path)
    ref = pickle.loads(pickle.dumps(store)).commit("a", CARRY, **ABOUT)
    assert same(store.read(ref), CARRY)


@pytest.mark.parametrize("what", ["flip", "cut", "grow", "delete", "link", "swap"])
@pytest.mark.parametrize("kind", ["carry", "population", "files"])
def test_damage_to_any_file_is_found_and_named(tmp_path, what, kind):
    store = DiskStore(tmp_path)

    def commit(name):
        if kind == "files":
            return staged(store, name)
        if kind == "carry":
            return store.commit(name, CARRY, **ABOUT)
        return store.commit_population(name, CARRY, 2, tasks=[11, 12], members=[5, 3], steps=[39, 40])[1]

    sample = commit("sample")
    for number, file in enumerate(store.fs.walk(store.root / "sample")):
        name = f"c{number}"
        ref, path = commit(name), store.root / name / file
        data = path.read_bytes()
        if what == "flip":
            flipped = bytearray(data or b"x")
            flipped[len(flipped) // 2] ^= 1
            path.write_bytes(flipped)
        elif what == "cut" and data:
            path.write_bytes(data[:-1])
        elif what == "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        elif what == "swap":
            path.write_bytes(data[::-1] + b"\0" * (len(data) == 0))
        elif what == "delete" or not data:
            path.unlink()
        else:
            path.write_bytes(data + b"\0")
        assert not store.verify(ref)
        with pytest.raises(CheckpointDamaged) as caught:
            store.path(ref) if kind == "files" else store.read(ref)
        message = str(caught.value)
        assert name in message and str(path) in message and "\n" not in message
        assert path.name == "MANIFEST.json" or "member 3, step 40" in message
    assert store.verify(sample)


def test_a_manifest_cannot_lead_outside(tmp_path):
    store = DiskStore(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    os.makedirs(store.root / "a")
    text = '{"format":1,"name":"a","files":{"../../../secret":{"size":6,"sha256":"x"}}}'
    (store.root / "a" / "MANIFEST.json").write_text(text)
    ref = f"a:{stores.sha256(text.encode()).hexdigest()[:16]}"
    with pytest.raises(CheckpointDamaged, match="is missing"):
        store.path(ref)


def test_large_files_may_be_trusted_by_size(tmp_path):
    store, trusting = DiskStore(tmp_path), DiskStore(tmp_path, hash_below=1000)
    ref = staged(store, "a")
    path = store.root / "a" / "user" / "model.pt"
    path.write_bytes(b"W" * path.stat().st_size)
    assert trusting.verify(ref) and not store.verify(ref)
    path.write_bytes(b"")
    assert not trusting.verify(ref)


# -- collecting ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 30))), max_size=12), st.booleans())
def test_what_is_kept_is_never_collected(tmp_path_factory, rounds, memory):
    store = MemoryStore() if memory else DiskStore(tmp_path_factory.mktemp("run"), durable=False)

    def made(number):
        refs = [store.commit(f"t{number}-{k}", k, **ABOUT) for k in range(3)]
        return refs + store.commit_population(f"g{number}", np.zeros((2, 1)), 2)

    keeps_what_is_wanted(store, rounds, made)


def test_few_dead_wait_and_many_or_large_ones_go(tmp_path):
    store, lines = DiskStore(tmp_path, durable=False), []
    refs = [store.commit(f"t{k}", k, **ABOUT) for k in range(20)]
    store.add(refs)
    store.keep(refs[10:], lines.append)
    assert lines == [] and store.verify(refs[0])
    store.keep(refs[18:], lines.append)
    assert lines == [sorted(f"t{k}" for k in range(18))] and sorted(os.listdir(store.root)) == ["t18", "t19"]
    large = store.commit("large", np.zeros(9 << 20), **ABOUT)
    store.add([large])
    store.keep(refs[18:], lines.append)
    assert lines[1:] == [["large"]]


def test_an_uncommitted_neighbour_is_not_taken_for_dead(tmp_path):
    """A worker's commit that the log does not know yet must survive; at the very end it is an orphan."""
    store = DiskStore(tmp_path)
    ref = pickle.loads(pickle.dumps(store)).commit("late", 1, **ABOUT)
    dead = [store.commit(f"t{k}", k, **ABOUT) for k in range(20)]
    store.add(dead)
    store.keep([], lambda names: None)
    assert store.verify(ref) and not store.verify(dead[0])
    store.keep([], lambda names: None, flush=True)
    assert os.listdir(store.root) == []


def test_the_log_line_comes_before_the_first_removal(tmp_path):
    store = DiskStore(tmp_path)
    refs = [store.commit(f"t{k}", CARRY, **ABOUT) for k in range(3)]
    store.add(refs)

    def full(names):
        assert names == ["t0", "t1"] and all(store.verify(ref) for ref in refs)
        raise Suspended("disk full")

    with pytest.raises(Suspended):
        store.keep(refs[2:], full, flush=True)
    assert all(store.verify(ref) for ref in refs)
    store.keep(refs[2:], lambda names: None, flush=True)
    assert [store.verify(ref) for ref in refs] == [False, False, True]


def test_adopting_removes_orphans_leftovers_and_trash(tmp_path):
    store = DiskStore(tmp_path)
    refs = [store.commit(f"t{k}", CARRY, **ABOUT) for k in range(3)]
    path = store.stage("half")
    (path / "x").write_text("x")
    os.makedirs(store.trash / "old" / "user")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (store.root / "link").symlink_to(outside)
    (store.trash / "link").symlink_to(outside)
    fresh = DiskStore(tmp_path)
    fresh.adopt(refs[:2])
    assert sorted(os.listdir(store.root)) == ["t0", "t1"] and os.listdir(store.trash) == []
    assert (outside / "precious").exists() and fresh.verify(refs[0])


def test_a_reference_cannot_name_what_lies_outside(tmp_path):
    (tmp_path / "precious").mkdir()
    for attempt in (DiskStore.add, DiskStore.adopt, lambda store, refs: store.keep(refs, lambda names: None, flush=True)):
        store = DiskStore(tmp_path / "run")
        (tmp_path / "run").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="valid file name"):
            attempt(store, ["../../precious:0123456789abcdef"])
        store.keep([], lambda names: None, flush=True)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("name", ["checkpoints", "trash"])
def test_a_link_in_place_of_the_stores_directory_is_refused(tmp_path, name):
    outside, run = tmp_path / "outside", tmp_path / "run"
    for directory in (outside / "t0", run):
        directory.mkdir(parents=True)
    (run / name).symlink_to(outside)
    store = DiskStore(run)
    with pytest.raises(UsageError, match="does not follow"):
        store.adopt([])
    with pytest.raises(UsageError, match="does not follow"):
        store.add([store.commit("t0", 1, **ABOUT)])
        store.keep([], lambda names: None, flush=True)
    assert os.listdir(outside) == ["t0"]
    if name == "checkpoints":
        with pytest.raises((CheckpointDamaged, UsageError)):
            store.read("t0:0000000000000000")


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["carry", "files"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_no_half_checkpoint(tmp_path, kind, code):
    def attempt(directory, fs):
        store = DiskStore(directory, fs=fs)
        return store.commit("a", CARRY, **ABOUT) if kind == "carry" else staged(store, "a")

    plan = FaultyFS()
    (tmp_path / "sound").mkdir()
    attempt(tmp_path / "sound", plan)
    names = [name for name, _ in plan.operations if name != "remove_tree"]
    assert names[-2:] == ["rename", "fsync_dir"]  # of the whole checkpoint, when all of it is durable
    flushes = names[len(names) - names[::-1].index("write_new") : -2]  # after the last write
    inside = [*(tmp_path / "sound" / "checkpoints" / "a").rglob("*")]
    assert flushes.count("fsync") == sum(path.is_file() for path in inside)
    assert flushes.count("fsync_dir") == 1 + sum(path.is_dir() for path in inside)
    for at in range(len(plan.operations)):
        for half in (False, True):
            directory = tmp_path / f"{at}-{half}"
            directory.mkdir()
            try:
                ref = attempt(directory, FaultyFS(at, code, half=half))
            except Suspended as error:
                assert str(directory) in str(error)
                names = plan.list(directory / "checkpoints")
                assert not any(name.startswith(".tmp") for name in names)
            else:
                assert DiskStore(directory).verify(ref)


def session(directory: Path, fs, acknowledged: list) -> None:
    """A little run on log and store: every round commits, logs, and keeps only the newest two."""
    log = Log.create(directory, {"seed": 0}, fs=fs)
    try:
        store = DiskStore(directory, fs=fs)
        for id in range(4):
            log.append([Task(id, id, {}, None, 1, id)])
            ref = store.commit(f"t{id}", {"w": np.full(2, id)}, task=id, member=id, step=1)
            log.append([Result(id, 0.0, 1, checkpoint=ref)])
            store.add([ref])
            acknowledged.append(ref)
            store.keep(acknowledged[-2:], lambda ids: log.note("gc", ids=ids), flush=id % 2 == 1)
        log.note("end")
    finally:
        log.close()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("code", [None, errno.ENOSPC])
def test_a_crash_at_any_operation_keeps_every_checkpoint_that_the_log_holds(tmp_path, code, half):
    plan = FaultyFS()
    session(tmp_path / "sound", plan, [])
    assert {"rename", "remove_tree", "append", "write_new"} <= {name for name, _ in plan.operations}
    for at in range(len(plan.operations)):
        directory, acknowledged = tmp_path / str(at), []
        with pytest.raises((Crash, Suspended, UsageError)):
            session(directory, FaultyFS(at, code, stays=True, half=half), acknowledged)
        if not exists(directory):
            assert not acknowledged
            continue
        with Log.open(directory) as log:
            refs, store = log.record.checkpoints(), DiskStore(directory)
            assert set(acknowledged[-2:]) <= set(refs)
            store.adopt(refs)
            assert all(store.verify(ref) for ref in refs)  # all that the log holds and has not collected is there …
            assert sorted(os.listdir(store.root)) == sorted(ref.partition(":")[0] for ref in refs)  # … and nothing else
            assert os.listdir(store.trash) == []


def test_nothing_here_can_unpickle():
    banned = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
    package = Path(poptrain.__file__).parent
    for path in (file for room in ("log", "checkpoints") for file in (package / room).glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & banned
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert called not in ("eval", "exec", "__import__")
                assert not any(word.arg == "allow_pickle" for word in node.keywords)


def test_b2_many_files_are_flushed_side_by_side_and_a_fault_leaves_no_half_checkpoint(tmp_path):
    def commit(fs, name):
        store = DiskStore(tmp_path, fs=fs)
        staged = store.stage(name)
        for number in range(200):
            (staged / f"f{number}").write_text(str(number))
        return store, store.commit_staged(name, task=0, member=0, step=1)

    plan = FaultyFS()
    store, ref = commit(plan, "whole")
    flushed = {name for operation, name in plan.operations if operation == "fsync"}
    assert {f"f{number}" for number in range(200)} <= flushed and store.damage(ref) is None
    (store.path(ref) / "f150").write_text("other")
    assert "f150" in store.damage(ref)
    for at in (20, 120, 199):
        with pytest.raises(Suspended):
            commit(FaultyFS(at, errno.EIO, only=("fsync",)), f"half{at}")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if not path.name.startswith(".")) == ["whole"]


def test_c3_a_carry_that_contains_itself_or_is_without_end_is_refused_with_its_path():
    cycle: list = [1]
    cycle.append({"a": (cycle,)})
    wide: list = [1.0]
    named: dict = {"a": 1.0}
    for _ in range(40):
        wide, named = [wide, wide], {"a": named, "b": named}
    for tree, where in (
        (cycle, r"carry\[1\]\['a'\]\[0\]: .*contains itself"),
        (wide, r"carry\[0\]\[0\].* values"),
        (named, "values"),
    ):
        for function in (trees.flatten, trees.copy):
            with pytest.raises(TypeError, match=where):
                function(tree)
    shared = [1.0] * 1000
    assert trees.copy([shared] * 100) == [shared] * 100
