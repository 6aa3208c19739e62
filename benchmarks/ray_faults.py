"""Seven faults of a cluster, each caused on a local Ray with several nodes: how many of them the executor survives.

The executor survives a fault if the run ends like the undisturbed run on the inline executor: the same tasks, the same scores,
and the same bytes in the last checkpoints. One more figure compares poptrain with Ray Tune's PBT: a synchronous population in
which one member always fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import poptrain as pt
from benchmarks import ray_toys as toys
from benchmarks.common import figure, main
from poptrain.checkpoints.store import DiskStore
from poptrain.log.reader import read
from poptrain.testing import quadratic
from poptrain.testing.executors import Bench, ExecutorContract, comparable, task

LAWS = ExecutorContract()
STOP = pt.steps(30)
HERE = Path("runs") / "ray_faults"
WAIT = 60.0  # seconds after which Ray Tune is no longer waited for


# -- the stage --------------------------------------------------------------------------------------------------------


class Stage:
    """A head that runs no workers, and worker nodes with two CPUs each, all on this machine."""

    def __init__(self, workers: int = 2, environment: dict[str, str] | None = None):
        from ray.cluster_utils import Cluster

        os.environ.update(environment or {})
        self._environment = environment or {}
        small = {"object_store_memory": 100 << 20, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        self.nodes = [self.add() for _ in range(workers)]
        self.cluster.wait_for_nodes()

    def add(self) -> Any:
        with mock.patch("signal.signal"):  # it may be called from a thread, where Ray cannot set its handlers
            return self.cluster.add_node(wait=False, num_cpus=2, object_store_memory=100 << 20)

    @property
    def address(self) -> str:
        return self.cluster.address

    def end(self) -> None:
        import ray

        ray.shutdown()
        with contextlib.suppress(Exception):
            self.cluster.shutdown()
        for name in self._environment:
            os.environ.pop(name, None)


@contextlib.contextmanager
def stage(*args: Any, **options: Any) -> Iterator[Stage]:
    here = Stage(*args, **options)
    try:
        yield here
    finally:
        here.end()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    HERE.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=HERE)).resolve()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(stage: Stage, directory: Path, trainable: Any, **options: Any) -> pt.Run:
    executor = pt.executors.Ray(address=stage.address, **options)
    return pt.run(toys.algorithm(), trainable, stop=STOP, executor=executor, directory=directory)


def same(outcome: pt.Run, gain: float = 1.0) -> bool:
    """True if a run ended as the undisturbed one does, inline."""
    expected = pt.run(toys.algorithm(), toys.Slow(0.0, gain), stop=STOP)
    LAWS.same(outcome, expected)
    return True


def reported(directory: Path) -> int:
    """Returns how many results a run has logged so far."""
    try:
        return sum(len(line) for line in read(directory).lines if isinstance(line[0], pt.Result))
    except (pt.PoptrainError, OSError):
        return 0


def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.1)


def attempts(outcome: pt.Run) -> list[int]:
    """Returns the attempt that brought each task's result, in the order of tasks."""
    results = [outcome.history.result(id) for id in range(outcome.history.n)]
    if failed := next((result.error for result in results if result.error), None):
        raise AssertionError(failed)
    refs = [result.checkpoint for result in results]
    return [int(ref.partition(":")[0].rpartition(".")[2]) for ref in refs]


@contextlib.contextmanager
def after(results: int, directory: Path, action: Callable[[], None]) -> Iterator[None]:
    """Calls `action` as soon as a run has logged `results` results."""
    over = threading.Event()

    def work() -> None:
        until(lambda: reported(directory) >= results)
        action()
        over.wait(600)  # a node that it started dies with this thread

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
    thread.join()


# -- the faults -------------------------------------------------------------------------------------------------------


def e1_node_lost(place: Path) -> str:
    """A worker node is removed while its members' tasks run."""
    with stage(workers=2) as here:
        lose = lambda: here.cluster.remove_node(here.nodes[1], allow_graceful=False)
        with after(6, place, lose):
            outcome = run(here, place, toys.Slow(0.4), cpus=1, retries=1)  # one death of a worker would fail a member
        same(outcome)
        again = sum(attempt > 1 for attempt in attempts(outcome))
    return f"{again} tasks were done elsewhere"


