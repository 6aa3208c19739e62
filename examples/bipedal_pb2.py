"""PB2 tunes PPO on BipedalWalker-v3: the agent and the ranges of `bipedal_walker.py`, under the algorithm of the same blog post.

    poptrain run examples/bipedal_pb2.py --dir runs/bipedal-pb2

Four agents; every 50,000 steps the worst copies the best, and a Gaussian process of what every segment gained proposes the
hyperparameters it goes on with. `poptrain status` shows the gain that the model expected of each proposal.
"""

from bipedal_walker import agent, space

import poptrain as pt

experiment = pt.Experiment(
    algorithm=pt.pb2(space, population=4, interval=50_000, exploit=pt.truncation(0.25), plateau="copy"),  # all values here train
    trainable=agent,
    metric="score",
    stop=pt.steps(1_000_000),
    executor="vectorized",
)
