"""Tensors of PyTorch in the carry of a plain function: stored exactly, or refused with what to do."""

from __future__ import annotations

import numpy as np
import pytest

import poptrain as pt
from poptrain.checkpoints import carry

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")


def tensors():
    make = torch.Generator().manual_seed(0)
    plain = torch.randn(3, 2, generator=make)
    return {
        "matrix": plain,
        "transposed": plain.t(),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 2),
        "bfloat16": plain.bfloat16(),
        "half": plain.half(),
        "scalar bfloat16": torch.tensor(1.5).bfloat16(),
        "float8": plain.to(torch.float8_e4m3fn),
        "bool": plain > 0,
        "bytes": torch.arange(3, dtype=torch.uint8),
        "uint16": torch.arange(3).to(torch.uint16),
        "complex": plain + 1j * plain,
    }


def bits(tensor):
    return carry.tensors.values(tensor).tobytes()


@pytest.mark.parametrize("way", [lambda tree: carry.unflatten(*carry.flatten(tree)), carry.copy], ids=["stored", "copied"])
def test_every_type_comes_back_as_it_was_and_shares_no_memory(way):
    before = tensors()
    after = way(before)
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype and after[name].shape == tensor.shape, name
        assert bits(after[name]) == bits(tensor), name
        assert not tensor.numel() or after[name].data_ptr() != tensor.data_ptr(), name


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (lambda: torch.zeros(2, requires_grad=True), "TorchMember"),
        (lambda: torch.eye(2).to_sparse(), "sparse"),
        (lambda: torch.zeros(2, device="meta"), "tensor.cpu()"),
    ],
)
def test_what_would_not_come_back_is_refused_with_what_to_do(tensor, says):
    with pytest.raises(TypeError, match=r"carry\['w'\].*") as caught:
        carry.flatten({"w": tensor()})
    assert says in str(caught.value)


def test_a_run_with_tensors_resumes_to_the_same_end(tmp_path):
    def train(state, hp, steps, seed):
        w = torch.ones(3) if state is None else state["w"]
        for _ in range(steps):
            w = w - hp["lr"] * w
        return {"w": w}, {"score": -float(w.square().sum())}

    def run(directory, steps):
        algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 0.5)), population=3, interval=2)
        return pt.run(algorithm, train, stop=pt.steps(steps), directory=directory, progress=False)

    whole = run(tmp_path / "whole", 8)
    run(tmp_path / "parts", 4)
    parts = run(tmp_path / "parts", 8)
    np.testing.assert_array_equal(whole.history.scores, parts.history.scores)
    assert torch.equal(whole.best.load()["w"], parts.best.load()["w"])