def e2_head_lost(place: Path) -> str:
    """Every process of Ray is killed; the run continues on a new cluster, from its directory alone."""
    with stage() as here:
        driver = _driver(place, here.address)
        until(lambda: reported(place) >= 6)
        for node in [here.cluster.head_node, *here.nodes]:
            for process in [info.process for group in node.all_processes.values() for info in group]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(90)
        waited, code = time.monotonic() - began, driver.poll()
        driver.kill()
        driver.wait()
    assert code == 3, f"the driver ended with code {code}"
    before = reported(place)
    with stage() as here:
        code = _driver(place, here.address).wait(180)
    assert code == 0, f"resuming ended with code {code}"
    same(pt.open_run(place))
    return f"the driver was suspended after {waited:.0f} s; {before} results were kept"


def e3_out_of_memory(place: Path) -> str:
    """A member takes so much memory that Ray's monitor kills its worker; it is tried once more, alone on the node."""
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    used = memory["MemTotal"] - memory["MemAvailable"] + (3 << 20)  # kB
    limit = {"RAY_memory_usage_threshold": f"{used / memory['MemTotal']:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    with stage(workers=1, environment=limit) as here:  # one node: nodes share the memory of this machine
        outcome = run(here, place, toys.Hungry(str(place.parent / f"{place.name}.once"), 8.0))
        Path(f"{place}.once").unlink()
        tried = attempts(outcome)
        same(outcome)
    assert tried[:4].count(2) >= 1, f"no worker was killed: attempts {tried}"
    return f"attempts of the first four tasks: {tried[:4]}"


def e4_done_but_not_heard(place: Path) -> str:
    """A worker dies after its checkpoint was committed and before its result was sent."""
    tasks = [task(id, id) for id in range(4)]
    (place / "inline").mkdir()
    with Bench(pt.executors.Inline(), quadratic, DiskStore(place / "inline")) as bench:
        expected = [comparable(result) for result in bench.perform(tasks)]
    with stage() as here:
        store = toys.KillingStore(place)
        with Bench(pt.executors.Ray(address=here.address), quadratic, store) as bench:
            results = bench.perform(tasks)
    assert [comparable(result) for result in results] == expected
    committed = len(list(store.root.glob("m*")))
    store.adopt([result.checkpoint for result in results])
    assert committed == 5 and len(list(store.root.glob("m*"))) == 4
    return "one orphan, collected; every task was reported once"


def e5_notice(place: Path) -> str:
    """A node is announced to be preempted: it gets no more tasks, and what runs there delivers before it is gone."""
    with stage(workers=2) as here:
        lost = here.nodes[1]
        order = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", here.address, "--node-id", lost.node_id]
        order += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--deadline-remaining-seconds", "10"]

        def notice() -> None:
            subprocess.run(order, check=True, capture_output=True)
            time.sleep(10.0)
            here.cluster.remove_node(lost, allow_graceful=False)

        with after(6, place, notice):
            outcome = run(here, place, toys.Slow(1.2))
        same(outcome)
    assert set(attempts(outcome)) == {1}, f"work was lost: attempts {attempts(outcome)}"
    return "no task was begun twice"


def e6_no_room(place: Path) -> str:
    """What is asked for is nowhere; then a cluster shrinks to no worker at all, and grows again."""
    with stage(workers=1) as here:
        try:
            run(here, place / "never", toys.Slow(0.0), resources={"moon": 1}, patience=5)
            raise AssertionError("it ran")
        except pt.errors.Suspended as error:
            assert "1 moon" in str(error) and "0 moon;" in str(error)

        def shrink() -> None:
            here.cluster.remove_node(here.nodes[0], allow_graceful=False)
            time.sleep(8.0)
            here.add()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with after(6, place / "shrunk", shrink):
                outcome = run(here, place / "shrunk", toys.Slow(0.4))
        same(outcome)
    return "suspended with what was asked and what there is; went on when a node came back"


def e7_two_runs(place: Path) -> str:
    """Two runs of different code under the same names share one cluster at the same time."""
    with stage() as here:
        drivers = [_driver(place / f"run{gain}", here.address, gain) for gain in (1, 2)]
        codes = [driver.wait(180) for driver in drivers]
    assert codes == [0, 0], codes
    for gain in (1, 2):
        same(pt.open_run(place / f"run{gain}"), gain)
    return "each ended as it does alone"


def _driver(directory: Path, address: str, gain: float = 1.0) -> subprocess.Popen[bytes]:
    """Returns a process that drives a run; the name of what it trains is the same whatever the gain."""
    command = [sys.executable, "-m", "benchmarks.ray_faults", "drive", str(directory), address, str(gain)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _drive(directory: str, address: str, gain: str) -> None:
    factor = float(gain)
    slow = toys.Slow(0.4)

    def train(carry: Any, hp: Any, steps: int, seed: int) -> Any:
        carry, metrics = slow(carry, hp, steps, seed)
        return carry, {**metrics, "score": factor * metrics["score"]}

    executor = pt.executors.Ray(address=address, slots=2)
    try:
        pt.run(toys.algorithm(), train, stop=STOP, executor=executor, directory=directory)
    except pt.PoptrainError as error:
        sys.exit(error.exit_code)


# -- head to head -----------------------------------------------------------------------------------------------------

TUNE = """
import sys, tempfile, time
import ray
from ray import tune
from ray.tune import Checkpoint
from ray.tune.schedulers import PopulationBasedTraining

class Member(tune.Trainable):
    def setup(self, config): self.theta, self.lr = 0.9, config["lr"]
    def step(self):
        if self.lr > 0.1 and self.iteration >= 2: raise ValueError("a planted fault")
        self.theta -= 2 * self.lr * self.theta
        return {"score": 1.2 - self.theta**2}
    def save_checkpoint(self, folder): open(folder + "/theta", "w").write(repr(self.theta))
    def load_checkpoint(self, folder): self.theta = float(open(folder + "/theta").read())

def stop(trial, result):
    return result["training_iteration"] >= 30

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
pbt = PopulationBasedTraining(time_attr="training_iteration", perturbation_interval=3, synch=True,
                              hyperparam_mutations={"lr": tune.loguniform(1e-3, 0.05)})
began = time.time()
class Patience(tune.Stopper):
    def __call__(self, trial, result): return stop(trial, result)
    def stop_all(self): return time.time() - began > float(sys.argv[3])
grid = tune.Tuner(Member, param_space={"lr": tune.grid_search([0.01, 0.02, 0.03, 0.2])},
    tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=pbt),
    run_config=tune.RunConfig(storage_path=sys.argv[2], stop=Patience(), verbose=0,
                              failure_config=tune.FailureConfig(max_failures=0))).fit()
print("STEPS", *sorted((r.metrics or {}).get("training_iteration", 0) for r in grid))
"""


def one_member_always_fails(place: Path) -> tuple[list[int], list[int]]:
    """Returns the steps that four members reached of 30, on ours and on Ray Tune's synchronous PBT."""
    with stage() as here:
        initial = [{"lr": lr} for lr in (0.01, 0.02, 0.03, 0.2)]
        executor = pt.executors.Ray(address=here.address)
        ours = pt.run(toys.algorithm(initial=initial), toys.failing, stop=STOP, executor=executor, directory=place / "ours")
        tune = subprocess.run([sys.executable, "-c", TUNE, here.address, str(place / "tune"), str(WAIT)], capture_output=True,
                              text=True, timeout=4 * WAIT)  # fmt: skip
    line = next((line for line in tune.stdout.splitlines() if line.startswith("STEPS")), None)
    if line is None:
        raise RuntimeError(f"Ray Tune ended with code {tune.returncode}: {tune.stderr[-2000:]}")
    heads = [int(id) for id in ours.history.heads()]
    return sorted(ours.history.step(id) for id in heads if ours.history.ok(id)), [int(word) for word in line.split()[1:]]


FAULTS = (e1_node_lost, e2_head_lost, e3_out_of_memory, e4_done_but_not_heard, e5_notice, e6_no_room, e7_two_runs)


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns a figure for each fault, their sum, and the head to head; `quick` leaves out nothing, for each happens once."""
    figures, survived = [], 0
    for fault in FAULTS:
        began = time.monotonic()
        try:
            with folder() as place:
                said, well = fault(place), True
        except Exception as error:
            said, well = f"{type(error).__name__}: {error}", False
        survived += well
        name = fault.__name__.replace("_", " ")
        print(f"{name}: {'survived' if well else 'NOT SURVIVED'} in {time.monotonic() - began:.0f} s: {said}", flush=True)
        figures.append(figure(f"{name}: survived", well, "", "1", well))
    figures.insert(0, figure("cluster faults survived", survived, f"of {len(FAULTS)}", f"{len(FAULTS)}", survived == len(FAULTS)))
    with folder() as place:
        ours, tune = one_member_always_fails(place)
    print(f"one member always fails, 30 steps wanted: ours reached {ours}, Ray Tune's synchronous PBT {tune}", flush=True)
    done = lambda steps: sum(step >= 30 for step in steps)
    figures.append(figure("S12: members that finish, ours", done(ours), "of 4", "4", done(ours) == 4))
    figures.append(figure(f"S12: members that finish within {WAIT:g} s, Ray Tune's PBT", done(tune), "of 4"))
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["drive"]:
        _drive(*sys.argv[2:5])
    else:
        main("ray_faults", measure, __doc__)
