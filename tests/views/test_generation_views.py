"""The pictures of BG-PBT: the life of its trust region, and the architectures of each generation."""

import json
from io import StringIO

import distilling_toys as toys
import pytest
from rich.console import Console

import poptrain as pt
from poptrain import plots, views
from poptrain.cli.overview import overview
from poptrain.dashboard.thin import drawable
from poptrain.dashboard.watch import Watched
from poptrain.views import panels, short
from poptrain.views.phases import moment_of, sentences_of
from poptrain.views.state import RunState
from poptrain.views.status import status_of

GENERATIONS = pt.Generations(distill=10, every=15, most=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    algorithm = pt.bg_pbt(toys.SPACE, population=4, interval=5, generations=GENERATIONS)
    return pt.run(algorithm, toys.FUNCTIONS, stop=pt.steps(120), directory=tmp_path_factory.mktemp("run") / "r", progress=False)


def test_every_network_that_began_is_shown_once_and_those_that_became_members_are_told_apart(run):
    history, view = run.history, views.architectures(run.record)
    begun = [id for id in range(history.n) if history.task(id).parent is None]
    assert [trial.task for trial in view.trials] == begun and view.names == ("width",)
    for trial in view.trials:
        heirs = [id for id in range(history.n) if trial.task in history.ancestry(id)]
        assert trial.stayed == any(history.task(id).role != "candidate" for id in heirs)
        scores = [history.score(id) for id in heirs if history.ok(id)]
        assert trial.score == (max(scores) if scores else None)
        assert trial.architecture == {"width": history.task(trial.task).hparams["width"]}
    for generation in {trial.generation for trial in view.trials}:
        own = [trial for trial in view.trials if trial.generation == generation]
        assert sum(trial.stayed for trial in own) == 4
        assert {trial.source for trial in own} <= ({"start"} if generation == 0 else {"model", "best", "random"})


def test_the_region_is_that_of_the_decisions_and_begins_anew_with_a_generation(run):
    life = views.region(run.record)
    notes = {moment.task: run.history.task(moment.task).note for moment in life.moments}
    assert life.moments and all(moment.length == notes[moment.task]["region length"] for moment in life.moments)
    assert len(life.generations) == 2 and {moment.generation for moment in life.moments} <= {0, 1, 2}
    firsts = {moment.generation: moment for moment in reversed(life.moments)}
    assert all(first.length == 0.4 and first.restarts == 0 for first in firsts.values())


def test_a_restart_is_shown_where_the_region_begins_again():
    # A region that is as small as it may be, and shrinks with the first failure, begins again and again.
    region = pt.TrustRegion(length=0.2, least=0.15, failures=1)
    algorithm = pt.bg_pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=5, trust_region=region)
    record = pt.run(algorithm, pt.testing.quadratic, stop=pt.steps(150), progress=False).record
    life = views.region(record)
    assert life.restarts and [each.restarts for each in life.restarts] == list(range(1, len(life.restarts) + 1))
    marks = [series for series in panels.region(life).panels[0].series if series.name == "begins again"]
    assert list(marks[0].x) == [each.step for each in life.restarts]


def test_the_spread_follows_the_members_and_never_goes_back_in_steps(run):
    steps = [each.step for each in views.spread(run.record).generations]
    assert steps == sorted(set(steps)) and steps[0] == 5, "candidates learn from a teacher, not as members"


def test_the_family_tree_marks_each_teacher_where_its_lessons_begin(run):
    history = run.history
    begun = [id for id in range(history.n) if history.task(id).teacher is not None and history.task(id).parent is None]
    tree = panels.EVERY["tree"](run.record).panels[0].series
    (marks,) = [series for series in tree if series.name == "teacher and students" and series.kind == "points"]
    assert set(marks.tasks) == {history.task(id).teacher for id in begun}
    assert sum(int(text.split()[-2]) for text in marks.texts) == len(begun)


def test_each_seat_is_called_what_it_is_and_a_finished_run_has_no_member_that_waits(run):
    seats = views.overhead(run.record).by_member
    assert [each.role for each in seats] == ["member"] * 4 + ["candidate"] * (len(seats) - 4)
    assert "candidate 4" in [text for _, text in panels.EVERY["time"](run.record).panels[0].y.ticks]
    status = views.status(run.record)
    assert {status.doing(member) for member in status.members} == {"finished"} and status.reached == status.generations


