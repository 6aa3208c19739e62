"""MLflow holds what the log says, once: read back through its client from a real server, after crashes too."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from urllib.request import urlopen

import pytest
from sinks import killed

import poptrain as pt
from poptrain.checkpoints.store import DiskStore
from poptrain.log.reader import read
from poptrain.sinks.mlflow_runs import accepted_name
from poptrain.sinks.points import PointReader
from poptrain.testing import quadratic

pytestmark = pytest.mark.heavy
mlflow = pytest.importorskip("mlflow")

from mlflow.tracking import MlflowClient  # noqa: E402

SPACE = pt.Space({"lr $": pt.LogUniform(1e-4, 1e-1)}, act=pt.Choice("relu", "tanh"), width=pt.Ordinal(16, 32))
PBT = pt.pbt(SPACE, population=4, interval=5, sync=False, exploit=pt.truncation(0.25))


def tracker(uri, **options):
    return pt.sinks.MLflow(uri, patience=120.0, **options)  # the machine that tests may be busy


def train(carry, hp, steps, seed):
    """A loss, with extra metrics; diverges and raises now and then."""
    carry, metrics = quadratic(carry, {"lr": hp["lr $"]}, steps, seed)
    if seed % 11 == 0:
        raise ValueError("a planted fault")
    loss = float("nan") if seed % 7 == 0 else 1.2 - metrics["score"]
    return carry, {"loss": loss, "theta //": metrics["theta"]}


def run(directory, *sinks, stop=40, **options):
    return pt.run(PBT, train, metric="loss", mode="min", stop=pt.steps(stop), directory=directory, seed=3, sinks=sinks, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real tracking server with a SQLite store, on a free port."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
               "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
               "--workers", "1"]  # fmt: skip
    with open(folder / "log", "w") as log:
        lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=lean, start_new_session=True)
    try:
        for _ in range(2400):  # a busy machine takes its time
            if process.poll() is None and answers(port):
                break
            time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def answers(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read() == b"OK"
    except OSError:
        return False


def runs_of(uri, experiment):
    """Returns the parent runs and the member runs by seat."""
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    members = [run for run in found if "poptrain.member" in run.data.tags]
    parents = [run for run in found if "poptrain.member" not in run.data.tags]
    by_seat = {int(run.data.tags["poptrain.member"]): run for run in members}
    assert len(by_seat) == len(members), "two runs of one member"
    return parents, by_seat


def held(uri, run):
    """Returns every point of a run, doubles included."""
    client = MlflowClient(uri)
    return {name: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics}  # fmt: skip


def expected(record):
    """Returns every point that the log says, by member."""
    points = defaultdict(lambda: defaultdict(list))
    for point in PointReader(record).read_on(record):
        points[point.member][accepted_name(point.name)].append((point.step, int(1000 * point.time), repr(float(point.value))))
    # MLflow's clock is milliseconds: what two lines say within one is one point.
    return {member: {name: sorted(set(series)) for name, series in named.items()} for member, named in points.items()}


def check(uri, experiment, directory):
    """The server holds what the log says: no more, no less, nothing twice."""
    parents, members = runs_of(uri, experiment)
    says = expected(read(directory))
    assert len(parents) == 1
    assert held(uri, parents[0]) == says.pop(None)
    assert set(members) == set(says)
    for seat, run in members.items():
        assert held(uri, run) == says[seat]
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.params["act"] in ("relu", "tanh") and accepted_name("lr $") in run.data.params
    return parents[0], members


def test_a_live_run_is_on_the_server_and_an_export_adds_nothing(server, tmp_path):
    done = run(tmp_path / "r", tracker(server, experiment="live"))
    parent, members = check(server, "live", tmp_path / "r")
    assert parent.info.status == "FINISHED" and parent.info.run_name == "r"
    assert parent.data.params["algorithm.population"] == "4"
    assert any("failures" in run.data.metrics for run in members.values())
    export(tmp_path / "r", "--uri", server, "--experiment", "live")
    again, _ = check(server, "live", tmp_path / "r")
    assert again.info.run_id == parent.info.run_id
    best_is_there(server, parent.info.run_id, done, tmp_path / "download")


def best_is_there(server, run_id, done, folder):
    folder.mkdir()
    mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=str(folder), tracking_uri=server)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    best = f"best/task-{done.best.task.id:06d}"
    assert {"schedule.json", "schedule.csv", "lineage.json", "run.json", "plots/score.png", f"{best}/best.json"} <= names
    about = json.loads((folder / best / "best.json").read_text())
    assert DiskStore(folder / best).read(about["checkpoint"])["theta"] == done.best.load()["theta"]
    assert (folder / "schedule.csv").read_text() == done.schedule().to_csv()


def export(directory, *options):
    done = subprocess.run([sys.executable, "-m", "poptrain", "export", str(directory), "--to", "mlflow", *options, "--json"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_steps_only_grow_although_members_go_back(tmp_path):
    run(tmp_path / "r")
    record = read(tmp_path / "r")
    series = defaultdict(list)
    for point in PointReader(record).read_on(record):
        series[point.member, point.name].append(point.step)
    assert all(steps == sorted(steps) for steps in series.values())
    lineage = [p.value for p in PointReader(record).read_on(record) if p.name == "lineage/step" and p.member == 0]
    assert len(lineage) > 8


def test_members_are_nested_under_a_run_that_exists(server, tmp_path):
    client = MlflowClient(server)
    experiment = client.create_experiment("attached")
    mine = client.create_run(experiment, run_name="mine", tags={"mine": "yes"})
    client.log_param(mine.info.run_id, "seed", "of mine")
    for seed in ("a", "b"):  # two populations under one parent
        run(tmp_path / seed, tracker(server, run_id=mine.info.run_id), stop=10)
    runs = client.search_runs([experiment])
    nested = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == mine.info.run_id]
    parent = client.get_run(mine.info.run_id)
    assert len(nested) == 8 and len(runs) == 9
    assert parent.info.status == "RUNNING" and parent.data.params == {"seed": "of mine"} and parent.data.tags["mine"] == "yes"
    assert len([f for f in client.list_artifacts(mine.info.run_id) if f.path.startswith("poptrain-")]) == 2
    export(tmp_path / "a", "--uri", server, "--experiment", "attached")  # finds its members without being told the parent
    assert len(client.search_runs([experiment])) == 9


def test_hyperparameters_may_change_where_the_peers_are_refused(server, tmp_path):
    """Logging a mutated hyperparameter as a parameter is refused (ray-project/ray 20473, 27783); as a metric it is not."""
    client = MlflowClient(server)
    run(tmp_path / "r", tracker(server, experiment="changing"))
    _, members = runs_of(server, "changing")
    seat, member = max(members.items(), key=lambda item: len(held(server, item[1])[accepted_name("hparams/lr $")]))
    rates = {value for _, _, value in held(server, member)[accepted_name("hparams/lr $")]}
    assert len(rates) > 1
    with pytest.raises(mlflow.exceptions.MlflowException, match="Changing param values is not allowed"):
        client.log_param(member.info.run_id, accepted_name("lr $"), 0.5)


CRASH = """
import os, sys, time
import poptrain as pt
sys.path[:0] = [{tests!r}, os.path.dirname({tests!r})]
import test_mlflow as t

