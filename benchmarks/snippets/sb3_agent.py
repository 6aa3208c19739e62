from stable_baselines3 import PPO

import poptrain as pt
from poptrain.integrations.sb3 import SB3Member


class Agent(SB3Member):
    def make(self, hp, seed):
        return PPO("MlpPolicy", "CartPole-v1", n_steps=256, seed=seed, device="cpu")


space = pt.Space(lr=pt.LogUniform(1e-5, 1e-2), clip_range=pt.Uniform(0.1, 0.4), batch_size=pt.Ordinal(32, 64, 128))
run = pt.run(pt.pbt(space, population=4, interval=512), Agent, stop=pt.steps(5120))
print(run.best.score, run.schedule().to_csv())
