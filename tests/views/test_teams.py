"""Teams: the view, the sentence and the pictures show the actors' scores as training reported them."""

from __future__ import annotations

import pytest

import poptrain as pt
from poptrain import views
from poptrain.cli import main
from poptrain.dashboard.watch import DRAW
from poptrain.log.reader import read
from poptrain.views import panels
from poptrain.views.digest import digested
from poptrain.views.status import status_of
from poptrain.views.teams import actors_of, team_sentence

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
NAN = float("nan")


def team(carry, hp, steps, seed):
    """Three actors: the first has no score in the first interval, and the last is the best."""
    step = (0 if carry is None else carry) + steps
    scores = [NAN if step <= 5 else 1.0 * step, 2.0 * step, 3.0 * step + hp["lr"]]
    return step, {"score": scores[2], "loss": 1.0} | {f"team/{i}": score for i, score in enumerate(scores)}


def alone(carry, hp, steps, seed):
    return 0, {"score": hp["lr"], "loss": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("teams") / "run"
    return pt.run(pt.pbt(SPACE, population=3, interval=5), team, stop=pt.steps(20), directory=directory, progress=False)


@pytest.fixture(scope="module")
def no_teams():
    return pt.run(pt.pbt(SPACE, population=3, interval=5), alone, stop=pt.steps(10), progress=False)


def test_the_view_has_the_scores_of_every_result(run):
    view = views.teams(run.record)
    assert view.actors == 3 and len(view.results) == 12
    for each in view.results:
        assert each.actors[0] == (None if each.step == 5 else each.step) and each.actors[1] == 2 * each.step
        assert each.actors[2] == each.score and each.known[-1] == each.score
    assert [each.step for each in view.best] == [5, 10, 15, 20] and view.best[-1].task == run.best.task.id
    assert pt.views.dumps(view)


def test_a_run_without_teams_has_none(no_teams):
    assert views.teams(no_teams.record) == views.Teams("score", "max", (), ())
    assert views.status(no_teams.record).best.team == () and panels.SOME["team"](no_teams.record) is None
    assert not any("team" in text for text in views.status(no_teams.record).sentences())


def test_the_actors_are_counted_from_0_without_gaps():
    assert actors_of({"team/0": 1.0, "team/1": NAN, "team/3": 5.0, "score": 1.0}) == (1.0, None)
    assert actors_of({"team/1": 1.0}) == () == actors_of({})


def test_the_sentence_says_how_far_apart_they_are():
    assert team_sentence("score", ()) is None
    assert team_sentence("score", (None,)) == "The best member is a team of 1 actor; none of them has a score yet."
    assert team_sentence("return", (3.0, 1.0, None, 2.0)) == (
        "The best member is a team of 4 actors: their return ranges from 1 to 3, with a median of 2 (1 has none yet)."
    )


def test_status_says_it_in_one_sentence_and_a_digest_says_the_same(run, capsys):
    record = read(run.record.directory)
    whole = views.status(record)
    assert whole.best.team == (20.0, 40.0, whole.best.score)
    part, state = digested(record.directory)
    again = status_of(part, state)
    assert state.skipped
    assert again.best == whole.best and again.sentences() == whole.sentences()
    assert main(["status", str(run.record.directory)]) == 0
    assert "a team of 3 actors: their score ranges from 20 to" in " ".join(capsys.readouterr().out.split())


def test_the_picture_draws_every_known_actor_and_the_spread_of_every_team(run):
    assert DRAW["team"] is panels.SOME["team"]
    picture = panels.SOME["team"](run.record)
    best, spread = picture.panels
    band, median, actors, own = best.series
    assert median.y[1:] == [20, 30, 40]
    assert len(actors.x) == 2 + 3 * 3 and list(own.y) == [each.score for each in views.teams(run.record).best]
    assert [line.name for line in spread.series] == ["member 0", "member 1", "member 2"]
    assert all(y >= 0 for line in spread.series for y in line.y) and band.low[1:] == [10, 15, 20]


@pytest.mark.heavy
def test_the_figure_the_report_and_the_dashboard_have_it(run, no_teams, tmp_path):
    plots, report = pytest.importorskip("poptrain.plots"), pytest.importorskip("poptrain.report")
    pytest.importorskip("plotly")
    assert "team.png" in {path.name for path in plots.save_all(run, tmp_path)}
    assert "team.png" not in {path.name for path in plots.save_all(no_teams, tmp_path / "none")}
    with pytest.raises(pt.UsageError, match="are not teams"):
        plots.team(no_teams)
    assert "Actors of teams" in report.page(run.record) and "Actors of teams" not in report.page(no_teams.record)
