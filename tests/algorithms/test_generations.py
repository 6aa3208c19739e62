"""BG-PBT with architectures: generations, successive halving and distillation (sections 6.3 and 6.5 of the specification)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import poptrain as pt
from poptrain import views
from poptrain.algorithms.bg_pbt.candidates import modelled_architectures
from poptrain.algorithms.bg_pbt.chapter import CANDIDATE
from poptrain.algorithms.bg_pbt.generational import Generational
from poptrain.algorithms.bg_pbt.generations import Generations
from poptrain.core import History, Lost
from poptrain.core.errors import UsageError
from poptrain.testing import play
from poptrain.testing.simulate import simulated
from poptrain.views import panels
from tests import distilling_toys as toys

SHORT = Generations(distill=20, every=20, most=2)


def algorithm(generations=SHORT, **options):
    return pt.bg_pbt(toys.SPACE, population=4, interval=5, generations=generations, window=8, retune=None, **options)


def objective(history, task):
    """A score that grows by the learning rate, as far as the width allows; candidates begin at half of their teacher's."""
    before = history.score(task.parent) if task.parent is not None else 0.0
    if task.teacher is not None and task.parent is None:
        before = 0.5 * history.score(task.teacher)
    return before + 0.01 * task.steps * task.hparams["lr"] * (toys.limit(task.hparams["width"]) - before)


@cache
def played(seed=0, budget=120) -> History:
    return play(algorithm(), objective, seed=seed, budget=budget)


def line_of(history, task):
    return history.line(history.issued(task.id))


def lines_of(history, role):
    lines = [history.line(number) for number in range(history.lines)]
    return [line for line in lines if isinstance(line[0], pt.Task) and line[0].role == role]


# -- successive halving ---------------------------------------------------------------------------------------------------


def test_25_candidates_become_12_and_then_8_and_the_parts_of_the_distillation_join():
    first, second = Generations(distill=400).rungs(25, 8, 10)
    assert (first.survivors, second.survivors) == (12, 8)
    assert (first.steps, second.steps) == (100, 300)
    assert (first.begin, first.end, second.begin, second.end) == (0, 0.25, 0.25, 1)
    assert Generations(distill=400).cost(25, 8, 10) == 25 * 100 + 12 * 300


@pytest.mark.parametrize("members", [1, 2, 3, 4, 8, 24])
def test_every_population_ends_with_its_own_size_and_the_whole_distillation(members):
    rungs = Generations(distill=37).rungs(3 * members + 1, members, 5)
    assert rungs[-1].survivors == members and sum(rung.steps for rung in rungs) == 37 and rungs[-1].end == 1
    assert all(a.end == b.begin and a.survivors >= b.survivors for a, b in zip(rungs, rungs[1:], strict=False))


def test_the_best_candidates_survive_and_go_on_from_their_own_checkpoint():
    history = played()
    first, second = lines_of(history, CANDIDATE)[:2]
    assert len(first) == 13 and len(second) == 6
    ranked = sorted((task.id for task in first), key=history.score, reverse=True)
    assert {task.parent for task in second} == set(ranked[:6])
    teachers = {task.teacher for task in (*first, *second)}
    assert teachers == {first[0].teacher} and history.score(first[0].teacher) == max(history.scores[: first[0].id])
    assert all(task.hparams == history.task(task.parent).hparams and task.progress == (0.25, 1) for task in second)
    best = sorted((task.id for task in second), key=history.score, reverse=True)[:4]
    begun = next(line for line in lines_of(history, "") if line[0].id > second[-1].id)
    assert {task.parent for task in begun} == set(best) and [task.member for task in begun] == [0, 1, 2, 3]


