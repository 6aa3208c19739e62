"""PBT tunes PPO on BipedalWalker-v3: the configuration of the PB2 blog post (Anyscale, 2020), on one machine.

    poptrain run examples/bipedal_walker.py --dir runs/bipedal

Four agents, 1,000,000 steps each; every 50,000 steps the worst quarter copies the best. The blog's own PBT reached a
return of 220 (BipedalWalker-v2, RLlib, 30 minutes on a 2019 laptop).
"""

import poptrain as pt
from poptrain.rl import PPO

space = pt.Space(
    gae_lambda=pt.Uniform(0.9, 1.0),
    clip=pt.Uniform(0.1, 0.5),
    lr=pt.Uniform(1e-5, 1e-3),
    train_batch_size=pt.Int(1_000, 60_000),
)

agent = PPO(
    env="BipedalWalker-v3",
    hidden=(32, 32),  # two networks of their own, tanh; log standard deviations independent of the state
    horizon=1600,
    kl_coeff=1.0,
    epochs=10,
    minibatch_size=128,
)

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=4, interval=50_000, exploit=pt.truncation(0.25)),
    trainable=agent,
    metric="score",
    stop=pt.steps(1_000_000),
    executor="vectorized",
)

if __name__ == "__main__":
    run = pt.run(experiment, directory="runs/bipedal")
    returns = agent.evaluate(run.best.load())
    print(f"best training score {run.best.score:.1f}; 100 episodes never trained on: {returns.mean():.1f} ± {returns.std():.1f}")
