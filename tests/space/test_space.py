"""The laws of parameters and spaces: exact codecs, moves that stay inside, a clear sentence per mistake."""

from __future__ import annotations

import json
import math
import pickle
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from often import often
from scipy import stats

from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.space import Choice, Complement, Int, LogInt, LogUniform, Ordinal, Space, Uniform, nested

LAW = settings(derandomize=True, deadline=None, max_examples=often(400))
FACTORS = (0.8, 1.2)

REAL = [
    Uniform(0, 1),
    Uniform(0.8, 0.99),
    Uniform(-1, 1),
    Uniform(-5, -2),
    Uniform(-1, 0),
    Uniform(1000, 1001),
    Uniform(1 / 3, 2 / 3),
    Uniform(0.3, 0.3 + 1e-15),
    Uniform(1e-12, 1e12),
    LogUniform(1e-4, 1e-1),
    LogUniform(1e-12, 1e12),
    LogUniform(1 / 3, 1e5 / 7),
    LogUniform(1, 1 + 1e-12),
    LogUniform(2, 3),
    Complement(0.9, 0.9999),
    Complement(0, 1 - 1e-9),
    Complement(0.99, 0.99 + 1e-13),
]
WHOLE = [
    Int(1, 8),
    Int(0, 1),
    Int(-3, 4),
    Int(-9, -2),
    Int(-4, 0),
    Int(0, 10**12),
    LogInt(1, 4),
    LogInt(1000, 60_000),
    LogInt(1, 10**12),
]
LISTED = [
    Choice("crop", "flip", None, 3, 0.5),
    Choice(True, False),
    Ordinal(32, 64, 128),
    Ordinal("small", "large"),
]
CONSTANT = [
    Uniform(0.3, 0.3),
    LogUniform(2, 2),
    Complement(0.9, 0.9),
    Int(3, 3),
    LogInt(7, 7),
    Choice("a"),
    Ordinal(1),
]
ALL = REAL + WHOLE + LISTED + CONSTANT
parameters = pytest.mark.parametrize("p", ALL, ids=repr)


def ends(p):
    return (p.options[0], p.options[-1]) if hasattr(p, "options") else (p.low, p.high)


def code(p, u):
    """A code of the parameter for u in [0, 1]."""
    return u if p.numeric else u * (p.levels - 1)


def bounds(low, high):
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda pair: tuple(sorted(pair)))


def decades(low, high):
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


reals = st.one_of(
    bounds(-1e12, 1e12).filter(lambda b: all(x == 0 or abs(x) >= 1e-100 for x in b)).map(lambda b: Uniform(*b)),
    st.tuples(st.floats(-1e6, 1e6), decades(-18, 0))
    .filter(lambda b: b[0] == 0 or abs(b[0]) > 1e-90)
    .map(lambda b: Uniform(b[0], b[0] + b[1])),
    st.tuples(decades(-100, 100), decades(-100, 100)).map(lambda b: LogUniform(min(b), max(b))),
    st.tuples(decades(-12, 12), decades(-17, 1)).map(lambda b: LogUniform(b[0], b[0] * (1 + b[1]))),
    bounds(0, 1 - 1e-9).filter(lambda b: all(x == 0 or x >= 1e-100 for x in b)).map(lambda b: Complement(*b)),
    st.tuples(st.floats(0.5, 0.99), decades(-17, -2)).map(lambda b: Complement(b[0], min(b[0] + b[1], 0.9999))),
)
wholes = st.one_of(
    st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 10**12)).map(lambda b: Int(b[0], min(sum(b), 10**12))),
    st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(lambda b: Int(b[0], b[0] + b[1])),
    st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)).map(lambda b: LogInt(min(b), max(b))),
    st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda b: LogInt(b[0], b[0] + b[1])),
)
units = st.one_of(st.floats(0, 1), decades(-17, 0), decades(-17, 0).map(lambda u: 1 - u))


# -- codecs --------------------------------------------------------------------------------------------------


@LAW
@given(st.one_of(reals, wholes), units)
def test_decode_of_encode_is_exact_for_every_value_a_parameter_produces(p, u):
    value = p.decode(u)
    assert p.decode(p.encode(value)) == value
    assert p.snap(value) == value
    assert p.contains(value)


