"""The hyperparameters of PPO that may be tuned, with their allowed values."""

from __future__ import annotations

from poptrain.rl.agents.ppo.shuffle import MAX_ROWS
from poptrain.rl.hparams import ANY, ENDLESS, Range

RANGES = {
    "lr": Range(0.0),
    "clip": ENDLESS,
    "kl_coeff": Range(0.0),
    "kl_target": ENDLESS,
    "gae_lambda": Range(0.0, 1.0),
    "discount": Range(0.0, 1.0),
    "entropy_coeff": ANY,
    "value_coeff": Range(0.0),
    "epochs": Range(0, 1_000, True),
    "minibatch_size": Range(1, MAX_ROWS, True),
    "train_batch_size": Range(1, MAX_ROWS, True),
}
