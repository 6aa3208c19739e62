"""The benchmark of value: oracles that nothing beats, equal costs, runs that are made once, and verdicts of planted data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.schedule_table import DISCOUNTS, RATES
from benchmarks.value import cells, page, verdicts
from benchmarks.value.cells import Cell, Row, code, made, read, take_over, work
from benchmarks.value.problem import CHOOSE, CONFIRM
from benchmarks.value.registry import NUMERIC, PROBLEMS, named
from benchmarks.value.tabled import TABLED

SEED, POLICIES = 3, 24


def policies(problem, generator):
    """Yields schedules of codes: a new draw every round, and one draw for all rounds."""
    for count in range(POLICIES):
        rows = [problem.codes(problem.space.sample(generator)) for _ in range(1 if count % 2 else problem.rounds)]
        yield lambda step, rows=rows: rows[step // problem.interval % len(rows)]


@pytest.mark.parametrize("name", NUMERIC)
def test_no_policy_of_a_random_sample_beats_the_oracle_and_an_untrained_member_is_worth_nothing(name):
    problem = NUMERIC[name](SEED)
    worths = [problem.follow(policy) for policy in policies(problem, np.random.default_rng(1))]
    assert max(worth for worth in worths if worth == worth) <= 1 + 1e-9
    assert problem.worth(problem.value(problem.start())) == 0 and problem.worth(problem.ceiling) == 1


@pytest.mark.parametrize(
    "name", ["drift", "slot", "delay", "returns", "jump", "valley", "long", "corner", "heavy", "short", "useless"]
)
def test_the_oracle_is_reached_by_following_the_optimum(name):
    """A climb in every round, with the model in hand, ends near the oracle: schedules get near it."""
    problem, generator = NUMERIC[name](SEED), np.random.default_rng(0)
    state = problem.start()
    for round in range(problem.rounds):
        begin, steps = state, range(round * problem.interval, (round + 1) * problem.interval)

        def after(codes, begin=begin, steps=steps):
            state = begin
            for step in steps:
                state = problem.advance(state, codes, step)
            return state

        value = lambda codes: np.nan_to_num(after(codes)[-1 if name == "delay" else 0], nan=-9.0)
        numeric = {key: each.numeric for key, each in problem.space.items()}
        best = max((problem.codes(problem.space.sample(generator)) for _ in range(60)), key=value)
        for scale in (0.2, 0.1, 0.05, 0.02):
            tries = [{k: float(np.clip(v + scale * generator.normal(), 0, 1)) if numeric[k] else v for k, v in best.items()}
                     for _ in range(40)]  # fmt: skip
            best = max([best, *tries], key=value)
        state = after(best)
    assert 0.85 < problem.worth(problem.value(state)) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["jump", "drift", "integers", "mixed", "long"])
def test_a_constant_is_below_the_oracle_where_the_optimum_moves(name):
    problem, generator = NUMERIC[name](SEED), np.random.default_rng(2)
    constants = [problem.codes(problem.space.sample(generator)) for _ in range(60)]
    assert max(problem.follow(lambda step, codes=codes: codes) for codes in constants) < 0.97


def test_the_deceptive_ones_deceive():
    """What is best for one round is worse at the end than what is worst for it at first."""
    problem = NUMERIC["patience"](SEED)
    fit = {"lr": problem.lr}
    greedy = problem.follow(lambda step: {**fit, "share": 0.0})
    patient = problem.follow(lambda step: {**fit, "share": 1.0 if step < 0.7 * problem.steps else 0.0})
    assert greedy < 0.3 < 0.9 < patient


def test_instances_depend_on_the_seed_alone():
    for each in NUMERIC.values():
        one, same, other = (each(seed) for seed in (1, 1, 2))
        codes = one.codes(one.space.sample(np.random.default_rng(0)))
        follow = lambda problem, codes=codes: problem.follow(lambda step: codes)
        assert follow(one) == follow(same) or follow(one) != follow(one)
        assert {**vars(one), "seed": 0} != {**vars(other), "seed": 0} or each.name == "short"


@pytest.mark.parametrize("name", TABLED)
def test_a_table_knows_what_every_schedule_of_real_training_reached(name):
    problem = TABLED[name](SEED)
    levels = [[problem.codes({"lr": rate, "discount": discount}) for discount in DISCOUNTS] for rate in RATES]
    settings = [codes for row in levels for codes in row]
    follow = lambda *schedule: problem.follow(lambda step: settings[schedule[step]])
    worths = [follow(a, b, c) for a in range(9) for b in range(9) for c in range(9)]
    places = [problem.worth(value) for value in problem.levels[-1]]  # in the order of the file
    assert worths == places and max(worths) == 1 and problem.worth(problem.value(problem.start())) == 0


def test_both_halves_are_of_about_the_same_size():
    halves = [each.half for each in NUMERIC.values()]
    assert abs(halves.count(CHOOSE) - halves.count(CONFIRM)) <= 1 and len(halves) >= 12
    assert named("choose,confirm") == named("numeric") and set(named("all")) == set(PROBLEMS)
    assert named("tables") == [*TABLED]
    with pytest.raises(SystemExit, match="--problems 'nothing': expected"):
        named("nothing")


@pytest.mark.parametrize("name", ["random", "halving", "tpe", "selection", "pbt", "pb2", "fire"])
def test_contenders_pay_the_same_and_repeat(name):
    if name in ("halving", "tpe"):
        pytest.importorskip("optuna")
    first, second = (made(Cell("short", name, 8, 1)) for _ in range(2))
    problem = PROBLEMS["short"](1)
    assert first._replace(seconds=0) == second._replace(seconds=0)
    assert first.value <= first.top <= 1
    assert 0 < first.steps <= 8 * problem.steps
    if name not in ("fire",):
        assert first.steps == 8 * problem.steps


def test_fire_needs_eight_seats():
    assert made(Cell("short", "fire", 4, 0)).value is None


# -- runs on disk ----------------------------------------------------------------------------------------------------------


def test_runs_are_made_once_continued_and_made_again_when_code_changes(tmp_path, monkeypatch):
    plan = [Cell("short", name, 4, seed) for seed in range(2) for name in ("random", "pbt")]
    assert len(list(work(plan[:2], 1, tmp_path))) == 2
    assert [cell for cell, _ in work(plan, 1, tmp_path)] == plan[2:]
    stored = read("short", tmp_path)
    assert set(stored) == {(cell.contender, 4, cell.seed) for cell in plan} and not list(work(plan, 1, tmp_path))
    path = tmp_path / "short.jsonl"
    path.write_text(path.read_text()[:-9])
    assert len(list(work(plan, 1, tmp_path))) == 1, "the torn one"
    values = lambda: {key: row.value for key, row in read("short", tmp_path).items()}
    assert values() == {key: row.value for key, row in stored.items()}
    monkeypatch.setattr(cells, "code", lambda problem: "new")
    assert len(list(work(plan, 1, tmp_path))) == 4 and len(path.read_text().splitlines()) == 5
    assert {row.code for row in read("short", tmp_path).values()} == {"new"}


def test_older_runs_are_taken_over_only_where_runs_that_are_made_again_end_the_same(tmp_path, monkeypatch):
    plan = [Cell("short", name, 4, seed) for seed in range(2) for name in ("random", "pbt")]
    list(work(plan, 1, tmp_path))
    path, stored = tmp_path / "short.jsonl", read("short", tmp_path)
    wrong = stored["pbt", 4, 0]
    path.write_text(path.read_text().replace(f'["pbt",4,0,{wrong.value}', '["pbt",4,0,0.123'))
    monkeypatch.setattr(cells, "code", lambda problem: "new")
    assert {cell.contender: same for cell, same in take_over(plan, 1, tmp_path)} == {"random": True, "pbt": False}
    assert [cell.contender for cell, _ in work(plan, 1, tmp_path)] == ["pbt", "pbt"]
    assert read("short", tmp_path) == {
        key: row._replace(code="new", seconds=read("short", tmp_path)[key].seconds) for key, row in stored.items()
    }


def test_a_label_keeps_what_another_version_did(tmp_path, monkeypatch):
    plan = [Cell("short", "pbt@old", 4, 0)]
    list(work(plan, 1, tmp_path))
    monkeypatch.setattr(cells, "code", lambda problem: "new")
    assert not list(work(plan, 1, tmp_path)) and read("short", tmp_path)["pbt@old", 4, 0].code != "new"


@pytest.mark.heavy
def test_parallel_runs_are_those_of_one_process(tmp_path):
    plan = [Cell("short", name, 4, seed) for seed in range(2) for name in ("random", "pbt")]
    list(work(plan, 1, tmp_path / "one"))
    list(work(plan, 2, tmp_path / "two"))
    one, two = (read("short", tmp_path / each) for each in ("one", "two"))
    assert {key: row.value for key, row in one.items()} == {key: row.value for key, row in two.items()}


def test_comments_do_not_change_the_hash_of_code(tmp_path):
    texts = ['"""A."""\nx = 1\n', '"""B."""\n# comment\nx = 1\n', '"""A."""\nx = 2\n']
    paths = [tmp_path / f"{i}.py" for i in range(3)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    a, b, c = map(cells._meaning, paths)
    assert a == b != c and code("drift") != code("heavy")


# -- verdicts --------------------------------------------------------------------------------------------------------------


def planted(**values):
    return {("toy", 8): {name: dict(enumerate(map(float, each))) for name, each in values.items()}}


def test_pairs_are_compared_over_equal_seeds():
    luck = np.random.default_rng(0).normal(size=12)
    cell = planted(a=luck + 0.5, b=luck)["toy", 8]
    said = verdicts.compared(cell["a"], cell["b"])
    assert said["gain"] == pytest.approx(0.5) and (said["wins"], said["losses"], said["seeds"]) == (12, 0, 12)
    assert said["p_sign"] == pytest.approx(2 / 2**12) and said["p_wilcoxon"] < 0.01 and said["low"] > 0.49
    shifted = {seed + 6: value for seed, value in cell["b"].items()}
    assert verdicts.compared(cell["a"], shifted)["seeds"] == 6
    assert verdicts.compared(cell["a"], {99: 0.0}) is None
    level = verdicts.compared(cell["a"], cell["a"])
    assert level["gain"] == 0 and level["p_wilcoxon"] == level["p_sign"] == 1


def test_means_quantiles_and_ranks():
    rows = {row["contender"]: row for row in verdicts.described(planted(a=[1, 1, 3], b=[1, 2, 2], c=[0, 0, 0])["toy", 8])}
    assert rows["a"]["mean"] == pytest.approx(5 / 3) and rows["a"]["worst"] == 1 and rows["c"]["rank"] == 3
    assert rows["a"]["rank"] == pytest.approx((1.5 + 2 + 1) / 3) and rows["b"]["rank"] == pytest.approx((1.5 + 1 + 2) / 3)
    assert rows["a"]["low"] <= rows["a"]["mean"] <= rows["a"]["high"]
    assert rows["b"]["tenth"] == pytest.approx(1.2)


def test_the_whole_weighs_problems_equally():
    luck = np.random.default_rng(1).normal(size=40)
    found = {}
    for problem, n, gain in (("many", 40, 1.0), ("few", 10, 0.0), ("bad", 10, -0.4)):
        base = {seed: float(luck[seed]) for seed in range(n)}
        found[problem, 8] = {"new": {seed: value + gain for seed, value in base.items()}, "old": base}
    said = verdicts.overall(found, "new", "old", 8)
    assert said["gain"] == pytest.approx(0.2) and said["low"] == pytest.approx(0.2) == said["high"]
    assert (said["won"], said["lost"], said["clearly_won"], said["clearly_lost"]) == (1, 1, 1, 1)
    assert said["worst_problem"] == "bad" and said["worst_gain"] == pytest.approx(-0.4)
    assert verdicts.overall(found, "new", "old", 8, ["many"])["gain"] == pytest.approx(1.0)
    assert verdicts.overall(found, "new", "old", 4) is None


def test_best_of_is_the_truly_best_member_of_random_search():
    rows = {
        ("random", 8, 0): Row("random", 8, 0, 0.25, 0.5, 1, 0.1, "c"),
        ("fire", 8, 0): Row("fire", 8, 0, None, None, 0, 0.1, "c"),
    }
    assert verdicts.found({"toy": rows}) == {("toy", 8): {"random": {0: 0.25}, "best_of": {0: 0.5}}}


def test_ranks_count_problems_equally_and_leave_out_who_did_not_run_everywhere():
    cells = {
        ("one", 8): {"a": {0: 3.0, 1: 3.0, 2: 3.0}, "b": {0: 2.0, 1: 2.0, 2: 2.0}, "c": {0: 9.0}},
        ("two", 8): {"a": {0: 1.0}, "b": {0: 2.0}},
    }
    rows = {row["contender"]: row for row in verdicts.ranked(cells, 8, ["one", "two"])}
    assert set(rows) == {"a", "b"} and rows["a"]["rank"] == rows["b"]["rank"] == pytest.approx(1.5)
    assert rows["a"]["low"] == rows["a"]["high"] == pytest.approx(1.5), "within a problem no seed differs"
    assert verdicts.ranked(cells, 4, ["one", "two"]) == []


def test_lines_are_strict_json():
    line = cells._line(Row("a", 4, 0, 0.5, 0.5, 10, 0.1, "c"))
    assert json.loads(line) == ["a", 4, 0, 0.5, 0.5, 10, 0.1, "c"]


# -- the page --------------------------------------------------------------------------------------------------------------


def test_the_published_page_is_what_the_stored_runs_say():
    text = (page.DOCS / "value.md").read_text()
    assert text.partition(page.MARK)[2] == "\n" + page.made(page.stored()), "run python -m benchmarks.value --write"


def test_tables_and_the_picture_are_made_from_rows(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.value.picture import draw

    luck = np.random.default_rng(0).normal(size=(3, 12))
    names = ("random", "pbt", "pb2")
    found = {(p, 8): {name: dict(enumerate(x + i)) for i, (name, x) in enumerate(zip(names, luck, strict=True))}
             for p in ("drift", "jump")}  # fmt: skip
    table = page.results(found, 8).splitlines()
    assert len(table) == 4 and table[2].startswith("| drift (12) |") and table[2].count("**") == 2
    lines = page.against(found, 8).splitlines()
    assert lines[2].startswith("| pbt | 2, all numeric | +") and len(lines) == 2 + 2 * 3
    draw(found, tmp_path / "gain.png")
    assert (tmp_path / "gain.png").stat().st_size > 5_000


@pytest.mark.parametrize("seed", range(2))
def test_the_signed_rank_test_is_that_of_scipy(seed):
    stats = pytest.importorskip("scipy.stats")
    gains = np.random.default_rng(seed).normal(0.3, 1, 12).round(3 if seed < 2 else 0)  # with ties and zeros from seed 2 on
    method = "exact" if seed < 2 else stats.PermutationMethod(n_resamples=np.inf)
    assert verdicts.wilcoxon(gains) == pytest.approx(
        float(stats.wilcoxon(gains, zero_method="pratt", method=method).pvalue), abs=1e-9
    )
    assert verdicts.wilcoxon([0.0, 0.0]) == 1