@LAW
@given(st.one_of(reals, wholes), units, st.sampled_from([0.5, 0.8, 1.2, 2.0]), st.floats(-1, 1))
def test_every_move_lands_on_the_lattice_inside_the_bounds(p, u, factor, delta):
    value = p.decode(u)
    for moved in (
        p.perturb(value, factor, rng(0)),
        p.shift(value, delta),
        p.shift(value, delta, 0.1),
        p.sample(rng(1)),
    ):
        assert p.low <= moved <= p.high
        assert type(moved) is type(p.low)
        assert p.decode(p.encode(moved)) == moved == p.snap(moved)


@LAW
@given(st.one_of(reals, wholes), units)
def test_some_factor_always_moves_a_parameter_that_is_no_constant(p, u):
    for value in (p.decode(u), p.low, p.high):
        moved = {p.perturb(value, factor, rng(0)) for factor in FACTORS}
        assert p.low == p.high or moved != {value}


@LAW
@given(reals, units)
def test_rounding_moves_a_real_by_less_than_a_millionth_of_a_millionth_of_its_scale(p, u):
    x = p.low + u * (p.high - p.low)
    if p.low <= x <= p.high:
        assert abs(p.snap(x) - x) <= 1e-11 * max(p.high - p.low, 0) + 2 * math.ulp(max(abs(p.low), abs(p.high)))


@LAW
@given(st.one_of(reals, wholes), units, units)
def test_codes_are_in_the_unit_interval_and_keep_the_order(p, u, v):
    one, other = sorted((p.decode(u), p.decode(v)))
    assert 0 <= p.encode(one) <= p.encode(other) <= 1


@parameters
def test_bounds_are_exact_and_codes_beyond_them_clip(p):
    low, high = ends(p)
    last = p.levels - 1 if not p.numeric else 1
    assert [p.decode(u) for u in (-7, 0, last, last + 7)] == [low, low, high, high]
    assert p.decode(p.encode(low)) == low and p.decode(p.encode(high)) == high


ODD = [
    Uniform(1 / 3, 0.7000000000006),
    Uniform(0.1234567890126, 1),
    Uniform(-0.7000000000006, -0.1234567890126),
    LogUniform(1.000000000006e-4, 9.999999999994e-2),
    LogUniform(1.0000000000004e-4, 1.0000000000006),
    Complement(0.1234567890126, 0.7000000000006),
]


@pytest.mark.parametrize("p", REAL + ODD, ids=repr)
def test_values_next_to_a_bound_stay_inside_and_keep_the_round_trip(p):
    for scale in (1e-16, 1e-14, 1e-13, 1e-12):
        for i in range(100):
            for x in (p.low + i * scale * abs(p.low), p.high - i * scale * abs(p.high)):
                value = p.snap(x)
                assert p.low <= value <= p.high
                assert p.decode(p.encode(value)) == value == p.snap(value)


@parameters
def test_values_are_python_scalars(p):
    made = [p.sample(rng(0)), p.draw(rng(1)), *p.grid(3), p.perturb(ends(p)[0], np.float64(1.2), rng(2))]
    made += [p.decode(np.float64(0.3)), p.snap(np.asarray(made[0])), p.shift(made[0], np.float64(0.1))]
    assert {type(value) for value in made} <= {bool, int, float, str, type(None)}


@parameters
def test_a_constant_encodes_to_the_middle_and_has_one_level(p):
    constant = ends(p)[0] == ends(p)[1]
    assert (p.levels == 1) == constant
    if constant and p.numeric:
        assert p.encode(ends(p)[0]) == 0.5
        assert {p.perturb(ends(p)[0], f, rng(0)) for f in FACTORS} == {p.decode(0.3)} == {ends(p)[0]}


@pytest.mark.parametrize("p", [Uniform(0, 1), LogUniform(1e-4, 0.1), Uniform(-1, 1), LogUniform(1e-12, 1e12)], ids=repr)
def test_values_have_at_most_twelve_significant_digits(p):
    generator = rng(3)
    for _ in range(2000):
        digits = Decimal(repr(p.draw(generator))).normalize().as_tuple().digits
        assert len(digits) <= 12


