"""Checkpoints at a URL: the laws of the store where nothing can be renamed, and runs that do not notice the difference."""

from __future__ import annotations

import dataclasses
import gc
import json
import pickle
import sys
from pathlib import Path, PurePosixPath

import executor_table as forms
import pytest
from faulty_fs import Crash
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import ABOUT, CARRY, keeps_what_is_wanted, same, staged

import poptrain as pt
from poptrain.checkpoints.store import Ref
from poptrain.checkpoints.url import UrlStore
from poptrain.checkpoints.url_files import checked_url
from poptrain.core import Result, Task
from poptrain.core.errors import CheckpointDamaged, MissingExtra, Suspended, UsageError
from poptrain.log.reader import read
from poptrain.log.writer import Log
from poptrain.report.tables import details
from poptrain.testing import Quadratic, quadratic

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

LAWS = forms.Formed()
HOME = PurePosixPath()
KINDS = ("carry", "population", "files")


def opened(url: str, owner: str = "me") -> UrlStore:
    store = UrlStore(url, owner, "runs/first")
    if not store.fs.exists(HOME):
        store.claim()
    return store


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return f"{request.param}://{tmp_path}/bucket"


def commit(store, name: str, kind: str) -> str:
    if kind == "files":
        return staged(store, name)
    if kind == "carry":
        return store.commit(name, CARRY, **ABOUT)
    return store.commit_population(name, CARRY, 2, tasks=[11, 12], members=[5, 3], steps=[39, 40])[1]


def get(store, ref: str, kind: str):
    return store.path(ref) if kind == "files" else store.read(ref)


# -- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["flip", "cut", "grow", "delete"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_any_file_is_found_and_named(url, what, kind):
    store = opened(url)
    sample = commit(store, "sample", kind)
    files, base = store.fs._open()
    for number, file in enumerate(store.fs.walk(store.root / "sample")):
        name = f"c{number}"
        ref, path = commit(store, name, kind), f"{base}/checkpoints/{name}/{file}"
        data = files.cat_file(path)
        if what == "delete" or not data:
            files.rm_file(path)
        else:
            flipped = bytearray(data)
            flipped[len(data) // 2] ^= 1
            files.pipe_file(path, {"flip": bytes(flipped), "cut": data[:-1], "grow": data + b"\0"}[what])
        assert not store.verify(ref)
        with pytest.raises(CheckpointDamaged) as caught:
            get(store, ref, kind)
        message = str(caught.value)
        assert name in message and f"{url}/checkpoints/{name}/{file}" in message and "\n" not in message
        assert file == "MANIFEST.json" or "member 3, step 40" in message
    assert store.verify(sample) and get(store, sample, kind) is not None


def test_a_manifest_or_a_name_in_the_bucket_cannot_lead_outside(tmp_path):
    store = opened(f"memory://{tmp_path}/bucket")
    files, base = store.fs._open()
    text = b'{"format":1,"name":"a","files":{"user/../../../x":{"size":1,"sha256":"x"}}}'
    files.pipe_file(f"{base}/checkpoints/a/MANIFEST.json", text)
    files.store[f"{base}/checkpoints/a/user/../../../x"] = files.store[f"{base}/checkpoints/a/MANIFEST.json"]
    from poptrain.checkpoints.store import sha256

    with pytest.raises(CheckpointDamaged, match="is missing"):
        store.path(f"a:{sha256(text).hexdigest()[:16]}")
    for attempt in (UrlStore.add, UrlStore.adopt, lambda store, refs: store.keep(refs, lambda names: None, flush=True)):
        with pytest.raises(UsageError, match="valid file name"):
            attempt(store, ["../../precious:0123456789abcdef"])


def test_a_store_travels_to_another_process_unless_it_is_in_memory(tmp_path):
    store = opened(f"file://{tmp_path}/bucket")
    store.path(staged(store, "files"))
    ref = pickle.loads(pickle.dumps(store)).commit("a", CARRY, **ABOUT)
    assert same(store.read(ref), CARRY)
    with pytest.raises(UsageError, match="other processes cannot read it"):
        pickle.dumps(opened(f"memory://{tmp_path}/bucket"))


def test_what_was_downloaded_is_there_until_the_next_stage(url):
    store = opened(url)
    refs = [staged(store, name) for name in ("a", "b")]
    paths = [store.path(ref) for ref in refs]
    assert all((path / "model.pt").is_file() for path in paths)
    store.stage("c")
    assert not any(path.exists() for path in paths) and store.path(refs[0]).exists()
    root = store._local.root
    store.commit_staged("c", **ABOUT)
    assert store.path(refs[0]).is_relative_to(root)
    staged(store, "d")
    assert not root.parent.exists() and store.path(refs[1]).exists(), "nothing is left on the disk of a worker between tasks"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 20))), max_size=8))
