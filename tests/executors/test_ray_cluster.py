"""The Ray executor on a cluster of two nodes on this machine: what crosses nodes, what ends it, what it says when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path, PurePosixPath

import pytest

import poptrain as pt
from poptrain.checkpoints.store import DiskStore
from poptrain.core.errors import CheckpointDamaged, MissingExtra
from poptrain.log.disk import default
from poptrain.log.reader import read
from poptrain.testing import quadratic
from poptrain.testing.executors import Bench, ExecutorContract, comparable, task

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
LAWS = ExecutorContract()


class Unreadable(DiskStore):
    """A store whose disk takes checkpoints and gives none back."""

    def read(self, ref):
        raise CheckpointDamaged(f"{ref} was to be read from disk")


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes with one CPU each; this process is connected to them."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 << 20}
    here = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    for _ in range(2):
        here.add_node(num_cpus=1, **small)
    ray.init(address=here.address, log_to_driver=False, logging_level="error")
    yield here
    ray.shutdown()
    here.shutdown()


def bench(store, trainable=quadratic, **options):
    return Bench(pt.executors.Ray(slots=2, **options), trainable, store)


def test_a_clone_on_another_node_is_handed_its_parent_and_reads_no_disk(cluster, tmp_path):
    tasks = [task(0, 0), task(1, 1)], [task(2, 0, parent=0), task(3, 1, parent=0, lr=0.05)]
    with Bench(pt.executors.Inline(), quadratic, DiskStore(tmp_path)) as it:
        expected = [comparable(result) for wave in tasks for result in it.perform(wave)]
    (tmp_path / "ray").mkdir()

    def slow(carry, hp, steps, seed):  # long enough for both actors to be there before the first is free again
        time.sleep(4.0 if carry is None else 0.2)
        return quadratic(carry, hp, steps, seed)

    with bench(Unreadable(tmp_path / "ray"), slow) as it:
        results = [comparable(result) for result in it.perform(tasks[0])]
        nodes = {slot.node: dict(slot.held) for slot in it.executor._crew.slots}
        results += [comparable(result) for result in it.perform(tasks[1])]
    assert sorted(map(list, nodes.values())) == [[0], [1]], "each node trained one member"
    assert results == expected


def test_a_step_that_hangs_is_a_failure_and_the_rest_goes_on(cluster, tmp_path):
    hang = lambda carry, hp, steps, seed: time.sleep(600) if hp["lr"] > 0.1 else quadratic(carry, hp, steps, seed)
    with bench(DiskStore(tmp_path), hang, timeout=3.0) as it:
        results = it.perform([task(0, 0), task(1, 1, lr=0.2), task(2, 2), task(3, 3)])
    assert [result.error for result in results] == [
        None,
        "member 1, from step 0: no result within 3 s (timeout); killed",
        None,
        None,
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_member_that_kills_its_worker_fails_alone_whatever_call_it_shared(cluster, tmp_path, number):
    def deadly(carry, hp, steps, seed):
        if hp["lr"] > 0.1:
            os.kill(os.getpid(), number)
        return quadratic(carry, hp, steps, seed)

    with bench(DiskStore(tmp_path), deadly, retries=2) as it:
        first = it.perform([task(id, id) for id in range(4)])  # it knows now that tasks are short, and sends several in a call
        second = it.perform([task(4 + id, id, parent=id, lr=0.2 if id == 2 else 0.02) for id in range(4)])
    assert all(result.error is None for result in first)
    words = "worker of member 2 ended without an error (killed, or a crash) while training from step 5, without a result"
    assert [result.error for result in second] == [None, None, f"{words}, 2 times in a row", None]


def test_what_fits_nowhere_is_refused_with_what_is_asked_and_had(cluster):
    from poptrain.executors.ray.crew import Crew

    with pytest.raises(
        pt.UsageError, match=r"the cluster has no room for a worker: each worker asks for 64 CPU, and .* has 1 CPU; .*Lower cpus"
    ):
        Crew(pt.executors.Ray(cpus=64), 4, may_grow=False)


def test_a_node_that_does_not_see_the_run_directory_says_so(monkeypatch, cluster, tmp_path):
    from poptrain.executors.ray import probe

    monkeypatch.setattr(probe, "SHARED_DISK_DELAY", 0.0)
    (tmp_path / "probe").write_bytes(b"of another machine")
    with pytest.raises(pt.UsageError, match=r"cannot read .*carrier='driver'"):
        probe.check_probe(probe.DiskProbe(tmp_path / "probe", b"ours"), default)


def test_a_node_that_cannot_read_the_url_of_the_checkpoints_says_so(monkeypatch, cluster, tmp_path):
    from poptrain.checkpoints.url_files import UrlFS
    from poptrain.executors.ray import probe

    monkeypatch.setattr(probe, "SHARED_DISK_DELAY", 0.0)
    (tmp_path / "probe").mkdir()  # a file that cannot be read
    with pytest.raises(pt.UsageError, match=r"node [0-9.]+: cannot read file:///.*/probe \(IsADirectoryError"):
        probe.check_probe(probe.DiskProbe(PurePosixPath("probe"), b"ours"), UrlFS(f"file://{tmp_path}"))
    with pytest.raises(pt.UsageError, match=r"node [0-9.]+ cannot read file:///.*pass a URL"):
        probe.check_probe(probe.DiskProbe(PurePosixPath("checkpoints/nothing"), b"ours"), UrlFS(f"file://{tmp_path}"))


def test_a_signal_suspends_the_run_and_it_goes_on_to_the_same_end(cluster, tmp_path):
    (tmp_path / "experiment.py").write_text(
        textwrap.dedent("""
            import time
            import poptrain as pt
            from poptrain.testing import quadratic

            def train(carry, hp, steps, seed):
                time.sleep(0.15)
                return quadratic(carry, hp, steps, seed)

            space = pt.Space(lr=pt.LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
            algorithm = pt.pbt(space, population=4, interval=3)
            experiment = pt.Experiment(algorithm, train, stop=pt.steps(30), executor=pt.executors.Ray(slots=2))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RAY_ADDRESS": cluster.address}
    poptrain = lambda *words: subprocess.Popen(
        [sys.executable, "-m", "poptrain", *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    driver = poptrain("run", "experiment.py", "--dir", "run", "--quiet")
    until = time.monotonic() + 60
    while time.monotonic() < until and not _results(tmp_path / "run") >= 6:
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 143 and "poptrain resume run" in said, said
    assert _results(tmp_path / "run") < 40
    driver = poptrain("resume", "run", "--quiet")
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert poptrain("run", "experiment.py", "--dir", "alone", "--quiet", "--executor", "inline").wait(120) == 0
    LAWS.same(pt.open_run(tmp_path / "run"), pt.open_run(tmp_path / "alone"))


def _results(directory):
    try:
        return sum(len(line) for line in read(directory).lines if isinstance(line[0], pt.Result))
    except (pt.PoptrainError, OSError):
        return 0


def test_without_ray_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs Ray: pip install 'poptrain\[ray\]'"):
        pt.executors.Ray().check(quadratic)
