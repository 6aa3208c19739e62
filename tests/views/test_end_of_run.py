"""The end of a run: the best by evidence, the highest score, and the reason why nothing was ever copied."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import poptrain as pt
from poptrain import views
from poptrain.cli.overview import overview
from poptrain.cli.start import print_end
from poptrain.core import History, Result, Task
from poptrain.core.evidence import HIGHEST, best_by_evidence
from poptrain.core.rng import task_seed
from poptrain.log.reader import read
from poptrain.report import tables
from poptrain.testing import quadratic
from poptrain.views.digest import Following

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))


def lineages(*rows):
    """Returns a history with one seat for each row of scores, one score for each task of ten steps; None: failed."""
    history = History(0, 10 * len(rows[0]))
    heads = [None] * len(rows)
    for number in range(len(rows[0])):
        first = history.n
        line = [Task(first + k, k, {"lr": 0.01}, heads[k], 10, task_seed(0, first + k)) for k in range(len(rows))]
        told = []
        for task, row in zip(line, rows, strict=True):
            score = float("nan") if row[number] is None else row[number]
            told.append(Result(task.id, score, 10 * (number + 1), checkpoint=f"c{task.id}"))
        heads = [task.id for task in line]
        history = history.add(line).add(told)
    return history


def noisy_rows(lucky=True):
    g = np.random.default_rng(0)
    good, poor = 1.0 + 0.3 * g.normal(size=20), 0.4 + 0.3 * g.normal(size=20)
    if lucky:
        poor[8] = 3.0  # one lucky evaluation
    return good.tolist(), poor.tolist()


def test_one_lucky_score_is_not_the_best_but_stays_the_highest():
    history = lineages(*noisy_rows())
    found = best_by_evidence(history)
    assert history.task(history.best()).member == 1 and history.score(history.best()) == 3.0
    assert history.task(found.task).member == 0 and found.task in history.heads() and "smoothed" in found.text


def test_a_collapse_that_many_scores_show_is_believed():
    g = np.random.default_rng(1)
    rise = np.concatenate([np.linspace(0, 2, 20), np.full(10, -1.0)]) + 0.05 * g.normal(size=30)
    other = np.linspace(0, 0.5, 30) + 0.05 * g.normal(size=30)
    found = best_by_evidence(lineages(rise.tolist(), other.tolist()))
    assert found.task == lineages(rise.tolist(), other.tolist()).best()


def test_without_noise_or_with_few_results_the_highest_score_is_the_best():
    few = lineages([1.0, 2.0], [1.5, 1.0])
    assert best_by_evidence(few).task == few.best() and best_by_evidence(few).text.startswith(HIGHEST)
    still = lineages([float(k) for k in range(20)], [0.5 * k for k in range(20)])
    assert best_by_evidence(still).task == still.best()
    assert best_by_evidence(History(0, 10)) is None


def test_failed_members_and_scaled_scores_change_nothing():
    good, poor = noisy_rows()
    plain = best_by_evidence(lineages(good, poor)).task
    assert best_by_evidence(lineages([100 * y - 7 for y in good], [100 * y - 7 for y in poor])).task == plain
    broken = best_by_evidence(lineages(good[:-1] + [None], poor))
    assert broken.task != plain  # its newest result failed, so it is not a candidate


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_run_its_status_its_schedule_and_its_log_agree(tmp_path, mode):
    sign = 1 if mode == "max" else -1

    def train(carry, hp, steps, seed):
        value = (0.0 if carry is None else carry) + hp["lr"] * steps
        return value, {"score": sign * (value + 0.3 * float(np.random.default_rng(seed).normal()))}

    algorithm = pt.pbt(SPACE, population=4, interval=5)
    run = pt.run(algorithm, train, stop=pt.steps(60), mode=mode, directory=tmp_path / "run")
    again = pt.open_run(tmp_path / "run", train)
    status = views.status(again.record)
    assert run.best.task.id == again.best.task.id == status.best.task == run.schedule().task
    assert run.best.evidence == again.best.evidence == status.best.evidence and "smoothed" in run.best.evidence
    assert run.best.task.id == pt.views.digest.Following(tmp_path / "run").look().best.task
    assert sign * run.highest.score >= sign * run.best.score and again.best.load() is not None
    longer = pt.run(algorithm, train, stop=pt.steps(80), mode=mode, directory=tmp_path / "run")
    assert longer.best.evidence and pt.verify(tmp_path / "run", pt.Experiment(algorithm, train, mode=mode, stop=pt.steps(80))).ok


def test_a_log_without_the_choice_means_the_highest_score(tmp_path):
    run = pt.run(pt.pbt(SPACE, population=4, interval=5), quadratic, stop=pt.steps(20), directory=tmp_path / "run")
    events = [
        (type, {k: v for k, v in about.items() if k not in ("best", "evidence")}, time) for type, about, time in run.record.events
    ]
    run.record.events[:] = events
    assert run.best.task.id == run.highest.task.id and run.best.evidence == HIGHEST


@pytest.mark.parametrize(
    ("algorithm", "why"),
    [
        (pt.pbt(SPACE, population=4, interval=20), "the interval is 20 steps and the budget 20"),
        (pt.pbt(SPACE, population=1, interval=5), "the population is 1"),
        (pt.pbt(SPACE, population=4, interval=5, warmup=16), "the warmup is 16 steps"),
        (pt.pbt(SPACE, population=4, interval=5, exploit=pt.welch(0.05)), "no result has any"),
        (pt.pbt(SPACE, population=4, interval=5, exploit=pt.truncation(0)), "replaces no member"),
    ],
)
def test_a_run_without_any_decision_says_so_and_why(algorithm, why):
    run = pt.run(algorithm, lambda carry, hp, steps, seed: (steps, {"score": hp["lr"]}), stop=pt.steps(20))
    found = views.status(run.record)
    assert found.exploits == 0 and why in found.no_decision
    assert json.loads(views.dumps(found))["no_decision"] == found.no_decision


def test_the_reason_for_no_copy_is_the_same_from_the_digest_of_a_directory(tmp_path):
    """The digest stands for the lines, so that none of the results is read."""
    algorithm = pt.pbt(SPACE, population=4, interval=5, exploit=pt.welch())

    def train(returns):
        return lambda carry, hp, steps, seed: (steps, {"score": hp["lr"], **returns})

    for name, returns, why in (("without", {}, "no result has any"), ("with", {"returns": [1.0, 2.0]}, "worth copying")):
        run = pt.run(algorithm, train(returns), stop=pt.steps(20), directory=tmp_path / name, progress=False)
        digest = Following(tmp_path / name)
        assert digest.state.skipped > 0, "the digest is used"
        assert why in views.status(run.record).no_decision
        assert (
            digest.look().no_decision == views.status(read(tmp_path / name)).no_decision == views.status(run.record).no_decision
        )


def test_a_run_with_a_copy_and_a_search_that_never_copies_say_nothing():
    copied = pt.run(pt.pbt(SPACE, population=4, interval=5), quadratic, stop=pt.steps(20))
    random = pt.run(pt.random_search(SPACE, population=4, interval=5), quadratic, stop=pt.steps(20))
    assert views.status(copied.record).exploits and views.status(copied.record).no_decision is None
    assert views.status(random.record).no_decision is None


WHOLE = {
    "pbt": pt.pbt(SPACE, population=4, interval=5),
    "pbt async": pt.pbt(SPACE, population=4, interval=5, sync=False, exploit=pt.tournament()),
    "hparams alone": pt.pbt(SPACE, population=4, interval=5, copy="hparams"),
    "with controls": pt.pbt(SPACE, population=5, interval=5, controls=2, warmup=10),
    "evaluated first": pt.pb2(SPACE, population=4, interval=5),
    "fire": pt.fire_pbt(SPACE, (3, 3), 2, interval=5, evals=3, max_eval=10, exploit=pt.truncation(0.5)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_schedule_is_whole_and_is_what_its_lineage_trained_with(name, tmp_path):
    pt.run(WHOLE[name], quadratic, stop=pt.steps(30), directory=tmp_path / "run")
    run = pt.run(WHOLE[name], quadratic, stop=pt.steps(45), directory=tmp_path / "run")  # continued with a larger budget
    history = run.history
    for schedule in (run.schedule(), *views.schedules(run.record)):
        edges = [0, *(segment.end for segment in schedule.segments)]
        assert [segment.start for segment in schedule.segments] == edges[:-1]
        assert edges[-1] == schedule.step == history.step(schedule.task)
        for id in history.ancestry(schedule.task):
            for step in range(history.begin(id), history.step(id)):
                assert schedule.at(step) == history.task(id).hparams
    assert max(schedule.step for schedule in views.schedules(run.record)) == 45


@pytest.mark.parametrize("broken", [0, 1, 5])
def test_a_run_tells_how_many_members_reached_its_end_and_how_many_failed(broken, tmp_path, capfd):
    """In all views: what a finished run did is derived from its members."""

    def train(carry, hp, steps, seed):
        if carry is not None and hp["lr"] < broken:
            raise ValueError("a planted fault")
        return 1, {"score": hp["lr"]}

    space, first = pt.Space(lr=pt.Uniform(0, 10)), [{"lr": lr + 0.5} for lr in range(6)]
    search = pt.random_search(space, population=6, interval=4, initial=first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = pt.run(search, train, stop=pt.steps(8), directory=tmp_path / "r")
    text = f"{6 - broken} of 6 members reached step 8; {broken} failed" if broken else "every member reached its last step"
    view = views.status(run.record)
    assert (view.state, view.reason, view.rounds) == ("finished", text, "2 of 2")
    assert (f"finished: {text}; 12 results" in capfd.readouterr().err) == (broken > 0)
    assert text in tables.details(run.record, view) and text in str(overview(view, 100).renderables[0])
    print_end(run, tmp_path / "r")
    assert f"finished: {text} (12 results" in capfd.readouterr().out


def test_the_lowest_loss_is_not_called_the_highest_score(tmp_path):
    def train(carry, hp, steps, seed):
        return None, {"loss": hp["lr"]}

    algorithm = pt.random_search(pt.Space(lr=pt.Uniform(0.0, 1.0)), population=2, interval=1)
    run = pt.run(algorithm, train, metric="loss", mode="min", stop=pt.steps(1), directory=tmp_path / "r", progress=False)
    status = views.status(read(tmp_path / "r"))
    assert run.best.evidence == status.best.evidence and "the lowest score of the run" in status.best.evidence
