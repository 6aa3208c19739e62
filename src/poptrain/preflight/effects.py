"""Does every hyperparameter change the result after a copy, which is where population-based training changes it?

A control, and for each hyperparameter one member that differs from the control only in its value, continue side by side from
one checkpoint with one seed. If such a member scores exactly like the control, no effect was seen. The hyperparameter then gets
other values, other configurations and more time, before the verdict is that it has no effect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from poptrain.audit.verdict import Verdict
from poptrain.core import Carry, Hparams, Value
from poptrain.core.counting import counted
from poptrain.executors.adapters import form_of
from poptrain.preflight.lab import Job, Lab, Probe, equal
from poptrain.preflight.roundtrip import RoundTrip
from poptrain.preflight.sight import blurred, in_force, seen
from poptrain.space import Space, nested
from poptrain.trainable import in_directories

VALUES_TRIED = 3  # configurations that are tried, each with another value
EFFECT_SEGMENTS = 2  # that each of them is trained
ENOUGH_SEGMENTS = 4  # without an effect, after which the verdict is that there is none
FEW_LEVELS = 16  # up to this number of levels, another level is taken in turn


class Effects:
    """The effects that were seen of each hyperparameter.

    Args:
        bases: trained members, one of each configuration, whose checkpoints are in the store.
        trip: which has found out whether training repeats itself exactly.
        short: why the segments of one training may be too short for any effect, such as "all shorter than the interval", in
            which an update may come once; "": they are not.
        out_of_time: called before every batch, with its size.
    """

    def __init__(
        self,
        lab: Lab,
        space: Space,
        bases: Sequence[Probe],
        trip: RoundTrip,
        short: str,
        out_of_time: Callable[[int], bool],
    ):
        self.lab, self.space, self.out_of_time, self.short = lab, space, out_of_time, short
        self.repeats, self.clocks = trip.repeats, trip.clocks
        # Of trainings with unchanged values: a result, and the next one.
        self.pairs = [(a.result, b.result) for a, b in zip(trip.first, trip.straight, strict=True) if a.ok and b.ok]
        self.bases = [base for base in bases if base.ok] or list(bases)
        self.tried = dict.fromkeys(space.names, 0)  # segments in which no effect was seen
        self.saved: set[str] = set()  # names whose value changed the checkpoint, if nothing else
        self.effective: set[str] = set()  # names with an effect after a copy
        self.held: set[str] = set()  # names whose new values a loaded member says are in force
        self.at_once: set[str] = set()  # those of them with an effect in the first segment

    def verdicts(self) -> list[Verdict]:
        """Returns one verdict for each hyperparameter."""
        if not self.bases[0].ok:
            return [Verdict(f"hparams.{name}", "unclear", "no member trained without an error") for name in self.space.names]
        if not self.repeats:
            return self._among_noise()
        free = [name for name in self.space.names if not self.space[name].static]
        for number in range(VALUES_TRIED):
            if waiting := [name for name in free if name not in self.effective]:
                self._round(waiting, number)
        at_start = self._fresh([name for name in self.space.names if name not in self.effective])
        self._read_back([name for name in free if name not in self.effective])
        late: set[str] = set()
        if in_directories(self.lab.trainable):
            late = self._only_after_a_load([name for name in free if name in self.at_once])
        return [self._verdict(name, at_start, late) for name in self.space.names]

    # -- at a copy ----------------------------------------------------------------------------------------------------

    def _round(self, names: Sequence[str], number: int) -> None:
        """Looks for effects of some hyperparameters after one checkpoint, in up to `EFFECT_SEGMENTS` segments."""
        base = self.bases[number % len(self.bases)]
        steps, seed = base.task.steps, (base.task.seed + 1 + number) % 2**32
        changed = self._changed(base.task.hparams, names, number)
        control = base
        probes: dict[str | None, Probe] = dict.fromkeys([None, *changed], base)
        for segment in range(EFFECT_SEGMENTS):
            if self.out_of_time(len(probes)) or len(probes) < 2:
                return
            jobs = [
                Job(
                    base.task.hparams if name is None else changed[name],
                    steps,
                    seed + segment,
                    probe,
                    probe.task.member if segment else None,
                )
                for name, probe in probes.items()
            ]
            probes = dict(zip(probes, self.lab.train(jobs, cold=True), strict=True))
            if probes[None].ok:
                self.pairs.append((control.result, probes[None].result))
            control = probes[None]
            for tried in [name for name in probes if name is not None]:
                if self._differs(tried, control, probes[tried]):
                    self.effective.add(tried)
                    if not number and not segment:
                        self.at_once.add(tried)
                    del probes[tried]
                else:
                    self.tried[tried] += 1

    def _differs(self, name: str, control: Probe, probe: Probe) -> bool:
        """True if a changed value changed the training. That the value itself is reported or saved does not count."""
        values = control.task.hparams[name], probe.task.hparams[name]
        if seen(control.result, self.clocks, values) != seen(probe.result, self.clocks, values):
            return True
        if control.ok and probe.ok and not self.lab.store.is_directory(control.checkpoint):
            if not equal(_without(self.lab.state(control), values), _without(self.lab.state(probe), values)):
                return True
        elif control.ok and probe.ok and self.lab.state(control) != self.lab.state(probe):
            self.saved.add(name)
        return False

    def _changed(self, hparams: Hparams, names: Sequence[str], number: int) -> dict[str, dict[str, Value]]:
        """Returns the configuration with one hyperparameter changed, for each that has another value."""
        found = {}
        for name in names:
            value = other(self.space, name, hparams[name], number)
            if value != hparams[name]:
                repaired = self.space.finish({**hparams, name: value})  # a repair may undo the change
                if repaired[name] != hparams[name]:
                    found[name] = {**hparams, name: repaired[name]}
        return found

    # -- at the start, and in the middle --------------------------------------------------------------------------------

    def _fresh(self, names: Sequence[str]) -> set[str]:
        """Returns the names that have an effect on a fresh member, the only effect that static ones can have."""
        effective: set[str] = set()
        # A static one changes the program, so it is trained alone with its control: two batches of one.
        together = [[name for name in names if not self.space[name].static], *([n] for n in names if self.space[n].static)]
        for number in range(VALUES_TRIED):
            base = self.bases[number % len(self.bases)]
            for group in together:
                changed = self._changed(base.task.hparams, [name for name in group if name not in effective], number)
                if not changed or self.out_of_time(len(changed) + 1):
                    continue
                jobs = [Job(h, base.task.steps, base.task.seed) for h in (base.task.hparams, *changed.values())]
                control, *probes = self.lab.train(jobs, cold=True)
                for name, probe in zip(changed, probes, strict=True):
                    if self._differs(name, control, probe):
                        effective.add(name)
                    elif self.space[name].static:
                        self.tried[name] += 1
        return effective

    def _only_after_a_load(self, names: Sequence[str]) -> set[str]:
        """Returns the names that have an effect after a load, but not on an object that continues in memory."""
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

    def _read_back(self, names: Sequence[str]) -> None:
        """Asks a member that has loaded a checkpoint which of some new values it holds, if it is of a class that tells that."""
        trainable, base = self.lab.trainable, self.bases[0]
        if not names or not isinstance(trainable, type) or not callable(getattr(trainable, "places", None)):
            return
        form = form_of(trainable)
        for name, hparams in self._changed(base.task.hparams, names, 0).items():
            with contextlib.suppress(Exception):  # of user code; that members can be made and loaded is another check
                member = form.load(self.lab.store, base.checkpoint, hparams, base.task.seed)
                try:
                    self.held |= {name} & in_force(member.places(nested(hparams)), hparams)
                finally:
                    form.close(member)

    # -- what was found -------------------------------------------------------------------------------------------------

    def _verdict(self, name: str, at_start: set[str], late: set[str]) -> Verdict:
        what, parameter, tried = f"hparams.{name}", self.space[name], counted(self.tried[name], "training")
        if name in late:
            text = "has an effect after a load, but not on a member that continues: apply hp in train, at every call"
            return Verdict(what, "failed", text)
        if name in self.effective:
            return Verdict(what, "ok", "another value after a copy changes the result")
        if parameter.static and name in at_start:
            return Verdict(what, "ok", "another value at the start changes the result; it is static")
        if name in self.held and (name in at_start or name in self.saved):
            text = f"the loaded member has the new value in force; no result shows it in {tried}"
            return Verdict(what, "ok", text)
        unseen = self._blurred()
        if name in at_start and unseen:
            text = f"has an effect on a fresh member; after a copy, {unseen} in {tried}"
            return Verdict(what, "unclear", text)
        if name in at_start:
            text = "has an effect on a fresh member, but not after a copy: the loaded member keeps its old value"
            return Verdict(what, "failed", text)
        if parameter.levels == 1:
            return Verdict(what, "unclear", "has only one value")
        if name in self.saved:
            return Verdict(what, "unclear", f"changes the checkpoint, but no score in {tried}")
        enough = self.tried[name] >= (VALUES_TRIED if parameter.static else ENOUGH_SEGMENTS)
        if enough and self.short:
            return Verdict(what, "unclear", f"no effect was seen in {tried}, {self.short}")
        if enough and (unseen or name in self.held):
            why = unseen or "the new value is in force, but no result shows it"
            return Verdict(what, "unclear", f"no effect was seen in {tried}: {why}")
        if enough:
            text = f"has no effect: {tried} with other values gave exactly the same result"
            return Verdict(what, "failed", text)
        if not self.tried[name]:
            return Verdict(what, "unclear", "not tried, because there was no time: pass more seconds")
        return Verdict(what, "unclear", f"no effect was seen in {tried}; there was no time for more: pass more seconds")

    def _blurred(self) -> str:
        """Returns why no result can show a small effect; "" if one can. A carry itself shows every effect."""
        if not any(isfinite(after.score) for _, after in self.pairs):
            return "no score is finite"
        if not in_directories(self.lab.trainable) or not blurred(self.pairs, self.clocks):
            return ""
        return "no result is fine enough to show one"

    def _among_noise(self) -> list[Verdict]:
        text = "training does not repeat itself, so an effect cannot be distinguished from chance"
        return [Verdict(f"hparams.{name}", "unclear", text) for name in self.space.names]


def other(space: Space, name: str, value: Value, number: int) -> Value:
    """Returns another value of a parameter, a different one for each `number`.

    Of a range: half of it away, three quarters away in the other direction, or its end.
    """
    parameter = space[name]
    if parameter.levels is not None and parameter.levels <= FEW_LEVELS:
        options = [option for option in parameter.grid(parameter.levels) if option != value]
        return options[number * 7 % len(options)] if options else value
    u = parameter.encode(value)
    far = (0.5, 0.75, 1.0)[number % 3]
    up = u < 0.5 if number % 2 == 0 else u >= 0.5
    return parameter.decode(min(max(u + (far if up else -far), 0.02), 0.98))


def _without(state: Carry, values: Sequence[Value]) -> Carry:
    """Returns a carry without the leaves that are equal to one of these values of a hyperparameter."""
    if isinstance(state, Mapping):
        return {key: _without(part, values) for key, part in state.items() if not any(_repeats(part, v) for v in values)}
    if isinstance(state, (list, tuple)):
        return [_without(part, values) for part in state if not any(_repeats(part, v) for v in values)]
    return state


def _repeats(part: Carry, value: Value) -> bool:
    if isinstance(part, (Mapping, list, tuple)):
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool) and getattr(part, "ndim", 0) == 0:
        try:
            return abs(float(part) - value) <= 1e-6 * abs(value)
        except (TypeError, ValueError):
            return False
    return isinstance(part, (str, bool, type(None))) and part == value
