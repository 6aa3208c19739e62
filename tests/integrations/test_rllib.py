"""RLlib on a real Ray: what a population mutates is what the live algorithm trains with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ray = pytest.importorskip("ray.rllib") and pytest.importorskip("ray")
pytestmark = pytest.mark.heavy

from ray.rllib.algorithms.ppo import PPOConfig  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.integrations import rllib  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    paths = ":".join([str(ROOT), *sys.path])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    yield
    ray.shutdown()


def ppo(callback, **training):
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    config.rl_module(model_config={"fcnet_hiddens": [16]})
    config.training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1, **training)
    return (config.callbacks(rllib.Applied) if callback else config).build_algo()


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    directory = tmp_path_factory.mktemp("donor")
    algorithm = ppo(False, lr=1e-3)
    algorithm.train()
    algorithm.save_checkpoint(str(directory))
    algorithm.stop()
    return str(directory)


def test_the_field_s_first_complaint_is_caught_and_mended(donor):
    child = ppo(False, lr=5e-4, clip_param=0.1, lambda_=0.9)
    child.load_checkpoint(donor)
    with pytest.raises(rllib.Ignored, match=r"lr=0.0005 in the config, and the live algorithm trains with 0.001"):
        rllib.checked_effective(child)
    rllib.apply_learning_rate(child)
    found = rllib.checked_effective(child)
    assert (found["lr"], found["clip_param"], found["lambda"]) == (5e-4, 0.1, 0.9)
    child.stop()


def test_the_callback_applies_what_a_checkpoint_overwrote_and_reports_it(donor):
    child = ppo(True, lr=5e-4)
    child.load_checkpoint(donor)
    assert rllib.effective(child)["lr"] == 5e-4  # before its first update
    assert child.train()["effective"]["lr"] == 5e-4
    child.stop()


def test_the_example_trains_with_what_it_mutates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts
    sys.path.insert(0, str(ROOT))
    from examples import rllib_ppo

    rllib_ppo.main(["--quick", "--iterations", "4", "--storage", str(tmp_path), "--mlflow", f"sqlite:///{tmp_path}/mlflow.db"])
    history = pt.open_run(tmp_path / "rllib_ppo" / "poptrain").history
    assert {history.step(id) for id in range(history.n)} == {2, 4} and not any(history.table()["error"])
    clones = [id for id in range(2, history.n) if history.task(history.task(id).parent).member != history.task(id).member]
    assert clones
    for id in range(history.n):
        metrics, hparams = history.result(id).metrics, history.task(id).hparams
        assert all(metrics[f"effective/{name}"] == value for name, value in hparams.items())
    for id in clones:  # and it did what they say: two iterations of so many steps
        before = history.result(history.task(id).parent).metrics["env_runners/num_env_steps_sampled_lifetime"]
        steps = history.result(id).metrics["env_runners/num_env_steps_sampled_lifetime"] - before
        batch = history.task(id).hparams["train_batch_size_per_learner"]
        assert 2 * batch <= steps < 2 * batch + 20

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("pbt_ppo").experiment_id])
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert len(runs) == 3 and len(parents - {None}) == 1