def test_codecs_are_those_of_the_specification():
    assert Uniform(2, 6).encode(3) == 0.25
    assert LogUniform(1e-4, 1e-2).encode(1e-3) == pytest.approx(0.5, abs=1e-15)
    assert Complement(0.9, 0.999).encode(0.99) == pytest.approx(0.5, abs=1e-15)
    assert [Int(1, 4).encode(v) for v in (1, 2, 3, 4)] == [0.125, 0.375, 0.625, 0.875]
    assert LogInt(1, 4).encode(2) == pytest.approx(math.log(2 / 0.5) / math.log(4.5 / 0.5), abs=1e-15)
    assert [Choice("a", "b").encode(v) for v in "ab"] == [0.0, 1.0]
    assert Ordinal("a", "b").encode("b") == 0.75


def test_zero_is_never_negative():
    p = Uniform(-1, 1)
    assert math.copysign(1, p.snap(-1e-20)) == math.copysign(1, Uniform(-0.0, 1).low) == 1


# -- drawing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [Uniform(0.8, 0.99), LogUniform(1e-4, 0.1), Complement(0.9, 0.9999)], ids=repr)
def test_resampling_always_equals_a_draw_from_the_whole_range(p):
    space, generator = Space(x=type(p)(p.low, p.high, init=(p.decode(0.4), p.decode(0.5)))), rng(4)
    made = [space["x"].encode(space.perturb({"x": p.low}, generator, resample=1)["x"]) for _ in range(4000)]
    assert stats.kstest(made, "uniform").pvalue > 0.01


@pytest.mark.parametrize("p", [Int(-2, 5), Ordinal(*range(7)), Choice(*"abcde"), Choice(True, False)], ids=repr)
@pytest.mark.parametrize("how", ["sample", "draw"])
def test_discrete_values_are_equally_likely(p, how):
    generator = rng(5)
    counts = np.unique([str(getattr(p, how)(generator)) for _ in range(8000)], return_counts=True)[1]
    assert len(counts) == p.levels
    assert stats.chisquare(counts).pvalue > 0.01


def test_a_log_int_is_log_uniform():
    p, generator = LogInt(1, 100), rng(6)
    values = np.array([p.draw(generator) for _ in range(8000)])
    groups = [(1, 1), (2, 3), (4, 9), (10, 30), (31, 100)]
    expected = [math.log((b + 0.5) / (a - 0.5)) / math.log(100.5 / 0.5) * 8000 for a, b in groups]
    assert stats.chisquare([((values >= a) & (values <= b)).sum() for a, b in groups], expected).pvalue > 0.01


@pytest.mark.parametrize(
    "p, allowed",
    [
        (Int(0, 9, init=(2, 4)), [2, 3, 4]),
        (LogInt(1, 1000, init=(2, 4)), [2, 3, 4]),
        (Choice("a", "b", "c", init=("a", "c")), ["a", "c"]),
        (Ordinal(1, 2, 3, init=[2]), [2]),
    ],
    ids=repr,
)
def test_first_values_are_all_those_of_the_init_range(p, allowed):
    generator = rng(7)
    assert {p.sample(generator) for _ in range(500)} == set(allowed)


def test_first_values_are_uniform_in_encoded_units_over_the_init_range():
    p, generator = LogUniform(1e-5, 1, init=(1e-3, 1e-2)), rng(8)
    made = [math.log10(p.sample(generator)) for _ in range(4000)]
    assert stats.kstest(made, stats.uniform(-3, 1).cdf).pvalue > 0.01


# -- moving --------------------------------------------------------------------------------------------------


@parameters
def test_ten_thousand_perturbations_never_leave_the_bounds_nor_the_type(p):
    generator, value = rng(9), p.sample(rng(10))
    kinds = {type(option) for option in getattr(p, "options", ends(p))}
    for factor in generator.choice([0.8, 1.2, 0.5, 2.0], 10_000).tolist():
        value = p.perturb(value, factor, generator)
        assert p.contains(value) and type(value) in kinds


