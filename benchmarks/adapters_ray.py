"""The Ray Tune and RLlib rows of `benchmarks.adapters`: lines of user code, and whether every mutated hyperparameter acts.

Ray Tune: the program in `benchmarks/snippets/ray_tune.py` runs as it is, on a local Ray; the live optimiser is read in the worker
at the end of each iteration. RLlib: `examples.rllib_ppo --quick`, six hyperparameters of PPO, read from the live algorithm; as a
control, the same algorithm restored without `Applied`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.code_lines import MOST, RAY, SNIPPETS, code_lines
from benchmarks.common import figure, installed, main

SNIPPET = SNIPPETS / "ray_tune.py"


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures; `quick` changes nothing, both programs take a minute or two."""
    with local_ray():
        figures = tune_row() if installed("torch") else []
        return figures + (rllib_row() if installed("gymnasium") and installed("torch") else [])


def tune_row() -> list[dict[str, Any]]:
    """Returns the figures of the scheduler for Ray Tune with a PyTorch class."""
    lines = code_lines(SNIPPET.read_text())
    mutations, acted = mutated(watched_tune(), ("lr", "momentum"))
    return [
        figure("lines of user code, Ray Tune (tuner)", lines, "lines", f"<= {MOST}; Ray Tune alone {RAY}", lines <= MOST),
        figure("mutations that acted, Ray Tune", acted / mutations, "", "= 1", acted == mutations, mutations),
    ]


def watched_tune() -> Any:
    """Runs the program and returns the history of its run; reports say what the live optimiser held."""
    from ray.train import constants

    import poptrain as pt
    from poptrain.integrations.ray_tune import experiment

    plain = experiment.tune_trainable

    def watched(member: type, steps: int = 1) -> type:
        class Watched(plain(member, steps)):
            def step(self) -> dict[str, Any]:
                found = super().step()
                (group,) = self.member.optimizer.param_groups
                return {**found, "effective": {"lr": group["lr"], "momentum": group["momentum"]}}

        return Watched

    usual = constants.DEFAULT_STORAGE_PATH
    experiment.tune_trainable = watched
    try:
        with tempfile.TemporaryDirectory(dir=runs()) as directory, contextlib.redirect_stdout(io.StringIO()):
            constants.DEFAULT_STORAGE_PATH = directory
            results = runpy.run_path(str(SNIPPET), run_name="__main__")["results"]
            return pt.open_run(Path(results.experiment_path) / "poptrain").history
    finally:
        experiment.tune_trainable, constants.DEFAULT_STORAGE_PATH = plain, usual


def rllib_row() -> list[dict[str, Any]]:
    """Returns the figures of PPO: with `Applied`, and of a restored algorithm without it."""
    import poptrain as pt
    from examples import rllib_ppo

    with tempfile.TemporaryDirectory(dir=runs()) as directory:
        with contextlib.redirect_stdout(io.StringIO()):
            rllib_ppo.main(["--quick", "--members", "3", "--cpus", "3", "--storage", directory])
        history = pt.open_run(Path(directory) / "rllib_ppo" / "poptrain").history
    mutations, acted = mutated(history, rllib_ppo.MUTATIONS)
    control = ignored_without()
    return [
        figure("mutations that acted, RLlib PPO (Applied)", acted / mutations, "", "= 1", acted == mutations, mutations),
        figure("learning rate of the first update that acted, RLlib alone", 1.0 - control, "", "= 0, the control", control),
    ]


def mutated(history: Any, names: Any) -> tuple[int, int]:
    """Returns how many tasks changed a hyperparameter of their parent, and in how many of them all of their own acted."""
    mutations = acted = 0
    for id in range(history.n):
        task, result = history.task(id), history.result(id)
        if task.parent is None or task.hparams == history.task(task.parent).hparams or result is None:
            continue
        mutations += 1
        acted += all(result.metrics.get(f"effective/{name}") == task.hparams[name] for name in names)
    if not mutations:
        raise RuntimeError("nothing was mutated")
    return mutations, acted


def ignored_without() -> bool:
    """Returns whether PPO, restored from a checkpoint with another learning rate, holds the checkpoint's and not its config's."""
    from ray.rllib.algorithms.ppo import PPOConfig

    from poptrain.integrations.rllib import effective

    def ppo(rate: float) -> Any:
        config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
        return config.training(lr=rate, train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1).build_algo()

    with tempfile.TemporaryDirectory(dir=runs()) as directory:
        donor, child = ppo(1e-3), ppo(5e-4)
        donor.train()
        donor.save_checkpoint(directory)
        child.load_checkpoint(directory)
        held = effective(child)["lr"]
        donor.stop()
        child.stop()
    return held != 5e-4


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Starts a Ray of its own for the measurement, unless one is connected."""
    import ray

    mine = not ray.is_initialized()
    if mine:
        here = str(Path(__file__).parent.parent)
        ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
                 runtime_env={"env_vars": {"PYTHONPATH": here}})  # fmt: skip
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


def runs() -> Path:
    """Returns the directory for what a benchmark leaves behind."""
    Path("runs").mkdir(exist_ok=True)
    return Path("runs").absolute()


if __name__ == "__main__":
    main("adapters_ray", measure, __doc__)
