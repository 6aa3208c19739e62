"""Teams of six policies on CartPole (SVPG), tuned by PBT: each team is one member. It needs `pip install 'poptrain[rl]'`.

    poptrain run examples/cartpole_team.py --dir runs/cartpole-team

The policies of a team share their gradients through a kernel, and repel each other; `alpha` says how much. The metrics team/0 to
team/5 are the returns of the policies; `pt.plots.team(run)` shows them.
"""

import poptrain as pt
from poptrain.rl import SVPG

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-2), alpha=pt.LogUniform(1e-3, 1.0))
team = SVPG(env="jax/CartPole-v1", particles=6, train_batch_size=3072, max_batch=3072)

experiment = pt.Experiment(
    algorithm=pt.pbt(space, population=4, interval=6_144),
    trainable=team,
    metric="score",
    stop=pt.steps(122_880),
    executor="vectorized",
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"return {run.best.score:.1f} with {run.best.hparams}")
