"""How long one interval of one member takes: probes of growing length, on the way to a whole interval.

The first probe of all may import and compile: what it took longer than an equal second one is a cost of the start, not of a step.
And a step may be free until a rollout or an epoch is full, so that the time of few steps says little about that of many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from poptrain.core import Hparams
from poptrain.preflight.lab import Job, Lab, Probe

LONGER = 4  # times as many steps as the probe before, on the way to a whole interval
TENFOLD = 10  # the same, as long as a probe measures the call more than the steps
SHORT = 0.01  # part of the time limit below which ten such probes are too short to measure steps


@dataclass(frozen=True)
class Pace:
    """What the probes of one member have measured so far."""

    last: Probe  # the longest one; the next one continues it in memory
    first: int  # steps of the short probes
    per_step: float  # seconds of a step in them
    steps: int  # of the longest probe
    seconds: float  # that it took
    slope: float  # seconds of each step beyond it
    start: float  # seconds that the first probe of all took longer than the second

    def of(self, steps: int) -> float:
        """Returns the seconds that a number of steps in a row takes, with its evaluation."""
        return self.seconds + self.slope * (steps - self.steps) if steps >= self.steps else self.seconds * steps / self.steps


class Pacing:
    """Measures the pace of one configuration.

    Args:
        longest: steps of an interval, or the most that a probe trains.
        members: that one probe trains side by side: a vectorized batch is measured as a batch.
        seed: returns the seed of another probe.
    """

    def __init__(self, lab: Lab, hparams: Hparams, longest: int, members: int, seed: Callable[[], int]):
        self.lab, self.hparams, self.longest, self.members, self.seed = lab, hparams, longest, members, seed
        self._batch: list[Probe] = []

    def short(self, limit: float, late: Callable[[int], bool]) -> Pace:
        """Returns the pace of short probes; `late(n)` is true if n more of them would end too late."""
        steps, start = max(1, self.longest // 5000), None
        while True:
            self._batch = []
            probe = fresh = self._train(steps)
            if fresh.ok and not late(self.members):
                probe = self._train(steps)
            start = self._extra(fresh, probe) if start is None else start
            enough = TENFOLD * steps > self.longest // 5 or TENFOLD * probe.seconds > SHORT * limit
            if not probe.ok or enough:
                break
            steps *= TENFOLD
        per_step = probe.seconds / steps
        return Pace(probe, steps, per_step, steps, probe.seconds, per_step, start)

    def longer(self, pace: Pace, left: Callable[[], float], overtime: float = 0.0) -> Pace:
        """Returns the pace after probes that grow to a whole interval, as far as there is time.

        Args:
            left: returns the seconds that may still be spent.
            overtime: seconds by which a probe may pass them.
        """
        while pace.last.ok and pace.steps < self.longest:
            more = min(self.longest, LONGER * pace.steps)
            needed = self.members * pace.of(more) + pace.last.compiling
            if needed >= left() + overtime:
                break
            first = probe = self._train(more)
            if first.ok and 2 * needed < left():
                probe = self._train(more)
            if not probe.ok:
                break
            took = min(first.seconds, probe.seconds)  # the first may have prepared something, if there was time for a second one
            slope = max(took - pace.seconds, 0.0) / (more - pace.steps)
            pace = replace(pace, last=probe, steps=more, seconds=max(took, pace.seconds), slope=slope)
        return pace

    def _extra(self, first: Probe, second: Probe) -> float:
        """Returns the seconds that the first of two equal probes took longer than training takes; they may be the same one."""
        return max(first.seconds - second.seconds, 0.0) * self.members + first.compiling

    def again(self, steps: int) -> Probe:
        """Returns the probe of the same member for more steps; it has trained before, so that nothing happens only once."""
        return self._train(steps)

    def _train(self, steps: int) -> Probe:
        """Returns the probe of one member, of a batch that is fresh at first and then continues."""
        before = self._batch or [None] * self.members
        jobs = [Job(self.hparams, steps, self.seed(), p, None if p is None else p.task.member) for p in before]
        self._batch = self.lab.train(jobs)
        return self._batch[0]
