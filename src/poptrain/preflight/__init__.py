"""The preflight: in a minute, what would otherwise be found out after a day. See `check`."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poptrain import executors
from poptrain.audit.verdict import Verdict
from poptrain.core import History, Hparams, clock
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng, task_seed
from poptrain.engine.experiment import Experiment
from poptrain.preflight import estimate as estimates
from poptrain.preflight import metric
from poptrain.preflight.effects import SEGMENTS as EFFECT_SEGMENTS
from poptrain.preflight.effects import Effects
from poptrain.preflight.estimate import Estimate
from poptrain.preflight.lab import Job, Lab, Probe
from poptrain.preflight.roundtrip import RoundTrip

MEMBERS = 3  # configurations that are trained
SEGMENTS = 4  # that each is trained, one after another
SHARE = 0.4  # of the time that the planned probes may take, by the first measurement

__all__ = ["Estimate", "Preflight", "check"]


@dataclass(frozen=True)
class Preflight:
    """What `check` found."""

    ok: bool  # nothing failed; something may be unclear
    checks: tuple[Verdict, ...]
    estimate: Estimate | None  # None: nothing was trained without an error
    steps: int  # that one probe trained
    interval: int | None  # that a task of the algorithm trains; None: it is a length of time
    seconds: float  # that the preflight took


def check(experiment: Experiment, *, seconds: float = 60.0, directory: str | Path = "runs") -> Preflight:
    """Returns what is wrong with an experiment, before it is run.

    A few members are trained for a few segments, saved, loaded, cloned and trained again, with other hyperparameters one by
    one. Nothing is kept.

    Args:
        experiment: as for ``poptrain run``; its algorithm draws the first configurations.
        seconds: nothing is begun that would not be done by then; what could not be checked is unclear.
        directory: where the run would be, for the space on its disk.

    Raises:
        UsageError: the trainable does not fit the executor, or returns no score.

    >>> import poptrain as pt
    >>> space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    >>> experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))
    >>> found = pt.check(experiment)
    >>> found.ok, sorted({verdict.state for verdict in found.checks})
    (True, ['ok'])
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise UsageError(f"check: seconds={seconds!r}, expected a finite number above 0.")
    executors.resolve(experiment.executor, experiment.trainable)
    space = experiment.algorithm.space
    lanes = max(MEMBERS, 1 + len(space.names))
    with tempfile.TemporaryDirectory(prefix="poptrain-check-") as folder:
        lab = Lab(experiment.trainable, experiment.metric, Path(folder), static=space.static_names, executor=experiment.executor,
                  lanes=lanes)  # fmt: skip
        try:
            return _Flight(experiment, lab, float(seconds), Path(directory)).fly()
        finally:
            lab.close()


