"""The preflight distils a student from a teacher, if the run will: else its errors would come after the first generation."""

import pytest

import poptrain as pt
from tests import distilling_toys as toys

ALGORITHM = pt.bg_pbt(toys.SPACE, population=3, interval=5, generations=pt.Generations(distill=10, every=10))


def raises(carry, teacher, hp, steps, seed, progress):
    raise ValueError("the teacher is ill")


def returns_the_carry(carry, teacher, hp, steps, seed, progress):
    return carry


def reports_another_metric(carry, teacher, hp, steps, seed, progress):
    return carry, {"loss": 1.0}


class CannotGoOn(toys.Pupil):
    def load(self, directory):
        super().load(directory)
        if self.carry["steps"] and self.carry["skill"] < 0:
            raise ValueError("a student that was loaded")

    def distill(self, teacher, hp, steps, progress):
        self.carry["skill"] = -1.0
        self.carry["steps"] += steps
        return {"score": 1.0}


def distillation(trainable):
    found = pt.check(pt.Experiment(ALGORITHM, trainable, stop=pt.steps(60)))
    (verdict,) = [each for each in found.checks if each.name == "distillation"]
    assert found.ok == (verdict.state == "ok")
    return verdict


@pytest.mark.parametrize("trainable", [toys.FUNCTIONS, toys.Pupil])
def test_a_student_of_another_architecture_learns_in_two_parts(trainable):
    verdict = distillation(trainable)
    assert verdict.state == "ok" and "another architecture" in verdict.text


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (pt.Trainable(toys.init, toys.train, raises), "the teacher is ill"),
        (pt.Trainable(toys.init, toys.train, returns_the_carry), "distill returned dict"),
        (pt.Trainable(toys.init, toys.train, reports_another_metric), "no 'score'"),
        (CannotGoOn, "go on learning from a teacher after its state was loaded"),
    ],
)
def test_a_distillation_that_cannot_work_is_found_before_the_run(trainable, words):
    verdict = distillation(trainable)
    assert verdict.state == "failed" and words in verdict.text


def test_a_run_without_students_says_nothing_about_them():
    found = pt.check(pt.Experiment(pt.bg_pbt(toys.SPACE, population=3, interval=5), toys.FUNCTIONS, stop=pt.steps(20)))
    assert "distillation" not in [each.name for each in found.checks]
