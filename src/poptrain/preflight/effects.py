"""Does every hyperparameter change the result, where population based training changes it: at a copy?

A control, and one member for each hyperparameter that has another value of it and is otherwise the same, go on from one
checkpoint with one seed, side by side. A hyperparameter whose member scores exactly as the control does was not heard; it gets
other values, other configurations and more time before it is said to have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poptrain.audit.verdict import Verdict
from poptrain.core import Hparams, Result, Value
from poptrain.preflight.lab import Job, Lab, Probe, equal
from poptrain.space import Space

ROUNDS = 3  # configurations that are tried, each with another value
SEGMENTS = 2  # that each of them is trained
ENOUGH = 4  # segments without an effect after which there is none


class Effects:
    """What was seen of each hyperparameter.

    Args:
        bases: trained members, one of each configuration, that are in the store.
        whole: True if the segments of one training are together as long as the algorithm's interval, or longer; else an update
            that comes once in so many steps may not have come.
        out_of_time: asked before every batch, with its size.
    """

    def __init__(
        self, lab: Lab, space: Space, bases: Sequence[Probe], repeats: bool, whole: bool, out_of_time: Callable[[int], bool]
    ):
        self.lab, self.space, self.out_of_time, self.repeats, self.whole = lab, space, out_of_time, repeats, whole
        self.bases = [base for base in bases if base.ok] or list(bases)
        self.tried = dict.fromkeys(space.names, 0)  # segments in which no effect was seen
        self.states: set[str] = set()  # names whose value changed what is saved, if nothing else
        self.heard: set[str] = set()
        self.at_once: set[str] = set()  # those that were heard in the very first segment

    def verdicts(self) -> list[Verdict]:
        """Returns one verdict for each hyperparameter."""
        if not self.bases[0].ok:
            return [Verdict(f"hparams.{name}", "unclear", "no member trained without an error") for name in self.space.names]
        if not self.repeats:
            return self._among_noise()
        free = [name for name in self.space.names if not self.space[name].static]
        for number in range(ROUNDS):
            if waiting := [name for name in free if name not in self.heard]:
                self._round(waiting, number)
        at_start = self._fresh([name for name in self.space.names if name not in self.heard])
        deaf = self._warm([name for name in free if name in self.at_once]) if isinstance(self.lab.trainable, type) else set()
        return [self._verdict(name, at_start, deaf) for name in self.space.names]

    # -- at a copy ----------------------------------------------------------------------------------------------------

    def _round(self, names: Sequence[str], number: int) -> None:
        """Looks for the effect of some hyperparameters from one checkpoint, over up to `SEGMENTS` segments."""
        base = self.bases[number % len(self.bases)]
        steps, seed = base.task.steps, (base.task.seed + 1 + number) % 2**32
        changed = self._changed(base.task.hparams, names, number)
        probes: dict[str | None, Probe] = dict.fromkeys([None, *changed], base)
        for segment in range(SEGMENTS):
            if self.out_of_time(len(probes)) or len(probes) < 2:
                return
            jobs = [
                Job(changed.get(name, base.task.hparams), steps, seed + segment, probe, probe.task.member if segment else None)
                for name, probe in probes.items()
            ]
            probes = dict(zip(probes, self.lab.train(jobs, cold=True), strict=True))
            control = probes[None]
            for name in [name for name in probes if name]:
                if self._differs(name, control, probes[name]):
                    self.heard.add(name)
                    if not number and not segment:
                        self.at_once.add(name)
                    del probes[name]
                else:
                    self.tried[name] += 1

    def _differs(self, name: str, control: Probe, probe: Probe) -> bool:
        """True if a changed value changed the training. That it is reported or saved is no effect of it."""
        a, b = control.result, probe.result
        if _told(a) != _told(b):
            return True
        if control.ok and probe.ok and not self.lab.store.is_directory(a.checkpoint):
            values = control.task.hparams[name], probe.task.hparams[name]
            if not equal(_without(self.lab.state(control), values), _without(self.lab.state(probe), values)):
                return True
        elif control.ok and probe.ok and self.lab.state(control) != self.lab.state(probe):
            self.states.add(name)
        return False

    def _changed(self, hparams: Hparams, names: Sequence[str], number: int) -> dict[str, dict[str, Any]]:
        """Returns the configuration with one hyperparameter changed, for each that has another value."""
        found = {}
        for name in names:
            value = other(self.space, name, hparams[name], number)
            if value != hparams[name]:
                repaired = self.space.finish({**hparams, name: value})  # a repair may take it back, and then nothing changed
                if repaired[name] != hparams[name]:
                    found[name] = {**hparams, name: repaired[name]}
        return found

    # -- at the start, and in the middle --------------------------------------------------------------------------------

    def _fresh(self, names: Sequence[str]) -> set[str]:
        """Returns the names that have an effect on a fresh member: all that static ones can have."""
        heard: set[str] = set()
        together = [[name for name in names if not self.space[name].static], *([n] for n in names if self.space[n].static)]
        for number in range(ROUNDS):
            base = self.bases[number % len(self.bases)]
            for group in together:  # a static one changes the program: alone with its control, both are batches of one
                changed = self._changed(base.task.hparams, [name for name in group if name not in heard], number)
                if not changed or self.out_of_time(len(changed) + 1):
                    continue
                jobs = [Job(h, base.task.steps, base.task.seed) for h in (base.task.hparams, *changed.values())]
                control, *probes = self.lab.train(jobs, cold=True)
                for name, probe in zip(changed, probes, strict=True):
                    if self._differs(name, control, probe):
                        heard.add(name)
                    elif self.space[name].static:
                        self.tried[name] += 1
        return heard

    def _warm(self, names: Sequence[str]) -> set[str]:
        """Returns the names that act after a load, but not on an object that just goes on training."""
        base = self.bases[0]
        changed = self._changed(base.task.hparams, names, 0)
        if not changed or self.out_of_time(2 * len(changed) + 2):
            return set()
        steps, seed = base.task.steps, base.task.seed
        firsts = self.lab.train([Job(base.task.hparams, steps, seed) for _ in range(len(changed) + 1)])
        hparams = [base.task.hparams, *changed.values()]
        jobs = [Job(h, steps, seed + 1, p, p.task.member) for h, p in zip(hparams, firsts, strict=True)]
        control, *probes = self.lab.train(jobs)
        return {name for name, probe in zip(changed, probes, strict=True) if not self._differs(name, control, probe)}

    # -- what was found -------------------------------------------------------------------------------------------------

    def _verdict(self, name: str, at_start: set[str], deaf: set[str]) -> Verdict:
        what, parameter = f"hparams.{name}", self.space[name]
        if name in deaf:
            text = "acts after a load, but not on a member that goes on: set it in train, every time, from the hp that train gets"
            return Verdict(what, "failed", text)
        if name in self.heard:
            return Verdict(what, "ok", "another value after a copy changes the result")
        if parameter.static and name in at_start:
            return Verdict(what, "ok", "another value at the start changes the result; it is static")
        if name in at_start:
            text = "acts on a fresh member, but not after a copy: the loaded member goes on with its old value"
            return Verdict(what, "failed", text)
        if parameter.levels == 1:
            return Verdict(what, "unclear", "has one value only")
        if name in self.states:
            return Verdict(what, "unclear", f"changes what is saved, but no score in {self.tried[name]} trainings")
        enough = self.tried[name] >= (ROUNDS if parameter.static else ENOUGH)
        if enough and not self.whole:
            text = f"no effect was seen in {self.tried[name]} trainings, all shorter than the interval: give it more seconds"
            return Verdict(what, "unclear", text)
        if enough:
            text = f"has no effect: {self.tried[name]} trainings with other values gave the very same result"
            return Verdict(what, "failed", text)
        return Verdict(what, "unclear", f"no effect was seen in {self.tried[name]} trainings; there was no time for more")

    def _among_noise(self) -> list[Verdict]:
        text = "training does not repeat itself, so that an effect cannot be told from chance"
        return [Verdict(f"hparams.{name}", "unclear", text) for name in self.space.names]


def _told(result: Result) -> str:
    """Returns what selection can see of a result, for comparison; NaN equals itself."""
    return repr((result.step, tuple(result.curve), tuple(result.returns), result.error is None))


def other(space: Space, name: str, value: Value, number: int) -> Value:
    """Returns another value of a parameter: half the range away, then three quarters, then the far end, the other way round."""
    parameter = space[name]
    if parameter.levels is not None and parameter.levels <= 16:
        options = [option for option in parameter.grid(parameter.levels) if option != value]
        return options[number * 7 % len(options)] if options else value
    u = parameter.encode(value)
    far = (0.5, 0.75, 1.0)[number % 3]
    up = u < 0.5 if number % 2 == 0 else u >= 0.5
    return parameter.decode(min(max(u + (far if up else -far), 0.02), 0.98))


def _without(state: Any, values: Sequence[Value]) -> Any:
    """Returns a carry without the leaves that just repeat a hyperparameter, its own value or that of the control."""
    if isinstance(state, Mapping):
        return {key: _without(part, values) for key, part in state.items() if not any(_repeats(part, v) for v in values)}
    if isinstance(state, (list, tuple)):
        return [_without(part, values) for part in state if not any(_repeats(part, v) for v in values)]
    return state


def _repeats(part: Any, value: Value) -> bool:
    if isinstance(part, (Mapping, list, tuple)):
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool) and getattr(part, "ndim", 0) == 0:
        try:
            return abs(float(part) - value) <= 1e-6 * abs(value)
        except (TypeError, ValueError):
            return False
    return isinstance(part, (str, bool, type(None))) and part == value