def test_what_is_kept_is_never_collected(tmp_path_factory, rounds):
    store = opened(f"memory://{tmp_path_factory.mktemp('run')}")
    keeps_what_is_wanted(store, rounds, lambda number: [commit(store, f"{kind}{number}", kind) for kind in KINDS])


def test_adopting_removes_what_the_log_does_not_hold(url):
    store = opened(url)
    refs = [commit(store, f"t{k}", kind) for k, kind in enumerate(KINDS)]
    store.fs.write_new(store.root / "half" / "arrays.safetensors", b"0")  # no manifest was written any more
    store.fs.write_new(store.root / ".tmp-probe-1", b"0")
    fresh = opened(url)
    fresh.adopt(refs[1:])
    assert fresh.fs.list(fresh.root) == ["t1", "t2"] and [fresh.verify(ref) for ref in refs] == [False, True, True]


def test_the_rest_of_a_write_that_was_cut_does_not_use_up_its_name(url):
    store = opened(url)
    for kind in KINDS:
        for file in ("arrays.safetensors", "user/model.pt", "user/gone"):
            store.fs.write_new(store.root / kind / file, b"0" * 100_000)
        ref = commit(store, kind, kind)
        assert store.verify(ref)
        if kind == "files":
            assert not (store.path(ref) / "gone").exists()
        with pytest.raises(pt.PoptrainError, match=f"exists already in {url}/checkpoints"):
            commit(store, kind, kind)


def test_a_place_belongs_to_one_run(url):
    store = opened(url)
    ref = store.commit("a", CARRY, **ABOUT)
    with pytest.raises(UsageError, match="the URL already contains files"):
        UrlStore(url, "another").claim()
    with pytest.raises(UsageError, match="checkpoints of another run"):
        UrlStore(url, "another").adopt([])
    assert store.verify(ref)


def test_a_bucket_that_is_gone_is_no_lost_checkpoint(url):
    store = opened(url)
    ref = store.commit("a", CARRY, **ABOUT)
    store.fs.remove_tree(HOME)
    for attempt in (store.read, store.verify, lambda ref: store.adopt([ref])):
        with pytest.raises(Suspended, match=r"run.json .* it is gone.*poptrain resume runs/first"):
            attempt(ref)


# -- faults ----------------------------------------------------------------------------------------------------------


class Gone(Exception):
    """An error that is no OSError, as the packages of storage raise them."""


