"""The preflight notices threads that stand in each other's way, and says what to set."""

from __future__ import annotations

import re
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import poptrain as pt
from poptrain.executors import Processes
from poptrain.preflight import threads

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


def crowded_train(carry, hp, steps, seed):
    """Takes 15 ms for each thread that the numeric libraries of this process may use, however many CPUs there are."""
    x = (1.0 if carry is None else carry) * (1 - hp["lr"]) ** steps
    time.sleep(0.015 * max((pool["num_threads"] for pool in threadpool_info()), default=1))
    return x, {"score": 1 - x}


def verdict(train, executor="inline"):
    experiment = pt.Experiment(pt.pbt(SPACE, population=2, interval=1), train, stop=pt.steps(4), executor=executor)
    return next((each for each in pt.check(experiment).checks if each.name == "threads"), None)


def test_a_member_that_is_faster_with_one_thread_is_noticed():
    with threadpool_limits(3):
        found = verdict(crowded_train)
    assert found.state == "unclear" and "with one thread as with 3" in found.text and "OMP_NUM_THREADS=1" in found.text
    with threadpool_limits(1):
        assert verdict(crowded_train) is None


def test_a_member_whose_time_is_not_that_of_threads_is_left_alone(monkeypatch):
    monkeypatch.setattr(threads, "cpus", lambda: 3)

    def train(carry, hp, steps, seed):
        time.sleep(0.03)
        return 1.0 if carry is None else carry + hp["lr"], {"score": hp["lr"]}

    with threadpool_limits(3):
        assert verdict(train) is None


@pytest.mark.parametrize(
    ("cpus", "config", "variable", "expected"),
    [
        (4, Processes(slots=4, threads=4), None, "4 workers have 4 threads each, more than the 4 CPUs .* pass threads=1 to"),
        (8, Processes(slots=2), "8", "2 workers have 8 threads each, more than the 8 CPUs .* set OMP_NUM_THREADS=4"),
        (4, Processes(slots=2), "8,2", "2 workers have 8 threads each"),
        (4, Processes(slots=2), None, None),
        (4, Processes(slots=8), None, None),
        (4, "processes", None, None),
        (4, "inline", None, None),
    ],
)
def test_more_threads_than_cpus_are_noticed_without_any_training(monkeypatch, cpus, config, variable, expected):
    for module in ("poptrain.preflight.threads", "poptrain.executors.processes"):
        monkeypatch.setattr(f"{module}.cpus", lambda: cpus)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with threadpool_limits(1):
        found = threads.crowded(threads.workers(config, 8))
    if expected is None:
        assert found is None
    else:
        assert re.search(expected, found.text)


def test_workers_of_another_machine_are_not_judged():
    assert threads.workers(object(), 8) is None and threads.workers("vectorized", 8) is None
