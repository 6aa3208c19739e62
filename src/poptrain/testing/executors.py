"""The laws of every executor, as tests. Subclass `ExecutorContract`, override `config`, and let pytest collect it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np

from poptrain.algorithms import pbt
from poptrain.algorithms.parts.exploit import truncation
from poptrain.checkpoints import carry as carries
from poptrain.checkpoints import places
from poptrain.checkpoints.memory import MemoryStore
from poptrain.core import Carry, Metrics, Result, Task
from poptrain.core.errors import MetricError
from poptrain.core.rng import chunk_seed, task_seed
from poptrain.engine import stop
from poptrain.engine.loop import run
from poptrain.executors import Inline
from poptrain.executors.context import Context
from poptrain.log.reader import Record
from poptrain.space import LogUniform, Space
from poptrain.testing.trainables import Faulty, quadratic
from poptrain.trainable import as_trainable

LIMIT = 0.1  # members with a larger lr fail, where a fault is planted
FAULTS = {"raise": "planted", "sys.exit": "SystemExit", "nan": "nan", "inf": "inf"}  # fault -> what its error or score says
BAD_METRICS = {"missing": "'sore'", "string": "'high'", "bool": "True", "none": "None", "array": "array"}


class ExecutorContract:
    """Each method is one law. Trainables tune ``lr``; `exact` says whether results equal inline's bit for bit, else to 1e-5."""

    exact = True

    def config(self) -> Any:
        """Returns the configuration of the executor under test, as `run` takes it; two or more tasks at a time, if it can."""
        raise AssertionError("override config() to return the executor under test")

    def narrow(self) -> Any:
        """Returns a configuration that trains one task at a time, or one batch."""
        return self.config()

    def trainable(self) -> Any:
        """Returns what is trained; it scores under "score" and counts steps."""
        return quadratic

    def faulty(self, fault: str) -> Any | None:
        """Returns the trainable with a fault of `FAULTS` for members whose lr is above `LIMIT`; None: it cannot have it."""
        return Faulty(fault, above=LIMIT)

    def measuring(self, what: str) -> Any | None:
        """Returns a trainable whose metrics are wrong as `BAD_METRICS` says; None: it cannot have such metrics."""
        return BadMetrics(what)

    def checkpoints(self, directory: Path) -> str | None:
        """Returns the URL at which a run in a directory keeps its checkpoints; None: in the directory."""
        return None

    # -- whole runs ---------------------------------------------------------------------------------------------------

    def test_a_whole_run_equals_inline(self, tmp_path: Path) -> None:
        expected = self.run(Inline())
        self.same(self.run(self.config(), tmp_path / "run"), expected)
        self.same(self.run(self.config()), expected)

    def test_a_run_that_is_cut_again_and_again_ends_the_same(self, tmp_path: Path) -> None:
        expected = self.run(Inline() if self.exact else self.config(), tmp_path / "whole")
        for calls in (2, 3, 4):  # after tasks were logged, before and after they were submitted, between two generations
            try:
                self.run(Cut(self.config(), calls), tmp_path / "run")
            except Cutting:
                continue
            raise AssertionError(f"the run ended before call {calls}")
        self.same(self.run(self.config(), tmp_path / "run"), expected, exact=True)

    def test_a_driver_that_is_killed_and_resumed_ends_the_same(self, tmp_path: Path) -> None:
        expected = self.run(Inline() if self.exact else self.config(), tmp_path / "whole")
        self.killed(tmp_path / "run", Cut(self.config(), calls=4, kill=True))  # after a line
        self.killed(tmp_path / "run", Deadly(self.config(), waits=2))  # between a checkpoint and its line
        self.same(self.run(self.config(), tmp_path / "run"), expected, exact=True)

    def test_failures_are_results_and_the_run_goes_on(self, tmp_path: Path) -> None:
        tried = 0
        for fault, said in FAULTS.items():
            if (trainable := self.faulty(fault)) is None:
                continue
            tried += 1
            initial = [{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.2}, {"lr": 0.03}]
            outcome = self.run(self.config(), tmp_path / fault, trainable, initial=initial)
            results = [(task, outcome.history.result(task.id)) for task in tasks_of(outcome)]
            failed = [result for task, result in results if task.hparams["lr"] > LIMIT]
            assert failed and all(said in f"{result.error} {result.score}" for result in failed)
            assert not any(result.healthy for result in failed)
            assert all(result.healthy for task, result in results if task.hparams["lr"] <= LIMIT)
            assert outcome.record.finished and np.isfinite(outcome.best.score)
            heads = [int(id) for id in outcome.history.heads()]
            assert all(outcome.history.ok(id) and outcome.history.step(id) == 15 for id in heads), "all were repaired"
            if fault == "raise":
                assert "planted" in (tmp_path / fault / "errors" / f"m002-t{2:06d}.txt").read_text()
        if not tried:
            raise SkipTest("this trainable cannot fail")

    def test_a_metric_that_is_no_number_stops_with_a_sentence(self, tmp_path: Path) -> None:
        tried = 0
        for what, said in BAD_METRICS.items():
            if (trainable := self.measuring(what)) is None:
                continue
            tried += 1
            text = None
            try:
                self.run(self.config(), None if tried % 2 else tmp_path / what, trainable)
            except MetricError as error:
                text = str(error)
            assert text is not None, f"metrics with {what} were taken"
            assert "member" in text and "step" in text and "'score'" in text and said in text and text.endswith((".", "?"))
            if what == "missing":
                assert "Did you mean 'sore'?" in text
        if not tried:
            raise SkipTest("this trainable cannot have such metrics")

    # -- tasks --------------------------------------------------------------------------------------------------------

    def test_a_result_never_precedes_its_durable_checkpoint(self, tmp_path: Path) -> None:
        with self.bench(self.store(tmp_path)) as bench:
            first = [task(id, id) for id in range(4)]
            again = [task(4 + id, id, parent=id) for id in range(4)]
            for wave in (first, again):
                bench.submit(wave)
                while bench.pending:
                    for result in bench.wait():
                        assert self.store(tmp_path).verify(result.checkpoint)

    def test_training_a_clone_never_touches_its_parent(self, tmp_path: Path) -> None:
        for store in self.stores(tmp_path):
            children = [task(2, 0, parent=0, lr=0.05), task(3, 1, parent=0, lr=0.03)]
            with self.bench(store) as bench:
                told = bench.perform([task(0, 0), task(1, 1)])
                before = contents(store, told[0].checkpoint)
                together = bench.perform(children)
                assert contents(store, told[0].checkpoint) == before
            with self.bench(store, epoch=2) as bench:
                bench.results[0] = told[0]
                for child, result in zip(children, together, strict=True):
                    (alone,) = bench.perform([child])
                    self.equal(alone, result)
                    if self.exact:
                        assert contents(store, alone.checkpoint) == contents(store, result.checkpoint)

    def test_first_in_first_out(self, tmp_path: Path) -> None:
        with self.bench(self.store(tmp_path), self.narrow(), lanes=6) as bench:
            bench.submit([task(id, id) for id in range(3)])
            bench.submit([task(id, id) for id in range(3, 6)])
            order = []
            while bench.pending:
                order += [result.task for result in bench.wait()]
            assert order == list(range(6))

    def test_evaluations_are_a_curve_and_no_steps_is_an_evaluation(self, tmp_path: Path) -> None:
        for store in self.stores(tmp_path):
            with self.bench(store) as bench:
                first, other = bench.perform([task(0, 0, steps=10, evals=4), task(1, 1, steps=3)])
                assert [step for step, _ in first.curve] == [2, 5, 7, 10] and first.step == 10
                assert first.curve[-1] == (first.step, first.score) and other.curve == ((3, other.score),)
                (judged,) = bench.perform([task(2, 0, parent=0, steps=0)])
                assert judged.step == 10 and judged.curve == ((10, judged.score),)
                assert np.isclose(judged.score, first.score, rtol=1e-3)
                (later,) = bench.perform([task(3, 0, parent=2, steps=4, evals=2)])
                assert [step for step, _ in later.curve] == [12, 14]

    def test_evaluations_part_a_task_into_chunks_with_seeds_of_their_own(self, tmp_path: Path) -> None:
        whole = task(0, 0, steps=6, evals=2)
        parts = replace(whole, steps=3, evals=1), replace(task(1, 0, parent=0, steps=3), seed=chunk_seed(whole.seed, 1))
        with self.bench(self.store(tmp_path)) as bench:
            (at_once,) = bench.perform([whole])
        with self.bench(self.store(tmp_path), epoch=2) as bench:
            (first,), (second,) = bench.perform(parts[:1]), bench.perform(parts[1:])
        assert np.allclose(
            [score for _, score in at_once.curve], [first.score, second.score], rtol=0 if self.exact else 1e-5, atol=0
        )

    def test_a_task_that_is_done_again_does_the_same(self, tmp_path: Path) -> None:
        store, done = self.store(tmp_path), []
        for epoch in (1, 2):
            with self.bench(store, epoch=epoch) as bench:
                bench.perform([task(0, 0), task(1, 1)])
                (result,) = bench.perform([task(2, 0, parent=1, steps=7, evals=3)])
                done.append((comparable(result), contents(store, result.checkpoint)))
        assert done[0] == done[1]

    def test_closing_in_the_middle_loses_no_acknowledged_result(self, tmp_path: Path) -> None:
        store, tasks = self.store(tmp_path), [task(id, id, steps=3 + id % 2) for id in range(6)]
        with self.bench(store, lanes=6) as bench:
            expected = bench.perform(tasks)
        with self.bench(store, epoch=2, lanes=6) as bench:
            bench.submit(tasks)
            told = bench.wait()
        with self.bench(store, epoch=3, lanes=6) as bench:
            bench.results.update({result.task: result for result in told})
            rest = [each for each in tasks if each.id not in bench.results]
            if rest:
                bench.perform(rest)
            for each, result in zip(tasks, expected, strict=True):
                self.equal(bench.results[each.id], result)
            assert all(store.verify(result.checkpoint) for result in told)

    # -- what the laws are written with -------------------------------------------------------------------------------

    def run(self, config: Any, directory: Path | None = None, trainable: Any = None, *, initial: Any = ()) -> Any:
        trainable = trainable or self.trainable()
        url = None if directory is None else self.checkpoints(directory)
        return _run(trainable, config, directory, url, initial)

    def killed(self, directory: Path, config: Any) -> None:
        """Runs in a process that kills itself."""
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(self.trainable(), config, directory, self.checkpoints(directory))
        )
        process.start()
        process.join(120)
        code = process.exitcode
        process.kill()
        assert code == 9, f"the driver was to be killed, but ended with {code}"

    def bench(self, store: Any, config: Any = None, *, epoch: int = 1, lanes: int = 4) -> Bench:
        return Bench(config or self.config(), self.trainable(), store, epoch, lanes)

    def store(self, directory: Path) -> Any:
        """Returns the store of a run in a directory."""
        record = Record(directory)
        if (url := self.checkpoints(directory)) is not None:
            record.run["checkpoints"] = {"url": url, "owner": "laws"}
        store = places.of(record)
        if url is not None and not store.fs.exists(store.fs.home(directory)):
            store.claim()
        return store

    def stores(self, directory: Path) -> list[Any]:
        return [self.store(directory), MemoryStore()]

    def same(self, outcome: Any, expected: Any, exact: bool | None = None) -> None:
        """Asserts that two runs decided and observed the same, and left the same behind; every executor is exact to itself."""
        exact = self.exact if exact is None else exact
        assert tasks_of(outcome) == tasks_of(expected)
        for task in tasks_of(expected):
            self.equal(outcome.history.result(task.id), expected.history.result(task.id), exact)
        if exact:
            for seat in range(expected.history.seats):
                refs = [(one.store, one.history.result(one.history.head(seat)).checkpoint) for one in (outcome, expected)]
                (store, ref), (other, wanted) = refs
                assert contents(store, ref) == contents(other, wanted)

    def equal(self, result: Result, expected: Result, exact: bool | None = None) -> None:
        if self.exact if exact is None else exact:
            assert comparable(result) == comparable(expected)
            return
        assert (result.task, result.step, result.error) == (expected.task, expected.step, expected.error)
        assert np.allclose(result.curve, expected.curve, rtol=1e-5, atol=1e-6, equal_nan=True)