class Faults:
    """Counts the operations on `MemoryFileSystem`; the one numbered `at` fails, and all after it if it `stays`."""

    NAMES = ("pipe_file", "put_file", "cat_file", "get_file", "find", "ls", "rm", "rm_file")

    def __init__(self, monkeypatch):
        self.at, self.error, self.stays, self.count = None, None, False, 0
        for name in self.NAMES:
            self._wrap(monkeypatch, name, getattr(MemoryFileSystem, name))

    def _wrap(self, monkeypatch, name, method):
        def wrapped(files, path, *rest, **options):
            self.count += 1
            if self.at is not None and (self.count == self.at or (self.stays and self.count > self.at)):
                if name == "pipe_file" and self.count == self.at:  # what some storage keeps of a write that was cut
                    method(files, path, rest[0][: len(rest[0]) // 2])
                raise self.error
            return method(files, path, *rest, **options)

        monkeypatch.setattr(MemoryFileSystem, name, wrapped)

    def plan(self, at: int | None = None, error: BaseException | None = None, stays: bool = False) -> None:
        self.at, self.error, self.stays, self.count = at, error, stays, 0


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error", [PermissionError(13, "Forbidden"), FileNotFoundError("no such bucket"), Gone("no route\nto host")]
)
def test_an_error_of_the_storage_suspends_and_leaves_no_half_checkpoint(faults, tmp_path, kind, error):
    store = opened(f"memory://{tmp_path}/sound")
    faults.plan()
    commit(store, "a", kind)
    total, said = faults.count, []
    assert total >= 3
    for at in range(1, total + 1):
        store = opened(f"memory://{tmp_path}/{at}")
        faults.plan(at, error)
        try:
            ref = commit(store, "a", kind)
        except Suspended as caught:
            said.append(str(caught))
            faults.plan()
            assert store.fs.list(store.root) == []
        else:  # that there is no such name, which a listing may say of an empty bucket
            faults.plan()
            assert isinstance(error, FileNotFoundError) and store.verify(ref)
    assert said and all(
        type(error).__name__ in text and "\n" not in text and "`poptrain resume runs/first`" in text for text in said
    )


def session(directory: Path, store: UrlStore, acknowledged: list) -> None:
    """A little run on log and store: every round commits, logs, and keeps only the newest two."""
    with Log.create(directory, {"seed": 0}, durable=False) as log:
        store.adopt([])
        for id in range(4):
            log.append([Task(id, id, {}, None, 1, id)])
            ref = commit(store, f"t{id}", KINDS[id % 3])
            log.append([Result(id, 0.0, 1, checkpoint=ref)])
            store.add([ref])
            acknowledged.append(ref)
            store.keep(acknowledged[-2:], lambda ids: log.note("gc", ids=ids), flush=id % 2 == 1)


def test_a_crash_at_any_operation_keeps_every_checkpoint_that_the_log_holds(faults, tmp_path):
    store = opened(f"memory://{tmp_path}/sound")
    faults.plan()
    session(tmp_path / "sound", store, [])
    total = faults.count
    assert total > 20
    for error in (Crash(), Gone("no route to host")):
        for at in range(1, total + 1):
            directory, acknowledged = tmp_path / f"{type(error).__name__}-{at}", []
            store = opened(f"memory://{directory}")
            faults.plan(at, error, stays=True)
            with pytest.raises((Crash, Suspended)):
                session(directory, store, acknowledged)
            faults.plan()
            refs, store = read(directory).checkpoints(), opened(f"memory://{directory}")
            assert set(acknowledged[-2:]) <= set(refs)
            store.adopt(refs)
            assert all(store.verify(ref) for ref in refs)
            assert store.fs.list(store.root) == sorted(Ref.parse(ref).name for ref in refs)


# -- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:geheim@bucket/first", "contains a password"), ("s3://key:ge/heim@bucket/first", "contains a password"),
        ("abfs://c@account.dfs.core.windows.net/x?sig=geheim", "a password or a query"), ("runs/first", "expected a URL"),
        (Path("/shared/first"), "file:///shared/first"), ("s3://", "protocol://place"), ("s3://bucket/a*", "any of"),
        ("s3://bucket/../x", r"'\.\.'"), ("simplecache::s3://bucket/x", "protocol://place"), ("file://runs/first", "absolute"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_place_is_refused_in_one_sentence_that_repeats_no_secret(url, said):
    with pytest.raises(UsageError, match=said) as caught:
        pt.Experiment(
            pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=5), quadratic, stop=pt.steps(5), checkpoints=url
        )
    assert "heim" not in str(caught.value) and "\n" not in str(caught.value)


def test_urls_that_hold_no_secret_pass_and_are_written_in_one_way():
    for url in (
        "abfs://container@account.dfs.core.windows.net/first",
        "hdfs://name:8020/first",
        "gs://bucket/a/b c".replace(" ", ""),
    ):
        assert checked_url(f"{url}/") == url


def test_missing_packages_are_named_with_the_line_that_installs_them(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtra, match="pip install s3fs"):
        run("s3://bucket/first", tmp_path / "run")
    with pytest.raises(UsageError, match="know the protocol 'memry'. Did you mean 'memory'"):
        run("memry://first", tmp_path / "run")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match="pip install gcsfs"):
        run("gs://bucket/first", tmp_path / "run")
    assert not (tmp_path / "run" / "log-000001.jsonl").exists()


