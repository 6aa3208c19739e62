"""Whole numbers and ordinals of many levels lie inside the box of the trust region, and can always change by one level."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.gp.region_search import neighbourhood
from poptrain.algorithms.gp.trust_region import Region
from poptrain.core.fingerprint import as_begun, as_logged, describe, differences
from poptrain.core.rng import rng

MANY = pt.Space(
    a=pt.Int(1, 40), b=pt.LogInt(1, 1000), c=pt.Ordinal(*range(0, 500, 5)), d=pt.Int(-(10**6), 10**6), e=pt.LogInt(7, 10**9)
)  # fmt: skip


@pytest.mark.parametrize("key", range(8))
def test_rounded_points_lie_inside_the_box(key):
    g = rng(key, "levels")
    centre = MANY.sample(g)
    near = neighbourhood(MANY, centre, Region(0.1 + 0.5 * g.random(), 1.0), np.exp(g.normal(size=5)))
    low, high = near.bounds
    ends = near.snapped(np.array([low, high, (low + high) / 2]))
    for point in (*ends, *near.random(g, 40), near.anywhere(g)):
        assert (point >= low - 1e-9).all() and (point <= high + 1e-9).all()
        assert MANY.finish(MANY.decode(point)) == MANY.decode(point)
        assert np.allclose(MANY.encode(MANY.decode(point)), point, atol=1e-12)


def test_the_next_level_is_always_inside():
    narrow = Region(0.01, 1.0)
    centre = {"a": 20, "b": 1, "c": 250, "d": 0, "e": 7}
    near = neighbourhood(MANY, centre, narrow, None)
    for name, value in {"a": 19, "b": 2, "c": 255, "e": 8}.items():
        assert near.contains(np.array(MANY.encode({**centre, name: value})))
    assert not near.contains(np.array(MANY.encode({**centre, "b": 3})))
    first = neighbourhood(MANY, {**centre, "a": 1, "c": 495}, narrow, None)
    assert first.contains(np.array(MANY.encode({**centre, "a": 2, "c": 490})))


def test_a_run_from_before_rounds_as_it_did():
    for algorithm in (
        pt.bg_pbt(MANY, interval=5),
        pt.bg_pbt(MANY, interval=5, trust_region=pt.TrustRegion(length=0.3)),
        pt.bg_pbt(MANY, interval=5, as_in="paper"),
        pt.pb2(MANY, interval=5, trust_region=pt.TrustRegion()),
    ):
        then = json.loads(json.dumps(describe(algorithm)))
        del then["explore"]["region"]["exact"]
        begun = as_logged(as_begun(algorithm, then), then)
        assert not list(differences(then, describe(begun))) and not begun.explore.region.exact
        assert replace(begun, explore=algorithm.explore) == algorithm
    near = neighbourhood(MANY, MANY.sample(rng(0)), Region(0.4, 1.0, exact=False), None)
    low, high = near.bounds
    ends = near.snapped(np.array([low, high]))
    assert ((ends < low - 1e-9) | (ends > high + 1e-9)).any()