@pytest.mark.parametrize(
    "p, value, factor, expected",
    [
        (Uniform(0, 1), 0.5, 1.2, 0.6),
        (Uniform(0, 1), 0.9, 1.2, 1.0),
        (Uniform(0, 1), 0.0, 1.2, 0.2),
        (Uniform(0, 1), 0.0, 0.8, 0.0),
        (Uniform(0, 1), 1e-11, 1.2, 0.20000000001),
        (Uniform(-1, 0), 0.0, 0.8, -0.2),
        (Uniform(-1, 1), 0.5, 0.8, 0.1),
        (Uniform(-2, -1), -1.5, 1.2, -1.8),
        (Uniform(-1, -0.5), -0.5, 0.8, -0.5),
        (LogUniform(1e-4, 1e-1), 0.05, 0.8, 0.04),
        (LogUniform(1e-4, 1e-1), 1e-4, 0.8, 1e-4),
        (Complement(0.9, 0.999), 0.99, 0.8, 0.992),
        (Complement(0.9, 0.999), 0.99, 1.2, 0.988),
        (Complement(0, 0.9), 0.0, 0.8, 0.2),
        (Int(1, 8), 1, 1.2, 2),
        (Int(1, 8), 2, 0.8, 1),
        (Int(1, 8), 8, 1.2, 8),
        (Int(0, 10), 0, 1.2, 2),
        (Int(-4, 0), 0, 0.8, -1),
        (Int(-1, 1), 0, 1.2, 1),
        (Int(-9, -1), -1, 1.2, -2),
        (Int(0, 10), 5, 0.5, 3),
        (LogInt(1, 100), 1, 1.2, 2),
        (LogInt(1000, 60_000), 20_000, 1.2, 24_000),
        (Ordinal(32, 64, 128), 64, 1.2, 128),
        (Ordinal(32, 64, 128), 128, 2.0, 128),
        (Ordinal(32, 64, 128), 64, 0.8, 32),
    ],
)
def test_perturbing_multiplies_and_adds_where_multiplying_cannot_move(p, value, factor, expected):
    assert p.perturb(value, factor, rng(0)) == expected


def test_a_choice_is_redrawn_among_all_options():
    generator = rng(11)
    assert {Choice(*"abc").perturb("a", 1.2, generator) for _ in range(100)} == set("abc")


@pytest.mark.parametrize("p", [Int(0, 1), Int(1, 100), LogInt(1, 1000), Ordinal(1, 2, 3), Uniform(0, 1)], ids=repr)
def test_additive_noise_moves_every_value_however_small(p):
    space, generator = Space(x=p), rng(12)
    for value in (*ends(p), p.decode(0.5)):
        assert {space.add({"x": value}, generator, 0.01)["x"] for _ in range(3000)} - {value}


def test_additive_noise_is_right_on_average():
    space, generator = Space(x=Int(0, 100)), rng(13)
    moves = np.array([space.add({"x": 50}, generator, 0.002)["x"] - 50 for _ in range(20_000)])
    assert abs(moves.mean()) < 4 * moves.std() / math.sqrt(len(moves))
    assert Space(x=Uniform(0, 1)).add({"x": 0.5}, rng(0), 0) == {"x": 0.5}


def test_additive_noise_keeps_a_choice():
    space = Space(x=Choice(*"abc"))
    assert {space.add({"x": "b"}, rng(0, i), 0.5)["x"] for i in range(50)} == {"b"}


STATIC = Space(
    width=Ordinal(32, 64, 128, static=True),
    aug=Choice(*"abc", static=True),
    n=Int(1, 9, static=True),
    lr=LogUniform(1e-4, 1),
)


@pytest.mark.parametrize(
    "move",
    [
        lambda h, g: STATIC.perturb(h, g, resample=0.5),
        lambda h, g: STATIC.add(h, g, 0.5),
        lambda h, g: STATIC.redraw(h, g),
    ],
    ids=["perturb", "add", "redraw"],
)
def test_static_parameters_never_move(move):
    generator, h = rng(14), {"width": 64, "aug": "b", "n": 3, "lr": 0.01}
    made = [move(h, generator) for _ in range(200)]
    assert all(m | {"lr": 0.01} == h for m in made)
    assert len({m["lr"] for m in made}) > 1
    assert STATIC.static_names == ("width", "aug", "n")


# -- grids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "p, n, expected",
    [
        (Uniform(0, 1), 5, [0, 0.25, 0.5, 0.75, 1]),
        (Uniform(0, 1), 1, [0.5]),
        (LogUniform(1e-4, 1e-1), 4, [1e-4, 1e-3, 1e-2, 1e-1]),
        (Int(1, 4), 10, [1, 2, 3, 4]),
        (Int(1, 9), 3, [1, 5, 9]),
        (LogInt(1, 4), 4, [1, 2, 3, 4]),
        (Ordinal("a", "b", "c"), 2, ["a", "c"]),
        (Ordinal("a", "b", "c"), 1, ["b"]),
        (Choice("a", "b", "c"), 2, ["a", "b", "c"]),
        (Uniform(3, 3), 5, [3]),
    ],
)
def test_a_grid_is_equally_spaced_in_encoded_units(p, n, expected):
    assert p.grid(n) == expected


