"""A trust region of constant width has a model, for BG-PBT and for PB2, and may hold the whole space."""

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.gp.region_search import neighbourhood
from poptrain.algorithms.gp.trust_region import Region
from poptrain.testing import play
from poptrain.testing.simulate import by_hparams

SPACE = pt.Space(x=pt.Uniform(0.0, 1.0), y=pt.LogUniform(1e-3, 1.0))


@pytest.mark.parametrize("factory", [pt.bg_pbt, pt.pb2])
@pytest.mark.parametrize("width", [0.3, 4.0])
def test_a_region_of_constant_width_does_not_restart_with_every_round(factory, width):
    region = pt.TrustRegion(length=width, least=width, most=width)
    algorithm = factory(SPACE, population=4, interval=1, trust_region=region)
    history = play(algorithm, by_hparams, budget=12)
    model = [task for task in map(history.task, range(history.n)) if task.forecast and task.forecast.source == "model"]
    state = region.now(history)
    assert model and state.generation == 0 and state.length == width
    assert all(task.note["region length"] == width for task in model)


def test_ten_failures_restart_it_as_any_other():
    region, state = pt.TrustRegion(length=0.4, least=0.4), Region(0.4, 1.0)
    history = pt.History(0, None)
    for number in range(14):
        first, last = history.n, number >= 3
        tasks = [
            pt.Task(
                first + k, k, {"x": 0.1 * number if k and last else 0.5}, first - 2 + k if number else None, int(number > 0), k
            )
            for k in range(2)
        ]
        history = history.add(tasks)
        history = history.add([pt.Result(first + k, number + 0.5 * (k == 0), number, checkpoint="c") for k in range(2)])
        state = region.now(history)
        assert state.generation == int(number >= 12), "after ten rounds that the suggestion lost"
    assert state.length == 0.4


def test_a_region_of_four_widths_is_the_whole_space_around_every_parent():
    for x in (0.0, 0.2, 1.0):
        near = neighbourhood(SPACE, {"x": x, "y": 1e-3}, Region(4.0, 1.0), np.array([1e-3, 1e3]))
        assert near.bounds[0].tolist() == [0, 0] and near.bounds[1].tolist() == [1, 1]


def test_a_least_share_of_zero_is_named_in_the_message():
    with pytest.raises(pt.UsageError, match="least_share=0, expected a number above 0"):
        pt.TrustRegion(least_share=0)
    for wrong in ({"beta": 10**400}, {"retune": 10**400}):
        with pytest.raises(pt.UsageError, match=next(iter(wrong))):
            pt.bg_pbt(SPACE, interval=1, **wrong)
