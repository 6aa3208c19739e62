"""PBT tunes TD3 on HalfCheetah-v5: four agents, and every 10,000 steps the worst goes on from a copy of the best.

    poptrain run examples/pbt_over_td3.py --dir runs/pbt-over-td3

The copy goes on with the replay memory of the best one, and with other learning rates, discount and exploration. EnvPool has the
simulator built in.
"""

import poptrain as pt
from poptrain.rl import TD3

space = pt.Space(
    actor_lr=pt.LogUniform(1e-4, 5e-3),
    critic_lr=pt.LogUniform(1e-4, 5e-3),
    discount=pt.Uniform(0.95, 0.999),
    exploration_noise=pt.Uniform(0.05, 0.3),
)
agent = TD3(env="HalfCheetah-v5")

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=4, interval=10_000, exploit=pt.truncation(0.25)),
    trainable=agent,
    metric="score",
    stop=pt.steps(100_000),
    executor="vectorized",
)
