"""Checkpoints in a bucket: a server on this machine that speaks S3, reached through s3fs as a real one is."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import executor_table as forms
import pytest

import poptrain as pt
from poptrain.core.errors import Suspended, UsageError
from poptrain.log.finding import exists
from poptrain.log.reader import read
from poptrain.testing import Quadratic, quadratic

pytestmark = pytest.mark.heavy

LAWS = forms.Formed()


@contextmanager
def served(set, port=0):
    """Yields a server with a bucket, as the environment that `set` sets describes it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "geheim",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    for name, value in settings.items():
        set(name, value)
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="bucket")
    try:
        yield server
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()  # they know one server, whatever the environment says later


@pytest.fixture(scope="module")
def server():
    """Yields a server that children of this process find, too."""
    pytest.importorskip("s3fs")
    with pytest.MonkeyPatch.context() as environment, served(environment.setenv) as server:
        yield server


def run(url, directory, trainable=quadratic, executor="inline"):
    space = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
    algorithm = pt.pbt(space, population=4, interval=3)
    return pt.run(algorithm, trainable, stop=pt.steps(15), executor=executor, directory=directory, checkpoints=url)


@pytest.mark.parametrize("trainable", [quadratic, Quadratic], ids=["carry", "class"])
def test_a_run_is_the_same_in_a_bucket_and_its_log_holds_no_secret(server, tmp_path, trainable):
    url = f"s3://bucket/{tmp_path.name}"
    there = run(url, tmp_path / "run", trainable)
    LAWS.same(there, run(None, tmp_path / "plain", trainable))
    found = pt.verify(tmp_path / "run")
    assert found.ok and found.checkpoints == 4
    names = {ref.partition(":")[0] for ref in read(tmp_path / "run").checkpoints()}
    assert there.store.fs.list(there.store.root) == sorted(names), "what was collected is gone from the bucket"
    assert "geheim" not in (tmp_path / "run" / "log-000001.jsonl").read_text()


def test_actors_of_ray_write_into_the_bucket_themselves(server, tmp_path):
    pytest.importorskip("ray")
    url = f"s3://bucket/{tmp_path.name}"
    there = run(url, tmp_path / "run", Quadratic, executor=pt.executors.Ray(address="local", slots=2))
    LAWS.same(there, run(None, tmp_path / "plain", Quadratic))
    assert pt.verify(tmp_path / "run").ok
    assert not [name for name in there.store.fs.list(there.store.root) if name.startswith(".")], "the probe was removed"


def test_what_the_storage_refuses_is_said(server, tmp_path, monkeypatch):
    with pytest.raises(
        UsageError, match=r"cannot write s3://no-such-bucket/x/run.json \(FileNotFoundError: .*no run was started"
    ):
        run("s3://no-such-bucket/x", tmp_path / "run")
    there = run(f"s3://bucket/{tmp_path.name}", tmp_path / "run")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(Suspended, match=r"cannot read s3://bucket/.*Connect.*poptrain resume"):
        pt.open_run(tmp_path / "run").best.load()
    s3fs.S3FileSystem.clear_instance_cache()
    assert there.record.finished


def slow(carry, hp, steps, seed):
    time.sleep(0.3)
    return quadratic(carry, hp, steps, seed)


def test_a_server_that_goes_away_in_the_middle_suspends_and_the_run_goes_on_when_it_is_back(tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    url, directory, workers = f"s3://bucket/{tmp_path.name}", tmp_path / "run", pt.executors.Processes(slots=2)
    with served(monkeypatch.setenv) as first:
        port = first.get_host_and_port()[1]

        def stop():
            while not (read(directory).lines if exists(directory) else ())[8:]:  # some of the members have trained
                time.sleep(0.05)
            first.stop()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(Suspended, match=r"cannot \w+ s3://bucket/.*poptrain resume"):
            run(url, directory, slow, workers)
        thread.join()
    assert 0 < len(read(directory).lines) < 40
    with served(monkeypatch.setenv, port):  # its buckets are in the memory of this process
        there = run(url, directory, slow, workers)
        LAWS.same(there, run(None, tmp_path / "plain"))
        assert pt.verify(directory).ok


class TestLaws(forms.Formed):
    """Worker processes that write into the bucket; drivers that are killed and resumed."""

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.form = forms.in_a_class()

    def checkpoints(self, directory):
        return f"s3://bucket/{directory.parent.name}/{directory.name}"

    def config(self):
        return pt.executors.Processes(slots=2)

    def narrow(self):
        return pt.executors.Processes(slots=1)