def test_a_grid_of_a_space_has_every_combination_once_after_repair():
    space = Space(a=Int(1, 3), b=Choice("x", "y"))
    assert space.grid(2) == [{"a": a, "b": b} for a in (1, 3) for b in "xy"]
    assert len(space.grid({"a": 3})) == len(space.grid({})) == 6
    same = Space(a=Int(1, 3), b=Int(1, 3), repair=lambda h: h | {"b": min(h["a"], h["b"])})
    assert same.grid(3) == [{"a": a, "b": b} for a in (1, 2, 3) for b in range(1, a + 1)]


# -- spaces --------------------------------------------------------------------------------------------------

SPACE = Space(
    {"optimizer.lr": LogUniform(1e-4, 1e-1)},
    optimizer={"momentum": Uniform(0, 0.99)},
    discount=Complement(0.9, 0.999),
    batch=LogInt(1000, 60_000),
    aug=Choice("crop", None),
    width=Ordinal(32, 64, static=True),
)
EXAMPLE = {
    "optimizer.lr": 0.001,
    "optimizer.momentum": 0.9,
    "discount": 0.99,
    "batch": 2000,
    "aug": None,
    "width": 64,
}


@LAW
@given(st.lists(units, min_size=6, max_size=6))
def test_a_space_decodes_what_it_encodes(codes):
    h = SPACE.decode(codes)
    assert SPACE.decode(SPACE.encode(h)) == h == SPACE.finish(h)
    assert SPACE.encode(h).shape == (6,)


def test_nested_and_dotted_names_are_the_same_space():
    dotted = Space({"a.b": Int(1, 2), "a.c": Int(1, 3), "d": Int(1, 4)})
    assert (
        dotted == Space(a={"b": Int(1, 2), "c": Int(1, 3)}, d=Int(1, 4)) == Space(a=Space(b=Int(1, 2), c=Int(1, 3)), d=Int(1, 4))
    )
    assert dotted.nested({"a.b": 1, "a.c": 3, "d": 2}) == {"a": {"b": 1, "c": 3}, "d": 2}
    assert dotted.finish({"a": {"b": 1, "c": 3}, "d": 2}) == {"a.b": 1, "a.c": 3, "d": 2}
    assert nested({"d": 2}) == {"d": 2}


def test_a_space_is_a_mapping_of_its_parameters_in_order():
    assert len(SPACE) == 6 and tuple(SPACE) == SPACE.names == tuple(EXAMPLE)
    assert SPACE["batch"] == LogInt(1000, 60_000) and dict(SPACE.items())["aug"] is SPACE["aug"]
    assert list(SPACE.sample(rng(0))) == list(EXAMPLE)


def test_a_completed_configuration_has_the_given_values_and_the_same_rest():
    bare, some = (
        SPACE.complete({}, rng(15)),
        SPACE.complete({"batch": np.int64(2000), "optimizer": {"lr": 0.1 + 0.2 - 0.25}}, rng(15)),
    )
    assert bare == SPACE.sample(rng(15))
    assert some == bare | {"batch": 2000, "optimizer.lr": 0.05}


def test_configurations_are_equal_for_equal_generators_and_inputs_stay_untouched():
    h = dict(EXAMPLE)
    for move in (lambda g: SPACE.perturb(h, g), lambda g: SPACE.add(h, g, 0.2), lambda g: SPACE.redraw(h, g)):
        assert move(rng(16)) == move(rng(16))
        assert h == EXAMPLE


def test_parameters_move_independently():
    made = [SPACE.perturb(EXAMPLE, rng(17, i)) for i in range(4000)]
    lr, discount = (np.array([m[name] for m in made]) for name in ("optimizer.lr", "discount"))
    assert set(lr) == {0.0008, 0.0012} and set(discount) == {0.988, 0.992}
    both = ((lr == 0.0012) & (discount == 0.992)).mean()
    assert abs(both - 0.25) < 0.03


def test_a_resample_probability_is_the_share_of_fresh_draws():
    made = [SPACE.perturb(EXAMPLE, rng(18, i), resample=0.25)["optimizer.lr"] for i in range(4000)]
    assert abs(np.mean([lr not in (0.0008, 0.0012) for lr in made]) - 0.25) < 0.03


