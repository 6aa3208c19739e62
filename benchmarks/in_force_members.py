"""The members of `benchmarks.in_force`, one of each adapter, and what is noted while they train.

What acts is noted by hooks of the framework itself, in every step, and not by the adapter: the groups of the optimiser that
steps, the rows that reach the network, the rate of the dropout that runs. Keras compiles the options of its optimiser in, so they
are noted while the step of each model is traced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

import poptrain as pt

ROWS = 64
SPACE = pt.Space(
    lr=pt.LogUniform(1e-4, 1e-1),
    momentum=pt.Uniform(0.5, 0.95),
    weight_decay=pt.LogUniform(1e-5, 1e-1),
    batch_size=pt.Ordinal(8, 16, 32),
    dropout=pt.Uniform(0.05, 0.5),
)
LOOKS: dict[str, set[Any]] = defaultdict(set)  # what was noted in this segment, by hyperparameter


def note(name: str, value: Any) -> None:
    LOOKS[name].add(float(value))


def watch_torch() -> None:
    """Notes the options of every optimiser that steps, and what reaches dropouts and inputs, in the whole process."""
    import torch
    from torch import nn
    from torch.nn.modules.module import register_module_forward_pre_hook
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    torch.set_num_threads(1)

    def step(optimizer: Any, args: Any, options: Any) -> None:
        group = optimizer.param_groups[0]
        note("lr", group["lr"])
        note("momentum", group["momentum"] if "momentum" in group else group["betas"][0])
        note("weight_decay", group["weight_decay"])

    def forward(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module.training and isinstance(module, (nn.Dropout, nn.Flatten)):
            note("batch_size", inputs[0].shape[0])
            if isinstance(module, nn.Dropout):
                note("dropout", module.p)

    register_optimizer_step_pre_hook(step)
    register_module_forward_pre_hook(forward)


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    return x, x.sum(1, keepdims=True)


def of_torch() -> tuple[type, pt.Space, int]:
    import torch
    from torch import nn

    from poptrain.integrations.torch import Batches, TorchMember

    watch_torch()
    x, y = map(torch.tensor, data())

    class Member(TorchMember):
        def __init__(self, hp: Any, seed: int):
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(hp["dropout"]), nn.Linear(8, 1))
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
            rows = torch.utils.data.TensorDataset(x, y)
            self.batches = Batches(torch.utils.data.DataLoader(rows, hp["batch_size"], shuffle=True))

        def train(self, hp: Any, steps: int) -> Any:
            for _ in range(steps):
                inputs, targets = next(self.batches)
                self.optimizer.zero_grad()
                loss = (self.net(inputs) - targets).square().mean()
                loss.backward()
                self.optimizer.step()
            return {"score": -float(loss.detach())}

    return Member, SPACE, 4


def of_transformers() -> tuple[type, pt.Space, int]:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from poptrain.integrations.transformers import TrainerMember

    watch_torch()
    import torch

    words = torch.randint(2, 40, (ROWS, 8), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": w, "labels": (w[0] < 20).long()} for w in words]
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}

    class Member(TrainerMember):
        def make(self, hp: Any, seed: int) -> Trainer:
            model = BertForSequenceClassification(
                BertConfig(vocab_size=40, hidden_dropout_prob=hp["dropout"], attention_probs_dropout_prob=hp["dropout"], **sizes)
            )
            model.dropout.p = hp["dropout"]
            options = {"report_to": "none", "use_cpu": True, "lr_scheduler_type": "constant", "adam_beta1": hp["momentum"]}
            return Trainer(model, TrainingArguments("unused", **options), train_dataset=rows, eval_dataset=rows)

        def evaluate(self) -> Any:
            return {"score": -super().evaluate()["eval_loss"]}

    return Member, SPACE, 4


def of_lightning() -> tuple[type, pt.Space, int]:
    import torch
    from lightning.pytorch import LightningModule
    from torch import nn

    from poptrain.integrations.lightning import LightningMember

    watch_torch()
    x, y = map(torch.tensor, data())

    class Net(LightningModule):
        def __init__(self, lr: float, momentum: float, weight_decay: float, dropout: float):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))

        def training_step(self, batch: Any, index: int) -> Any:
            loss = (self.net(batch[0]) - batch[1]).square().mean()
            self.log("score", -loss)
            return loss

        def configure_optimizers(self) -> Any:
            hp = self.hparams
            return torch.optim.SGD(self.parameters(), hp.lr, hp.momentum, weight_decay=hp.weight_decay)

    class Member(LightningMember):
        def make(self, hp: Any, seed: int) -> Any:
            rows = torch.utils.data.TensorDataset(x, y)
            net = Net(hp["lr"], hp["momentum"], hp["weight_decay"], hp["dropout"])
            return net, torch.utils.data.DataLoader(rows, hp["batch_size"], shuffle=True)

        def options(self, hp: Any) -> Any:
            return {"accelerator": "cpu"}

    return Member, SPACE, 1


def of_keras() -> tuple[type, pt.Space, int]:
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    from poptrain.integrations.keras import KerasMember

    x, y = data()
    traced: dict[int, dict[str, float]] = {}  # by optimiser: what was compiled into its step

    class Traced(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
            traced[id(self)] = {"momentum": self.momentum, "weight_decay": self.weight_decay}
            return super().update_step(gradient, variable, learning_rate)

    class Look(keras.callbacks.Callback):
        def __init__(self, rate: float):
            super().__init__()
            self.dropout = rate

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            for name, value in traced[id(self.model.optimizer)].items():
                note(name, value)
            note("lr", self.model.optimizer.learning_rate)
            note("dropout", self.model.layers[1].rate)
            note("batch_size", ROWS / self.params["steps"])

    class Member(KerasMember):
        def make(self, hp: Any, seed: int) -> Any:
            layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(hp["dropout"]), keras.layers.Dense(1)]
            model = keras.Sequential([keras.layers.Input((4,)), *layers])
            model.compile(Traced(hp["lr"], hp["momentum"], weight_decay=hp["weight_decay"]), "mse")
            return model, {"x": x, "y": y, "batch_size": hp["batch_size"], "callbacks": [Look(hp["dropout"])]}

        def train(self, hp: Any, steps: int) -> Any:
            return {"score": -super().train(hp, steps)["loss"]}

    return Member, SPACE, 1


def of_nnx() -> tuple[type, pt.Space, int]:
    from poptrain.integrations.nnx import Batches, NNXMember

    import jax  # isort: skip
    import optax
    from flax import nnx

    x, y = data()

    def sgd(learning_rate: Any, momentum: Any, weight_decay: Any) -> Any:
        return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum))

    tx = optax.inject_hyperparams(sgd)(0.1, 0.0, 0.0)

    class Net(nnx.Module):
        def __init__(self, rate: float, rngs: nnx.Rngs):
            self.first, self.last = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
            self.dropout = nnx.Dropout(rate, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(self.dropout(nnx.relu(self.first(x))))

    @nnx.jit
    def update(net: Net, optimizer: nnx.Optimizer, x: Any, y: Any) -> Any:
        """Returns the loss, and what the compiled step has used: the rate is a constant of it, the others are in the state."""
        loss, slopes = nnx.value_and_grad(lambda net: ((net(x) - y) ** 2).mean())(net)
        optimizer.update(net, slopes)
        used = {name: value[...] for name, value in optimizer.opt_state.hyperparams.items()}
        return loss, {**used, "dropout": jax.numpy.float32(net.dropout.rate), "batch_size": jax.numpy.float32(len(x))}

    class Member(NNXMember):
        def make(self, hp: Any, seed: int) -> None:
            self.net = Net(hp["dropout"], nnx.Rngs(seed))
            self.optimizer = nnx.Optimizer(self.net, tx, wrt=nnx.Param)
            self.batches = Batches(ROWS, hp["batch_size"])

        def fit(self, hp: Any, steps: int) -> Any:
            for _ in range(steps):
                rows = next(self.batches)
                loss, used = update(self.net, self.optimizer, x[rows], y[rows])
                for name, value in used.items():
                    note("lr" if name == "learning_rate" else name, value)
            return {"score": -float(loss)}

    return Member, SPACE, 4


def of_sb3() -> tuple[type, pt.Space, int]:
    from stable_baselines3 import PPO

    from poptrain.integrations.sb3 import SB3Member

    watch_torch()

    class Member(SB3Member):
        def make(self, hp: Any, seed: int) -> Any:
            chosen = {"betas": (hp["momentum"], 0.999), "weight_decay": hp["weight_decay"]}
            policy = {"net_arch": [8], "optimizer_kwargs": chosen}
            options = {"n_steps": ROWS, "batch_size": 32, "n_epochs": 1, "policy_kwargs": policy}
            return PPO("MlpPolicy", "CartPole-v1", seed=seed, device="cpu", **options)

    without = {name: SPACE[name] for name in SPACE if name != "dropout"}
    return Member, pt.Space(without), ROWS


MEMBERS: dict[str, Callable[[], tuple[type, pt.Space, int]]] = {
    "torch": of_torch,
    "transformers": of_transformers,
    "lightning": of_lightning,
    "keras": of_keras,
    "flax": of_nnx,
    "stable_baselines3": of_sb3,
}  # by the package that it needs
