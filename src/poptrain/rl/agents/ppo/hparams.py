"""The hyperparameters of PPO that may be tuned, with their allowed values."""

from __future__ import annotations

from poptrain.rl.agents.ppo.shuffle import MAX_ROWS
from poptrain.rl.hparams import Range

RANGES = {
    "lr": Range(0.0),
    "clip": Range(0.0),
    "kl_coeff": Range(0.0),
    "kl_target": Range(0.0),
    "gae_lambda": Range(0.0, 1.0),
    "discount": Range(0.0, 1.0),
    "entropy_coeff": Range(float("-inf")),
    "value_coeff": Range(0.0),
    "epochs": Range(0, 1_000, True),
    "minibatch_size": Range(1, MAX_ROWS, True),
    "train_batch_size": Range(1, MAX_ROWS, True),
}