class Bench:
    """An executor and a store without a run: tasks go in, results come out."""

    def __init__(self, config: Any, trainable: Any, store: Any, epoch: int = 1, lanes: int = 4, **context: Any):
        self.results: dict[int, Result] = {}
        self.pending: set[int] = set()
        self.errors: dict[str, str] = {}
        self.executor = config.open(
            Context(
                as_trainable(trainable),
                "score",
                store,
                self.results.get,
                lanes,
                epoch=epoch,
                keep_error=self.errors.__setitem__,
                **context,
            )  # fmt: skip
        )

    def submit(self, tasks: Sequence[Task]) -> None:
        self.pending |= {task.id for task in tasks}
        self.executor.submit(tasks)

    def wait(self) -> list[Result]:
        results = self.executor.wait()
        assert results, "wait returns at least one result"
        for result in results:
            self.pending.remove(result.task)  # each task is answered once
            self.results[result.task] = result
        return results

    def perform(self, tasks: Sequence[Task]) -> list[Result]:
        """Returns the results of tasks, in their order."""
        self.submit(tasks)
        while self.pending:
            self.wait()
        return [self.results[task.id] for task in tasks]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.close()


def task(id: int, member: int, *, parent: int | None = None, lr: float = 0.02, steps: int = 5, evals: int = 1) -> Task:
    """Returns a task of run seed 0."""
    return Task(id, member, {"lr": lr}, parent, steps, task_seed(0, id), evals)


