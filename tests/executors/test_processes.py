"""Worker processes that die, hang, flood and are left alone; what may not be started at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import process_toys as toys
import pytest

import poptrain as pt
from poptrain.checkpoints.memory import MemoryStore
from poptrain.checkpoints.store import DiskStore
from poptrain.core import clock
from poptrain.core.cpus import cpus
from poptrain.engine.signals import Interrupted
from poptrain.executors import handle, output, pool, processes
from poptrain.executors.by_value import ByValue
from poptrain.executors.importable import check_main, sendable, why_not_importable
from poptrain.executors.messages import WorkerSetup
from poptrain.executors.orders import Order
from poptrain.testing import Faulty, quadratic
from poptrain.testing.executors import Bench, ExecutorContract, comparable, task
from poptrain.trainable import as_trainable

TESTS = Path(__file__).parents[1]
LAWS = ExecutorContract()


def bench(trainable, store, **options):
    context = {name: options.pop(name) for name in ("lanes", "outputs") if name in options}
    return Bench(pt.executors.Processes(**{"slots": 2, **options}), trainable, store, **context)


def inline(trainable, tasks):
    with Bench(pt.executors.Inline(), trainable, MemoryStore()) as it:
        return [comparable(result) for result in it.perform(tasks)]


def run(trainable, directory, population=4, initial=(), **options):
    executor = pt.executors.Processes(**{"slots": 2, **options})
    return pt.run(toys.algorithm(population, initial), trainable, stop=pt.steps(12), executor=executor, directory=directory)


def script(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])}
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, **options)


def eventually(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
    return value


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- deaths -----------------------------------------------------------------------------------------------------------


def test_a_task_that_lost_its_worker_waits_longer_each_time(monkeypatch):
    """As in 0.1.0, with processes and with Ray: 0.05 s times 4 for each lost worker, and at most 1 s."""
    monkeypatch.setattr(clock, "monotonic", lambda: 100.0)
    order, waits = Order(task(0, 0), None), []
    while order.survives(5):
        waits.append(round(order.after - 100.0, 9))
    assert waits == [0.2, 0.8, 1.0, 1.0]


def test_a_worker_killed_in_the_middle_is_replaced_and_nothing_changes(tmp_path):
    lrs = [0.01, 0.02, 0.03, 0.04]
    trainable = toys.Killed(str(tmp_path), {0.01: 0, 0.02: 2, 0.04: 4})
    tasks = [task(id, id, lr=lr) for id, lr in enumerate(lrs)]
    with bench(trainable, DiskStore(tmp_path)) as it:
        results = it.perform(tasks)
        again = it.perform([task(4 + id, id, parent=id) for id in range(4)])
    assert [comparable(result) for result in results] == inline(quadratic, tasks)
    attempts = [result.checkpoint.partition(":")[0].rpartition(".")[2] for result in results]
    assert attempts == ["2", "2", "1", "2"], "a death counts for the member that died alone"
    assert all(result.error is None for result in again)


def test_a_worker_killed_in_save_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("POPTRAIN_TEST_ONCE", str(tmp_path / "once"))
    with bench(toys.KilledInSave, DiskStore(tmp_path)) as it:
        (result,) = it.perform([task(0, 0)])
    store = DiskStore(tmp_path)
    assert store.verify(result.checkpoint) and [file.name for file in store.path(result.checkpoint).iterdir()] == ["state.json"]
    store.adopt([result.checkpoint])
    assert [path.name for path in store.root.iterdir()] == [result.checkpoint.partition(":")[0]]


def test_a_result_lost_after_its_checkpoint_is_told_once(tmp_path):
    store = toys.KillingStore(tmp_path)
    tasks = [task(id, id) for id in range(3)]
    with bench(quadratic, store) as it:
        results = it.perform(tasks)
    assert [comparable(result) for result in results] == inline(quadratic, tasks)
    assert len(list(store.root.glob("m*"))) == 4, "one orphan"
    store.adopt([result.checkpoint for result in results])
    assert len(list(store.root.glob("m*"))) == 3


def test_a_member_that_always_kills_its_worker_is_replaced_by_a_clone(tmp_path):
    outcome = run(Faulty("exit", above=0.1), tmp_path / "run", initial=[{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.2}])
    result = outcome.history.result(2)
    assert result.error == "worker of member 2 exited with code 7 while training from step 0, without a result, 3 times in a row"
    assert all(outcome.history.result(id).healthy for id in range(outcome.history.n) if id != 2)
    assert outcome.history.task(6).parent in (0, 1, 3) and outcome.member(2).step == 12
    assert "exited with code 7" in (tmp_path / "run" / "errors" / "m002-t000002.txt").read_text()


def test_a_death_that_passes_changes_nothing(tmp_path):
    outcome = run(Faulty("exit", once=str(tmp_path / "once")), tmp_path / "run")
    assert (tmp_path / "once").exists()
    LAWS.same(outcome, pt.run(toys.algorithm(), quadratic, stop=pt.steps(12)))


def test_a_step_that_hangs_is_a_failure_and_the_member_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "END_GRACE", 0.3)
    outcome = run(toys.stubborn, tmp_path / "run", initial=[{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.2}], timeout=2.0)
    assert outcome.history.result(2).error == "member 2, from step 0: no result within 2 s (timeout); killed"
    assert outcome.member(2).step == 12


def test_workers_die_with_their_driver(tmp_path):
    driver = script(TESTS / "process_toys.py", "hang", tmp_path)
    pids = eventually(lambda: len(found := list(tmp_path.iterdir())) == 2 and [int(path.name) for path in found])
    assert all(map(alive, pids))
    driver.kill()
    driver.wait()
    eventually(lambda: not any(map(alive, pids)), 5.0)


def test_closing_ends_hanging_workers_and_leaves_nothing_behind(tmp_path):
    with bench(quadratic, MemoryStore()) as it:  # starts what multiprocessing itself keeps
        it.perform([task(0, 0)])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with bench(Faulty("hang"), DiskStore(tmp_path), outputs=tmp_path / "output") as it:
            it.submit([task(0, 0), task(1, 1), task(2, 2)])
            time.sleep(0.5)
            began = time.monotonic()
        assert time.monotonic() - began < pool.END_GRACE + 4  # the machine may be busy
        it.executor.close()
    assert not multiprocessing.active_children()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_is_ended_while_it_starts_prints_nothing():
    worker = handle.Worker(0, WorkerSetup(as_trainable(quadratic), "score", None, 1), {}, captured=True)
    try:
        worker.ask_to_end()  # it imports, and its signals are held back until then
        worker.process.join(60)
        printed = worker.printed()
        assert (worker.process.exitcode, printed) == (0, b""), printed.decode()
    finally:
        worker.end(0.0)
        worker.release()


# -- signals ----------------------------------------------------------------------------------------------------------


def test_sigterm_lets_running_tasks_finish_and_the_run_resumes(tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    driver = script(TESTS / "process_toys.py", "slow", tmp_path / "run", pids)
    for pid in eventually(lambda: len(found := list(pids.iterdir())) == 2 and found):
        os.kill(int(pid.name), signal.SIGTERM)  # as a batch system does: to every process of the job
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(20) == 143
    record = pt.open_run(tmp_path / "run").record
    assert not record.finished and len(record.history().pending()) <= 2, "what ran was told, what waited was dropped"
    outcome = toys.slow_run(tmp_path / "run", pids)
    LAWS.same(outcome, pt.run(toys.algorithm(), quadratic, stop=pt.steps(30)))


def test_an_interrupt_at_any_moment_loses_no_result(tmp_path):
    def strike(number, frame):
        raise Interrupted(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, strike)
    try:
        for trial in range(3):
            with bench(quadratic, MemoryStore(), lanes=1000) as it:
                it.submit([task(id, id) for id in range(1000)])
                it.wait()
                signal.setitimer(signal.ITIMER_REAL, 0.02 * (trial + 1))
                with pytest.raises(Interrupted):
                    while True:
                        it.wait()
                for results in it.executor.drain(10.0):
                    for result in results:
                        it.pending.discard(result.task)
                        it.results[result.task] = result
                told = sorted(it.results)
                assert told == list(range(len(told))), "first in, first out, and no gap"
                assert not it.executor._pool.busy()
    finally:
        signal.signal(signal.SIGALRM, before)


# -- scheduling -------------------------------------------------------------------------------------------------------


def test_time_sharing_changes_nothing(tmp_path):
    two, eight = run(quadratic, tmp_path / "two", 8), run(quadratic, tmp_path / "eight", 8, slots=8)
    LAWS.same(two, eight)


def test_no_task_waits_while_a_worker_is_idle(tmp_path):
    with bench(toys.Slow(str(tmp_path)), MemoryStore(), lanes=8) as it:
        it.perform([task(0, 0, lr=0.001), task(1, 1, lr=0.001)])
        it.submit([task(2, 0, parent=0, lr=0.15)] + [task(id, id, lr=0.001) for id in range(3, 8)])
        order = []
        while it.pending:
            order += [result.task for result in it.wait()]
    assert order == [3, 4, 5, 6, 7, 2]


def test_waiting_for_nothing_is_refused():
    with bench(quadratic, MemoryStore()) as it, pytest.raises(pt.PoptrainError, match="no task is pending"):
        it.wait()


def test_b2_a_disk_that_is_full_when_a_member_saves_suspends_the_run(tmp_path):
    with bench(toys.FullDisk, DiskStore(tmp_path)) as it, pytest.raises(pt.errors.Suspended, match="free some space") as caught:
        it.perform([task(0, 0)])
    assert caught.value.exit_code == 3


def test_c4_an_error_of_poptrain_that_train_raises_is_the_failure_of_its_member(tmp_path):
    with bench(toys.nested_run, MemoryStore()) as it:
        (result,) = it.perform([task(0, 0)])
    assert result.kind == "failed" and result.error.startswith(
        "Suspended: another run, inside train, was suspended (process_toys"
    )


# -- output and environment -------------------------------------------------------------------------------------------


def test_what_members_print_is_kept_by_member_and_capped(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(output.Output, "LIMIT", 20_000)
    with bench(toys.talkative, DiskStore(tmp_path), outputs=tmp_path / "output") as it:
        it.perform([task(0, 0, lr=0.01), task(1, 1, lr=0.02), task(2, 2, lr=0.2)])
        it.perform([task(3, 0, parent=0, lr=0.03)])
    texts = {path.name: path.read_text() for path in (tmp_path / "output").iterdir()}
    assert set(texts) == {"m000.log", "m001.log", "m002.log"}
    for line in ("-- task 0, from step 0", "lr is 0.01", "-- task 3, from step 5", "lr is 0.03", "to stderr", "from a program"):
        assert line in texts["m000.log"].splitlines()
    assert "lr is 0.02" in texts["m001.log"] and "lr is 0.01" not in texts["m001.log"]
    assert 20_000 <= len(texts["m002.log"]) < 20_200 and "20,000 bytes are kept" in texts["m002.log"]
    assert capfd.readouterr() == ("", "")


def test_members_see_their_threads_and_their_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with bench(toys.Watching(str(tmp_path)), MemoryStore(), threads=3, gpus_per_slot=1) as it:
        results = it.perform([task(0, 0), task(1, 1)])
    assert {(result.metrics["threads"], result.metrics["gpu"]) for result in results} == {(3, 4), (3, 6)}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6" and "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("gpus", "slot", "before", "expected"),
    [
        (2, 1, {}, {"CUDA_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "2,3"}),
        (0.5, 3, {}, {"CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450"}),
        (0.3, 2, {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".2"}, {"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"}),
        (1, 1, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, {"CUDA_VISIBLE_DEVICES": "GPU-b", "HIP_VISIBLE_DEVICES": "1"}),
        (1, 1, {"ROCR_VISIBLE_DEVICES": "3,5"}, {"ROCR_VISIBLE_DEVICES": "5"}),
        (0, 1, {"OMP_NUM_THREADS": "7"}, {}),
    ],
)
def test_the_environment_of_a_slot(gpus, slot, before, expected, monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    changes = processes.environment(pt.executors.Processes(slots=4, gpus_per_slot=gpus), slot, 4, before)
    threads = {name: changes.pop(name) for name in processes.THREAD_VARIABLES if name in changes}
    assert changes == expected
    assert set(threads.values()) == {str(max(1, cpus() // 4))} and set(threads) == set(processes.THREAD_VARIABLES) - set(before)


# -- what is refused before anything starts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"slots": 0}, "slots=0"),
        ({"slots": 2.0}, "slots=2.0"),
        ({"slots": True}, "slots=True"),
        ({"threads": 0}, "threads=0"),
        ({"retries": None}, "retries=None"),
        ({"retries": 0}, "retries=0"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": "60"}, "timeout='60'"),
        ({"gpus_per_slot": -1}, "gpus_per_slot=-1"),
        ({"gpus_per_slot": 1.5}, "gpus_per_slot=1.5"),
        ({"gpus_per_slot": 1}, "gpus_per_slot=1 needs slots"),
        ({"slots": 3, "gpus_per_slot": 1}, "needs 3 GPUs, but CUDA_VISIBLE_DEVICES='0,1'"),
    ],
)
def test_wrong_arguments(arguments, words, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(pt.UsageError) as caught:
        pt.executors.Processes(**arguments)
    assert words in str(caught.value) and "Processes: " in str(caught.value)


def in_a_notebook(carry, hp, steps, seed):
    return quadratic(carry, hp, steps, seed)


def decorated(carry, hp, steps, seed):
    return quadratic(carry, hp, steps, seed)


def test_functions_that_workers_cannot_import_travel_by_their_code(tmp_path, monkeypatch):
    rate = 2.0

    def local(carry, hp, steps, seed):
        return quadratic(carry, {"lr": hp["lr"] / rate * 2.0}, steps, seed)

    class Local(toys.Quadratic):
        pass

    original = decorated
    monkeypatch.setattr(sys.modules[__name__], "decorated", in_a_notebook)
    monkeypatch.setattr(sys.modules["__main__"], "in_a_notebook", in_a_notebook, raising=False)
    monkeypatch.setattr(in_a_notebook, "__module__", "__main__")
    for trainable, why in [
        (lambda carry, hp, steps, seed: (carry, {}), "<lambda> (test_processes.py:"),
        (local, "local (test_processes.py:"),
        (Local, "Local is defined inside a function"),
        (pt.Trainable(local, quadratic), "local (test_processes.py:"),
        (original, "is not what worker processes would import"),
        (in_a_notebook, "in_a_notebook is defined in an interactive session, a notebook"),
    ]:
        assert why in why_not_importable(trainable) and isinstance(sendable(as_trainable(trainable)), ByValue)
    sent = run(local, tmp_path / "run")
    assert sent.history.table()["score"] == pt.run(toys.algorithm(), quadratic, stop=pt.steps(12)).history.table()["score"]
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and b"cloudpickle" in path.read_bytes()]


def test_what_cannot_be_sent_at_all_is_refused_before_anything_starts(tmp_path):
    for trainable in (Faulty("raise", once=(item for item in ())), lambda carry, hp, steps, seed, lock=threading.Lock(): (0, {})):
        with pytest.raises(pt.UsageError, match="its code cannot be sent either, .* cannot pickle .*Create that inside"):
            run(trainable, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_script_without_a_main_guard_is_refused_before_it_forks(tmp_path):
    text = """
        import poptrain as pt
        from poptrain.testing import quadratic
        def train(carry, hp, steps, seed):
            return quadratic(carry, hp, steps, seed)
        def main():
            run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=3), train,
                         stop=pt.steps(6), executor="processes")
            print("finished at", run.best.step)
    """
    (tmp_path / "bare.py").write_text(textwrap.dedent(text) + "main()\n")
    (tmp_path / "guarded.py").write_text(textwrap.dedent(text) + "if __name__ == '__main__':\n    main()\n")
    bare = script("bare.py", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guarded = script("guarded.py", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (out, err), (good, _) = bare.communicate(timeout=60), guarded.communicate(timeout=60)
    assert bare.returncode == 1 and err.count("imports bare.py and") == 1 and "finished" not in out
    assert "if __name__ == '__main__':" in err
    assert guarded.returncode == 0 and "finished at 6" in good


def test_a_worker_that_imports_the_script_again_starts_nothing(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(pt.UsageError, match="would start the run again"):
        check_main()
