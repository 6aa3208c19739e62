"""Wrong arguments: one clear sentence that names the argument and the value, before anything is started."""

from __future__ import annotations

import math

import pytest

import poptrain as pt
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 8))
PBT = pt.pbt(SPACE, population=4, interval=5)


class Half:
    """A class that cannot save itself."""

    def __init__(self, hp, seed): ...

    def train(self, hp, steps): ...


def run(**options):
    return pt.run(**{"algorithm": PBT, "trainable": quadratic, "stop": pt.steps(10), **options})


# what is wrong, and the words that the sentence must hold
CASES = {
    "reversed bounds": (lambda: pt.Uniform(1.0, 0.1), ["1.0", "0.1"]),
    "log of zero": (lambda: pt.LogUniform(0, 1), ["low"]),
    "NaN bound": (lambda: pt.Uniform(math.nan, 1), ["nan"]),
    "infinite bound": (lambda: pt.Uniform(0, math.inf), ["inf"]),
    "no choices": (lambda: pt.Choice(), ["Choice"]),
    "a tuple as parameter": (lambda: pt.Space(lr=(0, 1)), ["lr", "Uniform(0, 1)"]),
    "an empty space": (lambda: pt.Space(), ["Space"]),
    "population 0": (lambda: pt.pbt(SPACE, population=0, interval=5), ["population=0"]),
    "population as text": (lambda: pt.pbt(SPACE, population="8", interval=5), ["population='8'"]),
    "population True": (lambda: pt.pbt(SPACE, population=True, interval=5), ["population=True"]),
    "interval 0": (lambda: pt.pbt(SPACE, interval=0), ["interval=0"]),
    "interval 2.5": (lambda: pt.pbt(SPACE, interval=2.5), ["interval=2.5"]),
    "interval of -1 s": (lambda: pt.pbt(SPACE, interval=pt.seconds(-1)), ["-1"]),
    "a dict as space": (lambda: pt.pbt({"lr": (0, 1)}, interval=5), ["dict", "pt.Space"]),
    "quantile 0.9": (lambda: pt.truncation(0.9), ["fraction=0.9", "0.5"]),
    "quantile -0.1": (lambda: pt.truncation(-0.1), ["fraction=-0.1"]),
    "alpha 2": (lambda: pt.welch(alpha=2), ["alpha=2"]),
    "window 1": (lambda: pt.welch(window=1), ["window=1"]),
    "factor 0": (lambda: pt.perturb((0, 1.2)), ["0", "factors"]),
    "no factors": (lambda: pt.perturb(()), ["factors"]),
    "one number as factors": (lambda: pt.perturb(1.2), ["factors=1.2"]),
    "resample 1.5": (lambda: pt.perturb(resample=1.5), ["resample=1.5"]),
    "sd 0": (lambda: pt.additive(0), ["sd=0"]),
    "exploit by name": (lambda: pt.pbt(SPACE, interval=5, exploit="truncation"), ["'truncation'", "pt.truncation"]),
    "explore by name": (lambda: pt.pbt(SPACE, interval=5, explore="perturb"), ["'perturb'", "pt.perturb"]),
    "copy misspelt": (lambda: pt.pbt(SPACE, interval=5, copy="weight"), ["'weight'", "Did you mean 'weights'"]),
    "warmup -1": (lambda: pt.pbt(SPACE, interval=5, warmup=-1), ["warmup=-1"]),
    "average 0": (lambda: pt.pbt(SPACE, interval=5, average=0), ["average=0"]),
    "initial outside the bounds": (lambda: pt.pbt(SPACE, interval=5, initial=[{"lr": 5}]), ["lr", "5"]),
    "initial with an unknown name": (lambda: pt.pbt(SPACE, interval=5, initial=[{"lrr": 0.01}]), ["lrr", "Did you mean 'lr'"]),
    "initial as one dict": (lambda: pt.pbt(SPACE, interval=5, initial={"lr": 0.01}), ["initial", "list"]),
    "more initial than members": (lambda: pt.pbt(SPACE, population=1, interval=5, initial=[{}, {}]), ["2", "population"]),
    "grid of 0 levels": (lambda: pt.grid_search(SPACE, levels=0, interval=5), ["levels=0"]),
    "grid of an unknown name": (lambda: pt.grid_search(SPACE, levels={"lx": 2}, interval=5), ["lx"]),
    "0 steps": (lambda: pt.steps(0), ["steps(0)"]),
    "half a step": (lambda: pt.steps(0.5), ["steps(0.5)"]),
    "NaN score": (lambda: pt.score(math.nan), ["nan"]),
    "0 seconds": (lambda: pt.seconds(0), ["seconds(0)"]),
    "nothing to stop": (lambda: pt.any_of(), ["any_of"]),
    "stop as a number": (lambda: run(stop=100), ["stop=100", "pt.steps"]),
    "no stop": (lambda: run(stop=None), ["stop"]),
    "mode misspelt": (lambda: run(mode="maximum"), ["'maximum'", "'max'"]),
    "metric as number": (lambda: run(metric=3), ["metric=3"]),
    "negative seed": (lambda: run(seed=-1), ["seed=-1"]),
    "seed as text": (lambda: run(seed="0"), ["seed='0'"]),
    "executor misspelt": (lambda: run(executor="process"), ["'process'", "Did you mean 'processes'"]),
    "executor as number": (lambda: run(executor=4), ["executor=4"]),
    "vectorised Python": (lambda: run(executor="vectorized"), ["pt.jax_trainable"]),
    "no algorithm": (lambda: run(algorithm="pbt"), ["'pbt'", "pt.pbt"]),
    "no trainable": (lambda: run(trainable=3), ["int", "expected a function"]),
    "wrong signature": (lambda: run(trainable=lambda carry, hp: None), ["carry, hp, steps, seed"]),
    "half a class": (lambda: run(trainable=Half), ["Half", "save, load"]),
    "generations of seconds": (
        lambda: run(algorithm=pt.pbt(SPACE, interval=pt.seconds(1)), stop=pt.generations(3)),
        ["generations", "interval"],
    ),
    "resume of nothing": (
        lambda: pt.resume(pt.Experiment(PBT, quadratic, stop=pt.steps(5)), "nowhere"),
        ["nowhere", "does not hold a run"],
    ),
    "open nothing": (lambda: pt.open_run("nowhere"), ["nowhere"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_names_the_argument_the_value_and_the_fix(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = CASES[case]
    with pytest.raises(pt.UsageError) as caught:
        call()
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and len(text) < 400 and caught.value.exit_code == 2
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_a_misspelt_public_name_is_answered():
    with pytest.raises(AttributeError, match="Did you mean 'LogUniform'"):
        _ = pt.LogUnifrom


def test_a_directory_that_cannot_be_written_is_named_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("")
    calls = []

    def train(carry, hp, steps, seed):
        calls.append(1)
        return 0, {"score": 0.0}

    with pytest.raises(pt.PoptrainError, match="file"):
        run(trainable=train, directory=tmp_path / "file" / "run")
    assert not calls