def tasks_of(outcome: Any) -> list[Task]:
    """Returns all tasks of a run."""
    return [outcome.history.task(id) for id in range(outcome.history.n)]


def comparable(result: Result) -> str:
    """Returns what must be equal wherever and whenever a task is done: all but the time and the checkpoint's name."""
    return repr((result.task, result.score, result.step, result.curve, result.returns, dict(result.metrics), result.error))


def contents(store: Any, ref: str | None) -> Any:
    """Returns every byte of a checkpoint, its name and time left out."""
    if ref is None:
        return None
    if store.is_directory(ref):
        root = store.path(ref)
        return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
    structure, arrays = carries.flatten(store.read(ref))
    return repr(structure), {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


@dataclass(frozen=True)
class BadMetrics:
    """`quadratic` with metrics that hold no score, from the first evaluation on."""

    what: str

    def __call__(self, carry: Carry, hp: Any, steps: int, seed: int) -> tuple[Carry, Metrics]:
        carry, metrics = quadratic(carry, hp, steps, seed)
        wrong = {"string": "high", "bool": True, "none": None, "array": np.zeros(2)}
        return carry, {"sore": metrics["score"]} if self.what == "missing" else {"score": wrong[self.what]}


class Cutting(BaseException):
    """Ends a run from outside, as an interrupt does."""


@dataclass(frozen=True)
class Cut:
    """An executor that ends the run, or kills its driver, instead of answering the n-th call: the line before it is logged."""

    config: Any
    calls: int
    kill: bool = False

    def open(self, context: Context) -> Any:
        executor, calls = self.config.open(context), [0]

        def counted(method: Any) -> Any:
            def call(*args: Any) -> Any:
                calls[0] += 1
                if calls[0] < self.calls:
                    return method(*args)
                if self.kill:
                    os._exit(9)
                raise Cutting

            return call

        executor.submit, executor.wait = counted(executor.submit), counted(executor.wait)
        return executor


@dataclass(frozen=True)
class Deadly:
    """An executor whose driver dies when it has got its n-th results: their checkpoints are durable, the log has no line."""

    config: Any
    waits: int

    def open(self, context: Context) -> Any:
        executor, waits = self.config.open(context), [0]
        wait = executor.wait

        def deadly() -> list[Result]:
            results = wait()
            waits[0] += 1
            if waits[0] >= self.waits:
                os._exit(9)
            return results

        executor.wait = deadly
        return executor


def _algorithm(initial: Any = ()) -> Any:
    space = Space(lr=LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
    return pbt(space, population=4, interval=3, exploit=truncation(0.4), initial=initial)


def _run(trainable: Any, config: Any, directory: Path | None, checkpoints: str | None, initial: Any = ()) -> Any:
    algorithm = _algorithm(initial)
    return run(algorithm, trainable, stop=stop.steps(15), executor=config, directory=directory, checkpoints=checkpoints)
