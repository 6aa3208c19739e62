"""FIRE PBT: the invariants of section 1.13 of its specification, case by case and along whole runs."""

from __future__ import annotations

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.fire.fire_pbt import evaluators_of
from poptrain.core import History, Lost, Result, Task
from poptrain.core.fingerprint import as_begun, describe
from poptrain.core.rng import rng
from poptrain.log.writer import Log
from poptrain.testing import simulate
from poptrain.testing.simulate import play, replay

CURVATURE = np.array([1.0, 0.3, 0.1, 0.03])
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1.0, init=(1e-2, 1.0)))
STATIC = pt.Space(lr=pt.LogUniform(1e-4, 1.0, init=(1e-2, 1.0)), width=pt.Ordinal(1, 2, static=True))


def valley(carry, hp, steps, seed):
    """Mean-field SGD on a noisy quadratic: a lower rate is better at once, and worse in the end."""
    m = np.ones(4) if carry is None else carry
    for _ in range(steps):
        m = (1 - hp["lr"] * CURVATURE) ** 2 * m + hp["lr"] ** 2 * 0.1 * CURVATURE
    return m, {"score": float(-np.log10(m @ CURVATURE / 2))}


def fire(sizes=(8, 8), fraction=0.25, space=SPACE, **options):
    return pt.fire_pbt(
        space, sizes, **{"interval": 16, "evals": 8, "exploit": pt.truncation(fraction), "as_in": "paper", **options}
    )


def run(algorithm, rounds, seed=0, directory=None):
    return pt.run(algorithm, valley, stop=pt.generations(rounds), seed=seed, directory=directory)


@pytest.fixture(scope="module")
def runs():
    """Runs of two and of three sub-populations in which every kind of thing happens."""
    made = [(fire(), seed, 15) for seed in range(3)] + [(fire((4, 4, 4)), seed, 20) for seed in (2, 3)]
    return [(algorithm, run(algorithm, rounds, seed)) for algorithm, seed, rounds in made]


def source(history, task):
    return None if task.parent is None else history.task(task.parent).member


def decisions(algorithm, history):
    """Yields, for every line of tasks but the first: the history before it, the state then, the state after, the tasks."""
    for prefix, line in replay(history):
        if isinstance(line[0], Task) and prefix.n:
            yield prefix, algorithm.state(prefix), algorithm.state(prefix.add(line)), {task.member: task for task in line}


# -- sizes and arguments ----------------------------------------------------------------------------------------------


def test_three_quarters_of_the_parents_are_evaluators_half_rounded_up():
    sizes = [(8, 8), (8, 8, 8), (8, 8, 8, 8), (18, 18), (50,)]
    assert [evaluators_of(each) for each in sizes] == [6, 12, 18, 14, 0]
    assert [pt.fire_pbt(SPACE, each, interval=12).seats for each in sizes] == [22, 36, 50, 50, 50]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"subpopulations": 8}, ["subpopulations=8", "(8, 8)"]),
        ({"subpopulations": ()}, ["subpopulations=()"]),
        ({"subpopulations": (8, 0)}, ["(8, 0)"]),
        ({"subpopulations": (8, True)}, ["True"]),
        ({"subpopulations": (4, 3)}, ["(4, 3)", "truncation(0.25)", "larger"]),
        ({"subpopulations": (8,), "evaluators": 2}, ["evaluators=2", "two sub-populations"]),
        ({"evaluators": -1}, ["evaluators=-1"]),
        ({"evaluators": 0}, ["evaluators=0", "larger"]),
        ({"interval": 0}, ["interval=0"]),
        ({"interval": pt.seconds(3)}, ["interval", "whole number"]),
        ({"max_eval": 0}, ["max_eval=0"]),
        ({"warmup": -5}, ["warmup=-5"]),
        ({"warmup": (1, 2)}, ["warmup=(1, 2)", "2 entries for 1"]),
        ({"evals": 0}, ["evals=0"]),
        ({"exploit": pt.tournament()}, ["exploit", "pt.truncation"]),
        ({"explore": "perturb"}, ["explore='perturb'"]),
        ({"explore": pt.perturb({"lx": (0.5, 2.0)})}, ["'lx'", "the space has lr"]),
        ({"p_stat": 1.0}, ["p_stat=1.0"]),
        ({"initial": [{}] * 17}, ["17", "16"]),
        ({"space": {"lr": (0, 1)}}, ["dict", "pt.Space"]),
    ],
)
def test_wrong_arguments_are_answered_in_one_sentence(options, words):
    with pytest.raises(pt.UsageError) as caught:
        pt.fire_pbt(**{"space": SPACE, "interval": 12, **options})
    text = str(caught.value)
    assert all(word in text for word in words) and "\n" not in text and len(text) < 400, text


