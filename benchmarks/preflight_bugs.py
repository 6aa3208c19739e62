"""Bugs that users write, planted one at a time into otherwise correct trainables of every form.

They all train alike: stochastic gradient descent with momentum on a noisy quadratic. `cases` yields each bug with the check
of the preflight that must fail, and each form without a bug.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import poptrain as pt
from benchmarks.common import installed

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), momentum=pt.Uniform(0.0, 0.9))
CURVATURE = np.array([1.0, 0.3, 0.1, 0.03])
BUGS = ("lr not applied", "optimizer missing", "RNG missing", "metric constant", "wrong mode")  # the five that are named


class Case(NamedTuple):
    """A planted bug, or none."""

    form: str
    bug: str
    check: str | None  # of the preflight, which must fail; None: nothing may fail
    experiment: pt.Experiment


def reported(theta: Any, bug: str) -> dict[str, float]:
    """Returns the metrics: the score is the negative loss, or the loss itself under a mode that is wrong, or a constant."""
    loss = float(CURVATURE @ np.asarray(theta) ** 2)
    return {"score": 0.5 if bug == "metric constant" else loss if bug == "wrong mode" else -loss}


# -- a class ----------------------------------------------------------------------------------------------------------


class Member:
    """The right one. Its optimiser holds the learning rate, as PyTorch's do, and its noise comes from its own generator."""

    bug = ""

    def __init__(self, hp: dict[str, float], seed: int):
        self.theta, self.velocity, self.t = np.ones(4), np.zeros(4), 0
        self.rng = np.random.default_rng(seed)
        self.optimizer = {"lr": hp["lr"], "momentum": hp["momentum"]}

    def apply(self, hp: dict[str, float]) -> None:
        """Sets the hyperparameters, as `train` must do every time."""
        self.optimizer.update(lr=hp["lr"], momentum=hp["momentum"])

    def train(self, hp: dict[str, float], steps: int) -> dict[str, float]:
        self.apply(hp)
        for _ in range(steps):
            gradient = CURVATURE * self.theta + 0.05 * self.rng.normal(size=4)
            self.velocity = self.optimizer["momentum"] * self.velocity - self.optimizer["lr"] / (1 + self.t / 100) * gradient
            self.theta, self.t = self.theta + self.velocity, self.t + 1
        return reported(self.theta, self.bug)

    def state(self) -> dict[str, Any]:
        """Returns what is saved."""
        return {"theta": self.theta.tolist(), "velocity": self.velocity.tolist(), "t": self.t, "optimizer": self.optimizer,
                "rng": self.rng.bit_generator.state}  # fmt: skip

    def save(self, directory: Path) -> None:
        (directory / "state.json").write_text(json.dumps(self.state()))

    def load(self, directory: Path) -> None:
        state = json.loads((directory / "state.json").read_text())
        self.theta = np.array(state["theta"])
        if "velocity" in state:
            self.velocity = np.array(state["velocity"])
        self.t = state.get("t", 0)
        self.optimizer = dict(state["optimizer"])
        if "rng" in state:
            self.rng.bit_generator.state = state["rng"]


class LrOfTheCheckpoint(Member):  # the classic: the optimiser is loaded, and with it the old learning rate
    def apply(self, hp: dict[str, float]) -> None:
        self.optimizer.update(momentum=hp["momentum"])


class LrIgnored(Member):
    def apply(self, hp: dict[str, float]) -> None:
        self.optimizer.update(lr=0.01, momentum=hp["momentum"])


class LrOnlyWhenLoaded(Member):  # right after a copy, and deaf while the member goes on
    def __init__(self, hp: dict[str, float], seed: int):
        super().__init__(hp, seed)
        self.given = hp["lr"]

    def apply(self, hp: dict[str, float]) -> None:
        self.optimizer.update(lr=self.given, momentum=hp["momentum"])


def without(name: str) -> type:
    """Returns a class that saves all but one thing."""

    class Forgets(Member):
        def state(self) -> dict[str, Any]:
            return {key: value for key, value in super().state().items() if key != name}

    return Forgets


class Constant(Member):
    bug = "metric constant"


class Upside(Member):
    bug = "wrong mode"


class Unseeded(Member):  # no bug of the checkpoint: it never repeats itself
    def __init__(self, hp: dict[str, float], seed: int):
        super().__init__(hp, int(np.random.SeedSequence().generate_state(1)[0]))

    def state(self) -> dict[str, Any]:
        return {key: value for key, value in super().state().items() if key != "rng"}