class _Flight:
    """One preflight."""

    def __init__(self, experiment: Experiment, lab: Lab, limit: float, directory: Path):
        self.experiment, self.lab, self.limit, self.directory = experiment, lab, limit, directory
        self.space = experiment.algorithm.space
        self.began = clock.monotonic()
        self.steps = 1  # of one segment
        self.checks: list[Verdict] = []
        self.seeds = iter(range(1 << 30))

    def out_of_time(self, jobs: int = MEMBERS) -> bool:
        """True if so many jobs would end too late, if nothing has to be compiled for them."""
        return clock.monotonic() - self.began + self.lab.pace * self.steps * jobs >= self.limit

    def fly(self) -> Preflight:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of segments that are too short, which the run's will not be; the run says its own
            return self._fly()

    def _fly(self) -> Preflight:
        configurations, interval = self._first()
        self.steps, per_step = self._scale(configurations[0], interval)
        steps = self.steps
        curves: list[list[Probe]] = [[] for _ in configurations]
        for segment in range(SEGMENTS):
            if segment and self.out_of_time():
                break
            jobs = [
                Job(h, steps, self._seed(), *((curve[-1], curve[-1].task.member) if curve else ()))
                for h, curve in zip(configurations, curves, strict=True)
            ]
            for curve, probe in zip(curves, self.lab.train(jobs), strict=True):
                curve.append(probe)
        self._metric(curves, interval is not None and steps >= interval)
        healthy = [curve for curve in curves if curve[0].ok]
        if healthy:
            self._state(healthy, interval is not None and steps * EFFECT_SEGMENTS >= interval)
        times = [probe.seconds / steps for curve in healthy for probe in curve[1:] if probe.ok]
        return self._landed(healthy, min(times, default=per_step), steps, interval)

    def _metric(self, curves: list[list[Probe]], whole: bool) -> None:
        about = self.experiment
        self.checks.append(metric.finite(curves))
        if all(not curve[0].ok for curve in curves):
            return
        self.checks += [metric.moving(curves, whole), metric.direction(curves, about.metric, about.mode)]

    def _state(self, curves: list[list[Probe]], whole: bool) -> None:
        """Checks what a checkpoint holds and what a hyperparameter does; `whole`: in an interval's time or more."""
        on = [curve for curve in curves if len(curve) > 1]
        if self.out_of_time(3 * MEMBERS) or not on:
            late = "there was no time; give it more seconds"
            self.checks += [Verdict(name, "unclear", late) for name in ("deterministic", "save and load", "hyperparameters")]
            return
        trip = RoundTrip(self.lab, [curve[0] for curve in on], [curve[1] for curve in on])
        self.checks += [trip.deterministic(), trip.saved()]
        effects = Effects(self.lab, self.space, [curve[0] for curve in on], trip.repeats, whole, self.out_of_time)
        self.checks += effects.verdicts()

    def _landed(self, curves: list[list[Probe]], per_step: float, steps: int, interval: int | None) -> Preflight:
        found = None
        if curves:
            size = max(self.lab.bytes(probe) for curve in curves for probe in curve if probe.ok)  # a buffer may fill up
            found = estimates.estimated(self.experiment, per_step, size, self.directory)
            self.checks.append(estimates.place(found, self.experiment.checkpoints))
        fine = all(verdict.state != "failed" for verdict in self.checks)
        return Preflight(fine, tuple(self.checks), found, steps, interval, clock.monotonic() - self.began)

    # -- what is trained, and for how long --------------------------------------------------------------------------------

    def _first(self) -> tuple[list[Hparams], int | None]:
        """Returns configurations as the algorithm draws its first ones, and the steps of its first task that trains."""
        algorithm, about = self.experiment.algorithm, self.experiment
        history = History(about.seed, about.budget, about.sign)
        tasks = algorithm.ask(history)
        found = [dict(task.hparams) for task in tasks[:MEMBERS]]
        for index in range(len(found), MEMBERS):
            found.append(self.space.sample(rng(about.seed, "check", index)))
        interval = getattr(algorithm, "interval", None)
        if not isinstance(interval, int) or isinstance(interval, bool):
            timed = any(task.seconds is not None for task in tasks)
            interval = None if timed else max((task.steps for task in tasks), default=1)
        return found, interval if interval is None or about.budget is None else max(min(interval, about.budget), 1)

    def _scale(self, hparams: Hparams, interval: int | None) -> tuple[int, float]:
        """Returns the steps of one probe: the interval, or as much of it as leaves time for all of them; and seconds a step."""
        longest = interval or 100
        steps = max(1, longest // 5000)
        while True:
            probe = self.lab.train([Job(hparams, steps, self._seed())])[0]
            if probe.ok and not self.out_of_time(1):  # the first may have compiled
                probe = self.lab.train([Job(hparams, steps, self._seed(), probe, probe.task.member)])[0]
            per_step = probe.seconds / steps
            if not probe.ok or 10 * steps > longest // 5 or 10 * probe.seconds > 0.01 * self.limit:
                break
            steps *= 10  # so short that it says more about the call than about the steps
        left = max(self.limit - (clock.monotonic() - self.began), 0.0)
        return max(1, min(longest, int(SHARE * left / max(per_step * self._probes(), 1e-12)))), per_step

    def _probes(self) -> int:
        """Returns how many probes are planned: the curves, the round trips, and two segments for every hyperparameter."""
        each = 4 if isinstance(self.lab.trainable, type) else 2
        return MEMBERS * (SEGMENTS + 3) + each * (len(self.space.names) + 1)

    def _seed(self) -> int:
        return task_seed(self.experiment.seed, next(self.seeds))


def verdict_of(trainable: Any, hparams: Hparams, steps: int, metric_name: str, seed: int) -> Verdict:
    """Returns whether a trainable's checkpoint holds all of its state: the round trip alone, for one configuration."""
    with tempfile.TemporaryDirectory(prefix="poptrain-check-") as folder:
        lab = Lab(trainable, metric_name, Path(folder))
        try:
            first = lab.train([Job(hparams, steps, seed)])
            if not first[0].ok:
                return Verdict("save and load", "failed", f"training raised an error: {first[0].result.error}")
            straight = lab.train([Job(hparams, steps, seed + 1, first[0], first[0].task.member)])
            return RoundTrip(lab, first, straight).saved()
        finally:
            lab.close()