class Sink(pt.sinks.MLflow):
    every = 0.0

    def write(self, record, history=None):
        super().write(record, history)
        if len(record.lines) > {line}:
            {fate}

def slow(*args):
    time.sleep(0.05)
    return t.train(*args)

slow.__module__, slow.__qualname__ = t.__name__, "train"
pt.run(t.PBT, slow, metric="loss", mode="min", stop=pt.steps(40), directory={directory!r}, seed=3,
       sinks=[Sink({uri!r}, experiment={name!r}, patience=120)])
"""


@pytest.mark.parametrize("line", [0, 20])
def test_after_a_crash_nothing_is_there_twice(line, server, tmp_path):
    directory, name = tmp_path / "r", f"crash-{line}"
    script = CRASH.format(tests=str(Path(__file__).parent), line=line, fate="os._exit(7)", directory=str(directory),
                          uri=server, name=name)  # fmt: skip
    assert subprocess.run([sys.executable, "-c", script]).returncode == 7
    assert not read(directory).finished
    run(directory, tracker(server, experiment=name))
    parent, _ = check(server, name, directory)
    assert parent.info.status == "FINISHED"


def test_after_kills_and_resumes_everything_is_there_once_and_every_run_is_finished(server, tmp_path):
    directory = tmp_path / "killed"
    directory.mkdir()
    assert list(killed.sessions("mlflow", directory, server))[-1] == 0
    parents, members = runs_of(server, "killed")
    says = expected(read(directory / "run"))
    assert len(parents) == 1 and set(members) == set(says) - {None} == {0, 1, 2}
    for seat, run in {None: parents[0], **members}.items():
        assert held(server, run) == says[seat] and run.info.status == "FINISHED", seat
    done = pt.open_run(directory / "run")
    best_is_there(server, parents[0].info.run_id, done, tmp_path / "download")
    client = MlflowClient(server)
    (model,) = client.search_logged_models([parents[0].info.experiment_id])
    assert model.status == "READY" and model.tags["poptrain.task"] == str(done.best.task.id)


@pytest.mark.parametrize("store", ["server", "files"])
def test_a_crash_between_values_and_their_mark_makes_no_doubles(store, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a store that takes doubles; servers of old
    uri = server if store == "server" else (tmp_path / "mlruns").as_uri()
    run(tmp_path / "r")
    record = read(tmp_path / "r")

    class Dies(pt.sinks.MLflow):
        def _batch(self, run, metrics=(), *, params=(), tags=()):
            super()._batch(run, metrics, params=params)
            if tags:
                raise RuntimeError("gone")

    dying = Dies(uri, experiment="between")
    dying.open(record)
    with pytest.raises(RuntimeError, match="gone"):
        dying.write(record)
    sink = pt.sinks.MLflow(uri, experiment="between")
    for _ in range(2):
        sink.open(record)
        sink.write(record)
    check(uri, "between", tmp_path / "r")


def test_a_resumed_and_extended_run_goes_on_in_its_runs(server, tmp_path):
    run(tmp_path / "r", tracker(server, experiment="longer"), stop=20)
    before, _ = runs_of(server, "longer")
    run(tmp_path / "r", tracker(server, experiment="longer"), stop=40)
    parent, members = check(server, "longer", tmp_path / "r")
    assert parent.info.run_id == before[0].info.run_id
    assert all(member.info.status in ("FINISHED", "FAILED") for member in members.values())


def test_a_run_that_was_made_twice_or_without_parameters_is_put_right(server, tmp_path):
    """A lost answer makes the client ask for a run twice; a crash can come before the parameters."""
    run(tmp_path / "r")
    record = read(tmp_path / "r")

    class Twice(pt.sinks.MLflow):
        def _create(self, member, name):
            super()._create(member, name) if member is None else None
            return super()._create(member, name)

        def _describe(self, run, member):
            pass

    first = Twice(server, experiment="twice")
    first.open(record)
    first.write(record)
    sink = pt.sinks.MLflow(server, experiment="twice")
    sink.open(record)
    assert sink.parent == first.parent and sink._members == first._members
    sink._lines = dict.fromkeys(sink._lines, 0)  # look at all of it again
    sink.write(record)
    client = MlflowClient(server)
    for seat, id in sink._members.items():
        assert client.get_run(id).data.params["member"] == str(seat)
        assert held(server, client.get_run(id)) == expected(record)[seat]
    assert client.get_run(sink.parent).data.params["seed"] == "3"


def test_an_absent_server_costs_nothing_and_the_export_fills_everything_in(server, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match=r"poptrain export \S+ --to mlflow --uri \S+ --experiment absent"):
        run(tmp_path / "r", tracker(nobody, experiment="absent"))
    export(tmp_path / "r", "--uri", server, "--experiment", "absent")
    check(server, "absent", tmp_path / "r")


def test_an_export_that_fails_says_so_in_one_line(tmp_path):
    run(tmp_path / "r", stop=5)
    done = subprocess.run([sys.executable, "-m", "poptrain", "export", str(tmp_path / "r"), "--to", "mlflow", "--uri",
                           "http://127.0.0.1:9"], capture_output=True, text=True,
                          env={**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})  # fmt: skip
    assert done.returncode == 2 and "cannot export to MLflow" in done.stderr.splitlines()[-1]


def test_the_best_checkpoint_is_a_logged_model_and_the_data_set_is_named_once(server, tmp_path):
    """Also after the run was continued, and logged once more; another best result is another model."""
    import numpy as np

    data = mlflow.data.from_numpy(np.arange(6.0).reshape(3, 2), name="six")
    client = MlflowClient(server)
    for stop in (20, 20, 40):
        found = run(tmp_path / "models", tracker(server, experiment="models", dataset=data), stop=stop)
    parents, _ = runs_of(server, "models")
    (parent,) = parents
    assert [each.dataset.name for each in client.get_run(parent.info.run_id).inputs.dataset_inputs] == ["six"]
    models = client.search_logged_models([parent.info.experiment_id])
    tasks = [int(model.tags["poptrain.task"]) for model in models]
    assert len(tasks) == len(set(tasks)) and found.best.task.id in tasks
    best = next(model for model in models if int(model.tags["poptrain.task"]) == found.best.task.id)
    assert best.status == "READY" and best.params["lr $"] == str(found.best.hparams["lr $"])
    assert best.source_run_id == parent.info.run_id and len(client.get_run(parent.info.run_id).outputs.model_outputs) == len(
        tasks
    )
    names = {file.path.rpartition("/")[2] for file in client.list_logged_model_artifacts(best.model_id)}
    assert {"best.json", "checkpoints"} <= names


def test_a_data_set_of_another_kind_is_refused():
    with pytest.raises(pt.UsageError, match=r"dataset=…\) got ndarray: pass a data set of MLflow"):
        import numpy as np

        pt.sinks.MLflow(dataset=np.zeros(3))
