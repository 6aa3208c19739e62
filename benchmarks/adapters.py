"""How many lines a user writes for each adapter, and whether every mutated hyperparameter takes effect.

    python -m benchmarks.adapters --json

The task is the one of the comparison with other tools: a PyTorch classifier whose learning rate and momentum are tuned, with
`make_model`, `train_one_epoch` and `evaluate` given (for Stable-Baselines3: a PPO agent). The programs in `benchmarks/snippets`
are run as they are, and their lines are counted without blank lines, comments and docstrings. A mutation is effective if the
live optimiser (for PPO also the clip range and batch size), read after every epoch or update of the task, has exactly the
values of the task. The control lacks the line that applies hyperparameters after loading, so none of its mutations takes effect.

The lines on top of an unchanged loop are those of a program in `benchmarks/snippets` that the same program without poptrain, in
`benchmarks/snippets/before`, does not have; the programs are run as well. What values act in them: `benchmarks.in_force`.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import adapters_ray
from benchmarks.code_lines import MOST, ON_TOP, RAY, SNIPPETS, code_lines, lines_on_top
from benchmarks.common import figure, installed, main

NEEDED = {"torch_member": "torch", "trainer": "transformers", "lightning_module": "lightning", "keras_model": "keras"}


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the figures of every adapter whose package is installed; `quick` changes nothing, it takes a minute at most."""
    figures: list[dict[str, Any]] = []
    if installed("torch"):
        figures += adapter("PyTorch (TorchMember)", "torch_member", watch_torch, f"<= {MOST}; Ray Tune {RAY}", MOST)
        figures += adapter("PyTorch, a plain class", "plain_class", watch_torch, f"< {RAY}, Ray Tune's", RAY - 1)
        figures += control("control: not applied after loading", "faulty", watch_torch)
    if installed("stable_baselines3"):
        figures += adapter("Stable-Baselines3 (SB3Member)", "sb3_agent", watch_ppo, f"<= {MOST}", MOST)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    for snippet, most in ON_TOP.items():
        if installed(NEEDED.get(snippet, "poptrain")):
            execute(SNIPPETS / f"{snippet}.py")
            lines = lines_on_top(snippet)
            figures.append(figure(f"lines on top of an unchanged loop, {snippet}", lines, "lines", f"<= {most}", lines <= most))
    if installed("ray"):
        figures += adapters_ray.measure(quick)
    return figures


def adapter(name: str, snippet: str, watch: Callable[..., Any], target: str, most: int) -> list[dict[str, Any]]:
    """Returns the two figures of one adapter: lines of user code, and the share of its mutations that were effective."""
    path = SNIPPETS / f"{snippet}.py"
    lines = code_lines(path.read_text())
    mutations, effective = mutated(*watch(path))
    return [
        figure(f"lines of user code, {name}", lines, "lines", target, lines <= most),
        figure(f"mutations that acted, {name}", effective / mutations, "", "= 1", effective == mutations, mutations),
    ]


def control(name: str, snippet: str, watch: Callable[..., Any]) -> list[dict[str, Any]]:
    """Returns the share of effective mutations of a program that is known to be wrong."""
    mutations, effective = mutated(*watch(SNIPPETS / f"{snippet}.py"))
    return [figure(f"mutations that acted, {name}", effective / mutations, "", "= 0", effective == 0, mutations)]


def mutated(run: Any, seen: list[dict[str, Any]]) -> tuple[int, int]:
    """Returns how many tasks changed a hyperparameter of their parent, and in how many of them all of their own acted.

    The inline executor trains in the order of the task ids, so the looks are shared out evenly among the tasks.
    """
    history = run.history
    looks, rest = divmod(len(seen), history.n)
    assert looks and not rest, f"{len(seen)} looks at {history.n} tasks"
    mutations = effective = 0
    for id in range(history.n):
        task = history.task(id)
        if task.parent is None or task.hparams == history.task(task.parent).hparams:
            continue
        mutations += 1
        effective += all(look == dict(task.hparams) for look in seen[id * looks : (id + 1) * looks])
    assert mutations, "nothing was mutated"
    return mutations, effective


def watch_torch(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Runs a program and returns its run, and what the optimiser held at the end of each epoch."""
    from benchmarks.snippets import task

    task.SEEN.clear()
    return execute(path), list(task.SEEN)


def watch_ppo(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Runs a program and returns its run, and what PPO held at the end of each update."""
    from stable_baselines3 import PPO

    seen: list[dict[str, Any]] = []
    train = PPO.train

    def watched(model: Any) -> None:
        train(model)
        rate, clip = model.policy.optimizer.param_groups[0]["lr"], model.clip_range(model._current_progress_remaining)
        seen.append({"lr": rate, "clip_range": clip, "batch_size": model.batch_size})

    PPO.train = watched
    try:
        return execute(path), seen
    finally:
        PPO.train = train


def execute(path: Path) -> Any:
    """Runs a program as a user would, in silence, and returns its `run`."""
    with contextlib.redirect_stdout(io.StringIO()):
        return runpy.run_path(str(path), run_name="__main__")["run"]


if __name__ == "__main__":
    main("adapters", measure, __doc__)
