"""PyTorch members that learn from others: hyperparameters act, teachers don't learn, and a resumed student goes on as it was."""

import pytest

torch = pytest.importorskip("torch")

from torch_students import Student, X, algorithm  # noqa: E402

import poptrain as pt  # noqa: E402
from poptrain.core.errors import PoptrainError  # noqa: E402
from poptrain.integrations.torch import imitation  # noqa: E402

NARROW = {"lr": 0.1, "dropout": 0.0, "width": 2}
WIDE = {"lr": 0.05, "dropout": 0.25, "width": 32}


def weights(member):
    return {name: tensor.clone() for name, tensor in member.model.state_dict().items()}


def test_a_student_of_another_width_learns_and_its_teacher_does_not():
    teacher, student = Student(NARROW, 0), Student(WIDE, 1)
    teacher.train(NARROW, 50)
    before, own = weights(teacher), weights(student)
    student.distill(teacher, WIDE, 10, (0.0, 1.0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(teacher).items())
    assert not any(torch.equal(tensor, own[name]) for name, tensor in weights(student).items())
    assert all(parameter.grad is None or not parameter.requires_grad for parameter in teacher.model.parameters())
    assert not teacher.model.training and student.model.training


def test_a_student_that_is_its_teacher_has_nothing_to_imitate():
    member = Student(NARROW, 0)
    logits = member.model(X)
    loss = imitation(logits, logits)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-7)
    assert all(parameter.grad.abs().max() < 1e-7 for parameter in member.model.parameters())


def test_imitation_is_the_divergence_from_the_teacher_and_its_gradient_keeps_its_size():
    own, taught = torch.tensor([[0.2, -1.0, 0.5]], requires_grad=True), torch.tensor([[1.0, 0.0, -1.0]])
    p, q = torch.softmax(taught, -1), torch.softmax(own, -1)
    assert imitation(own, taught).item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-6)
    sizes = []
    for temperature in (1.0, 100.0):
        own.grad = None
        imitation(own, taught, temperature).backward()
        sizes.append(own.grad.norm().item())
    assert 0.2 < sizes[1] / sizes[0] < 5


def test_hyperparameters_act_while_a_student_is_distilled():
    teacher, student = Student(NARROW, 0), Student(WIDE, 1)
    student.distill(teacher, WIDE, 1, (0.0, 0.1))
    changed = WIDE | {"lr": 0.3, "dropout": 0.1}
    student.distill(teacher, changed, 1, (0.1, 0.2))
    assert student.effective(changed) == {"optimizer[0].lr": 0.3} and student.model[2].p == 0.1


def test_a_distill_that_changes_what_was_set_is_an_error():
    class Meddling(Student):
        def distill(self, teacher, hp, steps, progress):
            metrics = self.fit(steps, teacher, progress)
            self.optimizer.param_groups[0]["momentum"] = 0.1
            return metrics

    hp = NARROW | {"momentum": 0.9}
    with pytest.raises(PoptrainError, match=r"momentum"):
        Meddling(hp, 0).distill(Student(NARROW, 0), hp, 2, (0.0, 1.0))


def test_the_weight_of_the_teacher_goes_on_where_the_task_before_ended():
    whole = [pt.teacher_weight((0.0, 1.0), step / 100) for step in range(100)]
    parts = [pt.teacher_weight((begin, begin + 0.25), step / 25) for begin in (0.0, 0.25, 0.5, 0.75) for step in range(25)]
    assert parts == pytest.approx(whole) and whole[0] == 1.0 and whole[80] == pytest.approx(0.05) == whole[-1]
    with pytest.raises(pt.UsageError, match=r"part=2, expected a number from 0 to 1"):
        pt.teacher_weight((0.0, 1.0), 2)


def test_a_run_that_was_interrupted_while_it_distilled_ends_the_same_and_verifies(tmp_path, monkeypatch):
    def run(directory):
        return pt.run(algorithm(), Student, stop=pt.steps(60), directory=directory, progress=False).history

    def decided(history):
        return [history.task(id) for id in range(history.n)], history.scores.tolist()

    whole = run(tmp_path / "whole")
    taught = [task for task in decided(whole)[0] if task.teacher is not None]
    assert any(task.hparams["width"] != whole.task(task.teacher).hparams["width"] for task in taught)
    calls, weight = iter(range(10**6)), pt.teacher_weight

    def interrupted(progress, part):
        if next(calls) == 40:
            raise KeyboardInterrupt
        return weight(progress, part)

    monkeypatch.setattr(pt, "teacher_weight", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part")
    assert pt.open_run(tmp_path / "part").history.n < whole.n
    assert decided(run(tmp_path / "part")) == decided(whole)
    assert pt.verify(tmp_path / "part", pt.Experiment(algorithm(), Student, stop=pt.steps(60))).ok