class UnseededWithoutOptimizer(Unseeded):  # and this one loses its momentum too, which is more than the noise
    def state(self) -> dict[str, Any]:
        return {key: value for key, value in super().state().items() if key != "velocity"}

    def train(self, hp: dict[str, float], steps: int) -> dict[str, float]:
        self.apply(hp)
        for _ in range(steps):
            gradient = CURVATURE * self.theta + 1e-4 * self.rng.normal(size=4)
            self.velocity = self.optimizer["momentum"] * self.velocity - self.optimizer["lr"] * gradient
            self.theta = self.theta + self.velocity
        return reported(self.theta, self.bug)


# -- a function, and a pure JAX pair, and a population ------------------------------------------------------------------


class Function:
    """``train(carry, hp, steps, seed)`` with one of the bugs that a function can have."""

    def __init__(self, bug: str = ""):
        self.bug = bug

    def __call__(self, carry: Any, hp: dict[str, float], steps: int, seed: int) -> tuple[Any, dict[str, float]]:
        if carry is None:
            carry = {"theta": np.ones(4), "velocity": np.zeros(4), "lr": hp["lr"]}
        theta, velocity = carry["theta"], carry["velocity"]
        lr = {"lr not applied": carry["lr"], "lr ignored": 0.01}.get(self.bug, hp["lr"])
        noise = pt.rng(seed, "noise").normal(size=(steps, 4)) * 0.05
        for step in range(steps):
            velocity = hp["momentum"] * velocity - lr * (CURVATURE * theta + noise[step])
            theta = theta + velocity
        kept = carry["lr"] if self.bug == "lr not applied" else hp["lr"]  # storing a value is not an effect of it
        return {"theta": theta, "velocity": velocity, "lr": kept}, reported(theta, self.bug)


def jax_pair(bug: str = "") -> Any:
    """Returns the same as a pure JAX pair."""
    from poptrain._jax import jax, jnp

    curvature = jnp.asarray(CURVATURE)

    def init(hp: Any, key: Any) -> Any:
        return {"theta": jnp.ones(4), "velocity": jnp.zeros(4), "lr": jnp.asarray(hp["lr"])}

    def train(carry: Any, hp: Any, steps: int, key: Any) -> Any:
        lr = {"lr not applied": carry["lr"], "lr ignored": 0.01}.get(bug, hp["lr"])
        noise = jax.random.normal(key, (steps, 4)) * 0.05

        def step(index: Any, state: Any) -> Any:
            theta, velocity = state
            velocity = hp["momentum"] * velocity - lr * (curvature * theta + noise[index])
            return theta + velocity, velocity

        theta, velocity = jax.lax.fori_loop(0, steps, step, (carry["theta"], carry["velocity"]))
        loss = curvature @ theta**2
        score = jnp.full((), 0.5) if bug == "metric constant" else loss if bug == "wrong mode" else -loss
        kept = carry["lr"] if bug == "lr not applied" else hp["lr"]
        return {"theta": theta, "velocity": velocity, "lr": kept}, {"score": score}

    return pt.jax_trainable(init, train)


class Population:
    """The same as a population: every array has a leading axis of members."""

    population = True

    def __init__(self, bug: str = ""):
        self.bug = bug

    def init(self, hparams: Any, seeds: Any) -> Any:
        n = len(seeds)
        return {"theta": np.ones((n, 4)), "velocity": np.zeros((n, 4)), "lr": np.array(hparams["lr"])}

    def train(self, carry: Any, hparams: Any, steps: int, seeds: Any) -> Any:
        lr = {"lr not applied": carry["lr"], "lr ignored": np.full(len(seeds), 0.01)}.get(self.bug, hparams["lr"])[:, None]
        theta, velocity = carry["theta"], carry["velocity"]
        noise = np.stack([pt.rng(int(seed), "noise").normal(size=(steps, 4)) * 0.05 for seed in seeds])
        for step in range(steps):
            velocity = hparams["momentum"][:, None] * velocity - lr * (CURVATURE * theta + noise[:, step])
            theta = theta + velocity
        scores = np.array([reported(row, self.bug)["score"] for row in theta])
        kept = carry["lr"] if self.bug == "lr not applied" else np.array(hparams["lr"])
        return {"theta": theta, "velocity": velocity, "lr": kept}, {"score": scores}

    def gather(self, lanes: Any) -> Any:
        return {name: np.stack([carry[name][lane] for carry, lane in lanes]) for name in ("theta", "velocity", "lr")}


