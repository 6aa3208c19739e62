"""To look at an object of the user is to run its methods: whatever they raise, only the member that left the object pays."""

from __future__ import annotations

import errno
import io
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_boundary import BAD, Mine, others_go_on, others_outlive, trained

import poptrain as pt
from poptrain.algorithms.parts import turns
from poptrain.checkpoints.sealed import sealed
from poptrain.core.protocols import Sink
from poptrain.core.user_objects import is_interrupt, named, text_of
from poptrain.log.disk import FS
from poptrain.log.reader import read
from poptrain.testing.trainables import Quadratic
from poptrain.trainable.uses import uses_of

assert BAD == 2


def leave(*_, **__):
    raise SystemExit(3)


class Leaving(float):
    """A number that ends the process when it is converted."""

    __float__ = __repr__ = __eq__ = leave
    __hash__ = None


class LeavingWhole(int):
    __index__ = __int__ = __float__ = leave


class LeavingArray:
    __array__ = leave


class LeavingEverywhere:
    __getattribute__ = leave


class LeavingClass:
    __class__ = property(leave)


class LeavingKey:
    __hash__, __eq__ = (lambda self: hash("score")), leave


class LeavingMapping(dict):
    keys = __iter__ = leave


class LeavingIterator:
    __iter__ = leave


class Nameless(type):
    __getattribute__ = leave


def without_name(text=""):  # a function: pytest looks at every class of this file
    return Nameless("WithoutName", (Exception,), {})(text)


class WithoutClass(Exception):
    __class__ = property(leave)


class Interrupting(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class WithoutAnything(Exception):
    __getattribute__ = leave


RETURNED = {
    "a number": {"score": Leaving(1)},
    "a whole number": {"score": 1.0, "steps": LeavingWhole(5)},
    "an array": {"score": LeavingArray()},
    "another metric": {"score": 1.0, "loss": LeavingEverywhere()},
    "no class": {"score": LeavingClass()},
    "a key": {LeavingKey(): 1.0},
    "a mapping": LeavingMapping(score=1.0),
    "a curve": {"score": 1.0, "curve": LeavingIterator()},
    "returns": {"score": 1.0, "returns": [Leaving(1)]},
    "no mapping": LeavingEverywhere(),
}
CARRIES = {
    "an object": LeavingEverywhere(),
    "no class": LeavingClass(),
    "a key": {LeavingKey(): 1},
    "of a class without a module": Nameless("Odd", (), {})(),
}
RAISED = {
    "no name": without_name(),
    "no class": WithoutClass(),
    "no attributes": WithoutAnything(),
    "a key": KeyError(LeavingEverywhere()),
}


@pytest.mark.parametrize("name", RETURNED)
def test_a12_metrics_whose_methods_end_the_process_are_their_members_failure(name, tmp_path):
    tables = {"R": RETURNED}  # a table in a closure is not a constant of the code
    others_go_on(tmp_path / "r", lambda c, hp, n, s: (0, tables["R"][name] if hp["lr"] == 0.03 else {"score": hp["lr"]}))


@pytest.mark.parametrize("name", CARRIES)
def test_a12_so_is_a_carry(name, tmp_path):
    carry = CARRIES[name]
    others_go_on(tmp_path / "r", lambda c, hp, n, s: (carry if hp["lr"] == 0.03 else 0, {"score": hp["lr"]}))


@pytest.mark.parametrize("name", RAISED)
def test_a12_so_is_an_exception_that_cannot_be_shown(name, tmp_path):
    bad = others_outlive(tmp_path / "r", RAISED[name])
    assert "\n" not in bad.error and len(bad.error) < 350


def test_an_interrupt_passes_whoever_raises_it():
    assert is_interrupt(KeyboardInterrupt()) and is_interrupt(type("Ended", (KeyboardInterrupt,), {})())
    assert not is_interrupt(SystemExit()) and not is_interrupt(GeneratorExit())
    with pytest.raises(KeyboardInterrupt):
        text_of(Interrupting())
    assert text_of(WithoutAnything("a")) == "a" and "cannot be shown" in named(without_name("a"))
    assert named(type("\x1b[31mA", (Exception,), {})("b\nc\u202e\ud800")) == "\\x1b[31mA: b c\\u202e\\ud800"


@pytest.mark.parametrize("how", ["returns", "exits", "raises"])
def test_a12_a_process_that_train_forks_ends_where_train_ends(how, tmp_path):
    driver, codes = os.getpid(), []

    def train(carry, hp, steps, seed):
        if hp["lr"] == 0.03:
            if (child := os.fork()) == 0:
                sys.stderr = io.StringIO()
                if how == "exits":
                    sys.exit(7)
                if how == "raises":
                    raise ValueError("in the child")
                return 0, {"score": 9.0}
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return 0, {"score": hp["lr"]}

    ended = trained(tmp_path / "r", train)
    assert os.getpid() == driver and ended.record.finished and pt.verify(tmp_path / "r").ok
    assert codes and set(codes) == {{"returns": 0, "exits": 7, "raises": 1}[how]}


class Removing(Quadratic):
    """Member 2 leaves its directory as `how` says."""

    how = ""

    def train(self, hp, steps):
        self.bad = hp["lr"] == 0.03
        return {"score": hp["lr"]}

    def save(self, directory):
        super().save(directory)
        if not self.bad:
            return
        if self.how == "deep":
            here = os.open(directory, os.O_RDONLY)
            for _ in range(30):
                os.mkdir("d" * 200, dir_fd=here)
                here, before = os.open("d" * 200, os.O_RDONLY, dir_fd=here), here
                os.close(before)
            os.close(here)
            return
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
        if self.how == "file":
            directory.write_text("")


@pytest.mark.parametrize("how", ["gone", "file", "deep"])
def test_b4_a_member_that_removes_its_own_directory_has_failed_and_the_run_goes_on(how, tmp_path):
    bad = others_go_on(tmp_path / "r", type("Removing", (Removing,), {"how": how, "__module__": __name__}))
    assert "ValueError: save " in bad.error


def test_b4_what_save_made_unreadable_is_its_members_failure(tmp_path):
    class Denied(FS):
        def _look(self, name, path):
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(ValueError, match="save wrote what cannot be read again"):
        sealed(Denied(), tmp_path)


def test_b4_a_member_that_closes_the_files_of_the_run_suspends_it_with_a_sentence(tmp_path):
    log = tmp_path / "r" / "log-000001.jsonl"
    wrong = {"now": True}

    def train(carry, hp, steps, seed):
        for each in os.listdir("/proc/self/fd") if wrong["now"] else ():
            try:
                if os.readlink(f"/proc/self/fd/{each}") == str(log.resolve()):
                    os.close(int(each))
            except FileNotFoundError:
                pass
        return 0, {"score": hp["lr"]}

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only Linux lists the files that a process has opened")
    with pytest.raises(pt.errors.Suspended, match="closed the file of the log"):
        trained(tmp_path / "r", train)
    wrong["now"] = False
    assert trained(tmp_path / "r", train).record.finished and pt.verify(tmp_path / "r").ok


# -- algorithms, explore functions, sinks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        LeavingEverywhere,
        lambda: (LeavingEverywhere(),),
        lambda: SystemExit(1),
        lambda: GeneratorExit(),
        without_name,
    ],
    ids=["object", "tuple", "exit", "generator exit", "no name"],
)
def test_c12_whatever_an_algorithm_returns_or_raises_is_one_sentence(make, tmp_path, monkeypatch):
    def ask(self, history):
        returned = make()
        if issubclass(type(returned), BaseException):
            raise returned
        return returned

    monkeypatch.setattr(Mine, "ask", ask)
    with pytest.raises(pt.UsageError, match="Mine.ask"):
        pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r")
    assert read(tmp_path / "r").lines == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("steps", np.array(5)),
        ("steps", LeavingWhole(5)),
        ("hparams", {"lr": Leaving(0.01)}),
        ("hparams", {"lr": 0.01, "name": type("Text", (str,), {"encode": leave, "__str__": leave})("a")}),
    ],
    ids=["array", "whole", "number", "text"],
)
def test_c12_numbers_and_texts_of_subclasses_become_pythons_own(name, value, tmp_path, monkeypatch):
    ask = Mine.ask

    def changed(self, history):
        tasks = ask(self, history)
        return (replace(tasks[0], **{name: value}), *tasks[1:]) if history.n == 0 else tasks

    monkeypatch.setattr(Mine, "ask", changed)
    ended = pt.run(Mine(), lambda c, hp, n, s: (0, {"score": 1.0}), stop=pt.steps(10), directory=tmp_path / "r")
    task = ended.history.task(0)
    assert type(task.steps) is int and {type(value) for value in task.hparams.values()} <= {float, str}
    assert read(tmp_path / "r").lines == ended.record.lines


