"""What a task costs in addition to training: trivial steps, population 16, on everything that runs PBT here.

A task is one interval of one member: train, checkpoint, report, decide. Its step is a multiplication, so everything else is
measured. All programs that use Ray share one Ray on this machine. Rates exclude the start of workers: they count from the time
when every member has delivered two results. Files are in memory (/dev/shm) for all programs, so that no disk is measured; one
more figure is poptrain on the disk with every checkpoint and log line synced, which Ray Tune does not do. Ray Tune gets one CPU
per trial, so that no trial waits, and reuses its actors. In the asynchronous case its first trials train while the last actors
start, so there the start of actors is counted on both sides.

Driver time per decision is the time inside the scheduler's methods divided by the number of exploits that they decided, PB2
against PB2 in the same Ray Tune.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import poptrain as pt
from benchmarks.common import figure, main, over

POPULATION = 16
LOW, HIGH = 1e-3, 5e-2
HERE = Path("runs") / "ray_overhead"
MEMORY = Path("/dev/shm")


def trivial(carry: Any, hp: Any, steps: int, seed: int) -> Any:
    theta = (0.9 if carry is None else carry["theta"]) * (1 - 2 * hp["lr"])
    return {"theta": theta}, {"score": 1.2 - theta**2}


class Ticks:
    """The times at which results arrived, by member; also a sink of `run`."""

    def __init__(self) -> None:
        self.made = time.perf_counter()
        self.times: list[float] = []
        self._members: collections.Counter[Any] = collections.Counter()
        self._begin: int | None = None

    def tick(self, member: Any) -> None:
        self.times.append(time.perf_counter())
        self._members[member] += 1
        if self._begin is None and len(self._members) == POPULATION and min(self._members.values()) >= 2:
            self._begin = len(self.times)

    def write(self, record: Any, history: Any) -> None:
        line = record.lines[-1]
        if isinstance(line[0], pt.Result):
            for result in line:
                self.tick(history.task(result.task).member)

    @property
    def rate(self) -> float:
        """Tasks per second from the moment when every member had delivered twice."""
        return (len(self.times) - self._begin) / (self.times[-1] - self.times[self._begin - 1])

    @property
    def whole(self) -> float:
        """Tasks per second of everything, the start of workers included."""
        return len(self.times) / (self.times[-1] - self.made)


# -- ours -------------------------------------------------------------------------------------------------------------


def ours(executor: Any, generations: int, directory: Path) -> float:
    """Returns the tasks per second of synchronous PBT on one of our executors."""
    space, ticks = pt.Space(lr=pt.LogUniform(LOW, HIGH)), Ticks()
    algorithm = pt.pbt(space, population=POPULATION, interval=1)
    pt.run(algorithm, trivial, stop=pt.steps(generations), executor=executor, directory=directory, sinks=[ticks])
    return ticks.rate


# -- Ray Tune ---------------------------------------------------------------------------------------------------------


def member_class() -> type:
    """Returns `trivial` as a Trainable of Ray Tune."""
    from ray import tune

    class Member(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.theta, self.lr = 0.9, config["lr"]

        def step(self) -> dict[str, Any]:
            self.theta *= 1 - 2 * self.lr
            return {"score": 1.2 - self.theta**2}

        def save_checkpoint(self, folder: str) -> None:
            Path(folder, "state.json").write_text(json.dumps(self.theta))

        def load_checkpoint(self, folder: str) -> None:
            self.theta = json.loads(Path(folder, "state.json").read_text())

        def reset_config(self, config: dict[str, Any]) -> bool:
            self.lr = config["lr"]
            return True

    return Member


def tuned(scheduler: Any, generations: int, directory: Path, start: bool = False) -> float:
    """Returns the tasks per second of Ray Tune under one scheduler; with `start`, that of the actors is counted."""
    from ray import tune

    ticks = Ticks()

    class Watch(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
            ticks.tick(trial.trial_id)

    tune.Tuner(
        tune.with_resources(member_class(), {"cpu": 1}),
        param_space={"lr": tune.loguniform(LOW, HIGH)},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=POPULATION, scheduler=scheduler, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(directory.resolve()), stop={"training_iteration": generations}, verbose=0, callbacks=[Watch()]
        ),
    ).fit()  # fmt: skip
    return ticks.whole if start else ticks.rate


def schedulers(name: str, interval: int, sync: bool) -> Callable[[], Any]:
    """Returns what makes a scheduler: Ray Tune's "PBT" or "PB2", or "our PBT" or "our PB2" with the same arguments."""
    from ray.tune import schedulers as theirs
    from ray.tune.schedulers.pb2 import PB2

    if name.startswith("our"):
        from poptrain.integrations import ray_tune as mine

        pbt, pb2 = mine.PopulationBasedTraining, mine.PB2
    else:
        pbt, pb2 = theirs.PopulationBasedTraining, PB2
    about = {"time_attr": "training_iteration", "perturbation_interval": interval, "synch": sync}
    if name.endswith("PBT"):
        from ray import tune

        return lambda: pbt(**about, hyperparam_mutations={"lr": tune.loguniform(LOW, HIGH)})
    return lambda: pb2(**about, hyperparam_bounds={"lr": [LOW, HIGH]})