def test_factors_may_be_given_by_name():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1.0), eps=pt.Uniform(0.0, 1.0), n=pt.Int(1, 8, static=True))
    explore = pt.perturb({"lr": (0.5, 2.0), "eps": (0.8, 1.2)}, resample=0)
    seen = {tuple(space.perturb({"lr": 0.01, "eps": 0.5, "n": 2}, pt.rng(key), explore.factors).values()) for key in range(60)}
    assert seen == {(lr, eps, 2) for lr in (0.005, 0.02) for eps in (0.4, 0.6)}
    assert hash(fire(space=space, explore=explore)) == hash(fire(space=space, explore=explore))
    with pytest.raises(pt.UsageError, match="'eps'"):
        pt.fire_pbt(space, interval=12, explore=pt.perturb({"lr": (0.5, 2.0)}))


# -- one sub-population is PBT ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [simulate.noisy, simulate.broken(0.3), simulate.constant], ids=["noisy", "broken", "ties"])
def test_one_sub_population_and_no_evaluators_is_pbt(objective):
    options = dict(interval=5, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0.1))
    for seed in range(3):
        mine = play(pt.fire_pbt(STATIC, (8,), evals=1, **options), objective, seed=seed)
        theirs = play(pt.pbt(STATIC, 8, **options), objective, seed=seed)
        assert [mine.task(id) for id in range(mine.n)] == [theirs.task(id) for id in range(theirs.n)]


# -- stop (section 1.5) -----------------------------------------------------------------------------------------------


def test_an_evaluator_stops_by_the_table():
    from poptrain.algorithms.fire.curves import binomial_p

    algorithm = fire(interval=12, evals=12, max_eval=36)
    for trained, n, least in ((12, 12, 6), (24, 24, 14), (36, 36, 26)):
        stops = [algorithm.stops(binomial_p(k, n), trained) for k in range(n + 1)]
        assert stops == [k < least for k in range(n + 1)]
    assert not algorithm.stops(1.0, 0), "the bound is 1.01 at the start"
    assert not algorithm.stops(None, 36) and algorithm.stops(None, 37), "without an overlap it may train max_eval steps"
    assert not algorithm.stops(0.001, 1000), "max_eval is no limit for one that is significantly better"


# -- one round, dictated ----------------------------------------------------------------------------------------------

QUIET = fire((4, 4), fraction=0.34)  # seats 0-3: P_1, 4-7: P_2, 8-10: evaluators; 1 of 4 and 1 of 3 is replaced


