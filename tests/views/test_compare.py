"""Statistics of few runs against known answers, and comparisons whose outcome is known."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

import poptrain as pt
from poptrain import statistics, views
from poptrain.cli import main
from poptrain.testing import quadratic
from poptrain.views.compared import Pair

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))

# -- statistics -----------------------------------------------------------------------------------------------------------


def test_interquartile_mean_of_rows_is_that_of_each_row():
    rows = np.random.default_rng(0).normal(size=(7, 11))
    assert np.allclose(statistics.iqm(rows), [statistics.iqm(row) for row in rows])
    assert statistics.iqm([1.0, 2.0, 3.0, 4.0]) == 2.5 and statistics.iqm([0, 1, 2, 3, 1e9]) == (0.75 + 2 + 2.25) / 2.5


def test_intervals_cover_what_they_should():
    """Of 300 samples of 20, the 95 % interval holds the true mean in 88 to 98 %: bootstraps of so few are a bit narrow."""
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        low, high = statistics.interval(generator.normal(size=20), np.mean, draws=500)
        inside += low <= 0 <= high
    assert 0.88 <= inside / 300 <= 0.98


def test_a_stratified_bootstrap_keeps_every_stratum_whole():
    values, strata = [0.0, 0.1, 100.0, 100.1, 100.2], ["a", "a", "b", "b", "b"]
    drawn = statistics.resampled(values, strata)
    assert ((drawn < 50).sum(axis=1) == 2).all() and drawn.shape == (2000, 5)
    low, high = statistics.interval(values, np.mean, strata=strata)
    free = statistics.interval(values, np.mean)
    assert high - low < 0.2 < free[1] - free[0]


def test_sign_test_is_the_binomial_one():
    from scipy.stats import binomtest

    for wins, losses in ((5, 0), (0, 5), (7, 2), (3, 3), (1, 0), (0, 0), (60, 40)):
        expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
        assert statistics.sign_test(wins, losses) == pytest.approx(expected)
    assert statistics.sign_test(9400, 9300) == pytest.approx(binomtest(9400, 18700).pvalue, rel=1e-2)
    assert statistics.paired([1, 2, 3, 0], [0, 2, 4, -1]) == (2, 1, 1.0)


def test_probability_of_improvement_is_the_normalised_rank_sum():
    from scipy.stats import mannwhitneyu

    generator = np.random.default_rng(2)
    a, b = generator.normal(0.5, 1, 12), generator.normal(0, 1, 9)
    p, low, high = statistics.improvement(a, b)
    assert p == pytest.approx(mannwhitneyu(a, b).statistic / (12 * 9)) and low <= p <= high
    assert statistics.improvement([1, 1], [1, 1])[0] == 0.5
    assert statistics.verdict(range(10, 20), range(10)) == "ahead" and statistics.verdict(range(10), range(10, 20)) == "behind"
    assert statistics.verdict([1, 2, 3], [2, 1, 3]) == "not told apart"
    assert statistics.verdict([4, 5, 6], [1, 2, 3]) == "not told apart", "three runs a side can never reach 5 %"


def test_share_of_a_gain():
    whole, part, base = [10.0] * 5, [7.0] * 5, [4.0] * 5
    assert statistics.share(whole, part, base) == (0.5, 0.5, 0.5)
    assert np.isnan(statistics.share(base, part, whole)[0])


def test_a_high_p_value_is_called_no_evidence_and_says_how_many_seeds_are_missing():
    assert [statistics.more_wins(n, 0) for n in range(8)] == [6, 5, 4, 3, 2, 1, 0, 0] and statistics.more_wins(1, 1) == 7
    pair = Pair("pbt", "random", 1.0, 0.9, 1.0, 4, 0, statistics.sign_test(4, 0), "ahead")
    assert "pbt is ahead of random in these runs" in pair.sentence() and "better" not in pair.sentence()
    assert pair.sentence().endswith("for p < 0.05, pbt would have to win on 2 more seeds without a loss.")
    clear = Pair("pbt", "random", 1.0, 0.9, 1.0, 7, 0, statistics.sign_test(7, 0), "ahead")
    assert clear.sentence().startswith("pbt is better than random:") and "not show" not in clear.sentence()
    behind = Pair("pbt", "random", 0.0, 0.0, 0.1, 1, 4, statistics.sign_test(1, 4), "not told apart")
    assert (
        "cannot be distinguished from random" in behind.sentence() and "random would have to win on 4 more" in behind.sentence()
    )
    for n in range(1, 9):
        text = Pair("pbt", "random", 0.5, 0.2, 0.8, n, 0, statistics.sign_test(n, 0), "not told apart").sentence()
        assert ("too few to tell (p < 0.05 needs at least 6)" in text) == (n < 6), "no result of so few seeds could show more"


def test_few_runs_are_cautioned_about():
    assert "One run" in statistics.caution(1) and "p = 0.0625 at best" in statistics.caution(5)
    assert len({statistics.caution(n) for n in (1, 3, 5, 7, 20)}) == 5


# -- comparisons ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    methods = {
        "random": pt.random_search(SPACE, population=4, interval=5),
        "pbt": pt.pbt(SPACE, population=4, interval=5),
        "selection": pt.pbt(SPACE, population=4, interval=5, explore=None),
        "wide": pt.pbt(SPACE, population=8, interval=5),
    }
    for name, algorithm in methods.items():
        for seed in range(3):
            pt.run(algorithm, quadratic, stop=pt.steps(40), seed=seed, directory=root / f"{name}-{seed}")
    return root


def records(root, *names):
    return [pt.open_run(path).record for name in names for path in sorted(root.glob(f"{name}-*"))]


def elsewhere(runs, tmp_path):
    """Returns the records of runs in directories whose names tell nothing."""
    for path in runs.iterdir():
        shutil.copytree(path, tmp_path / f"run {len(list(tmp_path.iterdir()))}")
    return [pt.open_run(path).record for path in tmp_path.iterdir()]


def test_runs_are_grouped_by_method_and_named_by_what_differs(runs, tmp_path):
    found = views.compare(elsewhere(runs, tmp_path))
    names = {method.name: [outcome.seed for outcome in method.runs] for method in found.methods}
    assert all(seeds == [0, 1, 2] for seeds in names.values()) and len(names) == 4
    assert list(names)[0] == found.reference == "random_search"
    assert any("population=8" in name for name in names) and any("explore=none" in name for name in names)


def test_scores_are_the_best_so_far_at_equal_steps_and_at_equal_total_steps(runs):
    found = views.compare(records(runs, "random", "wide"))
    assert (found.steps, found.total) == (40, 4 * 40)
    for method in found.methods:
        for outcome in method.runs:
            history = pt.open_run(outcome.directory).history
            told = [(history.step(id), history.score(id)) for id in range(history.n)]
            assert outcome.score == max(score for _, score in told)
            assert outcome.total == len(told) * 5
            by_then = [score for _, score in told[: found.total // 5]]  # inline: results come in the order of the tasks
            assert outcome.score_total == max(by_then)
        means = [point.mean for point in method.by_steps]
        assert means == sorted(means) and method.by_steps[-1].mean == pytest.approx(method.score.mean)


def test_what_selection_alone_explains_is_said_with_its_interval(runs):
    said = views.compare(records(runs, "random", "selection", "pbt")).said
    assert any("election alone" in text and "95 % interval" in text or "no gain" in text for text in said)
    assert any("p = 0.25 at best" in text for text in said)


def test_a_method_is_level_with_itself_and_minimising_turns_everything(tmp_path):
    def loss(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"score": -metrics["score"]}

    for seed in range(3):
        for name, train, mode in (("up", quadratic, "max"), ("down", loss, "min")):
            for kind, make in (("random", pt.random_search), ("pbt", pt.pbt)):
                where = tmp_path / name / f"{kind}-{seed}"
                pt.run(make(SPACE, population=4, interval=5), train, stop=pt.steps(40), seed=seed, mode=mode, directory=where)
    up, down = (
        views.compare([pt.open_run(path).record for path in sorted((tmp_path / name).iterdir())]) for name in ("up", "down")
    )
    for a, b in zip(up.methods, down.methods, strict=True):
        assert a.score.mean == -b.score.mean and a.score_total.mean == -b.score_total.mean
    assert [(p.improvement, p.wins, p.losses, p.verdict) for p in up.pairs] == [
        (p.improvement, p.wins, p.losses, p.verdict) for p in down.pairs
    ]
    with pytest.raises(pt.UsageError, match="mode"):
        views.compare([pt.open_run(tmp_path / name / "pbt-0").record for name in ("up", "down")])


def test_the_verb_prints_a_table_json_and_a_plot(runs, tmp_path, capsys):
    assert main(["compare", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "beats random" in out and "With 3 runs per method" in out and "selection" in out
    paths = [str(path) for name in ("random", "pbt") for path in sorted(runs.glob(f"{name}-*"))]
    assert main(["compare", "--json", *paths]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [method["name"] for method in found["methods"]] == ["random", "pbt"] and found["pairs"][0]["wins"] <= 3
    assert main(["compare", *paths[:1]]) == 2
    assert "at least 2" in capsys.readouterr().err
    assert main(["compare", *paths, "--plot", str(tmp_path / "plot.txt")]) == 2
    pytest.importorskip("matplotlib")
    assert main(["compare", *paths, "--plot", str(tmp_path / "plot.svg")]) == 0
    assert "at equal total steps" in (tmp_path / "plot.svg").read_text() or (tmp_path / "plot.svg").stat().st_size > 10_000


def test_the_test_of_two_samples_is_that_of_scipy():
    generator = np.random.default_rng(0)
    for _ in range(200):
        a, b = (generator.normal(generator.normal(), 1, generator.integers(2, 13)) for _ in range(2))
        if generator.random() < 0.5:
            a, b = np.round(a), np.round(b)  # ties
        expected = mannwhitneyu(a, b, alternative="greater").pvalue
        assert statistics.ahead(a, b) == pytest.approx(expected, rel=1e-9)
    assert statistics.ahead([1.0, 1.0], [1.0, 1.0]) == 1.0