def test_a_repair_has_the_last_word_over_every_method_that_makes_a_configuration():
    def tie(h):
        h["b"]["c"] = h["a"] / 3
        return h

    space = Space(a=Uniform(0, 1), b={"c": Uniform(0, 0.5)}, repair=tie)
    g = rng(19)
    h = space.sample(g)
    made = [h, space.complete({"a": 0.7}, g), space.perturb(h, g), space.add(h, g, 0.1), space.redraw(h, g)]
    made += [space.decode([0.2, 0.9]), space.finish({"a": 0.1, "b.c": 0.5}), *space.grid(3)]
    for each in made:
        assert each["b.c"] == space["b.c"].snap(each["a"] / 3)
        assert space.decode(space.encode(each)) == each


def test_a_repair_may_return_numpy_scalars_and_whole_floats():
    space = Space(n=Int(1, 9), x=Uniform(0, 0.3), repair=lambda h: {"x": np.float32(0.25), "n": np.float64(3.0)})
    made = space.sample(rng(0))
    assert made == {"n": 3, "x": 0.25} and [type(v) for v in made.values()] == [int, float]
    assert Space(x=Uniform(0, 0.3), repair=lambda h: {"x": 0.1 * 3}).sample(rng(0)) == {"x": 0.3}


def mended(h):
    return h


def test_a_description_is_json_and_tells_spaces_apart():
    text = json.dumps(SPACE.describe())
    assert json.loads(text) == SPACE.describe()
    assert Space(x=Int(1, 2), repair=mended).describe()["repair"].endswith("test_space:mended")
    spaces = [
        Space(x=Int(1, 2)),
        Space(x=Int(1, 3)),
        Space(x=Int(1, 2, static=True)),
        Space(x=Int(1, 2, init=(1, 1))),
        Space(x=LogInt(1, 2)),
        Space(x=Choice(1, 2)),
        Space(x=Choice(1.0, 2.0)),
        Space(x=Choice(2, 1)),
        Space(x=Int(1, 2), repair=mended),
        Space(x=Int(1, 2), y=Int(1, 2)),
        Space(y=Int(1, 2), x=Int(1, 2)),
    ]
    assert len(set(spaces)) == len(spaces)


def test_equal_spaces_have_equal_hashes_also_after_pickling():
    for space in (SPACE, Space(x=Int(1, 2), repair=mended)):
        copy = pickle.loads(pickle.dumps(space))
        assert copy == space and hash(copy) == hash(space) and copy.describe() == space.describe()


@parameters
def test_parameters_are_frozen_hashable_and_print_as_they_are_written(p):
    kinds = {kind.__name__: kind for kind in (Uniform, LogUniform, Complement, Int, LogInt, Choice, Ordinal)}
    assert eval(repr(p), kinds) == p and hash(eval(repr(p), kinds)) == hash(p)
    with pytest.raises(AttributeError):
        p.static = True


def test_numpy_scalars_and_arrays_without_dimensions_are_numbers():
    p = Uniform(np.float32(0.5), np.array(2), init=(np.float64(1), np.int8(2)))
    assert p == Uniform(0.5, 2.0, init=(1.0, 2.0)) and [type(v) for v in (p.low, p.high, *p.init)] == [float] * 4
    assert Int(np.int64(1), 1e6) == Int(1, 1_000_000)
    assert [type(option) for option in Choice(np.str_("a"), np.int32(1), np.bool_(False)).options] == [
        str,
        int,
        bool,
    ]


# -- mistakes ------------------------------------------------------------------------------------------------

ONE = Space(lr=LogUniform(1e-4, 1e-1), n=Int(1, 8), aug=Choice("crop", "flip"))
GOOD = {"lr": 0.01, "n": 2, "aug": "crop"}


def fixed(repair):
    return Space(lr=LogUniform(1e-4, 1e-1), n=Int(1, 8, static=True), repair=repair)


