"""The examples of BG-PBT with generations run, change their architectures, and have the settings that they claim."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

import poptrain as pt
from poptrain.engine.experiment import load

EXAMPLES = Path(__file__).parents[2] / "examples"


def changes(history):
    """Returns the number of lines in which students begin."""
    lines = [history.line(number) for number in range(history.lines)]
    return sum(isinstance(line[0], pt.Task) and line[0].teacher is not None and line[0].parent is None for line in lines)


@pytest.mark.heavy
def test_bgpbt_has_the_papers_settings_for_every_robot_and_room_for_the_changes_that_it_claims():
    pytest.importorskip("jax")
    pytest.importorskip("envpool")
    found = runpy.run_path(str(EXAMPLES / "bgpbt.py"), run_name="example")
    sized, sizes = found["sized"], found["SIZES"]
    for env in ("brax/ant", "brax/halfcheetah", "brax/reacher", "Ant-v5", "HalfCheetah-v5", "Reacher-v5"):
        size = sized("paper", env)
        assert (size.distill, size.every, size.changes) == (30_000_000, 40_000_000, 2)
    for env in ("brax/hopper", "brax/humanoid", "Hopper-v5", "Humanoid-v5"):
        size = sized("paper", env)
        assert (size.distill, size.every, size.changes) == (40_000_000, 60_000_000, 1)
    assert sized("cheetah", "Hopper-v5")._replace(env="") == sizes["cheetah"]._replace(env="")
    for name, enough in (("cheetah", 1_200_000), ("paper", 200_000_000)):
        size, fitting = sizes[name], []
        generations = pt.Generations(distill=size.distill, every=size.every, most=size.changes)
        costs = [generations.cost(3 * size.members + number, size.members, size.interval) for number in (1, 2)]
        for steps in (size.steps, enough):
            needed = [sum(costs[:n]) + size.members * (n * size.every + size.interval) for n in (1, 2)]
            fitting.append(sum(size.members * steps >= each for each in needed))
        assert fitting == [1, 2], "one change fits, and two with the number of steps that the example names"


@pytest.mark.heavy
def test_bgpbt_trains_ppo_through_a_change_of_its_architectures(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("gymnasium")
    found = runpy.run_path(str(EXAMPLES / "bgpbt.py"), run_name="example")
    size = found["SIZES"]["small"]._replace(
        members=2, envs=2, steps=1_600, interval=100, distill=400, every=200, batch=(64, 128), widths=(4, 8), layers=1, horizon=20
    )
    history = pt.run(found["make"](size), directory=tmp_path / "run", progress=False).history
    assert history.oks.all() and changes(history) == 1
    assert len(history.task(0).hparams) == 15 and pt.verify(tmp_path / "run", found["make"](size)).ok


@pytest.mark.heavy
def test_torch_students_grow_wider_and_better():
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    experiment = load(EXAMPLES / "torch_students.py")
    run = pt.run(replace(experiment, stop=pt.steps(260)), progress=False)
    assert changes(run.history) == 1 and run.history.oks.all()
    assert run.best.score > 0.5  # chance is 0.1
