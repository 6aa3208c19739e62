"""RLlib's PPO, tuned while it trains, with the mutations, explore function, intervals and stop of a common Ray Tune script.

    python -m examples.rllib_ppo --quick                                  # CartPole, 2 members, about two minutes on 2 cores
    python -m examples.rllib_ppo --env BipedalWalker-v3 --members 8       # full size: 100 iterations of 120 s, 5 cores a member
    python -m examples.rllib_ppo --quick --mlflow sqlite:///mlflow.db     # one MLflow run for each member, under a parent

Old names of RLlib are on the left, today's on the right: num_sgd_iter -> num_epochs, sgd_minibatch_size -> minibatch_size,
train_batch_size -> train_batch_size_per_learner, num_workers -> num_env_runners, episode_reward_mean ->
env_runners/episode_return_mean, model.free_log_std -> DefaultModelConfig.free_log_std.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
from typing import Any

import ray
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from poptrain.integrations.ray_tune import PopulationBasedTraining
from poptrain.integrations.rllib import Applied

RETURN = "env_runners/episode_return_mean"

MUTATIONS = {  # a function draws a new value whenever a member explores; a list is an ordered set of values
    "lambda": lambda: random.uniform(0.9, 1.0),
    "clip_param": lambda: random.uniform(0.01, 0.5),
    "lr": [1e-3, 5e-4, 1e-4, 5e-5, 1e-5],
    "num_epochs": lambda: random.randint(1, 30),
    "minibatch_size": lambda: random.randint(128, 16384),
    "train_batch_size_per_learner": lambda: random.randint(2000, 160000),
}
START = {  # these start at a value drawn from a set, the others at the values in `config`
    "num_epochs": tune.choice([10, 20, 30]),
    "minibatch_size": tune.choice([128, 512, 2048]),
    "train_batch_size_per_learner": tune.choice([10000, 20000, 40000]),
}
QUICK_MUTATIONS = {
    **MUTATIONS,
    "num_epochs": tune.randint(1, 6),
    "minibatch_size": [64, 128, 256],
    "train_batch_size_per_learner": tune.randint(400, 1001),
}
QUICK_START = {
    "num_epochs": tune.choice([2, 4]),
    "minibatch_size": tune.choice([64, 128]),
    "train_batch_size_per_learner": tune.choice([400, 600]),
    "lr": tune.choice([1e-3, 1e-4]),
}


def explore(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config with at least two minibatches per batch, and at least one epoch."""
    if config["train_batch_size_per_learner"] < 2 * config["minibatch_size"]:
        config["train_batch_size_per_learner"] = 2 * config["minibatch_size"]
    config["num_epochs"] = max(int(config["num_epochs"]), 1)
    return config


def param_space(env: str, workers: int, quick: bool) -> dict[str, Any]:
    """Returns the members' first values, and all settings that are not tuned."""
    config = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=workers)  # processes that collect samples; each takes one CPU more than the trial's own
        .resources(num_cpus_for_main_process=1)
        .learners(num_gpus_per_learner=0)
        .training(kl_coeff=1.0, lambda_=0.95, clip_param=0.2, lr=1e-4)
        .callbacks(Applied)  # the mutated values, read back from the live algorithm
    )
    if quick:
        config.env_runners(num_envs_per_env_runner=4).rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[32, 32]))
    elif env != "CartPole-v1":  # actions from a Gaussian: its standard deviations are free parameters
        config.rl_module(model_config=DefaultModelConfig(free_log_std=True))
    return {**config.to_dict(), **(QUICK_START if quick else START)}


def tuner(arguments: argparse.Namespace) -> tune.Tuner:
    """Returns the tuner for these arguments."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration" if arguments.quick else "time_total_s",
        perturbation_interval=2 if arguments.quick else 120,
        resample_probability=0.25,
        hyperparam_mutations=QUICK_MUTATIONS if arguments.quick else MUTATIONS,
        custom_explore_fn=explore,
        synch=arguments.quick,
        seed=arguments.seed,
        sinks=sinks(arguments.mlflow, arguments.parent_run) if arguments.mlflow else (),
    )
    return tune.Tuner(
        "PPO",
        param_space=param_space(arguments.env, arguments.workers, arguments.quick),
        tune_config=tune.TuneConfig(metric=RETURN, mode="max", scheduler=scheduler, num_samples=arguments.members),
        run_config=tune.RunConfig(
            name="rllib_ppo",
            storage_path=os.path.abspath(arguments.storage),
            stop={"training_iteration": arguments.iterations, RETURN: arguments.target},
            verbose=0 if arguments.quick else 1,
        ),
    )


def sinks(uri: str, parent_run: str | None) -> tuple[Any, ...]:
    """Returns the sink that logs one MLflow run for each member, under an existing parent run or a new one."""
    import poptrain as pt

    return (pt.sinks.MLflow(uri, experiment="pbt_ppo", run_id=parent_run, checkpoint=False),)


def main(argv: list[str] | None = None) -> tune.Tuner:
    parser = argparse.ArgumentParser(description="PPO of RLlib under poptrain's PBT")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--members", type=int, default=None, help="default 4; 2 with --quick")
    parser.add_argument("--workers", type=int, default=None, help="sampling processes of a member; default 4; 0 with --quick")
    parser.add_argument("--iterations", type=int, default=None, help="default 100; 6 with --quick")
    parser.add_argument("--target", type=float, default=300.0, help="a member stops at this mean return")
    parser.add_argument("--cpus", type=int, default=None, help="CPUs of the Ray that is started here; default: all")
    parser.add_argument("--storage", default="runs/ray")
    parser.add_argument("--mlflow", metavar="URI", help="log to this MLflow tracking server or store")
    parser.add_argument("--parent-run", metavar="ID", help="MLflow run under which the members are nested")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small batches, two iterations between decisions")
    arguments = parser.parse_args(argv)
    if arguments.parent_run and not arguments.mlflow:
        parser.error("--parent-run is a run of MLflow: pass its store with --mlflow URI")
    for name, quick, full in (("members", 2, 4), ("workers", 0, 4), ("iterations", 6, 100)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else full)
    if not ray.is_initialized():
        ray.init("local", num_cpus=arguments.cpus, include_dashboard=False, logging_level=logging.WARNING)
    made = tuner(arguments)
    results = made.fit()
    best = results.get_best_result()
    print(f"best mean return {best.metrics['env_runners']['episode_return_mean']:.1f} in {best.path}")
    print(f"schedule of the winner: poptrain schedule {results.experiment_path}/poptrain")
    return made


if __name__ == "__main__":
    main()