MISTAKES = [
    (lambda: LogUniform(0.1, 0.001), "low=0.1, high=0.001; swap"),
    (lambda: Int(8, 1), "low=8, high=1; swap"),
    (lambda: Uniform(float("nan"), 1), "low=nan is not finite"),
    (lambda: Uniform(0, math.inf), "high=inf is not finite"),
    (lambda: Uniform(0, 10**400), "rescaled"),
    (lambda: Uniform(1e-200, 1), "low=1e-200"),
    (lambda: Uniform(True, 2), "low=True is not a number but a bool"),
    (lambda: LogUniform("1e-4", 1), "without the quotes: 1e-4"),
    (lambda: LogUniform("tiny", 1), "low='tiny' is not a number"),
    (lambda: Uniform(None, 1), "NoneType"),
    (lambda: Uniform(np.zeros(2), 1), "ndarray"),
    (lambda: LogUniform(0, 1), "low > 0 or use Uniform"),
    (lambda: LogUniform(-1, 1), "low=-1.0 has no logarithm"),
    (lambda: LogInt(0, 10), "low >= 1 or use Int"),
    (lambda: Complement(0.9, 1), "0.9999"),
    (lambda: Complement(-0.5, 0.9), "use Uniform"),
    (lambda: Int(1.5, 3), "low=1.5 is not a whole number"),
    (lambda: Int(0, 10**13), "use Uniform or LogUniform"),
    (lambda: Uniform(0, 1, init=(0.5, 2)), "init=(0.5, 2.0) is not inside the bounds 0.0 to 1.0"),
    (lambda: Uniform(0, 1, init=(0.8, 0.2)), "swap"),
    (lambda: Uniform(0, 1, init=0.5), "init=0.5 is not a pair"),
    (lambda: Uniform(0, 1, static="yes"), "static='yes' is not a bool"),
    (lambda: Choice(), "Choice() has no options"),
    (lambda: Choice(["a", "b"]), "Choice(*['a', 'b'])"),
    (lambda: Choice("a", "b", "a"), "'a' and 'a' are equal"),
    (lambda: Choice(1, True), "1 and True are equal"),
    (lambda: Choice("a", {}), "is a dict"),
    (lambda: Choice(int, float), "look up the object"),
    (lambda: Choice(0.1, math.nan), "not finite"),
    (lambda: Ordinal(1, 2, init=(3,)), "3, which is not an option"),
    (lambda: Choice("a", "b", init="a"), "not a tuple of options"),
    (lambda: Space(), "Space() has no parameters"),
    (lambda: Space(optimizer={}), "no parameters"),
    (lambda: Space(lr=(0, 1)), "lr=(0, 1) is not a parameter; did you mean Uniform(0, 1) for all"),
    (lambda: Space(actor_lr=(0.1, 1)), "did you mean LogUniform(0.1, 1) for all"),
    (lambda: Space(optimizer={"weight_decay": [1e-4, 1e-2]}), "did you mean Choice(0.0001, 0.01) for these two, or LogUniform("),
    (lambda: Space(dropout=(0.1, 1)), "did you mean Uniform(0.1, 1) for all"),
    (lambda: Space(aug=["a", "b"]), "did you mean Choice('a', 'b')?"),
    (lambda: Space(lr=0.1), "Choice(0.1)"),
    (lambda: Space(lr=Uniform), "call it"),
    (lambda: Space([("lr", Uniform(0, 1))]), "by name"),
    (lambda: Space({3: Uniform(0, 1)}), "the name 3"),
    (lambda: Space({"a..b": Uniform(0, 1)}), "the name 'a..b'"),
    (lambda: Space({"a": Int(1, 2), "a.b": Int(1, 2)}), "'a' is a parameter and contains 'a.b'"),
    (lambda: Space({"a": Int(1, 2)}, a=Int(1, 3)), "'a' appears twice"),
    (lambda: Space(lr=Uniform(0, 1), repair=3), "repair=3 is not callable"),
    (lambda: Space(a={"b": fixed(lambda h: h)}), "repair to the outer"),
    (
        lambda: ONE.complete({"l_r": 0.1}, rng(0)),
        "unknown hyperparameter 'l_r'; the space has lr, n, aug. Did you mean 'lr'?",
    ),
    (lambda: ONE.complete([0.1], rng(0)), "not a dict"),
    (lambda: ONE.check({"lr": 0.1}), "lack 'n', 'aug'"),
    (lambda: ONE.check(GOOD | {"lr": 0.5}), "lr=0.5 is outside LogUniform(0.0001, 0.1)"),
    (lambda: ONE.check(GOOD | {"lr": math.nan}), "lr=nan is outside"),
    (lambda: ONE.check(GOOD | {"lr": "0.01"}), "lr='0.01' is a string"),
    (lambda: ONE.check(GOOD | {"n": 2.5}), "n=2.5 is not a whole number; pass 2 or 3"),
    (lambda: ONE.check(GOOD | {"n": True}), "not a whole number but a bool"),
    (lambda: ONE.check(GOOD | {"aug": "flop"}), "choose from 'crop', 'flip'. Did you mean 'flip'?"),
    (lambda: ONE.check(GOOD | {"aug": []}), "aug=[] is not an option"),
    (lambda: ONE.encode(GOOD | {"aug": "x"}), "'x' is not an option"),
    (lambda: ONE.encode({"lr": 0.1}), "lack"),
    (lambda: ONE.decode([0.1, 0.2]), "shape (2,)"),
    (lambda: ONE.decode([math.nan, 0, 0]), "NaN"),
    (lambda: ONE.perturb(GOOD, rng(0), ()), "factors=()"),
    (lambda: ONE.perturb(GOOD, rng(0), 1.2), "factors=1.2"),
    (lambda: ONE.perturb(GOOD, rng(0), (0.8, -1)), "-1; pass finite numbers above 0"),
    (lambda: ONE.perturb(GOOD, rng(0), resample=25), "resample=25 is not a finite number from 0 to 1"),
    (lambda: ONE.add(GOOD, rng(0), -0.1), "sd=-0.1"),
    (lambda: ONE.grid(0), "levels=0 for 'lr'"),
    (lambda: ONE.grid({"n": 3}), "levels has no 'lr'"),
    (lambda: ONE.grid({"lr": 3, "m": 3}), "unknown hyperparameter 'm'"),
    (lambda: Space(a=Uniform(0, 1), b=Uniform(0, 1)).grid(5000), "25,000,000 points"),
    (lambda: fixed(lambda h: None).sample(rng(0)), "returned None; it must return the dict"),
    (
        lambda: fixed(lambda h: {"lr": 0.01}).sample(rng(0)),
        "wrong configuration: the hyperparameters lack 'n'",
    ),
    (lambda: fixed(lambda h: h | {"lr": 7}).sample(rng(0)), "lr=7 is outside"),
    (lambda: fixed(lambda h: h["x"]).sample(rng(0)), "raised KeyError"),
    (
        lambda: fixed(lambda h: h | {"n": h["n"] % 8 + 1}).perturb({"lr": 0.01, "n": 2}, rng(0)),
        "static 'n' from 2 to 3",
    ),
]


