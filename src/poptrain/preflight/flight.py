"""One preflight: what is trained, for how long, and in which order the checks come."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from poptrain.audit.verdict import Verdict, listed, tabled
from poptrain.core import History, Hparams, Task, clock, markup
from poptrain.core.counting import counted
from poptrain.core.errors import MetricError
from poptrain.core.protocols import Distilling
from poptrain.core.rng import rng, task_seed
from poptrain.engine.experiment import Experiment
from poptrain.engine.sanity import no_copies
from poptrain.executors import kind_of
from poptrain.preflight import episodes, lessons, metric, threads
from poptrain.preflight import estimate as estimates
from poptrain.preflight.effects import EFFECT_SEGMENTS, Effects
from poptrain.preflight.estimate import Estimate, Times, steps_between
from poptrain.preflight.lab import Job, Lab, Probe
from poptrain.preflight.pace import Pace, Pacing
from poptrain.preflight.pilot import FEWEST_ROUNDS, ROUNDS, pilot
from poptrain.preflight.roundtrip import RoundTrip
from poptrain.space import Space
from poptrain.trainable import Command, JaxTrainable, LearnsLater, in_directories
from poptrain.views.format import span

CONFIGURATIONS = 3  # configurations that are trained
CURVE_SEGMENTS = 4  # that each is trained, one after another
OVERTIME = 0.25  # part of the limit by which a whole interval may pass it: without one, the time of a run is guessed
PACE_SHARE = 0.2  # of the time limit, within which probes of one member may grow to a whole interval
PILOT_SHARE = 0.5  # of the time limit that the first rounds of the run itself may take
PILOTED = ("inline", "processes", "vectorized")  # executors that start within seconds
PROBES_SHARE = 0.5  # of the time that is left then, which the planned probes may take, by the first measurement
THREADS_SHARE = 0.2  # of the time that is left, which trainings with one thread may take
LONGEST_WITHOUT_INTERVAL = 100  # steps of a probe, if the algorithm has no interval in steps


@dataclass(frozen=True, repr=False)
class Preflight:
    """What `check` found."""

    ok: bool  # nothing failed; something may be unclear
    checks: tuple[Verdict, ...]
    estimate: Estimate | None  # None: every training raised an error
    steps: int  # that one probe trained
    interval: int | None  # steps that a task of the algorithm trains; None: the interval is a length of time
    seconds: float  # that the preflight took

    def __repr__(self) -> str:
        return f"{self._title()}\n{listed(self.checks)}"

    def _repr_html_(self) -> str:
        return markup.block(self._title(), tabled(self.checks))

    def _title(self) -> str:
        failed, unclear = (sum(each.state == state for each in self.checks) for state in ("failed", "unclear"))
        found = f"{failed} of {counted(len(self.checks), 'check')} failed" if failed else "nothing is wrong"
        whole = None if self.estimate is None else self.estimate.seconds
        rough = self.estimate is not None and self.estimate.rough
        run = "" if whole is None else f"; the run would take {'very roughly' if rough else 'about'} {span(whole)}"
        return f"Preflight: {found}{f', {unclear} unclear' if unclear else ''}{run}"


class Flight:
    """One preflight, which `fly` performs.

    Args:
        limit: seconds that it may take.
        directory: where the run would be.
    """

    def __init__(self, experiment: Experiment, lab: Lab, limit: float, directory: Path):
        self.experiment, self.lab, self.limit, self.directory = experiment, lab, limit, directory
        self.space = cast(Space, experiment.algorithm.space)
        self.began = clock.monotonic()
        self.steps = 1  # of one segment
        self.checks: list[Verdict] = []
        self.seeds = iter(range(1 << 30))

    def out_of_time(self, jobs: int = CONFIGURATIONS) -> bool:
        """True if this number of jobs would end too late, even if nothing has to be compiled for them."""
        return clock.monotonic() - self.began + self.lab.pace * self.steps * jobs >= self.limit

    def fly(self) -> Preflight:
        """Returns what was found."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # segments may be shorter than the run's, and the run shows its own warnings
            return self._fly()

    def _fly(self) -> Preflight:
        if why := no_copies(self.experiment):
            self.checks.append(Verdict("decisions", "failed", why))
        configurations, interval = self._first()
        longest = interval or LONGEST_WITHOUT_INTERVAL
        members = self.experiment.algorithm.seats if self.lab.vectorized else 1
        pacing = Pacing(self.lab, configurations[0], longest, members, self._seed)
        pace = pacing.longer(pacing.short(self.limit, self.out_of_time), lambda: self._left(PACE_SHARE))
        self._check_threads(pacing, pace)
        piloted = self._pilot(pace, interval)
        self.steps = steps = self._affordable(pace.per_step, longest)
        curves = self._train(configurations)
        self._check_metric(curves, interval is not None and steps >= interval)
        healthy = [curve for curve in curves if curve[0].ok]
        self._check_episodes(configurations[0], interval, healthy)
        if healthy:
            self._check_state(healthy, interval is not None and steps * EFFECT_SEGMENTS >= interval)
            self._check_lessons([curve[0] for curve in healthy])
        if piloted is None and interval is not None:
            pace = pacing.longer(pace, self._left, OVERTIME * self.limit)
        estimate = self._estimate(healthy, piloted or self._times(pace, longest))
        fine = all(verdict.state != "failed" for verdict in self.checks)
        return Preflight(fine, tuple(self.checks), estimate, steps, interval, clock.monotonic() - self.began)

    def _left(self, share: float = 1.0) -> float:
        """Returns the seconds that are left of a share of the time limit."""
        return max(share * self.limit - (clock.monotonic() - self.began), 0.0)

    def _times(self, pace: Pace, steps: int) -> Times:
        """Returns what a pace says about intervals of a number of steps; a probe of a batch is one member's share of it."""
        return Times(pace.start, pace.of(steps) / steps, shared=self.lab.vectorized, rough=pace.steps < steps)

    def _pilot(self, pace: Pace, interval: int | None) -> Times | None:
        """Returns the times of the run's first rounds, if there is time for two of them."""
        about, seats = self.experiment, self.experiment.algorithm.seats
        budget, kind = about.budget, kind_of(about.executor)
        if not pace.last.ok or interval is None or budget is None or kind not in PILOTED or self.out_of_time(seats):
            return None
        a_round = self._times(pace, interval).of_all(seats, estimates.slots_of(about.executor, seats)) * interval
        possible = int((PILOT_SHARE * self.limit - pace.start) / max(a_round, 1e-9))
        if possible < FEWEST_ROUNDS:
            return None
        found = pilot(about, budget, min(possible, ROUNDS), PILOT_SHARE * self.limit, self.directory)
        warmed = kind == "inline" and not isinstance(self.lab.trainable, JaxTrainable)  # by the probes before, in this process
        return replace(found, start=found.start + pace.start) if found is not None and warmed else found

    def _train(self, configurations: list[Hparams]) -> list[list[Probe]]:
        """Returns the segments of each configuration, as many as there is time for."""
        curves: list[list[Probe]] = [[] for _ in configurations]
        for segment in range(CURVE_SEGMENTS):
            if segment and self.out_of_time():
                break
            jobs = []
            for hparams, curve in zip(configurations, curves, strict=True):
                parent = curve[-1] if curve else None
                jobs.append(Job(hparams, self.steps, self._seed(), parent, None if parent is None else parent.task.member))
            for curve, probe in zip(curves, self.lab.train(jobs), strict=True):
                curve.append(probe)
        return curves

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check_threads(self, pacing: Pacing, pace: Pace) -> None:
        """Checks that the threads of the members do not stand in each other's way; says nothing if they do not."""
        found = threads.workers(self.experiment.executor, self.experiment.algorithm.seats)
        if found is None or not pace.last.ok:
            return
        verdict = None
        here = not isinstance(self.lab.trainable, JaxTrainable | Command)  # trained by the numeric libraries of this process
        if here and 2 * threads.PAIRS * pace.seconds < THREADS_SHARE * self._left():
            verdict = threads.slowed(found, lambda: pacing.again(pace.steps))
        if verdict := verdict or threads.crowded(found):
            self.checks.append(verdict)

    def _check_metric(self, curves: list[list[Probe]], whole: bool) -> None:
        """Checks the scores; `whole`: a segment is as long as the algorithm's interval, or longer."""
        about = self.experiment
        self.checks.append(metric.finite(curves, about.metric))
        if all(not curve[0].ok for curve in curves):
            return
        self.checks += [metric.moving(curves, whole), metric.direction(curves, about.metric, about.mode)]

    def _check_episodes(self, hparams: Hparams, interval: int | None, curves: list[list[Probe]]) -> None:
        """Checks that episodes end inside an interval; says nothing if they do, or if there are none."""
        seed = self.experiment.seed
        if (verdict := episodes.inside(self.lab.trainable, hparams, seed, interval, curves, self.steps)) is not None:
            self.checks.append(verdict)

    def _check_state(self, curves: list[list[Probe]], whole: bool) -> None:
        """Checks what a checkpoint holds and what a hyperparameter changes; `whole`: in an interval's time or more."""
        continued = [curve for curve in curves if len(curve) > 1]
        if self.out_of_time(3 * CONFIGURATIONS) or not continued:
            late = "there was no time; pass more seconds"
            self.checks += [Verdict(name, "unclear", late) for name in ("deterministic", "save and load", "hyperparameters")]
            return
        first = [curve[0] for curve in continued]
        trip = RoundTrip(self.lab, first, [curve[1] for curve in continued])
        self.checks += [trip.deterministic(), trip.saved()]
        short = self._no_update(first) or ("" if whole else "all shorter than the interval: pass more seconds")
        self.checks += Effects(self.lab, self.space, first, trip, short, self.out_of_time).verdicts()

    def _check_lessons(self, teachers: list[Probe]) -> None:
        """Checks that students can learn from these teachers; says nothing if the algorithm has no students."""
        algorithm = self.experiment.algorithm
        if not isinstance(algorithm, Distilling) or not algorithm.distills:
            return
        if self.out_of_time(2 * CONFIGURATIONS):
            self.checks.append(Verdict(lessons.NAME, "unclear", "there was no time; pass more seconds"))
            return
        seeds = (task_seed(self.experiment.seed, number) for number in self.seeds)
        self.checks.append(lessons.taught(self.lab, teachers, self.space.static_names, self.steps, seeds))

    def _no_update(self, bases: list[Probe]) -> str:
        """Returns why members that continue these ones make no update; "" if they do."""
        if not isinstance(self.lab.trainable, LearnsLater):
            return ""
        steps, setting = max(self.lab.trainable.first_update(base.task.hparams) for base in bases)
        if steps < (1 + EFFECT_SEGMENTS) * self.steps:
            return ""
        return f"all before the first update, which comes after {counted(steps, 'step')} ({setting})"

    def _estimate(self, curves: list[list[Probe]], times: Times) -> Estimate | None:
        """Returns what the run will take, after checking that its checkpoints fit."""
        if not curves:
            return None
        largest = max(self.lab.bytes(probe) for curve in curves for probe in curve if probe.ok)  # a buffer may fill up
        found = estimates.estimated(self.experiment, times, largest, self.directory)
        self.checks.append(estimates.storage(found, self.experiment.checkpoints))
        return found

    # -- what is trained, and for how long ----------------------------------------------------------------------------

    def _first(self) -> tuple[list[Hparams], int | None]:
        """Returns configurations as the algorithm draws its first ones, and the steps of its first task that trains."""
        algorithm, about = self.experiment.algorithm, self.experiment
        tasks = algorithm.ask(History(about.seed, about.budget, about.sign))
        self._check_evaluation([task for task in tasks if task.steps == 0 and task.seconds is None])
        found: list[Hparams] = [dict(task.hparams) for task in tasks[:CONFIGURATIONS]]
        for index in range(len(found), CONFIGURATIONS):
            found.append(self.space.sample(rng(about.seed, "check", index)))
        interval = steps_between(algorithm)
        if interval is None and not any(task.seconds is not None for task in tasks):
            interval = max((task.steps for task in tasks), default=1)
        return found, interval if interval is None or about.budget is None else max(min(interval, about.budget), 1)

    def _check_evaluation(self, tasks: list[Task]) -> None:
        """Checks that members can be evaluated before they train, if the first round of the algorithm asks for that."""
        if not tasks:
            return
        try:
            probe = self.lab.train([Job(tasks[0].hparams, 0, self._seed())])[0]
        except MetricError as error:
            probe, why = None, str(error)
        else:
            why = "" if probe.ok else str(probe.result.error)
        text = "the algorithm evaluates members before they train (0 steps)"
        state = "ok" if probe is not None and probe.ok else "failed"
        self.checks.append(Verdict("first round", state, text if state == "ok" else f"{text}, which failed: {why}"))

    def _affordable(self, per_step: float, longest: int) -> int:
        """Returns the steps of one probe: the interval, or as much of it as there is time for."""
        return max(1, min(longest, int(PROBES_SHARE * self._left() / max(per_step * self._planned(), 1e-12))))

    def _planned(self) -> int:
        """Returns the number of planned probes: the curves, the round trips, and two segments for every hyperparameter."""
        each = 4 if in_directories(self.lab.trainable) else 2
        return CONFIGURATIONS * (CURVE_SEGMENTS + 3) + each * (len(self.space) + 1)

    def _seed(self) -> int:
        return task_seed(self.experiment.seed, next(self.seeds))
