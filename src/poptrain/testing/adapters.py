"""The laws of every adapter, as tests. Subclass `AdapterContract`, override `member` and `values`, and let pytest collect it.

The sentences that they test are in `poptrain.integrations.adapter`.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poptrain.algorithms import pbt
from poptrain.algorithms.parts.exploit import truncation
from poptrain.core import Hparams, Value
from poptrain.core.counting import counted
from poptrain.core.rng import rng
from poptrain.engine import stop
from poptrain.engine.loop import run
from poptrain.integrations.adapter import flattened, same_value
from poptrain.space import Choice, Space, nested

Member = Any  # an object of the class under test
MOST_WAITING = 1  # objects that may be there besides the one that trains


class AdapterContract:
    """Each method is one law about a class that has `MemberClass`'s methods and ``places(hp)``.

    `steps`: of one segment. `exact`: metrics are equal bit for bit, else to a relative `tolerance`.
    """

    steps = 3
    exact = True
    tolerance = 1e-5
    read_by_code: tuple[str, ...] = ()  # hyperparameters without a place: user code reads them whenever it trains

    def member(self) -> type:
        """Returns the class under test; its metrics hold "score" and everything that could tell two trainings apart."""
        raise AssertionError("override member() to return the class under test")

    def values(self) -> Sequence[Hparams]:
        """Returns two complete sets of hyperparameters, flat as in a task, that differ in every name."""
        raise AssertionError("override values() to return two sets of hyperparameters")

    def derived(self, member: Member) -> Mapping[str, object]:
        """Returns values of the live object that follow from hyperparameters, by name: a rate under a schedule, a horizon …"""
        return {}

    # -- applied = read back -------------------------------------------------------------------------------------------

    def test_values_are_in_force_after_training_loading_and_retuning(self, tmp_path: Path) -> None:
        first, second = self.values()
        member = self.made(first, 1)
        self.trained(member, first)
        self.in_force(member, first)
        member.save(self.fresh(tmp_path / "a"))
        copied = self.made(second, 2)
        copied.load(tmp_path / "a")
        self.trained(copied, second)
        self.in_force(copied, second)
        self.trained(member, second)
        self.in_force(member, second)
        self.trained(member, first)
        self.in_force(member, first)
        self.close(member, copied)

    def test_every_task_of_a_run_with_copies_trains_with_its_own_values(self, tmp_path: Path) -> None:
        seen: list[tuple[Hparams, list[tuple[str, object]]]] = []
        cls = self.member()

        class Watched(cls):  # type: ignore[misc, valid-type]  # the class is the user's
            def train(self, hp: Hparams, steps: int) -> Mapping[str, object]:
                metrics = super().train(hp, steps)
                seen.append((dict(flattened(hp)), [(each.hparam, each.held) for each in self.places(hp)]))
                return metrics

        done = self.population(Watched, tmp_path / "run")
        assert len(seen) == done.history.n and len({repr(hp) for hp, _ in seen}) > 1
        for id, (asked, held) in enumerate(seen):
            assert asked == dict(done.history.task(id).hparams)
            assert all(same_value(value, asked[name]) for name, value in held), f"task {id}: {asked} asked, {held} in force"

    # -- everything is carried ------------------------------------------------------------------------------------------

    def test_save_load_continue_equals_continue(self, tmp_path: Path) -> None:
        for hp in self.values():
            member = self.made(hp, 1)
            self.trained(member, hp)
            member.save(self.fresh(tmp_path / "a"))
            straight = [self.trained(member, hp) for _ in range(2)]
            loaded = self.made(hp, 2)
            loaded.load(tmp_path / "a")
            self.same([self.trained(loaded, hp) for _ in range(2)], straight)
            member.save(self.fresh(tmp_path / "b"))
            loaded.save(self.fresh(tmp_path / "c"))
            if self.exact:
                assert contents(tmp_path / "b") == contents(tmp_path / "c"), "the next checkpoints differ"
            self.close(member, loaded)

    def test_a_checkpoint_that_is_loaded_and_saved_is_the_same(self, tmp_path: Path) -> None:
        hp = self.values()[0]
        member = self.made(hp, 1)
        self.trained(member, hp)
        member.save(self.fresh(tmp_path / "a"))
        loaded = self.made(hp, 2)
        loaded.load(tmp_path / "a")
        loaded.save(self.fresh(tmp_path / "b"))
        assert contents(tmp_path / "a") == contents(tmp_path / "b")
        self.close(member, loaded)

    # -- values decide, state continues ---------------------------------------------------------------------------------

    def test_a_copy_with_new_values_equals_a_member_that_is_given_them(self, tmp_path: Path) -> None:
        """Both are an object that was made with the values, with the state of the parent in it."""
        first, second = self.values()
        member = self.made(first, 1)
        self.trained(member, first)
        member.save(self.fresh(tmp_path / "a"))
        copied = self.made(second, 2)
        copied.load(tmp_path / "a")
        self.same(self.trained(copied, second), self.trained(member, second))
        self.same(self.follows(copied, second), self.follows(member, second))
        self.close(member, copied)

    def test_what_follows_from_values_is_that_of_a_fresh_object(self, tmp_path: Path) -> None:
        first, second = self.values()
        always, member = self.made(second, 1), self.made(first, 1)
        for _ in range(2):
            self.trained(always, second)
            self.trained(member, first)
        member.save(self.fresh(tmp_path / "a"))
        copied = self.made(second, 3)
        copied.load(tmp_path / "a")
        self.trained(copied, second)
        self.trained(always, second)
        _close(self.follows(copied, second), self.follows(always, second), 1e-6)
        self.close(always, member, copied)

    def test_nothing_of_the_old_member_survives(self, tmp_path: Path) -> None:
        first, second = self.values()
        parent, used, clean = self.made(first, 1), self.made(second, 2), self.made(second, 3)
        self.trained(parent, first)
        parent.save(self.fresh(tmp_path / "a"))
        for _ in range(2):
            self.trained(used, second)
        used.load(tmp_path / "a")
        clean.load(tmp_path / "a")
        self.same([self.trained(used, second) for _ in range(2)], [self.trained(clean, second) for _ in range(2)])
        self.close(parent, used, clean)

    def test_members_side_by_side_train_as_if_alone(self) -> None:
        first, second = self.values()
        one, other = self.made(first, 1), self.made(second, 2)
        together = [(self.trained(one, first), self.trained(other, second)) for _ in range(2)]
        alone = self.made(first, 1)
        self.same([self.trained(alone, first) for _ in range(2)], [pair[0] for pair in together])
        self.close(one, other, alone)

    # -- memory, and scores that are not there yet ------------------------------------------------------------------------

    def test_members_that_wait_are_not_in_memory(self, tmp_path: Path) -> None:
        living: weakref.WeakSet[object] = weakref.WeakSet()
        most = []
        cls = self.member()

        class Counted(cls):  # type: ignore[misc, valid-type]  # the class is the user's
            def train(self, hp: Hparams, steps: int) -> Mapping[str, object]:
                living.add(self)
                gc.collect()
                most.append(len(living))
                metrics: Mapping[str, object] = super().train(hp, steps)
                return metrics

        self.population(Counted, tmp_path / "run")
        assert max(most) <= 1 + MOST_WAITING, f"{counted(max(most), 'member')} were in memory, one of them trained"

    def test_a_member_that_cannot_be_scored_yet_stops_nothing(self) -> None:
        """An evaluation before the first step, and the shortest interval, return metrics; NaN means "not yet"."""
        hp = self.values()[0]
        member = self.made(hp, 1)
        for steps in (0, 1):
            metrics = member.train(nested(hp), steps)
            assert "score" in metrics and np.size(np.asarray(metrics["score"], float)) == 1
        self.close(member)

    # -- what the laws are written with -----------------------------------------------------------------------------------

    def made(self, hp: Hparams, seed: int) -> Member:
        return self.member()(nested(hp), seed)

    def trained(self, member: Member, hp: Hparams) -> Mapping[str, object]:
        """Returns the metrics of one more segment; it begins after a disturbance of what members might share."""
        np.random.seed(int(rng(len(hp), "disturbance").integers(2**31)))
        metrics: Mapping[str, object] = member.train(nested(hp), self.steps)
        return metrics

    def in_force(self, member: Member, hp: Hparams) -> None:
        """Fails unless every hyperparameter has a place at which the live object holds its value."""
        found = {name: [each for each in member.places(nested(hp)) if each.hparam == name] for name in hp}
        for name, value in hp.items():
            assert found[name] or name in self.read_by_code, f"{name} has no place in the live object"
            wrong = [each for each in found[name] if not same_value(each.held, value)]
            assert not wrong, f"{name}={value!r}, but {wrong}"

    def follows(self, member: Member, hp: Hparams) -> Mapping[str, object]:
        """Returns what the live object holds for the hyperparameters, and what follows from them."""
        return {**{each.name: each.held for each in member.places(nested(hp))}, **self.derived(member)}

    def population(self, cls: type, directory: Path) -> Any:
        """Returns a small run of PBT in which copies change their values."""
        first, second = self.values()
        space = Space(**{name: Choice(first[name], second[name]) for name in first})
        initial: list[Mapping[str, Value]] = [first, second, first, second]
        algorithm = pbt(space, population=4, interval=self.steps, exploit=truncation(0.5), initial=initial)
        return run(algorithm, cls, stop=stop.steps(3 * self.steps), directory=directory, executor="inline")

    def same(self, found: object, expected: object) -> None:
        if self.exact:
            assert repr(found) == repr(expected), f"\n{found}\n{expected}"
        else:
            _close(found, expected, self.tolerance)

    def fresh(self, directory: Path) -> Path:
        """Returns a new empty directory in place of an old one."""
        for file in sorted(directory.rglob("*"), reverse=True) if directory.exists() else ():
            file.rmdir() if file.is_dir() else file.unlink()
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def close(self, *members: Member) -> None:
        for member in members:
            if callable(end := getattr(member, "close", None)):
                end()


def contents(directory: Path) -> dict[str, bytes]:
    """Returns every byte of a directory, by file."""
    return {str(file.relative_to(directory)): file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file()}


def _close(found: Any, expected: Any, tolerance: float) -> None:
    """Fails unless two trees of metrics are equal, numbers to a relative `tolerance`."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), f"{found} instead of {expected}"
        for name in expected:
            _close(found[name], expected[name], tolerance)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), f"{found} instead of {expected}"
        for pair in zip(found, expected, strict=True):
            _close(*pair, tolerance)
    elif isinstance(expected, (str, type(None))):
        assert found == expected
    else:
        assert np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True), f"{found} instead of {expected}"