@pytest.mark.parametrize("mistake, text", MISTAKES, ids=[text for _, text in MISTAKES])
def test_every_mistake_gets_one_short_text_with_argument_value_and_fix(mistake, text):
    with pytest.raises(UsageError) as caught:
        mistake()
    message = str(caught.value)
    assert text in message
    assert len(message) < 300 and "\n" not in message and message[-1] in ".?)"


def test_spread_configurations_have_one_in_each_slice_of_every_range_and_keep_what_is_given():
    space = Space(lr=LogUniform(1e-5, 1.0), discount=Complement(0.9, 0.999), opt=Choice("a", "b", "c", "d"))
    found = space.spread([{}] * 8, rng(3))
    for name in ("lr", "discount"):
        slices = sorted(int(space[name].encode(each[name]) * 8) for each in found)
        assert slices == list(range(8))
    assert sorted(each["opt"] for each in found) == sorted("abcd" * 2)
    kept = space.spread([{"lr": 0.01}, {}, {"opt": "d"}], rng(3))
    assert kept[0]["lr"] == 0.01 and kept[2]["opt"] == "d" and all(len(each) == 3 for each in kept)
    with pytest.raises(UsageError, match="lr"):
        space.spread([{"lr": 5.0}], rng(3))


def test_a_step_redraws_each_parameter_with_the_given_probability():
    space = Space(a=Uniform(0, 1), b=Choice(*range(10)), c=Int(0, 1000, static=True))
    start = {"a": 0.0, "b": 0, "c": 5}
    moved = [space.add(start, rng(key), 1e-9, resample=0.3) for key in range(2000)]
    assert abs(np.mean([each["a"] > 0.01 for each in moved]) - 0.297) < 0.03
    assert abs(np.mean([each["b"] != 0 for each in moved]) - 0.27) < 0.03 and all(each["c"] == 5 for each in moved)
    assert [space.add(start, rng(1), 0.1)["b"] for _ in range(2)] == [0, 0]
