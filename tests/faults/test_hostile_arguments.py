"""D8: an argument whose own methods raise is answered in a sentence, by every public function."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from wrong_arguments import CALLS, SPACE

import poptrain as pt
from poptrain.algorithms.pbt import Pbt
from poptrain.core.errors import PoptrainError


def boom(*_, **__):
    raise RuntimeError("boom")


def leave(*_, **__):
    raise SystemExit(3)


class Everything:
    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __iter__ = __hash__ = __lt__ = __getitem__ = __contains__ = boom


METHODS = ("__repr__", "__eq__", "__bool__", "__len__", "__hash__", "__getattr__")
HOSTILE = {name: type(name, (), {name: boom}) for name in METHODS} | {
    "all": Everything,
    "exit": type("Leaving", (), {"__getattribute__": leave}),
    "class": type("Classless", (), {"__class__": property(boom)}),
    "float": type("Number", (float,), {"__lt__": boom, "__repr__": boom}),
    "dict": type("Mapping", (dict,), {"keys": boom, "__iter__": boom, "__len__": boom}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_d8_an_argument_whose_methods_raise_is_answered_in_a_sentence(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call, arguments in CALLS.values():
        for argument in arguments:
            for value in (HOSTILE[kind](), [HOSTILE[kind]()]):
                with suppress(pt.UsageError):
                    call(argument, value)
    assert not list(tmp_path.iterdir())


def test_d8_the_answer_names_the_argument_the_class_and_the_method():
    with pytest.raises(
        pt.UsageError, match=r"^pbt: population holds an object of the class 'Everything' .* its .* raised Runtime"
    ):
        pt.pbt(SPACE, population=Everything(), interval=5)
    with pytest.raises(pt.UsageError, match=r"^steps: n holds an object"):
        pt.steps(Everything())


def test_d8_an_interrupt_passes():
    def interrupted(self):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.pbt(SPACE, population=type("Late", (), {"__repr__": interrupted})(), interval=5)


def test_d8_an_error_that_no_argument_raised_blames_none():
    with pytest.raises(TypeError, match="no argument 'stopp'. Did you mean 'stop'"):
        pt.Experiment(pt.pbt(SPACE, population=4, interval=5), pt.testing.quadratic, stopp=5)


def test_an_error_of_the_package_shows_the_line_of_the_user_and_no_insides():
    def train(carry, hparams, steps, seed):
        return None, 1.0

    for mistake in (lambda: pt.pbt(SPACE, population=-4, interval=5), lambda: pt.Uniform(2, 1), lambda: run(train)):
        with pytest.raises(PoptrainError) as caught:
            mistake()
        files = [Path(str(entry.path)).name for entry in caught.traceback]
        assert files[:2] == [Path(__file__).name] * 2 and len(files) - files.count(Path(__file__).name) == 1, files


def test_where_user_code_inside_the_call_made_the_mistake_its_lines_are_shown():
    class Mine(Pbt):
        def ask(self, history):
            return helper()

    def helper():
        return pt.Uniform(2, 1)

    usual = pt.pbt(SPACE, population=2, interval=5)
    plain = {each.name: getattr(usual, each.name) for each in fields(Pbt)}
    with pytest.raises(PoptrainError) as caught:
        pt.run(Mine(**plain), lambda carry, hp, steps, seed: (0, {"score": 1.0}), stop=pt.steps(5), progress=False)
    names = [entry.name for entry in caught.traceback if str(entry.path) == __file__]
    assert names[-2:] == ["ask", "helper"], names


def run(train):
    return pt.run(pt.pbt(SPACE, population=2, interval=5), train, metric="score", stop=pt.steps(5), progress=False)
