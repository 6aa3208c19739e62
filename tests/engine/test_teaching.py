"""A `distill` that cannot be called is refused before anything is trained, for every form of a trainable."""

import pytest

import poptrain as pt
from poptrain.core.errors import UsageError
from tests import distilling_toys as toys

ALGORITHM = pt.bg_pbt(toys.SPACE, population=3, interval=5, generations=pt.Generations(distill=10, every=10))


def no_progress(carry, teacher, hp, steps, seed):
    return toys.train(carry, hp, steps, seed)


def open_ended(*args, **others):
    return toys.distill(*args, **others)


class NoProgress(toys.Pupil):
    def distill(self, teacher, hp, steps):
        return self.train(hp, steps)


class Heir(toys.Pupil):
    """It has the method of its base class."""


class Population:
    population = True

    def init(self, hparams, seeds): ...

    def train(self, carry, hparams, steps, seeds): ...

    def gather(self, lanes): ...

    def distill(self, carry, teacher, hparams, steps, seeds): ...


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (pt.Trainable(toys.init, toys.train, no_progress), r"no_progress\(.*\(carry, teacher, hp, steps, seed, progress\)"),
        (pt.Trainable(toys.init, toys.train, 3), "distill=3, expected a function"),
        (pt.jax_trainable(toys.init, toys.train, no_progress), r"\(carry, teacher, hparams, steps, key, progress\)"),
        (NoProgress, r"NoProgress.distill.*\(self, teacher, hp, steps, progress\)"),
        (Population(), r"distill.*\(carry, teacher, hparams, steps, seeds, progress\)"),
    ],
)
def test_a_distill_with_other_arguments_is_refused(trainable, words):
    with pytest.raises(UsageError, match=words):
        pt.Experiment(ALGORITHM, trainable, stop=pt.steps(60))
    plain = pt.bg_pbt(toys.SPACE, population=3, interval=5)
    pt.Experiment(plain, trainable, stop=pt.steps(60))  # nothing is distilled there


@pytest.mark.parametrize("trainable", [toys.FUNCTIONS, pt.Trainable(toys.init, toys.train, open_ended), Heir])
def test_one_that_takes_them_is_not(trainable):
    pt.Experiment(ALGORITHM, trainable, stop=pt.steps(60))
