"""The laws of every executor, as tests. Subclass `ExecutorContract`, override `config`, and let pytest collect it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import SkipTest

import numpy as np

from poptrain.algorithms import pbt
from poptrain.algorithms.parts.exploit import truncation
from poptrain.checkpoints import places
from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.url import UrlStore
from poptrain.core import Result, Task, Value
from poptrain.core.errors import MetricError
from poptrain.core.protocols import Store
from poptrain.core.rng import chunk_seed
from poptrain.engine import stop
from poptrain.engine.loop import run
from poptrain.engine.result import Run
from poptrain.executors import Inline
from poptrain.executors.context import ExecutorConfig
from poptrain.log.reader import Record
from poptrain.space import LogUniform, Space
from poptrain.testing.bench import Bench, comparable, contents, results_of, task, tasks_of
from poptrain.testing.cuts import KILLED, CutAtCall, Cutting, KilledAfterWait
from poptrain.testing.trainables import FAULTY_ABOVE, BadMetrics, Faulty, quadratic

FAULTS = {  # fault -> what its error or score contains, and the kind of the result
    "raise": ("planted", "failed"),
    "sys.exit": ("SystemExit", "failed"),
    "nan": ("nan", "diverged"),
    "inf": ("inf", "diverged"),
}
BAD_METRICS = {"missing": "'sore'", "string": "'high'", "bool": "True", "none": "None", "array": "array"}  # and the message

Initial = Sequence[Mapping[str, Value]]


class ExecutorContract:
    """Each method is one law. Trainables tune ``lr``; `exact`: results equal those of inline bit for bit, else to 1e-5."""

    exact = True

    def config(self) -> ExecutorConfig:
        """Returns the configuration of the executor under test; it trains two or more tasks at a time, if it can."""
        raise AssertionError("override config() to return the executor under test")

    def narrow(self) -> ExecutorConfig:
        """Returns a configuration that trains one task at a time, or one batch."""
        return self.config()

    def trainable(self) -> object:
        """Returns what is trained; it scores under "score" and counts steps."""
        return quadratic

    def faulty(self, fault: str) -> object | None:
        """Returns the trainable with a fault of `FAULTS` for an lr above `FAULTY_ABOVE`; None if it cannot have that fault."""
        return Faulty(fault, above=FAULTY_ABOVE)

    def measuring(self, what: str) -> object | None:
        """Returns a trainable whose metrics are wrong as `BAD_METRICS` describes; None if it cannot have such metrics."""
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
                self.run(CutAtCall(self.config(), calls), tmp_path / "run")
            except Cutting:
                continue
            raise AssertionError(f"the run ended before call {calls}")
        self.same(self.run(self.config(), tmp_path / "run"), expected, exact=True)

    def test_a_driver_that_is_killed_and_resumed_ends_the_same(self, tmp_path: Path) -> None:
        expected = self.run(Inline() if self.exact else self.config(), tmp_path / "whole")
        self.killed(tmp_path / "run", CutAtCall(self.config(), calls=4, kill=True))  # after a line
        self.killed(tmp_path / "run", KilledAfterWait(self.config(), waits=2))  # between a checkpoint and its line
        self.same(self.run(self.config(), tmp_path / "run"), expected, exact=True)

    def test_failures_are_results_and_the_run_goes_on(self, tmp_path: Path) -> None:
        tried = 0
        for fault, (words, kind) in FAULTS.items():
            if (trainable := self.faulty(fault)) is None:
                continue
            tried += 1
            initial = [{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.2}, {"lr": 0.03}]
            outcome = self.run(self.config(), tmp_path / fault, trainable, initial=initial)
            results = list(zip(map(_rate, tasks_of(outcome)), results_of(outcome), strict=True))
            failed = [result for lr, result in results if lr > FAULTY_ABOVE]
            spared = [result for lr, result in results if lr > FAULTY_ABOVE and not _shows(result, words, kind)]
            paid = [result for lr, result in results if lr <= FAULTY_ABOVE and not (result.healthy and result.kind == "ok")]
            assert failed and not spared, f"{fault}: expected {kind}, {words}; got {_told(outcome, spared)}"
            assert not paid, f"{fault}: only the faulty member pays, but so did {_told(outcome, paid)}"
            assert outcome.record.finished and np.isfinite(outcome.best.score)
            heads = [int(id) for id in outcome.history.heads()]
            assert all(outcome.history.ok(id) and outcome.history.step(id) == 15 for id in heads), "all were repaired"
            if fault == "raise":
                assert "planted" in (tmp_path / fault / "errors" / f"m002-t{2:06d}.txt").read_text()
        if not tried:
            raise SkipTest("this trainable cannot fail")

    def test_a_metric_that_is_not_a_number_stops_with_a_sentence(self, tmp_path: Path) -> None:
        tried = 0
        for what, words in BAD_METRICS.items():
            if (trainable := self.measuring(what)) is None:
                continue
            tried += 1
            text = None
            try:
                self.run(self.config(), None if tried % 2 else tmp_path / what, trainable)
            except MetricError as error:
                text = str(error)
            assert text is not None, f"metrics with {what} were taken"
            assert "member" in text and "step" in text and "'score'" in text and words in text and text.endswith((".", "?"))
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
                        assert result.checkpoint is not None and self.store(tmp_path).verify(result.checkpoint)

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
        store = self.store(tmp_path)
        done: list[tuple[str, object]] = []
        for epoch in (1, 2):
            with self.bench(store, epoch=epoch) as bench:
                bench.perform([task(0, 0), task(1, 1)])
                (result,) = bench.perform([task(2, 0, parent=1, steps=7, evals=3)])
                done.append((comparable(result), contents(store, result.checkpoint)))
        assert done[0] == done[1]

    def test_a_checkpoint_that_cannot_be_read_is_a_damaged_result(self, tmp_path: Path) -> None:
        for store in self.stores(tmp_path):
            with self.bench(store) as bench:
                bench.results[0] = Result(0, 1.0, 5, checkpoint="m000-t000000-1.1:0000000000000000")
                damaged, fresh = bench.perform([task(1, 0, parent=0), task(2, 1)])
                assert (damaged.kind, damaged.step, damaged.checkpoint, damaged.healthy) == ("damaged", 5, None, False)
                assert damaged.error is not None and damaged.error.startswith("CheckpointDamaged: ")
                assert fresh.kind == "ok" and fresh.healthy

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
            assert all(result.checkpoint is not None and store.verify(result.checkpoint) for result in told)

    def test_draining_returns_each_result_once_and_starts_no_queued_task(self, tmp_path: Path) -> None:
        with self.bench(self.store(tmp_path), self.narrow(), lanes=6) as bench:
            bench.submit([task(id, id) for id in range(6)])
            told = bench.wait()
            drained = [result for results in bench.executor.drain(60.0) for result in results]
            ids = [result.task for result in [*told, *drained]]
            assert ids == list(range(len(ids))), "first in, first out, each once"
            assert all(result.healthy for result in drained)

    # -- what the laws are written with -------------------------------------------------------------------------------

    def run(
        self, config: ExecutorConfig, directory: Path | None = None, trainable: object = None, *, initial: Initial = ()
    ) -> Run:
        trainable = trainable or self.trainable()
        url = None if directory is None else self.checkpoints(directory)
        return _run(trainable, config, directory, url, initial)

    def killed(self, directory: Path, config: ExecutorConfig) -> None:
        """Runs in a process that kills itself."""
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(self.trainable(), config, directory, self.checkpoints(directory))
        )
        process.start()
        process.join(120)
        code = process.exitcode
        process.kill()
        assert code == KILLED, f"the driver should have been killed, but ended with {code}"

    def bench(self, store: Store, config: ExecutorConfig | None = None, *, epoch: int = 1, lanes: int = 4) -> Bench:
        return Bench(config or self.config(), self.trainable(), store, epoch, lanes)

    def store(self, directory: Path) -> Store:
        """Returns the store of a run in a directory."""
        record = Record(directory)
        if (url := self.checkpoints(directory)) is not None:
            record.run["checkpoints"] = {"url": url, "owner": "laws"}
        store = places.of(record)
        if isinstance(store, UrlStore) and not store.fs.exists(store.fs.home(directory)):
            store.claim()
        return store

    def stores(self, directory: Path) -> list[Store]:
        return [self.store(directory), MemoryStore()]

    def same(self, outcome: Run, expected: Run, exact: bool | None = None) -> None:
        """Asserts that two runs have equal tasks, results and checkpoints; every executor repeats itself exactly."""
        exact = self.exact if exact is None else exact
        assert tasks_of(outcome) == tasks_of(expected)
        results, others = results_of(outcome), results_of(expected)
        for result, other in zip(results, others, strict=True):
            self.equal(result, other, exact)
        if exact:
            for head in expected.history.heads().tolist():
                last, wanted = results[head].checkpoint, others[head].checkpoint
                assert contents(outcome.store, last) == contents(expected.store, wanted)

    def equal(self, result: Result, expected: Result, exact: bool | None = None) -> None:
        if self.exact if exact is None else exact:
            assert comparable(result) == comparable(expected)
            return
        assert (result.task, result.step, result.error, result.kind) == (
            expected.task,
            expected.step,
            expected.error,
            expected.kind,
        )
        assert np.allclose(result.curve, expected.curve, rtol=1e-5, atol=1e-6, equal_nan=True)


def _shows(result: Result, words: str, kind: str) -> bool:
    return words in f"{result.error} {result.score}" and result.kind == kind and not result.healthy


def _told(outcome: Run, results: Sequence[Result]) -> str:
    """Returns what a failing test must report of results: which tasks, and what became of them."""
    members = {task.id: task.member for task in tasks_of(outcome)}
    return "; ".join(f"task {r.task} of member {members[r.task]}: {r.kind}, score {r.score}, {r.error}" for r in results)


def _rate(task: Task) -> float:
    lr = task.hparams["lr"]
    assert isinstance(lr, float)
    return lr


def _run(
    trainable: object, config: ExecutorConfig, directory: Path | None, checkpoints: str | None, initial: Initial = ()
) -> Run:
    space = Space(lr=LogUniform(1e-3, 0.3, init=(1e-3, 0.05)))
    algorithm = pbt(space, population=4, interval=3, exploit=truncation(0.4), initial=initial)
    return run(algorithm, trainable, stop=stop.steps(15), executor=config, directory=directory, checkpoints=checkpoints)
