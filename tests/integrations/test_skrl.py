"""An agent of skrl in a `TorchMember`, as `examples/skrl_ppo.py` has it: the laws of every adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("skrl")
pytestmark = pytest.mark.heavy

import torch  # noqa: E402

from poptrain.engine.experiment import load  # noqa: E402
from poptrain.testing import AdapterContract  # noqa: E402

EXAMPLE = load(Path(__file__).parents[2] / "examples" / "skrl_ppo.py")
torch.set_num_threads(1)


class Agent(EXAMPLE.trainable):
    def train(self, hp, steps):
        metrics = super().train(hp, steps)
        return {**metrics, "weights": [float(p.detach().double().abs().sum()) for p in self.parts["policy"].parameters()]}


class TestContract(AdapterContract):
    """One rollout a segment; what the agent's configuration alone holds is read when it is made."""

    steps = 512
    read_by_code = ("gamma", "clip", "ent_coef")

    def member(self):
        return Agent

    def values(self):
        return (
            {"lr": 1e-3, "gamma": 0.95, "clip": 0.2, "ent_coef": 0.01},
            {"lr": 3e-3, "gamma": 0.99, "clip": 0.3, "ent_coef": 0.001},
        )

    def derived(self, member):
        agent = member._agent
        rates = [group["lr"] for group in agent.optimizer.param_groups]
        assert agent.optimizer is member.parts["optimizer"]
        return {"rates": rates, "gamma": agent.cfg.discount_factor, "clip": agent.cfg.ratio_clip}
