"""PPO on CartPole in one file, in the style of CleanRL. It knows nothing of poptrain; it needs torch and gymnasium.

    python examples/cleanrl_ppo.py --total-timesteps 50000

Three additions make it fit for `pt.command`: it loads what a directory holds, it saves into that directory, and it prints the
mean return as a line of JSON. The rate is set after the optimiser is loaded, because the state of an optimiser has the old one.
"""

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=2.5e-3)
parser.add_argument("--ent-coef", type=float, default=0.01)
parser.add_argument("--clip-coef", type=float, default=0.2)
parser.add_argument("--gamma", type=float, default=0.99)
parser.add_argument("--total-timesteps", type=int, default=50_000)
parser.add_argument("--num-envs", type=int, default=8)
parser.add_argument("--num-steps", type=int, default=64)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--checkpoint", type=Path, help="directory with the state of an earlier call; the new state is saved there")
args = parser.parse_args()

torch.manual_seed(args.seed)
torch.set_num_threads(1)
envs = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")] * args.num_envs)
agent = nn.ModuleDict(
    {name: nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, n)) for name, n in (("actor", 2), ("critic", 1))}
)
optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
if args.checkpoint is not None and (file := args.checkpoint / "agent.pt").exists():
    saved = torch.load(file, weights_only=True)
    agent.load_state_dict(saved["agent"])
    optimizer.load_state_dict(saved["optimizer"])
    for group in optimizer.param_groups:
        group["lr"] = args.learning_rate

obs = torch.zeros(args.num_steps, args.num_envs, 4)
actions, logprobs, rewards, dones, values = (torch.zeros(args.num_steps, args.num_envs) for _ in range(5))
returns, running = [], np.zeros(args.num_envs)
next_obs, next_done = torch.tensor(envs.reset(seed=args.seed)[0]), torch.zeros(args.num_envs)
for _ in range(max(1, args.total_timesteps // (args.num_envs * args.num_steps))):
    for step in range(args.num_steps):
        obs[step], dones[step] = next_obs, next_done
        with torch.no_grad():
            policy = Categorical(logits=agent["actor"](next_obs))
            actions[step] = policy.sample()
            logprobs[step], values[step] = policy.log_prob(actions[step]), agent["critic"](next_obs).squeeze(-1)
        new, reward, terminated, truncated, _ = envs.step(actions[step].long().numpy())
        done = terminated | truncated
        running += reward
        returns += running[done].tolist()
        running[done] = 0
        rewards[step], next_obs, next_done = torch.tensor(reward), torch.tensor(new), torch.tensor(done, dtype=torch.float32)

    advantages, last = torch.zeros_like(rewards), 0.0
    with torch.no_grad():
        next_value = agent["critic"](next_obs).squeeze(-1)
    for step in reversed(range(args.num_steps)):
        alive = 1 - (next_done if step == args.num_steps - 1 else dones[step + 1])
        delta = rewards[step] + args.gamma * next_value * alive - values[step]
        advantages[step] = last = delta + args.gamma * 0.95 * alive * last
        next_value = values[step]

    flat_obs, flat_actions, flat_logprobs = obs.reshape(-1, 4), actions.flatten(), logprobs.flatten()
    flat_advantages, targets = advantages.flatten(), (advantages + values).flatten()
    for _ in range(4):
        for rows in torch.randperm(len(flat_obs)).split(128):
            policy = Categorical(logits=agent["actor"](flat_obs[rows]))
            ratio = (policy.log_prob(flat_actions[rows]) - flat_logprobs[rows]).exp()
            scaled = (flat_advantages[rows] - flat_advantages[rows].mean()) / (flat_advantages[rows].std() + 1e-8)
            clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
            value_loss = (agent["critic"](flat_obs[rows]).squeeze(-1) - targets[rows]).square().mean()
            loss = (
                -torch.min(scaled * ratio, scaled * clipped).mean() - args.ent_coef * policy.entropy().mean() + 0.5 * value_loss
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()

if args.checkpoint is not None:
    args.checkpoint.mkdir(parents=True, exist_ok=True)
    torch.save({"agent": agent.state_dict(), "optimizer": optimizer.state_dict()}, args.checkpoint / "agent.pt")
returns = returns or running.tolist()
in_force = optimizer.param_groups[0]["lr"]
print(json.dumps({"score": float(np.mean(returns)), "returns": returns[-20:], "learning_rate": in_force}))