# -- runs ------------------------------------------------------------------------------------------------------------


def run(url, directory, trainable=quadratic, executor="inline", steps=15, **options):
    space = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
    algorithm = pt.pbt(space, population=4, interval=3)
    return pt.run(algorithm, trainable, stop=pt.steps(steps), executor=executor, directory=directory, checkpoints=url, **options)


@pytest.mark.parametrize("trainable", [quadratic, Quadratic], ids=["carry", "class"])
def test_a_run_is_the_same_and_everything_finds_its_checkpoints(url, tmp_path, trainable):
    plain, there = run(None, tmp_path / "plain", trainable), run(url, tmp_path / "run", trainable)
    LAWS.same(there, plain)
    assert "checkpoints" not in plain.record.run and there.record.run["checkpoints"]["url"] == url
    assert not (tmp_path / "run" / "checkpoints").exists() and (tmp_path / "plain" / "checkpoints").exists()
    LAWS.same(pt.open_run(tmp_path / "run", trainable), plain)
    assert f"<dd>{url}</dd>" in details(there.record, pt.views.status(there.record))
    assert same(vars_of(pt.open_run(tmp_path / "run", trainable).best.load()), vars_of(plain.best.load()))
    left = pt.open_run(tmp_path / "run").best.load()
    gc.collect()
    assert trainable is quadratic or vars(left) == vars(plain.best.load()), (
        "a class that the program has loaded is known without being named"
    )
    found = pt.verify(tmp_path / "run")
    assert found.ok and found.checkpoints >= 4
    from poptrain.sinks.best import write_best

    for name, outcome in (("plain", plain), ("run", there)):
        write_best(outcome.record, outcome.history, outcome.best.task.id, tmp_path / f"best-{name}")
    stored = [
        sorted(
            (p.name, p.read_bytes())
            for p in (tmp_path / f"best-{name}").rglob("*")
            if p.is_file() and p.name not in ("best.json", "table.csv")
        )
        for name in ("plain", "run")
    ]
    assert stored[0] == stored[1]
    LAWS.same(run(None, tmp_path / "run", trainable), plain)  # finished; the log knows where its checkpoints are
    LAWS.same(run(url, tmp_path / "run", trainable, steps=21), run(None, tmp_path / "plain", trainable, steps=21))
    with pytest.raises(UsageError, match=f"are at {url}, not at memory://other"):
        run("memory://other", tmp_path / "run", trainable)
    with pytest.raises(UsageError, match="are in it, not at"):
        run(url, tmp_path / "plain", trainable)
    with pytest.raises(UsageError, match="the URL already contains files"):
        run(url, tmp_path / "second", trainable)
    with pytest.raises(UsageError, match="pass directory=… as well"):
        run(url, None, trainable)


def vars_of(state):
    return state if isinstance(state, dict) else vars(state)


def test_damage_is_found_by_verify(tmp_path):
    url = f"file://{tmp_path}/bucket"
    outcome = run(url, tmp_path / "run")
    name = outcome.history.result(outcome.best.task.id).checkpoint.partition(":")[0]
    path = tmp_path / "bucket" / "checkpoints" / name / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    found = pt.verify(tmp_path / "run")
    assert not found.ok and f"{url}/checkpoints/{name}/arrays.safetensors differs" in found.first.text


