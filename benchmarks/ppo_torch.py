"""A PPO in PyTorch on EnvPool, written for speed: what `ppo_speed` compares ours with. It prints its steps per second.

    python -m benchmarks.ppo_torch STEPS SEED

Networks, minibatches, epochs, advantages and penalties are those of `examples/bipedal_walker.py`. One thread for PyTorch and one
for the simulator, so that two of these use two cores. Buffers are allocated once, a minibatch is one gather, both networks have
one optimiser whose loops are fused, and nothing is read back from a tensor inside an epoch.
"""

from __future__ import annotations

import sys
import time

import envpool
import numpy as np
import torch
from torch import nn

from examples.bipedal_walker import agent

ENVS, TICKS = agent.num_envs, 1024


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Returns a network of tanh layers."""
    sizes, layers = (inputs, *agent.hidden), []
    for size, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size, after), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


class Ppo:
    """One agent, its environments and its buffers."""

    def __init__(self, seed: int):
        torch.manual_seed(seed)
        self.pool = envpool.make_gymnasium(agent.env, num_envs=ENVS, num_threads=1, seed=seed, max_episode_steps=agent.horizon)
        inputs, outputs = self.pool.observation_space.shape[0], self.pool.action_space.shape[0]
        self.policy, self.value, self.log_std = network(inputs, outputs), network(inputs, 1), nn.Parameter(torch.zeros(outputs))
        parts = [*self.policy.parameters(), *self.value.parameters(), self.log_std]
        self.parts, self.adam = parts, torch.optim.Adam(parts, lr=agent.lr, fused=True)
        self.seen = torch.zeros(TICKS + 1, ENVS, inputs)
        self.acted, self.means = torch.zeros(TICKS, ENVS, outputs), torch.zeros(TICKS, ENVS, outputs)
        self.rewards, self.over, self.real = np.zeros((3, TICKS, ENVS), np.float32)
        self.mean, self.var, self.count = np.zeros(inputs), np.ones(inputs), 1e-4
        self.raw, self.ended = self.pool.reset()[0], np.zeros(ENVS, bool)

    def normalised(self, raw: np.ndarray) -> torch.Tensor:
        """Returns observations, (E, O), after a filter that learns from them."""
        total, apart = self.count + len(raw), raw.mean(0) - self.mean
        self.var = (self.var * self.count + raw.var(0) * len(raw) + apart**2 * self.count * len(raw) / total) / total
        self.mean, self.count = self.mean + apart * len(raw) / total, total
        return torch.from_numpy(np.clip((raw - self.mean) / np.sqrt(self.var + 1e-8), -10, 10).astype(np.float32))

    @torch.no_grad()
    def collect(self) -> int:
        """Fills the buffers, and returns the transitions."""
        std = self.log_std.exp()
        for tick in range(TICKS):
            self.seen[tick] = self.normalised(self.raw)
            self.means[tick] = self.policy(self.seen[tick])
            self.acted[tick] = self.means[tick] + std * torch.randn_like(self.means[tick])
            self.real[tick] = ~self.ended
            self.raw, self.rewards[tick], terminated, truncated, _ = self.pool.step(self.acted[tick].numpy().clip(-1, 1))
            self.ended = terminated | truncated
            self.over[tick] = self.ended
        self.seen[TICKS] = self.normalised(self.raw)
        return int(self.real.sum())

    @torch.no_grad()
    def advantages(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the generalised advantages and the returns, (T, E) each."""
        values = self.value(self.seen).squeeze(-1).numpy()
        found, last = np.zeros_like(self.rewards), np.zeros(ENVS, np.float32)
        for tick in reversed(range(TICKS)):
            goes_on = 1 - self.over[tick]
            delta = self.rewards[tick] + agent.discount * goes_on * values[tick + 1] - values[tick]
            found[tick] = last = delta + agent.discount * agent.gae_lambda * goes_on * last
        return torch.from_numpy(found), torch.from_numpy(found + values[:-1])

    def log_prob(self, means: torch.Tensor, acted: torch.Tensor) -> torch.Tensor:
        """Returns the logarithm of a density, without its constant."""
        return -(0.5 * ((acted - means) / self.log_std.exp()) ** 2 + self.log_std).sum(-1)

    def learn(self) -> None:
        """Makes all epochs over the buffers."""
        advantages, returns = self.advantages()
        real = torch.from_numpy(self.real.reshape(-1)).nonzero().squeeze(-1)
        seen, acted = self.seen[:TICKS].flatten(0, 1)[real], self.acted.flatten(0, 1)[real]
        means, returns, advantages = self.means.flatten(0, 1)[real], returns.flatten()[real], advantages.flatten()[real]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        with torch.no_grad():
            before, old_std = self.log_prob(means, acted), self.log_std.detach().clone()
        for _ in range(agent.epochs):
            for places in torch.randperm(len(real)).split(agent.minibatch_size):
                now = self.policy(seen[places])
                ratio, gain = (self.log_prob(now, acted[places]) - before[places]).exp(), advantages[places]
                surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - agent.clip, 1 + agent.clip) * gain).mean()
                apart = ((2 * old_std).exp() + (means[places] - now) ** 2) / (2 * (2 * self.log_std).exp())
                kl = (self.log_std - old_std + apart - 0.5).sum(-1).mean()
                error = ((self.value(seen[places]).squeeze(-1) - returns[places]) ** 2).mean()
                self.adam.zero_grad(set_to_none=True)
                (agent.kl_coeff * kl - surrogate + agent.value_coeff * error).backward()
                nn.utils.clip_grad_norm_(self.parts, agent.max_grad_norm, foreach=True)
                self.adam.step()


def main() -> None:
    """Trains, and prints steps per second."""
    torch.set_num_threads(1)
    steps, learner = int(sys.argv[1]), Ppo(int(sys.argv[2]))
    done, began = 0, time.perf_counter()
    while done < steps:
        done += learner.collect()
        learner.learn()
    print(done / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