def told(history, curves):
    """Returns the history with a result for every pending task: `curves` gives scores by seat, else a flat curve of 0."""
    results = []
    for task in history.pending():
        begin = history.step(task.parent)
        scores = curves.get(task.member, [0.0] * task.evals)
        if scores is None:
            results.append(Result(task.id, float("nan"), begin, error="boom"))
            continue
        curve = [(begin + task.steps * (index + 1) // len(scores), score) for index, score in enumerate(scores)]
        results.append(Result(task.id, scores[-1], begin + task.steps, tuple(curve), checkpoint=f"t{task.id}:0"))
    return history.add(results)


def rising(low, high, n=8):
    return np.linspace(low, high, n).tolist()


def after_one_round(algorithm=QUIET):
    """Everybody is at 0, member 2 is the best of P_1, member 0 the worst; nobody has been evaluated yet."""
    history = History(0, None)
    history = history.add(algorithm.ask(history))
    return told(history, {0: [-0.5] * 8, 2: [0.5] * 8})


def asked(algorithm, history):
    tasks = algorithm.ask(history)
    return history.add(tasks), {task.member: task for task in tasks}


def test_the_longest_unevaluated_parents_are_evaluated_for_the_fittest_child():
    history, tasks = asked(QUIET, after_one_round())
    assert source(history, tasks[0]) == 2 and all(source(history, tasks[seat]) == seat for seat in range(1, 8))
    for seat, member in ((8, 4), (9, 5), (10, 6)):
        assert tasks[seat].evaluator and dict(tasks[seat].tags) == {"evaluates": member, "target": 2, "since": 16}
        assert tasks[seat].parent == history.task(member).id and tasks[seat].hparams == tasks[2].hparams
    assert all(not tasks[seat].tags for seat in range(8)) and all(task.evals == 8 for task in tasks.values())
    state = QUIET.state(history)
    assert state.curves[8] == (0.0,) and state.curves[0] == (0.5,) and len(state.curves[2]) == 8


def test_the_slowest_parent_copies_the_fastest_and_fitness_adds_up_to_zero():
    from poptrain.algorithms.fire.round import Round

    history, _ = asked(QUIET, after_one_round())
    history = told(history, {2: [0.5] * 8, 8: rising(0, 0.1), 9: rising(0, 0.3), 10: rising(0, 0.2)})
    fitness = Round(QUIET, history, [])._fitness(1)
    assert sorted(fitness, key=fitness.get) == [4, 6, 5] and sum(fitness.values()) == pytest.approx(0)
    history, tasks = asked(QUIET, history)
    assert source(history, tasks[4]) == 5 and tasks[4].hparams != tasks[5].hparams
    assert [source(history, tasks[seat]) for seat in (5, 6, 7)] == [5, 6, 7]  # 7 has no fitness: exempt
    assert {tasks[8].tags["evaluates"], tasks[9].tags["evaluates"], tasks[10].tags["evaluates"]} == {7, 5, 6}
    assert tasks[8].tags["evaluates"] == 7, "the evaluator of the member that lost is free for the one never evaluated"
    assert (tasks[9].parent, tasks[9].tags["since"]) == (history.n - 22 + 9, 16), "the others go on from their own weights"


def test_alone_with_a_fitness_nobody_is_replaced():
    algorithm = fire((4, 4), fraction=0.5, evaluators=2)
    history, _ = asked(algorithm, after_one_round(algorithm))
    history = told(history, {9: None, 2: [0.5] * 8})
    history, tasks = asked(algorithm, history)
    assert all(source(history, tasks[seat]) == seat for seat in (4, 5, 6, 7))
    history = told(history, {2: [0.5] * 8, 9: rising(0, 0.3)})
    history, tasks = asked(algorithm, history)
    assert sum(source(history, tasks[seat]) != seat for seat in (4, 5, 6, 7)) == 1, "of two, one is"


def test_success_hands_the_weights_to_the_child_and_frees_everybody_on_it():
    history, _ = asked(QUIET, after_one_round())
    before = {id: history.task(id) for id in range(history.n)}
    history = told(
        history, {2: rising(0.5, 0.6), 8: [0.45, *rising(0.52, 2, 8)], 9: [0.45, *rising(0.52, 3, 8)], 10: rising(0, 0.5)}
    )
    heads = history.heads()
    history, tasks = asked(QUIET, history)
    assert tasks[2].parent == heads[9], "of two successes the faster one wins"
    assert tasks[2].hparams == before[10].hparams == history.task(int(heads[2])).hparams
    state = QUIET.state(history)
    assert state.curves[2] == (0.0, 0.45, *rising(0.52, 3, 8)), "the child's curve is the evaluator's"
    assert all(tasks[seat].tags["since"] == 32 for seat in (8, 9, 10)), "all evaluators on it were cancelled and assigned anew"
    assert all(tasks[seat].tags["target"] == 2 for seat in (8, 9, 10))


def test_a_child_that_lost_frees_its_evaluators_whatever_they_reached():
    history, _ = asked(QUIET, after_one_round())
    history = told(history, {2: [-9.0] * 8, 1: [1.0] * 8, **{seat: rising(0, 5) for seat in (8, 9, 10)}})
    history, tasks = asked(QUIET, history)
    assert source(history, tasks[2]) == 1
    assert all(tasks[seat].tags["since"] == 32 and tasks[seat].tags["target"] == 1 for seat in (8, 9, 10))


def test_a_parent_that_failed_is_replaced_and_its_evaluator_freed():
    history, _ = asked(QUIET, after_one_round())
    history = told(history, {5: None, 2: [0.5] * 8, 8: rising(0, 0.1), 9: rising(0, 0.3), 10: rising(0, 0.2)})
    history, tasks = asked(QUIET, history)
    assert source(history, tasks[5]) == 6, "the fastest of the healthy ones with a fitness"
    assert tasks[9].tags["evaluates"] != 5


def test_a_failed_evaluator_is_idle_and_given_a_new_task():
    history, _ = asked(QUIET, after_one_round())
    history = told(history, {8: None, 9: [float("nan")] * 8, 10: rising(0, 0.2), 2: [0.5] * 8})
    assert not QUIET.needed(history) & {int(history.heads()[seat]) for seat in (8, 9)}
    history, tasks = asked(QUIET, history)
    assert all(tasks[seat].tags["since"] == 32 for seat in (8, 9) if seat in tasks) and tasks[10].tags["since"] == 16


def test_a_sub_population_that_failed_altogether_is_filled_from_the_others():
    history = after_one_round()
    history, _ = asked(QUIET, history)
    history = told(history, {seat: None for seat in range(4)})
    history, tasks = asked(QUIET, history)
    assert all(source(history, tasks[seat]) in (4, 5, 6, 7) for seat in range(4))
    assert not [seat for seat in (8, 9, 10) if seat in tasks], "nobody is a target who was just replaced"


def test_a_lost_checkpoint_counts_as_a_failure():
    history, _ = asked(QUIET, after_one_round())
    history = told(history, {2: [0.5] * 8})
    history = history.add(Lost(int(history.heads()[10])))
    history, tasks = asked(QUIET, history)
    assert 10 not in tasks or tasks[10].tags["since"] == 32


def test_nobody_is_evaluated_before_the_warmup():
    algorithm = fire((4, 4, 4), fraction=0.34, warmup=(16, 32))
    history, tasks = asked(algorithm, after_one_round(algorithm))
    assert {task.tags["evaluates"] for task in tasks.values() if task.tags} == {4, 5, 6, 7}
    history, tasks = asked(algorithm, told(history, {}))
    assert {8, 9} <= {task.tags["evaluates"] for task in tasks.values() if task.tags}


def test_static_values_travel_with_the_weights():
    algorithm = fire((4, 4), fraction=0.34, space=STATIC)
    for seed in range(6):
        history = History(seed, 16 * 12)
        while tasks := algorithm.ask(history):
            history = history.add(tasks)
            curves = {}
            for task in tasks:
                fast = task.member >= 8
                start = history.score(task.parent) if task.parent is not None else 0.0
                curves[task.member] = rising(start, start + (3 if fast else 0.1 * task.hparams["width"]))
            history = told(history, curves)
        handed = 0
        for id in range(history.n):
            task = history.task(id)
            if task.parent is not None:
                assert task.hparams["width"] == history.task(task.parent).hparams["width"]
                handed += task.member < 8 <= source(history, task)
        assert handed


# -- whole runs -------------------------------------------------------------------------------------------------------


def test_the_runs_hold_everything_that_is_looked_at(runs):
    for algorithm, made in runs:
        history = made.history
        tasks = [history.task(id) for id in range(history.n) if history.task(id).parent is not None]
        assert sum(task.member < algorithm.population <= source(history, task) for task in tasks) >= 2, "hand-overs"
        assert sum(bool(task.tags) and source(history, task) == task.member for task in tasks) >= 10, "evaluations that went on"
    algorithm, made = runs[-1]
    handed = {task.member for task in map(made.history.task, range(made.history.n)) if task.parent is not None
              and task.member < algorithm.population <= source(made.history, task)}  # fmt: skip
    assert handed & set(algorithm.members(1)), "from P_3 to P_2, too"


def test_each_parent_has_at_most_one_evaluator_and_no_evaluator_is_idle_without_need(runs):
    for algorithm, made in runs:
        for _, _, state, tasks in decisions(algorithm, made.history):
            evaluated = [at.member for at in state.busy.values()]
            assert len(set(evaluated)) == len(evaluated) and all(seat >= algorithm.subpopulations[0] for seat in evaluated)
            assert len(evaluated) == min(algorithm.evaluators, sum(algorithm.subpopulations[1:]))
            for at in state.busy.values():
                i = next(i for i in range(len(algorithm.subpopulations)) if at.member in algorithm.members(i))
                assert at.target in algorithm.members(i - 1)
            assert set(tasks) == set(range(algorithm.population)) | set(state.busy)


def test_an_evaluator_ends_with_the_round_in_which_its_parent_or_target_loses(runs):
    for algorithm, made in runs:
        ended = 0
        for prefix, before, after, tasks in decisions(algorithm, made.history):
            moved = {seat for seat, task in tasks.items() if seat < algorithm.population and source(prefix, task) != seat}
            for seat, at in before.busy.items():
                if {at.member, at.target} & moved:
                    ended += 1
                    assert after.busy.get(seat) != at
        assert ended


def test_members_without_fitness_neither_lose_nor_are_copied(runs):
    for algorithm, made in runs:
        lost = 0
        for prefix, before, _, tasks in decisions(algorithm, made.history):
            evaluated = {at.member for at in before.busy.values()}
            for seat in range(algorithm.subpopulations[0], algorithm.population):
                donor = source(prefix, tasks[seat])
                if donor != seat and donor < algorithm.population:
                    lost += 1
                    assert seat in evaluated and donor in evaluated
        assert lost


def test_a_hand_over_copies_weights_and_keeps_the_hyperparameters_and_the_clock(runs):
    for algorithm, made in runs:
        history = made.history
        for prefix, before, after, tasks in decisions(algorithm, history):
            steps = {prefix.step(task.parent) for task in tasks.values()}
            assert len(steps) == 1, "everybody is at the same step"
            for seat in range(algorithm.population):
                giver = source(prefix, tasks[seat])
                if giver >= algorithm.population:
                    assert tasks[seat].hparams == prefix.task(prefix.head(seat)).hparams
                    assert tasks[seat].parent == prefix.head(giver)
                    assert after.curves[seat] == before.curves[giver]
                    assert all(after.busy.get(e) != at for e, at in before.busy.items() if seat in (at.member, at.target))
        for id in range(history.n):
            assert sum(history.task(each).steps for each in history.ancestry(id)) == history.step(id)


def test_a_curve_is_what_the_results_say(runs):
    for algorithm, made in runs:
        history, state = made.history, algorithm.state(made.history)
        for seat, at in state.busy.items():
            id, scores = history.head(seat), ()
            while history.step(id) > at.since:
                scores = tuple(score for _, score in history.result(id).curve) + scores
                id = history.task(id).parent
            assert state.curves[seat] == (history.score(id), *scores)


def test_the_schedule_through_hand_overs_replays_to_the_best_score(runs):
    for _, made in runs:
        schedule = made.schedule()
        assert schedule.segments[0].start == 0 and schedule.segments[-1].end == schedule.step
        assert all(a.end == b.start for a, b in zip(schedule.segments, schedule.segments[1:], strict=False))
        carry = None
        for segment in schedule.segments:
            carry, metrics = valley(carry, segment.hparams, segment.end - segment.start, 0)
        assert abs(metrics["score"] - made.best.score) < 1e-9
        seats = {ancestor.member for ancestor in made.lineage().ancestors}
        assert len(seats) > 1


@pytest.mark.heavy
def test_greedy_members_give_an_answer_at_any_time_and_fire_beats_pbt():
    settings = dict(interval=16, exploit=pt.truncation(0.25), explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0))
    best = {name: [run(algorithm, 30, seed).best.score for seed in range(3)] for name, algorithm in
            {"pbt": pt.pbt(SPACE, 22, **settings), "fire": fire()}.items()}  # fmt: skip
    assert np.median(best["fire"]) > np.median(best["pbt"]) + 0.1


# -- dying and going on -----------------------------------------------------------------------------------------------


class Dies(BaseException):
    """The process is gone."""


def facts(made):
    lines = []
    for number in range(made.history.lines):
        for fact in made.history.line(number):
            lines.append(fact if isinstance(fact, Task) else (fact.task, fact.score, fact.step, tuple(fact.curve)))
    return lines


def test_dying_at_any_line_in_the_middle_of_evaluations_changes_nothing(tmp_path, monkeypatch):
    small = fire((2, 2), fraction=0.5)
    straight = run(small, 6, seed=3)
    tasks = [straight.history.task(id) for id in range(straight.history.n)]
    assert any(task.tags and source(straight.history, task) == task.member for task in tasks), "an evaluation of two rounds"
    assert any(task.member < 4 <= (source(straight.history, task) or 0) for task in tasks), "a hand-over"
    append = Log.append
    for dies_at in range(7, straight.history.lines, 4):  # of rounds of 7 lines or fewer: every place in a round comes up
        count = 0

        def dying(self, line, dies_at=dies_at, **how):
            nonlocal count
            append(self, line, **how)
            count += 1
            if count == dies_at + 1:
                raise Dies

        with monkeypatch.context() as patch, pytest.raises(Dies):
            patch.setattr(Log, "append", dying)
            run(small, 6, seed=3, directory=tmp_path / f"{dies_at}")
        assert facts(run(small, 6, seed=3, directory=tmp_path / f"{dies_at}")) == facts(straight)


def test_a_longer_budget_goes_on_with_the_evaluations(tmp_path):
    small = fire((4, 4), fraction=0.34)
    run(small, 4, directory=tmp_path / "r")
    longer, straight = run(small, 8, directory=tmp_path / "r"), run(small, 8)
    assert facts(longer) == facts(straight)


# -- departures from the paper ------------------------------------------------------------------------------------------


def test_the_paper_is_one_word_away_and_an_old_log_goes_on_in_its_form():
    paper, now = pt.fire_pbt(SPACE, interval=16, as_in="paper"), pt.fire_pbt(SPACE, interval=16)
    assert (paper.ahead, paper.release, paper.starts) == (False, False, "random") and paper.explore.resample == 0
    assert (now.ahead, now.release, now.starts) == (True, True, "spread")
    log = {name: value for name, value in describe(paper).items() if name not in ("ahead", "release", "starts")}
    assert as_begun(now, log) == paper
    named = pt.fire_pbt(SPACE, interval=16, release=True)
    assert as_begun(named, log).release and not as_begun(named, log).ahead
    with pytest.raises(pt.errors.UsageError, match="release=3, expected True, False or None"):
        pt.fire_pbt(SPACE, interval=16, release=3)


def test_without_a_hand_over_all_seats_become_one_population():
    algorithm = fire(release=True, max_eval=48, ahead=True)
    history = play(algorithm, lambda history, task: rng(task.seed, "score").random(), budget=160)
    free = [task for task in map(history.task, range(history.n)) if task.member >= 16 and not task.evaluator]
    assert {history.begin(task.id) for task in free} == {64, 80, 96, 112, 128, 144} and len(free) == 6 * 6
    assert all(history.task(task.parent).evaluator == (history.begin(task.id) == 64) or task.donor is not None for task in free)
    assert algorithm.state(history).released and not algorithm.state(history).busy
    assert all(history.step(int(head)) == 160 for head in history.heads())


def test_weights_with_lower_scores_are_not_handed_over(runs):
    def newest(history, seat):
        return np.mean([score for _, score in history.result(history.head(seat)).curve])

    algorithm = fire(ahead=True)
    made = 0
    for seed in range(3):
        for prefix, before, _, tasks in decisions(algorithm, run(algorithm, 15, seed).history):
            for task in tasks.values():
                if (evaluator := source(prefix, task)) in before.busy and task.member < 16:
                    made += 1
                    assert newest(prefix, evaluator) >= newest(prefix, task.member)
    assert made