# -- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_members() -> dict[str, type]:
    """Returns a plain PyTorch member without a bug and those with the bugs that PyTorch invites."""
    import torch

    class Plain:
        bug = ""

        def __init__(self, hp: dict[str, float], seed: int):
            self.generator = torch.Generator().manual_seed(seed)
            self.theta = torch.nn.Parameter(torch.ones(4))
            self.optimizer = torch.optim.SGD([self.theta], lr=hp["lr"], momentum=hp["momentum"])
            self.curvature = torch.tensor(CURVATURE, dtype=torch.float32)

        def apply(self, hp: dict[str, float]) -> None:
            for group in self.optimizer.param_groups:
                group.update(lr=hp["lr"], momentum=hp["momentum"])

        def train(self, hp: dict[str, float], steps: int) -> dict[str, float]:
            self.apply(hp)
            for _ in range(steps):
                noise = 0.05 * torch.randn(4, generator=self.generator)
                self.optimizer.zero_grad()
                (0.5 * self.curvature @ self.theta**2 + noise @ self.theta).backward()
                self.optimizer.step()
            return reported(self.theta.detach().numpy(), self.bug)

        parts = ("theta", "optimizer", "generator")

        def save(self, directory: Path) -> None:
            state = {"theta": self.theta.data, "optimizer": self.optimizer.state_dict(), "generator": self.generator.get_state()}
            torch.save({name: state[name] for name in self.parts}, directory / "state.pt")

        def load(self, directory: Path) -> None:
            state = torch.load(directory / "state.pt", weights_only=True)
            self.theta.data.copy_(state["theta"])
            if "optimizer" in state:
                self.optimizer.load_state_dict(state["optimizer"])
            if "generator" in state:
                self.generator.set_state(state["generator"])

    def planted(name: str, **changes: Any) -> type:
        return type(name, (Plain,), changes)

    return {
        "": Plain,
        "lr not applied": planted("LoadsTheOldLr", apply=lambda self, hp: None),
        "optimizer missing": planted("WithoutOptimizer", parts=("theta", "generator")),
        "RNG missing": planted("WithoutGenerator", parts=("theta", "optimizer")),
        "metric constant": planted("TorchConstant", bug="metric constant"),
        "wrong mode": planted("TorchUpside", bug="wrong mode"),
    }


# -- all of them --------------------------------------------------------------------------------------------------------

CLASSES = {
    "": Member,
    "lr not applied": LrOfTheCheckpoint,
    "lr ignored": LrIgnored,
    "lr only when loaded": LrOnlyWhenLoaded,
    "optimizer missing": without("velocity"),
    "RNG missing": without("rng"),
    "step counter missing": without("t"),
    "metric constant": Constant,
    "wrong mode": Upside,
    "unseeded": Unseeded,
    "optimizer missing, unseeded": UnseededWithoutOptimizer,
}
_STATELESS = ("", "lr not applied", "lr ignored", "metric constant", "wrong mode")  # a function keeps all its state in the carry
FORMS = {
    "class": tuple(CLASSES),
    "function": _STATELESS,
    "population": _STATELESS,
    "pure JAX": _STATELESS,
    "PyTorch": ("", *BUGS),
}
_CHECKS = {
    **dict.fromkeys(("lr not applied", "lr ignored", "lr only when loaded"), "hparams.lr"),
    **dict.fromkeys(("optimizer missing", "RNG missing", "step counter missing", "optimizer missing, unseeded"), "save and load"),
    "metric constant": "metric moves",
    "wrong mode": "direction",
}


def cases() -> Iterator[Case]:
    """Yields every planted bug, and the sound trainable of every form, as far as their packages are installed."""
    for form, bugs in FORMS.items():
        if installed({"pure JAX": "jax", "PyTorch": "torch"}.get(form, "numpy")):
            yield from (case(form, bug) for bug in bugs)


def case(form: str, bug: str) -> Case:
    """Returns one case; no bug is the empty string."""
    make = {"class": CLASSES.get, "function": Function, "population": Population, "pure JAX": jax_pair,
            "PyTorch": lambda bug: torch_members()[bug]}[form]  # fmt: skip
    executor = "vectorized" if form in ("population", "pure JAX") else "inline"
    algorithm = pt.pbt(SPACE, population=8, interval=10)
    experiment = pt.Experiment(algorithm, make(bug), stop=pt.steps(200), executor=executor)
    return Case(form, bug, _CHECKS.get(bug), experiment)
