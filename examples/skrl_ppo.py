"""An agent of skrl on CartPole, tuned by PBT. It needs `pip install 'poptrain[skrl]'`.

    poptrain run examples/skrl_ppo.py

`TorchMember` carries what the agent itself would save, with the values of the member: skrl's own `load` would bring the learning
rate of the parent along. The agent is in an attribute with an underscore, because it is made anew from the hyperparameters.
"""

import gymnasium as gym
import numpy as np
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from torch import nn

import poptrain as pt
from poptrain.integrations.torch import TorchMember

ENVS, ROLLOUT = 8, 64


class Policy(CategoricalMixin, Model):
    def __init__(self, **spaces):
        Model.__init__(self, **spaces, device="cpu")
        CategoricalMixin.__init__(self)
        self.net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))

    def compute(self, inputs, role):
        return self.net(inputs["observations"]), {}


class Value(DeterministicMixin, Model):
    def __init__(self, **spaces):
        Model.__init__(self, **spaces, device="cpu")
        DeterministicMixin.__init__(self)
        self.net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))

    def compute(self, inputs, role):
        return self.net(inputs["observations"]), {}


class Agent(TorchMember):
    def __init__(self, hp, seed):
        self._envs = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")] * ENVS)
        spaces = {
            "observation_space": self._envs.single_observation_space,
            "action_space": self._envs.single_action_space,
        }
        self._agent = PPO(
            models={"policy": Policy(**spaces), "value": Value(**spaces)},
            memory=RandomMemory(memory_size=ROLLOUT, num_envs=ENVS, device="cpu"),
            cfg=PPO_CFG(
                rollouts=ROLLOUT,
                mini_batches=4,
                learning_rate=hp["lr"],
                discount_factor=hp["gamma"],
                ratio_clip=hp["clip"],
                entropy_loss_scale=hp["ent_coef"],
                value_preprocessor=RunningStandardScaler,
                value_preprocessor_kwargs={"size": 1, "device": "cpu"},
                experiment={"write_interval": 0, "checkpoint_interval": 0},
            ),
            device="cpu",
            **spaces,
        )
        self._agent.init()
        self._agent.enable_training_mode(True)
        nets = {name: model.net for name, model in self._agent.models.items()}
        self.parts = {**self._agent.checkpoint_modules, **nets}  # networks, optimiser, scaler: all that training changes

    def train(self, hp, steps):
        """Trains for whole rollouts, so that the memory is empty at the end of an interval."""
        observations = torch.tensor(self._envs.reset(seed=int(np.random.randint(2**31)))[0])
        returns, running = [], np.zeros(ENVS)
        turns = -(-steps // (ENVS * ROLLOUT)) * ROLLOUT
        for turn in range(turns):
            clock = {"timestep": turn, "timesteps": turns}
            self._agent.pre_interaction(**clock)
            with torch.no_grad():
                actions, _ = self._agent.act(observations, None, **clock)
                new, rewards, terminated, truncated, infos = self._envs.step(actions.flatten().numpy())
                new = torch.tensor(new)
                self._agent.record_transition(
                    observations=observations,
                    states=None,
                    actions=actions,
                    rewards=torch.tensor(rewards, dtype=torch.float32)[:, None],
                    next_observations=new,
                    next_states=None,
                    terminated=torch.tensor(terminated)[:, None],
                    truncated=torch.tensor(truncated)[:, None],
                    infos=infos,
                    **clock,
                )
            self._agent.post_interaction(**clock)
            observations, done = new, terminated | truncated
            running += rewards
            returns += running[done].tolist()
            running[done] = 0
        return {"score": np.mean(returns or running), "returns": returns, "steps": turns * ENVS}

    def close(self):
        self._envs.close()


experiment = pt.Experiment(
    algorithm=pt.pbt(
        pt.Space(
            lr=pt.LogUniform(1e-4, 1e-2),
            gamma=pt.Complement(0.95, 0.999),
            clip=pt.Uniform(0.1, 0.4),
            ent_coef=pt.LogUniform(1e-4, 1e-1),
        ),
        population=4,
        interval=8 * ENVS * ROLLOUT,
    ),
    trainable=Agent,
    stop=pt.steps(64 * ENVS * ROLLOUT),
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    run = pt.run(experiment)
    print(f"return {run.best.score:.0f} of 500 with {run.best.hparams}")
