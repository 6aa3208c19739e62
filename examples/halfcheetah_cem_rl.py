"""CEM-RL on HalfCheetah-v5: ten actors around one mean, five of which follow the gradient of a shared critic.

    poptrain run examples/halfcheetah_cem_rl.py --dir runs/halfcheetah-cem-rl

A team is one member, so a population of one is CEM-RL as in its paper; with `population` 4, PBT tunes the learning rates of four
teams. An interval is a generation: ten episodes of 1,000 steps. The metrics team/0 to team/9 are the returns of the actors.
"""

import poptrain as pt
from poptrain.rl import CEMRL

space = pt.Space(actor_lr=pt.LogUniform(3e-4, 3e-3, init=(1e-3, 1e-3)), critic_lr=pt.LogUniform(3e-4, 3e-3, init=(1e-3, 1e-3)))
team = CEMRL(env="HalfCheetah-v5")

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=1, interval=10_000),
    trainable=team,
    metric="score",
    stop=pt.steps(1_000_000),
    executor="vectorized",
)
