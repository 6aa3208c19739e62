"""Views and figures of FIRE PBT say what its history says: sub-populations, hand-overs, the comparison of two seats."""

from __future__ import annotations

import json

import numpy as np
import pytest

import poptrain as pt
from poptrain import plots, views
from poptrain.cli import main
from poptrain.plots import style

CURVATURE = np.array([1.0, 0.3, 0.1, 0.03])
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1.0, init=(1e-2, 1.0)), kind=pt.Choice("a", "b"))
FIRE = pt.fire_pbt(SPACE, (4, 4, 4), interval=16, evals=8, exploit=pt.truncation(0.34), release=False)


def valley(carry, hp, steps, seed):
    m = np.ones(4) if carry is None else carry
    for _ in range(steps):
        m = (1 - hp["lr"] * CURVATURE) ** 2 * m + hp["lr"] ** 2 * 0.1 * CURVATURE
    return m, {"score": float(-np.log10(m @ CURVATURE / 2))}


def negative(carry, hp, steps, seed):
    carry, metrics = valley(carry, hp, steps, seed)
    return carry, {"score": -metrics["score"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pt.run(FIRE, valley, stop=pt.generations(20), seed=2, directory=tmp_path_factory.mktemp("fire") / "run")


@pytest.fixture(scope="module")
def view(run):
    return views.subpopulations(run.record)


def test_the_spread_of_a_sub_population_is_that_of_its_members_tasks(run, view):
    history = run.history
    assert [sub.members for sub in view.subpopulations] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    for sub in view.subpopulations:
        assert list(sub.hparams) == ["lr"], "what is no number has no quantiles"
        for row in sub.hparams["lr"]:
            tasks = [
                task
                for task in map(history.task, range(history.n))
                if task.member in sub.members and history.step(task.parent) == row.step
            ]
            values = [task.hparams["lr"] for task in tasks]
            assert len(values) == 4 and (row.low, row.middle, row.high) == (min(values), np.median(values), max(values))
    assert [row.step for row in view.subpopulations[0].hparams["lr"]] == list(range(0, 320, 16))


def test_hand_overs_are_those_of_the_log_and_mark_the_best_ancestry(run, view):
    history, population = run.history, FIRE.population
    handed = {}
    for task in map(history.task, range(history.n)):
        if task.parent is not None and task.member < population <= history.task(task.parent).member:
            handed[task.id] = history.task(task.parent)
    assert {hand.task for hand in view.hand_overs} == set(handed) and len(handed) >= 2
    path = set(history.ancestry(run.best.task.id))
    for hand in view.hand_overs:
        giver = handed[hand.task]
        assert (hand.evaluator, hand.parent, hand.child) == (giver.member, giver.tags["evaluates"], giver.tags["target"])
        assert hand.since < hand.step == history.step(giver.id) and hand.best == (hand.task in path)
    assert any(hand.best for hand in view.hand_overs)
    assert view.best == run.schedule()


def test_the_step_is_known_from_which_on_all_seats_are_one_population(view):
    flat = lambda carry, hp, steps, seed: (0.0, {"score": 0.0})
    algorithm = pt.fire_pbt(SPACE, (4, 4), interval=16, evals=8, exploit=pt.truncation(0.34))
    released = views.subpopulations(pt.run(algorithm, flat, stop=pt.generations(8)).record)
    assert released.released == 64 and not released.hand_overs and view.released is None


def test_other_algorithms_have_no_sub_populations():
    other = pt.run(pt.pbt(SPACE, 4, interval=8), valley, stop=pt.generations(2))
    with pytest.raises(pt.UsageError, match="fire_pbt"):
        views.subpopulations(other.record)
    assert "subpopulations" not in plots.FIGURES


def test_the_figure_draws_the_best_schedule_the_medians_and_the_hand_overs(run, view):
    (axes,) = plots.subpopulations(run.record).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert [label for label in lines if label.startswith("P")] == ["P1 (greedy), 4 members", "P2, 4 members", "P3, 4 members"]
    for sub, line in zip(view.subpopulations, axes.lines, strict=False):
        assert list(line.get_ydata()) == [row.middle for row in sub.hparams["lr"]]
    assert list(lines["best schedule"].get_ydata())[:-1] == [segment.hparams["lr"] for segment in view.best.segments]
    assert lines["best schedule"].get_color() == style.BEST and axes.get_yscale() == "log"
    assert list(lines["handed over"].get_xdata()) == [hand.step for hand in view.hand_overs if hand.best]
    assert len(lines["other hand-overs"].get_xdata()) == sum(not hand.best for hand in view.hand_overs)


def test_the_curve_of_a_seat_is_the_one_that_the_algorithm_compares(run):
    state = FIRE.state(run.history)
    for seat in range(FIRE.population):
        assert views.faster(run.record, seat, (seat + 1) % FIRE.population).first.scores == state.curves[seat]
    for seat in state.busy:
        piece = views.faster(run.record, (seat + 1) % FIRE.population, seat).second
        assert piece.scores == state.curves[seat] and piece.evaluator and piece.steps[0] == state.busy[seat].since


def test_the_comparison_is_antisymmetric_and_knows_the_users_sign(run):
    mirrored = pt.run(FIRE, negative, stop=pt.generations(20), seed=2, mode="min")
    for a, b in [(0, 5), (3, 9), (13, 14), (4, 7)]:
        there, back = views.faster(run.record, a, b), views.faster(run.record, b, a)
        assert there.difference == -back.difference and there.first.overlap == back.second.overlap
        flipped = views.faster(mirrored.record, a, b)
        assert flipped.difference == there.difference and flipped.p == there.p
        assert flipped.first.smoothed == tuple(-y for y in there.first.smoothed)


def test_a_comparison_in_the_past_sees_nothing_later(run):
    then = views.faster(run.record, 1, 6, step=160)
    assert max(then.first.steps) == max(then.second.steps) == 160
    with pytest.raises(pt.UsageError, match="seat 99"):
        views.faster(run.record, 1, 99)
    with pytest.raises(pt.UsageError, match="by step 3"):
        views.faster(run.record, 1, 6, step=3)


def test_the_figure_of_a_comparison_marks_the_overlap(run):
    view = next(view for a in range(12) for b in range(a) if (view := views.faster(run.record, a, b)).p is not None)
    (axes,) = plots.faster(view).axes
    thick = [line for line in axes.lines if line.get_label().startswith("overlap")]
    assert [len(line.get_xdata()) - 1 for line in thick] == [view.first.overlap[1] - view.first.overlap[0]] * 2
    raw = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() == "."]
    assert [tuple(line.get_ydata()) for line in raw] == [view.first.scores, view.second.scores]


def test_learned_schedules_are_drawn_beside_one_made_by_hand(run):
    learned, constant = run.schedule(), run.schedule(0)
    figure = plots.schedules({"by hand": lambda step: 0.1, "FIRE": [learned, constant], "other": learned}, "lr", 320)
    hand, *drawn = figure.axes[0].lines
    assert hand.get_linestyle() == "--" and set(hand.get_ydata()) == {0.1}
    assert [len(line.get_xdata()) for line in drawn] == [len(each.segments) + 1 for each in (learned, constant, learned)]
    with pytest.raises(pt.UsageError, match="'momentum'"):
        plots.schedules({"FIRE": learned}, "momentum", 320)


def test_the_command_line_draws_both(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plots, "FIGURES", {})  # those of every run are tested elsewhere
    directory, out = str(run.record.directory), str(tmp_path)
    assert main(["plot", directory, "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [f"{out}/subpopulations.png"]}
    assert main(["plot", directory, "--out", out, "--faster", "2", "13", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [f"{out}/faster-2-13.png"]}
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("subpopulations.png", "faster-2-13.png"))
    assert main(["plot", directory, "--step", "3"]) == 2 and "--faster" in capsys.readouterr().err
