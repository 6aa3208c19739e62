"""The laws of every algorithm, as tests. Subclass `AlgorithmContract`, override `make`, and let pytest collect it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from poptrain.core import History, Lost, Result, Task
from poptrain.core.protocols import Algorithm, Controlled, Populated
from poptrain.core.rng import rng, task_seed
from poptrain.space import Choice, Int, LogUniform, Ordinal, Space, Uniform
from poptrain.testing import simulate
from poptrain.testing.purity import shared_state_untouched
from poptrain.testing.simulate import play, replay


def every_kind() -> Space:
    """Returns a space with one parameter of every kind, one of them static."""
    return Space(
        lr=LogUniform(1e-4, 1e-1),
        momentum=Uniform(0.0, 0.99),
        batch=Int(1, 64),
        augment=Choice("crop", "flip", "none"),
        width=Ordinal(32, 64, 128, static=True),
    )


def _segments(history: History) -> list[tuple[int, int, int, int, str, str]]:
    """Returns member, begin, steps, seed, hyperparameters and score of every task."""
    tasks = [history.task(id) for id in range(history.n)]
    return [
        (task.member, history.begin(task.id), task.steps, task.seed, repr(task.hparams), repr(history.score(task.id)))
        for task in tasks
    ]


class AlgorithmContract:
    """Each method is one law. `sync`, `rank_based`, `clones` and `independent` say which laws apply to an algorithm."""

    sync = True  # asks only when no task is pending
    rank_based = True  # invariant to any strictly increasing transform; else to affine ones
    clones = True  # replaces members by clones of others
    independent = False  # no member depends on another one, nor on the order of arrival: a seed follows from the member
    lineage_clock = True  # the budget counts the steps of each lineage; else only those of all tasks together
    seeds: tuple[int, ...] = (0, 1, 2)  # of the plays; fewer for an algorithm whose decisions are expensive
    orders: tuple[str, ...] = ("together", "fifo", "shuffled")  # in which the plays deliver results

    def make(self, space: Space) -> Algorithm:
        """Returns the algorithm under test over `space`."""
        raise AssertionError("override make(space) to return the algorithm under test")

    def algorithm(self) -> Algorithm:
        return self.make(every_kind())

    def plays(self, objective: simulate.Objective = simulate.noisy, budget: int | None = 50) -> list[History]:
        """Returns one play for each seed and order of delivery."""
        pairs = [(seed, order) for seed in self.seeds for order in self.orders]
        return [play(self.algorithm(), objective, seed=seed, budget=budget, order=order) for seed, order in pairs]

    def test_ask_is_pure_and_leaves_its_input_untouched(self) -> None:
        algorithm = self.algorithm()
        for history in self.plays():
            with shared_state_untouched():
                for prefix, _ in replay(history):
                    before = [prefix.line(number) for number in range(prefix.lines)]
                    assert algorithm.ask(prefix) == algorithm.ask(prefix)
                    assert [prefix.line(number) for number in range(prefix.lines)] == before

    def test_replay_repeats_every_decision(self) -> None:
        algorithm = self.algorithm()
        for history in self.plays():
            for prefix, line in replay(history):
                asked = algorithm.ask(prefix)
                assert asked == (line if isinstance(line[0], Task) else ())
            assert algorithm.ask(history) == ()

    def test_deterministic_in_seed_and_history(self) -> None:
        for first, second in zip(self.plays(), self.plays(), strict=True):
            assert [first.line(k) for k in range(first.lines)] == [second.line(k) for k in range(second.lines)]

    def test_tasks_are_valid(self) -> None:
        algorithm = self.algorithm()
        space = algorithm.space
        assert isinstance(space, Space)
        for history in self.plays() + self.plays(simulate.broken(0.3)):
            seeds = [history.task(id).seed for id in range(history.n)]
            assert len(set(seeds)) == len(seeds)
            for prefix, line in replay(history):
                assert len(prefix.open()) <= algorithm.seats
                for task in line if isinstance(line[0], Task) else ():
                    space.check(task.hparams)
                    assert all(type(value) in (bool, int, float, str, type(None)) for value in task.hparams.values())
                    assert 0 <= task.member < algorithm.seats
                    assert self.independent or task.seed == task_seed(history.seed, task.id)
                    assert task.parent is None or prefix.ok(task.parent), "a parent must have a healthy result"
                    if task.parent is not None:
                        parent = prefix.task(task.parent).hparams
                        assert all(task.hparams[name] == parent[name] for name in space.static_names)

    def test_the_order_of_arrival_changes_no_independent_member(self) -> None:
        if not self.independent:
            return
        for seed in self.seeds:
            plays = [play(self.algorithm(), simulate.broken(0.1), seed=seed, order=order) for order in (*self.orders, "lifo")]
            trained = [sorted(_segments(history)) for history in plays]
            assert all(each == trained[0] for each in trained)

    def test_members_reach_the_budget_and_no_task_passes_it(self) -> None:
        algorithm = self.algorithm()
        for budget in (1, 7, 50):
            for history in self.plays(budget=budget):
                steps = [history.step(id) for id in range(history.n)]
                assert max(steps) <= budget
                if isinstance(algorithm, Populated) and not self.lineage_clock:
                    trained = sum(task.steps for task in map(history.task, range(history.n)))
                    assert trained <= algorithm.population * budget, "all tasks together trained more than the members' budgets"
                    assert trained > (algorithm.population - 1) * budget, "the steps that are left are a member's budget"
                    continue
                if isinstance(algorithm, Populated):
                    without = [seat for seat in range(algorithm.population) if history.head(seat) < 0]
                    assert not without, f"members {without} never had a task"
                heads = [int(id) for id in history.heads() if id >= 0 and not history.task(int(id)).evaluator]
                left = len(heads) * budget - sum(map(history.spent, heads))
                assert left >= 0, "the members together trained more than their budgets"
                assert any(history.step(id) == budget for id in heads), "no member reached the budget"
                early = [id for id in heads if budget not in (history.step(id), history.spent(id))]
                assert all(budget - history.step(id) > left for id in early), "the steps that are left bring it to the budget"

    def test_order_inside_a_generation_does_not_matter(self) -> None:
        if not self.sync:
            return
        for seed in self.seeds:
            together = play(self.algorithm(), simulate.noisy, seed=seed, order="together")
            for order in ("fifo", "lifo", "shuffled"):
                other = play(self.algorithm(), simulate.noisy, seed=seed, order=order)
                assert [other.task(id) for id in range(other.n)] == [together.task(id) for id in range(together.n)]

    def test_invariant_to_increasing_transforms_of_the_score(self) -> None:
        functions: list[Callable[[float], float]] = [lambda x: 3 * x + 7]
        if self.rank_based:
            functions += [lambda x: float(np.exp(x / 4)), lambda x: float(np.cbrt(x))]
        for seed in self.seeds:
            plain = play(self.algorithm(), simulate.noisy, seed=seed)
            for function in functions:
                seen = play(self.algorithm(), simulate.transformed(simulate.noisy, function), seed=seed)
                assert [seen.task(id) for id in range(seen.n)] == [plain.task(id) for id in range(plain.n)]

    def test_a_failed_or_diverged_task_is_never_a_parent(self) -> None:
        for value in (float("nan"), float("inf"), float("-inf")):
            for history in self.plays(simulate.broken(0.4, value)):
                parents = {history.task(id).parent for id in range(history.n)} - {None}
                results = [history.result(parent) for parent in parents if parent is not None]
                assert all(result is not None and np.isfinite(result.score) for result in results)
                best = history.best()
                assert best is None or np.isfinite(history.score(best))

    def test_survives_equal_scores_all_failed_and_one_member(self) -> None:
        for objective in (simulate.constant, simulate.broken(1.0), simulate.broken(1.0, float("inf"))):
            for history in self.plays(objective):
                assert history.n >= 1 and not history.pending()

    def test_errors_and_lost_checkpoints_are_survived(self) -> None:
        algorithm = self.algorithm()
        for seed in self.seeds:
            history = History(seed, 50)
            for number in range(2000):
                history = history.add(algorithm.ask(history))
                pending = history.pending()
                if not pending:
                    break
                results: list[Result] = []
                for task in pending:
                    broken = rng(task.seed, "error").random() < 0.3 or (task.parent is not None and not history.ok(task.parent))
                    made = simulate.simulated(history, task, simulate.noisy(history, task))
                    results.append(Result(task.id, float("nan"), made.step, error="boom") if broken else made)
                history = history.add(results)
                if number % 5 == 4 and (best := history.best()) is not None:
                    history = history.add(Lost(best))
                    assert history.best() != best
            assert not history.pending()

    def test_needed_contains_every_parent_asked_next(self) -> None:
        algorithm = self.algorithm()
        for history in self.plays() + self.plays(simulate.broken(0.3)):
            kept: frozenset[int] = frozenset()
            for prefix, line in replay(history):
                if isinstance(line[0], Task):
                    sources = {task.parent for task in line} | {task.teacher for task in line}
                    assert sources - {None} <= kept
                needed = algorithm.needed(prefix.add(line))
                alive = kept | {fact.task for fact in line if isinstance(fact, Result)}
                assert needed <= alive | {task.parent for task in prefix.pending()}, "a collected checkpoint came back"
                kept = needed

    def test_dropping_the_fold_memory_changes_nothing(self) -> None:
        algorithm = self.algorithm()
        for history in self.plays():
            for prefix, line in replay(history):
                if isinstance(line[0], Task):
                    remembered = algorithm.ask(prefix)
                    prefix.forget()
                    assert algorithm.ask(prefix) == remembered

    def test_an_old_prefix_gives_the_old_answer(self) -> None:
        algorithm = self.algorithm()
        for history in self.plays():
            for number in range(history.lines):
                line = history.line(number)
                assert algorithm.ask(history.at(number)) == (line if isinstance(line[0], Task) else ())

    def test_clones_of_one_parent_differ(self) -> None:
        if not self.clones:
            return
        twins = equal = 0
        for history in self.plays():
            by_parent: dict[int, list[Task]] = {}
            for id in range(history.n):
                task = history.task(id)
                if task.parent is not None and history.task(task.parent).member != task.member:
                    by_parent.setdefault(task.parent, []).append(task)
            for tasks in by_parent.values():
                assert len({task.seed for task in tasks}) == len(tasks)
                twins += len(tasks) - 1
                equal += len(tasks) - len({tuple(task.hparams.items()) for task in tasks})
        assert twins, "the plays had no two clones of one parent: nothing was tested"
        assert equal <= twins / 2, "independent draws may coincide now and then, with two factors and few parameters"

    def test_controls_keep_what_they_began_with_and_no_member_learns_from_them(self) -> None:
        controls = _seats_of_controls(self.algorithm())
        for history in self.plays() + self.plays(simulate.broken(0.3)):
            for id in range(history.n):
                task, ancestors = history.task(id), [history.task(each) for each in history.ancestry(id)]
                assert (task.role == "control") == (task.member in controls), f"task {id} of member {task.member}: {task.role!r}"
                if task.member in controls:
                    assert task.hparams == ancestors[0].hparams
                    assert {ancestor.member for ancestor in ancestors} == {task.member}
                else:
                    assert not any(ancestor.member in controls for ancestor in ancestors)

    def test_algorithm_is_a_hashable_value(self) -> None:
        assert self.algorithm() == self.algorithm() and hash(self.algorithm()) == hash(self.algorithm())


def _seats_of_controls(algorithm: Algorithm) -> range:
    """Returns the seats that must be controls; none if the algorithm does not have `controls`."""
    if not isinstance(algorithm, Controlled):
        return range(0)
    return range(algorithm.population - algorithm.controls, algorithm.population)