class Timed:
    """Adds up the time inside a scheduler's methods, and counts the members that it moved to another one's checkpoint."""

    METHODS = ("on_trial_add", "on_trial_result", "on_trial_complete", "on_trial_error", "choose_trial_to_run")

    def __init__(self, scheduler: Any):
        self.seconds, self.depth, self.decisions = 0.0, 0, 0
        self.configs: dict[Any, Any] = {}
        for name in self.METHODS:
            setattr(scheduler, name, self._timed(getattr(scheduler, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(controller: Any, *arguments: Any) -> Any:
            began = time.perf_counter()
            self.depth += 1
            try:
                return method(controller, *arguments)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.perf_counter() - began
                    self._count(controller)

        return timed

    def _count(self, controller: Any) -> None:
        for trial in controller.get_trials():
            lr = trial.config.get("lr")
            if trial.trial_id in self.configs and self.configs[trial.trial_id] != lr:
                self.decisions += 1
            self.configs[trial.trial_id] = lr


def per_decision(name: str, generations: int, directory: Path) -> tuple[float, int]:
    """Returns the seconds in the scheduler for each decision of PB2, and how many there were."""
    scheduler = schedulers(name, 1, True)()
    timed = Timed(scheduler)
    tuned(scheduler, generations, directory)
    return timed.seconds / max(timed.decisions, 1), timed.decisions


# -- figures ----------------------------------------------------------------------------------------------------------


def contenders(quick: bool) -> dict[str, Callable[[Path], float]]:
    """Returns what is measured, by name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    few, more, many = (6, 8, 40) if quick else (10, 15, 150)  # intervals of a member
    ray = lambda slots: lambda place: ours(pt.executors.Ray(slots=slots), many, place)
    tune = lambda *which, generations=few: lambda place: tuned(schedulers(*which)(), generations, place, start=not which[-1])
    return {
        "our processes executor": lambda place: ours(pt.executors.Processes(slots=cores), many, place),
        f"our Ray executor, {cores} actors": ray(cores),
        f"our Ray executor, {POPULATION} actors": ray(POPULATION),
        f"our Ray executor, {cores} actors, on disk": ray(cores),
        "Ray Tune's PBT, synchronous": tune("PBT", 1, True),
        "Ray Tune's PBT, asynchronous, with the start": tune("PBT", 1, False, generations=more),
        "Ray Tune's PB2, synchronous": tune("PB2", 1, True, generations=5 if quick else few),
        "our PBT in Ray Tune, synchronous": tune("our PBT", 1, True),
        "our PBT in Ray Tune, asynchronous, with the start": tune("our PBT", 1, False, generations=more),
    }


def measure(quick: bool) -> list[dict[str, Any]]:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    warnings.filterwarnings("ignore", module="sklearn")  # of Ray's PB2, whose model does not converge on so easy a problem
    ray.init(
        address="local", num_cpus=POPULATION, object_store_memory=200 << 20, include_dashboard=False, log_to_driver=False,
        logging_level="error",
    )  # fmt: skip
    HERE.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else HERE, prefix="poptrain-"))
    disk = Path(tempfile.mkdtemp(dir=HERE))
    rates: dict[str, list[float]] = collections.defaultdict(list)
    decisions: dict[str, list[float]] = collections.defaultdict(list)
    try:
        for repeat in range(1 if quick else 3):
            for index, (name, contender) in enumerate(contenders(quick).items()):
                rates[name].append(contender((disk if name.endswith("on disk") else place) / f"{index}-{repeat}"))
                print(f"{name}: {rates[name][-1]:.1f} tasks/s", flush=True)
        for name in ("PB2", "our PB2"):
            for repeat in range(1 if quick else 2):
                seconds, count = per_decision(name, 5 if quick else 10, place / f"decide{name[:3]}{repeat}")
                decisions[name].append(seconds)
                print(f"{name}: {seconds:.4f} s a decision, {count} decisions", flush=True)
    finally:
        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(disk, ignore_errors=True)
    figures = [over(name, values, "tasks/s") for name, values in rates.items()]
    mean = {name: sum(values) / len(values) for name, values in rates.items()}
    theirs = max(value for name, value in mean.items() if name.startswith("Ray Tune's PBT"))
    best = max(value for name, value in mean.items() if name.startswith("our Ray executor"))
    same = mean[f"our Ray executor, {POPULATION} actors"]
    figures.append(figure("Ray executor over the faster of Ray Tune's PBTs", best / theirs, "x", ">= 10", best >= 10 * theirs))
    figures.append(figure("the same, an actor for each member on both", same / theirs, "x"))
    figures += [over(f"{name} in Ray Tune, driver time per decision", values, "s") for name, values in decisions.items()]
    ratio = min(decisions["PB2"]) / max(decisions["our PB2"])
    figures.append(figure("Ray's PB2 over ours, driver time per decision", ratio, "x", ">= 1", ratio >= 1))
    return figures


if __name__ == "__main__":
    main("ray_overhead", measure, __doc__)