@pytest.mark.heavy
def test_storage_that_fails_in_the_middle_suspends_and_the_run_goes_on_to_the_same_end(faults, tmp_path):
    for number, trainable in enumerate((quadratic, Quadratic)):
        expected = run(None, tmp_path / f"plain{number}", trainable)
        faults.plan()
        run(f"memory://{tmp_path}/sound{number}", tmp_path / f"sound{number}", trainable)
        total = faults.count
        for at in range(6, total, total // 4):
            url, directory = f"memory://{tmp_path}/{number}-{at}", tmp_path / f"{number}-{at}"
            faults.plan(at, Gone("no route to host"), stays=True)
            with pytest.raises(Suspended, match=f"Gone: no route to host.*poptrain resume {directory}"):
                run(url, directory, trainable)
            faults.plan()
            LAWS.same(run(url, directory, trainable), expected)
            assert pt.verify(directory).ok


def test_a_place_that_cannot_be_used_leaves_no_run_and_no_claim(faults, tmp_path):
    url, directory = f"memory://{tmp_path}/bucket", tmp_path / "run"
    for at in (1, 2):
        faults.plan(at, Gone("no route to host"))
        with pytest.raises(UsageError, match="no route to host.*no run was started"):
            run(url, directory)
        assert not directory.exists()
        faults.plan()
        UrlStore(url, "me").release()  # of a write that was cut, and counts
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot start a run"):
        run(url, tmp_path / "file" / "run")
    assert not UrlStore(url, "me").fs.exists(HOME)


def test_the_preflight_tries_the_url_and_leaves_nothing_there(faults, tmp_path):
    url = f"memory://{tmp_path}/bucket"
    space = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
    experiment = pt.Experiment(pt.pbt(space, population=4, interval=3), quadratic, stop=pt.steps(15), checkpoints=url)
    found = pt.check(experiment).checks[-1]
    assert (found.name, found.state) == ("storage", "ok") and url in found.text
    faults.plan(1, Gone("no route to host"), stays=True)
    found = pt.check(experiment).checks[-1]
    assert (found.name, found.state) == ("storage", "failed") and "no route to host" in found.text
    faults.plan()
    assert not UrlStore(url, "me").fs.exists(HOME)


def test_memory_is_refused_for_workers(tmp_path):
    with pytest.raises(UsageError, match="other processes cannot read it"):
        run(f"memory://{tmp_path}/bucket", tmp_path / "run", executor=pt.executors.Processes(slots=1))


@pytest.mark.parametrize("trainable", [quadratic, Quadratic], ids=["carry", "class"])
def test_worker_processes_write_there_themselves(tmp_path, trainable):
    url = f"file://{tmp_path}/bucket"
    there = run(url, tmp_path / "run", trainable, executor=pt.executors.Processes(slots=2))
    LAWS.same(there, run(None, tmp_path / "plain", trainable))
    assert pt.verify(tmp_path / "run").ok


ROWS = {  # as in the laws of the executors
    "inline, function": (forms.in_functions, lambda slots: pt.executors.Inline()),
    "processes, class": (forms.in_a_class, lambda slots: pt.executors.Processes(slots=slots)),
}


@pytest.mark.parametrize("row", ["inline, function", pytest.param("processes, class", marks=pytest.mark.heavy)])
class TestLaws(forms.Formed):
    """Runs that are cut, killed and resumed, executors that are closed in the middle, with all checkpoints at a URL."""

    @pytest.fixture(autouse=True)
    def _row(self, row):
        self.form, self.executor = ROWS[row][0](), ROWS[row][1]

    def checkpoints(self, directory):
        return f"file://{directory}-bucket"

    def config(self):
        return self.executor(2)

    def narrow(self):
        return self.executor(1)


def test_the_command_line_keeps_and_finds_them(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from poptrain.cli.app import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment.py").write_text(
        "import poptrain as pt\nfrom poptrain.testing import quadratic\n"
        "space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))\n"
        "experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(10), checkpoints='memory://no')\n"
    )
    url = f"file://{tmp_path}/bucket"

    def poptrain(*words):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result.stdout

    poptrain("run", "experiment.py", "--dir", "run", "--checkpoints", url, "--quiet")
    poptrain("resume", "run", "--steps", "20", "--quiet")
    assert read("run").run["checkpoints"]["url"] == url and sum(1 for _ in (tmp_path / "bucket" / "checkpoints").iterdir()) >= 4
    assert json.loads(poptrain("verify", "run", "--json"))["ok"]
    for words in (["status"], ["lineage"], ["export", "--best", "best"]):
        poptrain(words[0], "run", *words[1:])
    poptrain("replay", "run", "--dir", "again", "--quiet")
    assert "checkpoints" not in read("again").run
    poptrain("resume", "again", "--quiet")
    assert dataclasses.asdict(pt.verify("run"))["ok"]