# -- generations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [30, 60, 120, pytest.param(400, marks=pytest.mark.heavy)])
def test_distillation_counts_against_the_budget_and_a_generation_never_begins_too_late(budget):
    history = played(budget=budget)
    trained = sum(history.task(id).steps for id in range(history.n))
    assert 4 * budget - 4 < trained <= 4 * budget
    changes = sum(line[0].parent is None for line in lines_of(history, CANDIDATE))
    assert changes == {30: 0, 60: 0, 120: 1, 400: 2}[budget]
    if changes:
        assert lines_of(history, "")[-1][0].id > max([line[-1].id for line in lines_of(history, CANDIDATE)], default=0)


def test_a_generation_keeps_the_architectures_that_it_began_with():
    history = played()
    widths, begun = set(), True
    for number in range(history.lines):
        line = history.line(number)
        if isinstance(line[0], pt.Task):
            here = {task.hparams["width"] for task in line}
            if line[0].role == CANDIDATE:
                begun = True
            elif begun:
                widths, begun = here, False
            assert line[0].role == CANDIDATE or here <= widths


def test_a_new_generation_knows_no_rows_and_has_a_fresh_region():
    line = next(line for line in lines_of(played(), "") if line[0].id > lines_of(played(), CANDIDATE)[-1][-1].id)
    later = [each for each in lines_of(played(), "") if each[0].id > line[-1].id]
    assert all(task.forecast is None for task in line), "students begin with the values that they were distilled with"
    clones = [task for each in later[:1] for task in each if task.donor is not None]
    assert clones and all(task.note["region length"] == 0.4 and task.note["region"] == 0 for task in clones)
    rows = [task.forecast.rows for each in later[:3] for task in each if task.forecast is not None]
    assert min(rows) <= 4


def test_a_stale_generation_ends_early():
    history = play(algorithm(replace(SHORT, every=1000, patience=3)), lambda history, task: 1.0, budget=200)
    assert lines_of(history, CANDIDATE)[0][0].id == 4 + 4 * 3


def test_candidates_that_all_fail_leave_the_members_where_they_are():
    def failing(history, task):
        return float("nan") if task.role == CANDIDATE else objective(history, task)

    history = play(algorithm(), failing, budget=200)
    last = lines_of(history, CANDIDATE)[0][-1].id
    after = next(line for line in lines_of(history, "") if line[0].id > last)
    assert all(task.parent < lines_of(history, CANDIDATE)[0][0].id for task in after) and len(after) == 4


@pytest.mark.parametrize(("rung", "healthy"), [(0, 2), (1, 1), (1, 3)])
def test_with_fewer_healthy_candidates_than_members_the_best_members_take_the_other_places(rung, healthy):
    def failing(history, task):
        later = task.parent is not None and task.role == CANDIDATE
        fails = task.role == CANDIDATE and later == rung and task.id - line_of(history, task)[0].id >= healthy
        return float("nan") if fails else objective(history, task)

    history = play(algorithm(), failing, budget=200)
    first, second = lines_of(history, CANDIDATE)[:2]
    assert len(second) == (healthy if rung == 0 else 6) and all(history.ok(task.parent) for task in second)
    students = [task.id for task in second if history.ok(task.id)]
    assert len(students) == healthy
    begun = next(line for line in lines_of(history, "") if line[0].id > second[-1].id)
    parents = [task.parent for task in begun]
    assert [task.member for task in begun] == [0, 1, 2, 3] and set(parents[:healthy]) == set(students)
    held = {int(id) for id in history.at(history.issued(first[0].id)).finals().values()}
    kept = sorted(held, key=history.score, reverse=True)[: 4 - healthy]
    assert parents[healthy:] == kept, "the best members of the generation before"
    trained = sum(history.task(id).steps for id in range(history.n))
    assert 4 * (200 - 5) < trained <= 4 * 200, "what failed is paid for"