def test_c12_an_unwritable_note_is_one_sentence(tmp_path, monkeypatch):
    first = turns.first_round
    monkeypatch.setattr(
        turns, "first_round", lambda *args: tuple(replace(task, note={"why": LeavingEverywhere()}) for task in first(*args))
    )
    with pytest.raises(pt.UsageError, match="the line cannot be written"):
        pt.run(Mine(), pt.testing.quadratic, stop=pt.steps(10), directory=tmp_path / "r")


@pytest.mark.parametrize("text", ["a\nb\x1b[31m\u202e\n" * 1000, "x" * 10_000_000, "\ud800"], ids=["lines", "long", "surrogate"])
@pytest.mark.parametrize("where", ["explore", "repair"])
def test_c12_an_error_of_a_function_of_the_user_is_one_sentence(text, where, tmp_path):
    def wrong(*_):
        raise ValueError(text)

    with pytest.raises(pt.UsageError) as caught:
        space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), repair=wrong if where == "repair" else None)
        algorithm = pt.pbt(space, population=4, interval=5, explore=wrong if where == "explore" else None)
        pt.run(algorithm, pt.testing.quadratic, stop=pt.steps(15), directory=tmp_path / "r")
    message = str(caught.value)
    assert message.isprintable() and message.encode() and len(message) < 600


def test_c12_a_very_long_text_is_not_searched_for_its_nearest_name():
    space = pt.Space(aug=pt.Choice("a", "b"))
    with pytest.raises(pt.UsageError, match="is not an option"):
        space.check({"aug": "x" * 5_000_000})


@pytest.mark.parametrize("what", ["write", "hint", "patience", "retries", "every", "text"])
def test_d6_a_sink_that_ends_the_process_stops_nothing(what, tmp_path):
    class Odd(Sink):
        def write(self, record, history):
            raise SystemExit(3) if what != "text" else type("E", (Exception,), {"__str__": leave})

        def hint(self, record):
            leave() if what == "hint" else None

    if what in ("patience", "retries", "every"):
        setattr(Odd, what, property(leave))
    with pytest.warns(UserWarning, match="sink Odd failed"):
        assert trained(tmp_path / "r", pt.testing.quadratic, sinks=[Odd()]).record.finished


def test_a_value_next_to_the_code_that_cannot_be_read_is_not_recorded():
    names = {"PROXY": LeavingEverywhere(), "RATE": 0.5, "__name__": "__main__"}
    exec("def train(carry, hp, steps, seed): return PROXY, RATE", names)
    assert uses_of(names["train"]) == {"RATE": 0.5}
