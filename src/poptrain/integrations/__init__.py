"""Adapters to other frameworks, one room for each; the rest of poptrain imports none of them, and each needs its own extra.

==========================  ===========================================================================================
`integrations.torch`        `TorchMember`: a PyTorch loop as a member (``pip install 'poptrain[torch]'``)
`integrations.transformers` `TrainerMember`: a Hugging Face `Trainer` as a member (``pip install 'poptrain[transformers]'``)
`integrations.lightning`    `LightningMember`: a Lightning module as a member (``pip install 'poptrain[lightning]'``)
`integrations.keras`        `KerasMember`: a Keras model as a member (``pip install 'poptrain[keras]'``)
`integrations.nnx`          `NNXMember`: Flax NNX modules and optax optimisers as a member (``pip install 'poptrain[nnx]'``)
`integrations.sb3`          `SB3Member`: a Stable-Baselines3 algorithm as a member (``pip install 'poptrain[sb3]'``)
`integrations.ray_tune`     every algorithm as a scheduler of `tune.Tuner` (``pip install 'poptrain[ray]'``)
`integrations.rllib`        RLlib's hyperparameters, applied after every load and read back (``pip install 'poptrain[rllib]'``)
==========================  ===========================================================================================
"""