def test_a_teacher_whose_checkpoint_is_lost_stops_nothing():
    history, search = History(0, 120), algorithm()
    while tasks := search.ask(history) or history.pending():
        history = history.add(tasks) if not history.pending() else history
        assert all(history.ok(task.teacher) for task in tasks if task.teacher is not None)
        if tasks[0].role == CANDIDATE and tasks[0].parent is None:
            history = history.add(Lost(tasks[0].teacher))
        history = history.add([simulated(history, task, objective(history, task)) for task in history.pending()])
    assert lines_of(history, CANDIDATE)


def test_the_model_prefers_architectures_that_reached_much():
    history = played()
    chosen = modelled_architectures(history, toys.SPACE, 2)
    assert (3,) in chosen and len(set(chosen)) == 2 and not modelled_architectures(history.at(1), toys.SPACE, 2)


def test_without_static_hyperparameters_generations_are_refused_and_without_the_option_nothing_changes():
    plain = pt.Space(lr=pt.Uniform(0, 1))
    with pytest.raises(UsageError, match="no static hyperparameter"):
        pt.bg_pbt(plain, interval=5, generations=Generations())
    with pytest.raises(UsageError, match="distill=0"):
        algorithm(Generations(distill=0))
    assert algorithm(None) == algorithm().within
    same, other = play(algorithm(None), objective, budget=20), play(algorithm(), objective, budget=20)
    assert [same.task(id) for id in range(same.n)] == [other.task(id) for id in range(same.n)]


def test_a_trainable_without_distill_is_refused_before_anything_is_trained():
    for trainable in (pt.testing.quadratic, pt.Trainable(toys.init, toys.train)):
        with pytest.raises(UsageError, match="has no distill"):
            pt.Experiment(algorithm(), trainable, stop=pt.steps(80))
    pt.Experiment(algorithm(None), pt.testing.quadratic, stop=pt.steps(80))
    pt.Experiment(algorithm(), toys.Pupil, stop=pt.steps(80))


# -- real runs ----------------------------------------------------------------------------------------------------------------


def run(directory, executor="inline", trainable=toys.FUNCTIONS):
    return pt.run(
        algorithm(), trainable, stop=pt.steps(80), directory=directory, progress=False, executor=executor, overwrite=False
    ).history


def decided(history):
    return [history.task(id) for id in range(history.n)], history.scores.tolist()