def test_status_has_the_rung_of_the_candidates_and_the_region_of_the_newest_decision(run):
    record, state, seen = run.record, RunState.begin(run.record), []
    moments, rungs = views.region(record).moments, []
    for line, time in zip(record.lines, record.times, strict=True):
        state.take(line, time)
        status = status_of(record, state)
        candidate = isinstance(line[0], pt.Task) and line[0].role == "candidate"
        if candidate:
            rungs = [*rungs, line] if line[0].parent is not None else [line]
        elif isinstance(line[0], pt.Task):
            rungs = []
        said = " ".join(status.sentences())
        if rungs:
            rung, last = status.rung, rungs[-1]
            assert (rung.number, rung.candidates, (rung.begin, rung.end)) == (len(rungs), len(last), last[0].progress)
            assert rung.reported == sum(state.known[task.id].ok for task in last) and status.region is None
            assert f"train rung {rung.number}, from {100 * rung.begin:.0f} % to" in said and "trust region" not in said
            assert f"rung {rung.number})" in printed(status)
        else:
            newest = max((each for each in moments if each.task < state.tasks), key=lambda each: each.task, default=None)
            current = newest if newest is not None and newest.generation == state.changes else None
            assert status.region == current and status.rung is None
            assert ("trust region" in said) == (current is not None)
            assert current is None or f"was {short(current.length)} of each range" in said
        seen.append((status.rung and status.rung.number, status.region and status.region.generation))
    assert {number for number, _ in seen} == {None, 1, 2} and {generation for _, generation in seen} >= {None, 1, 2}
    page = Watched(record.directory)
    page.look()
    assert page.status()["view"]["sentences"] == views.status(record).sentences() and views.status(record).region


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 10**400, "x", True, None])
def test_a_note_of_another_algorithm_under_the_same_names_stops_nothing(odd):
    for name in ("region length", "region share", "region successes", "region"):
        task = pt.Task(0, 0, {}, None, 5, 0, note={"region length": 0.5, name: odd})
        moment = moment_of(task, 5, 0)
        assert moment.length == (0 if name == "region length" else 0.5) and list(sentences_of(None, moment))


def printed(status):
    screen = Console(width=200, file=StringIO())
    screen.print(overview(status, 200))
    return screen.file.getvalue()


def test_the_picture_of_hyperparameters_marks_where_generations_begin(run):
    history, picture = run.history, panels.hparams(run.record)
    begins = [history.begin(id) for id in range(history.n) if history.task(id).teacher is not None]
    for panel, name in zip(picture.panels, toys.SPACE, strict=True):
        (marks,) = [series for series in panel.series if getattr(series, "name", "") == "new generation"]
        assert list(marks.x) == list(views.region(run.record).generations) and set(marks.x) <= set(begins)
        assert len(marks.texts) == 2 and "generation 1" in marks.texts[0] and "generation 2" in marks.texts[1]
        low, high = panel.y.low, panel.y.high
        assert all(low <= y < low + 0.15 * (high - low) for y in marks.y), f"at the bottom of the panel of {name}"


def test_the_marks_of_generations_reach_matplotlib_plotly_and_the_live_page(run):
    figure = plots.hparams(run)
    begins = list(views.region(run.record).generations)
    for axes in figure.axes[:3]:
        assert any(list(line.get_xdata()) == begins for line in axes.lines)
    assert "generation 2 is distilled from step" in json.dumps(drawable(panels.hparams(run.record)))
    pytest.importorskip("plotly")
    from poptrain.report.render import render

    assert "generation 2 is distilled from step" in json.dumps(render(panels.hparams(run.record)))


def test_both_are_pictures_files_and_sections_of_the_report(run, tmp_path):
    names = [path.stem for path in plots.save_all(run, tmp_path)]
    assert {"region", "architectures"} <= set(names)
    pytest.importorskip("plotly")
    page = pt.report.page(run.record)
    assert "The trust region" in page and "Architectures by generation" in page


def test_other_runs_have_neither():
    run = pt.run(
        pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5),
        pt.testing.quadratic,
        stop=pt.steps(10),
        progress=False,
    )
    assert panels.SOME["region"](run.record) is None and panels.SOME["architectures"](run.record) is None
    for draw, words in ((plots.region, "bg_pbt"), (plots.architectures, "generations")):
        with pytest.raises(pt.UsageError, match=words):
            draw(run)
