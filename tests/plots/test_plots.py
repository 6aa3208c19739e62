"""The figures hold what they claim to: lines, labels, scales and marks are counted."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import pytest

pytest.importorskip("matplotlib")

import poptrain as pt
from poptrain import plots, views
from poptrain.log.reader import Record
from poptrain.plots import style

SPACE = pt.Space(
    {"$lr_\\frac": pt.LogUniform(1e-4, 1e-1)},
    momentum=pt.Uniform(0.8, 0.99),
    gamma=pt.Complement(0.9, 0.9999),
    width=pt.LogInt(16, 512),
    layers=pt.Int(1, 4),
    act=pt.Choice("relu", "\x1b[31m<b>", "日本"),
    batch=pt.Ordinal(16, 32, 64),
)


def train(carry, hp, steps, seed):
    x = 2.0 if carry is None else carry
    if seed % 9 == 0:
        return x, {"my $loss": float("nan")}
    x *= 1 - min(0.9, abs(hp["$lr_\\frac"] * steps))
    return x, {"my $loss": x + hp["momentum"]}


def run_of(population, sync=True, mode="min", steps=40):
    algorithm = pt.pbt(SPACE, population=population, interval=5, sync=sync, exploit=pt.truncation(0.4))
    return pt.run(algorithm, train, metric="my $loss", mode=mode, stop=pt.steps(steps), seed=3)


@pytest.fixture(scope="module")
def few() -> Record:
    return run_of(5).record


@pytest.fixture(scope="module")
def many() -> Record:
    return run_of(20, sync=False, mode="max", steps=25).record


def texts(figure):
    """Returns every text of a figure that was drawn."""
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


@pytest.mark.parametrize("record", ["few", "many"])
def test_score_draws_every_final_member_the_best_and_the_copies(record, request):
    record = request.getfixturevalue(record)
    view, axes = views.curves(record), plots.score(record).axes[0]
    lines = [line for line in axes.lines if line.get_label().startswith("member")]
    assert len(lines) == len(view.members)
    for line, curve in zip(lines, view.members, strict=True):
        assert list(line.get_xdata()) == [step for step, _ in curve.points]
        assert line.get_ydata()[-1] == curve.score
    (best,) = [line for line in axes.lines if line.get_label() == "best"]
    assert tuple(zip(best.get_xdata(), best.get_ydata(), strict=True)) == view.best.points
    assert best.get_linewidth() > 2 * lines[0].get_linewidth() - 1 and best.get_color() == style.BEST
    marked = sum(len(line.get_xdata()) for line in axes.lines if line.get_label() in ("copied a member", "exploit of the best"))
    assert marked >= len({mark.task for curve in view.members for mark in curve.marks})
    low, high = axes.get_ylim()
    assert all(low <= score <= high for curve in view.members for _, score in curve.points)


def test_labels_name_the_metric_and_the_members(few):
    figure = plots.score(few)
    found = texts(figure)
    assert "my \\$loss" in found and "steps" in found and any("lower is better" in text for text in found)
    assert sum(text.startswith("member ") for text in found) == 5
    assert any("20 members" in text for text in texts(plots.score(run_of(20, steps=10).record)))


def test_hparams_has_one_panel_each_with_the_right_scale(few):
    figure = plots.hparams(few)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["\\$lr_\\frac", "momentum", "gamma", "width", "layers", "act", "batch"]
    scales = {name: axes.get_yscale() for name, axes in panels.items()}
    assert scales == {
        "\\$lr_\\frac": "log",
        "momentum": "linear",
        "gamma": "function",
        "width": "log",
        "layers": "linear",
        "act": "linear",
        "batch": "linear",
    }
    assert [tick.get_text() for tick in panels["act"].get_yticklabels()] == ["relu", "\\x1b[31m<b>", "日本"]
    assert [tick.get_text() for tick in panels["batch"].get_yticklabels()] == ["16", "32", "64"]
    assert [tick.get_text() for tick in panels["gamma"].get_yticklabels()] == ["0.9", "0.99", "0.999", "0.9999"]
    best = views.schedule(few)
    for name, axes in panels.items():
        members = [line for line in axes.lines if line.get_label().startswith("member")]
        assert len(members) == len(views.schedules(few))
        (bold,) = [line for line in axes.lines if line.get_label() == "best"]
        assert bold.get_drawstyle() == "steps-post"
        assert list(bold.get_xdata()) == [0, *(segment.end for segment in best.segments)]
        if name == "momentum":
            assert list(bold.get_ydata())[:-1] == [segment.hparams["momentum"] for segment in best.segments]
        low, high = axes.get_ylim()
        assert all(low <= y <= high for line in members for y in line.get_ydata())


def test_the_family_tree_has_a_row_each_an_arrow_a_copy_and_a_cross_a_failure(few):
    figure = plots.lineage(few)
    axes, line, status = figure.axes[0], views.lineage(few), views.status(few)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "1", "2", "3", "4"]
    from matplotlib.collections import LineCollection

    segments, *arrows, path = [c for c in axes.collections if isinstance(c, LineCollection)]
    healthy = status.results - status.failed - status.diverged
    assert len(segments.get_segments()) == healthy and len(segments.get_array()) == healthy
    assert sum(len(c.get_segments()) for c in arrows) == len(line.exploits)
    assert len(path.get_segments()) == len(line.ancestors)
    (crosses,) = [each for each in axes.lines if each.get_marker() == "x"]
    assert len(crosses.get_xdata()) == status.failed + status.diverged > 0
    assert sum(len(each.get_xdata()) for each in axes.lines if each.get_marker() in ("v", "^")) == len(line.exploits)
    assert "my \\$loss" in texts(figure)


def test_spread_draws_the_scores_and_one_line_a_hyperparameter(few):
    view = views.spread(few)
    scores, hparams, founders = plots.spread(few).axes
    (median,) = [line for line in scores.lines if line.get_label() == "median"]
    assert list(median.get_xdata()) == [generation.step for generation in view.generations]
    assert list(median.get_ydata()) == [generation.scores[2] for generation in view.generations]
    drawn = [line for line in hparams.lines if not line.get_label().startswith("_")]
    assert len(drawn) == len(view.names) == 7
    assert list(founders.lines[0].get_ydata()) == [generation.founders for generation in view.generations]


def test_time_draws_a_bar_a_member_whose_parts_fill_it(few):
    axes, view = plots.time(few).axes[0], views.overhead(few)
    bars = [patch for patch in axes.patches if patch.get_width()]
    by_row = [sum(bar.get_width() for bar in bars if round(bar.get_y() + 0.39) == row) for row in range(len(view.by_member) + 1)]
    assert by_row == pytest.approx([100.0] * 6)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "1", "2", "3", "4", "all"]


@pytest.mark.heavy
def test_save_all_writes_images_without_a_warning(many, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = plots.save_all(many, tmp_path / "a" / "b")
    assert [path.name for path in files] == [f"{name}.png" for name in plots.FIGURES]
    for path in files:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and 10_000 < path.stat().st_size < 2_000_000


@pytest.mark.parametrize("mode", ["max", "min"])
def test_scores_whose_difference_no_float_holds_can_be_drawn(tmp_path, mode):
    def train(carry, hp, steps, seed):
        return None, {"score": 1.6e308 if seed % 2 else -1.6e308}

    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=1)
    run = pt.run(algorithm, train, mode=mode, stop=pt.steps(6), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.save_all(run, tmp_path / "plots") and pt.report.write(run, tmp_path / "r.html")


@pytest.mark.parametrize("fault", ["nan", "raise"])
def test_a_run_without_any_healthy_result_can_be_drawn(tmp_path, fault):
    with pytest.raises(pt.errors.RunFailed):
        pt.run(
            pt.pbt(pt.Space(lr=pt.Uniform(0.1, 1.0)), population=3, interval=1),
            pt.testing.Faulty(fault),
            stop=pt.steps(5),
            directory=tmp_path / "run",
        )
    assert len(plots.save_all(pt.open_run(tmp_path / "run").record, tmp_path / "plots")) == len(plots.FIGURES)


def test_constant_scores_and_one_member_can_be_drawn(tmp_path):
    algorithm = pt.pbt(pt.Space(lr=pt.Uniform(0.1, 1.0)), population=1, interval=1)
    run = pt.run(algorithm, lambda carry, hp, steps, seed: (0, {"score": 1}), stop=pt.steps(3))
    assert len(plots.save_all(run.record, tmp_path)) == len(plots.FIGURES)


def test_without_matplotlib_the_error_names_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None; import poptrain.plots"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "plots need matplotlib: pip install 'poptrain[plots]'" in done.stderr


def test_every_picture_is_strict_json_and_both_renderers_draw_it(few):
    pytest.importorskip("plotly")
    from poptrain.report.render import render as page_chart

    for picture in views.panels.pictures(few):
        data = json.loads(views.dumps(picture), parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))
        assert [len(panel["series"]) for panel in data["panels"]] == [len(panel.series) for panel in picture.panels]
        assert all(series["kind"] for panel in data["panels"] for series in panel["series"])
        chart = page_chart(picture)
        json.dumps(chart, allow_nan=False)
        legend = {series.name for panel in picture.panels for series in panel.series if getattr(series, "legend", False)}
        assert legend <= {trace["legendgroup"] for trace in chart["data"]}
        assert len(plots.render(picture).axes) >= len(picture.panels)


def test_a_study_is_a_picture_and_names_that_people_look_for_are_answered(tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    methods = {"pbt": pt.pbt(space, population=2, interval=1), "random": pt.random_search(space, population=2, interval=1)}
    study = pt.study(methods, pt.testing.quadratic, seeds=2, stop=pt.steps(3), executor="inline", progress=False)
    assert texts(plots.comparison(study)) == texts(plots.comparison(study.comparison))
    with pytest.raises(AttributeError, match=r"no attribute 'compare'. Write pt.plots.comparison\(study\)."):
        plots.compare  # noqa: B018
    with pytest.raises(AttributeError, match="Did you mean 'lineage'"):
        plots.linage  # noqa: B018
    assert all(each.partition("(")[0] in plots.__all__ for each in plots.ELSEWHERE.values())


@pytest.mark.parametrize("fall", [3.0, 30.0, 1000.0])
def test_scores_and_spread_of_a_loss_have_the_same_scale_and_one_hyperparameter_is_named(fall):
    def falling(carry, hp, steps, seed):
        step = (carry or 0) + steps
        return step, {"loss": fall ** (1 - step / 50) + hp["lr"] / 100}

    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-4, 1e-1)), population=4, interval=5)
    record = pt.run(algorithm, falling, metric="loss", mode="min", stop=pt.steps(50), progress=False).record
    scores, spread = plots.score(record).axes[0], plots.spread(record).axes[0]
    assert scores.get_yscale() == spread.get_yscale() == ("log" if fall > 20 else "linear")
    if fall > 20:
        assert spread.get_ylim()[1] >= max(generation.scores[-1] for generation in views.spread(record).generations)
    assert "lr" in texts(plots.hparams(record)) and dir(plots) == sorted(plots.__all__)