def test_a_run_verifies_and_one_that_was_interrupted_while_it_distilled_ends_the_same(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    found = pt.verify(tmp_path / "whole", pt.Experiment(algorithm(), toys.FUNCTIONS, stop=pt.steps(80)))
    assert found.ok and found.decisions
    students = [task for task in decided(whole)[0] if task.role == CANDIDATE and task.parent is not None]
    last = [whole.result(task.id).metrics["alpha"] for task in students]
    assert set(last) == {toys.LAST}, "the second rung goes on where the first one ended"
    record = pt.open_run(tmp_path / "whole").record
    status, tree = views.status(record), panels.tree(record).panels[0].series
    assert [member.member for member in status.members] == [0, 1, 2, 3] and not status.evaluators
    assert status.architectures == 1 and not status.distilling
    assert [(each.kind, len(each.tasks)) for each in tree if each.name == "teacher and students"] == [
        ("segments", 13),
        ("points", 1),
    ]
    begun = next(line for line in lines_of(whole, "") if line[0].id > students[-1].id)
    assert not {task.id for task in begun} & set(whole.copies()) and whole.members() == [0, 1, 2, 3]
    assert [step.came for step in views.lineage(record).ancestors].count("distilled") <= 1
    calls, limit = iter(range(10**6)), toys.limit

    def interrupted(width):
        if next(calls) == 250:
            raise KeyboardInterrupt
        return limit(width)

    monkeypatch.setattr(toys, "limit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part")
    stopped = pt.open_run(tmp_path / "part").history
    assert stopped.n < whole.n and any(task.role == CANDIDATE for task in decided(stopped)[0])
    assert decided(run(tmp_path / "part")) == decided(whole)


def test_a_schedule_that_contains_a_distillation_is_replayed(tmp_path):
    whole = run(tmp_path / "whole")
    last = int(whole.heads()[0])
    again = pt.replay(tmp_path / "whole", toys.FUNCTIONS, task=last, same_seeds=True, directory=tmp_path / "again")
    assert again.history.step(again.history.n - 1) == whole.step(last)
    assert again.history.score(again.history.n - 1) == whole.score(last)
    taught = [task for task in decided(again.history)[0] if task.teacher is not None]
    assert [task.progress for task in taught] == [(0, 0.25), (0.25, 1)] and len({task.teacher for task in taught}) == 1
    assert taught[0].parent is None and taught[0].hparams == whole.task(whole.descent(last)[taught[0].id]).hparams
    assert pt.verify(tmp_path / "again").ok, "the log of a replay holds all that it needs"
    with pytest.raises(UsageError, match="repeated as it was"):
        pt.replay(tmp_path / "whole", toys.FUNCTIONS, task=last, final=True)


@pytest.mark.heavy
def test_processes_a_class_and_one_program_for_all_members_make_the_same_decisions(tmp_path):
    whole = run(tmp_path / "inline")
    assert decided(run(tmp_path / "processes", pt.executors.Processes(slots=2))) == decided(whole)
    members = run(tmp_path / "class", trainable=toys.Pupil)
    assert members.oks.all() and members.scores.tolist() == whole.scores.tolist()
    together = run(tmp_path / "vectorized", "vectorized", toys.jax_toy())
    tasks, scores = decided(together)
    assert together.oks.all() and [task.hparams["width"] for task in tasks] == [t.hparams["width"] for t in decided(whole)[0]]
    assert np.allclose(scores, whole.scores, atol=1e-4)
    taught = {task.id: task.hparams["width"] for task in tasks}
    for task in tasks:
        if task.teacher is not None:
            assert together.result(task.id).metrics["taught_by_width"] == taught[task.teacher]


def asynchronous():
    return pt.Experiment(algorithm(sync=False), toys.FUNCTIONS, stop=pt.steps(80), executor=pt.executors.Processes(slots=2))


def killed_while_it_distils(directory, results):
    """Trains until some candidates have reported, and then kills this process."""
    ask = Generational.ask

    def watched(self, history):
        reported = [id for id in range(history.n) if history.task(id).role == CANDIDATE and history.ok(id)]
        return os.kill(os.getpid(), signal.SIGKILL) if len(reported) >= results else ask(self, history)

    Generational.ask = watched
    pt.run(asynchronous(), directory=directory, progress=False)


@pytest.mark.heavy
@pytest.mark.parametrize("results", [5, 15])  # in the first rung, which has 13 candidates, and in the second one
def test_an_asynchronous_run_on_processes_that_was_killed_while_it_distilled_goes_on_and_verifies(tmp_path, results):
    call = f"from tests.algorithms import test_generations as t; t.killed_while_it_distils({str(tmp_path / 'run')!r}, {results})"
    process = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    stopped = pt.open_run(tmp_path / "run").history
    assert stopped.pending() and all(task.role == CANDIDATE for task in stopped.pending())
    history = pt.run(asynchronous(), directory=tmp_path / "run", progress=False).history
    assert pt.verify(tmp_path / "run", asynchronous()).ok and history.oks.all()
    rungs = lines_of(history, CANDIDATE)
    assert [len(rung) for rung in rungs] == [13, 6]
    assert [history.task(id) for id in range(stopped.n)] == [stopped.task(id) for id in range(stopped.n)]
    alphas = {history.result(task.id).metrics["alpha"] for task in rungs[1]}
    assert alphas == {toys.LAST}, "the second rung goes on where the first one ended"
    decided_alone = [line for line in lines_of(history, "") if len(line) == 1]
    assert decided_alone, "members are decided about one by one"
    trained = sum(history.task(id).steps for id in range(history.n))
    assert 4 * (80 - 5) < trained <= 4 * 80
