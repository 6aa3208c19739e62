"""BG-PBT tunes PPO and the architecture of its networks: 15 hyperparameters, 13 of them the paper's (arXiv 2207.09405).

    python examples/bgpbt.py                     # Pendulum-v1, some minutes on 2 cores
    python examples/bgpbt.py --size cheetah      # HalfCheetah-v5, 1,000,000 steps for each of 8 members
    python examples/bgpbt.py --size paper --env brax/ant    # budget and form of the paper, 8 times 150,000,000 steps, on a GPU
    python examples/bgpbt.py --size paper --env brax/ant --steps 268_000_000    # the same, with room for all of its distillation
    poptrain run examples/bgpbt.py               # the small one, with status, resume and verify

Nine numbers are tuned all the time. The other six are the architectures of the policy and of the value network, and change from
generation to generation. Two of the paper's nine do not exist here, because this agent needs neither a rollout length (it follows
from the batch) nor a scale of the rewards (values are scaled to the returns): the minibatch and the weight of the value loss
take their places. The environments are EnvPool's by default. Five of the paper's seven exist in today's Brax:
brax/ant, brax/halfcheetah, brax/hopper, brax/humanoid and brax/reacher (`pip install 'poptrain[rl,brax]'`).

The steps of a distillation count against the budget. A change of the architectures costs each member 244,000 steps
in the size "cheetah" and 57,000,000 in "paper". So one change fits into the budget of each size, and a second one needs more
`--steps`: 1,200,000 and 200,000,000. The paper does not count the distillation, so its own runs trained up to 268,000,000 steps.
"""

import argparse
from typing import NamedTuple

import poptrain as pt
from poptrain.rl import PPO


class Size(NamedTuple):
    """How large a run is; all lengths are in steps of one member."""

    env: str
    members: int
    envs: int  # of each member
    steps: int
    interval: int
    distill: int
    every: int  # steps of a generation
    batch: tuple[int, int]
    widths: tuple[int, ...]
    layers: int  # at most
    changes: int = 2  # generations after the first one
    horizon: int | None = None


SIZES = {
    "small": Size("Pendulum-v1", 4, 8, 80_000, 4_000, 8_000, 24_000, (512, 4_096), (16, 32), 2, changes=1),
    "cheetah": Size("HalfCheetah-v5", 8, 16, 1_000_000, 32_000, 128_000, 320_000, (2_048, 32_768), (32, 64, 128, 256), 5),
    "paper": Size(
        "HalfCheetah-v5", 8, 2048, 150_000_000, 1_000_000, 30_000_000, 40_000_000, (10_240, 491_520), (32, 64, 128, 256), 5
    ),
}


SLOW = {"hopper", "humanoid"}  # robots for which the paper distils longer, and once


def sized(name: str, env: str | None = None, steps: int | None = None) -> Size:
    """Returns a size in its own environment or in another one; the size of the paper is that of this robot."""
    size = SIZES[name]
    size = size._replace(env=env or size.env, steps=steps or size.steps)
    if name == "paper" and size.env.split("/")[-1].split("-")[0].lower() in SLOW:
        return size._replace(distill=40_000_000, every=60_000_000, changes=1)
    return size


def space(size: Size) -> pt.Space:
    """Returns the 15 hyperparameters."""
    numbers = {
        "lr": pt.LogUniform(1e-4, 1e-3),
        "discount": pt.Complement(0.9, 0.9999),  # on a logarithmic scale of 1 - discount
        "entropy_coeff": pt.LogUniform(1e-6, 1e-1),
        "gae_lambda": pt.Uniform(0.9, 1.0),
        "clip": pt.Uniform(0.1, 0.4),
        "epochs": pt.LogInt(2, 16),
        "train_batch_size": pt.LogInt(*size.batch),
        "minibatch_size": pt.LogInt(size.batch[0] // 8, size.batch[0]),
        "value_coeff": pt.LogUniform(0.1, 2.0),
    }
    networks = {}
    for network in ("policy", "value"):
        networks[f"{network}_layers"] = pt.Int(1, size.layers, static=True)
        networks[f"{network}_width"] = pt.Ordinal(*size.widths, static=True)
        networks[f"{network}_spectral_norm"] = pt.Choice(0, 1, static=True)
    return pt.Space({**numbers, **networks})


def make(size: Size, paper: bool = False) -> pt.Experiment:
    """Returns the experiment of one size; its environment has continuous actions."""
    generations = pt.Generations(distill=size.distill, every=size.every, most=size.changes)
    return pt.Experiment(
        algorithm=pt.bg_pbt(
            space(size),
            population=size.members,
            interval=size.interval,
            generations=generations,
            as_in="paper" if paper else None,
        ),
        trainable=PPO(env=size.env, num_envs=size.envs, horizon=size.horizon, max_batch=size.batch[1]),
        metric="score",
        stop=pt.steps(size.steps),
        executor="vectorized",
    )


experiment = make(sized("small"))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--env", help="another environment with continuous actions, such as brax/ant")
    parser.add_argument("--steps", type=int, help="of each member, with the steps of distillation; default: those of the size")
    options = parser.parse_args()
    place = "-".join(["bgpbt", options.size, *(options.env or "").split("/")]).rstrip("-")
    size = sized(options.size, options.env, options.steps)
    run = pt.run(make(size, options.size == "paper"), directory=f"runs/{place}")
    best = run.best
    print(f"best training score {best.score:.1f}, {', '.join(f'{name} {value}' for name, value in best.hparams.items())}")
