"""The names that other libraries use: a person who knows Ray Tune or Optuna reads what to write here instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from poptrain.core.counting import counted
from poptrain.core.errors import CallError, did_you_mean

ROOMS = ("executors", "views", "plots", "report", "rl", "sinks", "statistics", "testing")  # modules that are public themselves
FREE_ROOMS = ("integrations",)  # imported by their own paths
ALIKE = 0.85  # how much a name resembles one that is only misspelled

_SPACE = "the first argument: pt.Space(lr=pt.LogUniform(1e-4, 1e-1))"
_SLOTS = "executor=pt.executors.Processes(slots=n, gpus_per_slot=…) in pt.run"
_STOP = "stop=pt.steps(n) in pt.run"
_KEPT = 'directory="runs/first" in pt.run'

_NO_STOPPING = "pt.pbt(space, population=8, interval=10): poor members become copies of good ones, and none is stopped early"
_SAMPLER = "pt.optuna_search(space, population=20, sampler=…)"

ARGUMENTS = {  # of functions elsewhere: what to write here
    # Ray Tune
    "num_samples": "population=n for the members of one run, or pt.study(…, seeds=n) for several runs",
    "perturbation_interval": "interval=n",
    "hyperparam_mutations": _SPACE,
    "hyperparam_bounds": _SPACE,
    "param_space": _SPACE,
    "config": _SPACE,
    "quantile_fraction": "exploit=pt.truncation(0.25)",
    "resample_probability": "explore=pt.perturb((0.8, 1.2), resample=0.25)",
    "perturbation_factors": "explore=pt.perturb((0.8, 1.2))",
    "custom_explore_fn": "explore=your_function, or repair=your_function in pt.Space",
    "burn_in_period": "warmup=n",
    "synch": "sync=True",
    "time_attr": "interval=n, which counts the steps that train is asked for, or interval=pt.seconds(s)",
    "scheduler": "the first argument of pt.run: pt.pbt(space, population=8, interval=10)",
    "search_alg": "the first argument of pt.run: pt.optuna_search(space, …)",
    "resources_per_trial": _SLOTS,
    "max_concurrent_trials": _SLOTS,
    "storage_path": _KEPT,
    "local_dir": _KEPT,
    "checkpoint_freq": "nothing: every task leaves a checkpoint",
    "keep_checkpoints_num": "nothing: checkpoints that no task needs are deleted; keep=[task, …] in pt.run keeps more",
    "resume": "nothing: the same pt.run call with a directory continues the run",
    "callbacks": "sinks=[…] in pt.run",
    "verbose": "progress=False in pt.run",
    # Optuna
    "n_trials": f"population=n for the members, and {_STOP} for how long they train",
    "direction": 'mode="max" or mode="min" where training starts: in pt.run or pt.study',
    "directions": 'metric="…" and mode="max" in pt.run: one metric decides, and all others are logged',
    "study_name": _KEPT,
    "storage": _KEPT,
    "load_if_exists": "nothing: the same pt.run call with a directory continues the run",
    "sampler": "pt.optuna_search(space, sampler=…) as the algorithm",
    "pruner": "nothing: pt.pbt replaces poor members by copies of good ones; no algorithm here stops a member early",
    "n_jobs": _SLOTS,
    "timeout": "stop=pt.any_of(pt.steps(n), pt.seconds(s)) in pt.run",
    "show_progress_bar": "progress=True in pt.run",
    "objective": "the second argument of pt.run, which trains for some steps: train(carry, hp, steps, seed)",
    # Stable-Baselines3 and CleanRL, for the agents of pt.rl
    "learning_rate": "lr, or actor_lr and critic_lr, of an agent of pt.rl; the name of what you tune is in pt.Space(…)",
    "gamma": "discount=0.99 of an agent",
    "buffer_size": "memory=n of an agent",
    "net_arch": "hidden=(64, 64) of an agent",
    "policy_kwargs": "hidden=(64, 64) of an agent",
    "n_envs": "num_envs=n of an agent",
    "n_epochs": "epochs=n of an agent",
    "clip_range": "clip=0.2 of an agent",
    "ent_coef": "entropy_coeff=0.01 of an agent",
    "vf_coef": "value_coeff=0.5 of an agent",
    "action_noise": "exploration_noise=0.1 of an agent",
    # arguments of pt.run and of the algorithms, in the wrong place
    "metric": 'metric="…" in pt.run',
    "mode": 'mode="max" or mode="min" in pt.run',
    "stop": _STOP,
    "seed": "seed=n in pt.run",
    "executor": 'executor="processes" in pt.run',
    "directory": _KEPT,
    "population": "population=n in the algorithm, such as pt.pbt(space, population=8, interval=10)",
    "interval": "interval=n in the algorithm, such as pt.pbt(space, population=8, interval=10)",
    "space": "the space in the algorithm: pt.pbt(pt.Space(…), population=8, interval=10)",
    # common words
    "population_size": "population=n",
    "pop_size": "population=n",
    "n_members": "population=n",
    "t_ready": "interval=n",
    "ready_interval": "interval=n",
    "n_steps": _STOP,
    "num_steps": _STOP,
    "max_steps": _STOP,
    "epochs": _STOP,
    "budget": _STOP,
    "workers": _SLOTS,
    "num_workers": _SLOTS,
    "gpus": _SLOTS,
    "maximize": 'mode="max" in pt.run',
    "minimize": 'mode="min" in pt.run',
    "random_state": "seed=n in pt.run",
    "output_dir": _KEPT,
    "log_dir": _KEPT,
    "model": "the second argument of pt.run: a function or a class that trains",
}

PARAMETERS = {  # arguments of a range elsewhere: what to write here
    "log": "LogUniform(low, high), or LogInt(low, high)",
    "step": "Ordinal(8, 16, 24) for a few values",
    "q": "Ordinal(8, 16, 24) for a few values",
    "base": "nothing: the base of a logarithmic range makes no difference",
    **dict.fromkeys(("lower", "upper", "min", "max", "bounds", "range"), "the bounds first: Uniform(low, high)"),
    **dict.fromkeys(("values", "choices", "categories", "options"), 'the options one by one: Choice("a", "b")'),
    **dict.fromkeys(("default", "value"), "init=(low, high) for first values, or initial=[{…}] in the algorithm"),
    "name": "the name in front of it: Space(lr=LogUniform(1e-4, 1e-1))",
}

RESULTS = {  # attributes of a result elsewhere: what to write here
    **dict.fromkeys(
        ("best_params", "best_config", "best_hparams", "config", "params", "hparams", "hyperparameters"), "run.best.hparams"
    ),
    **dict.fromkeys(
        ("best_value", "best_score", "best_metric", "score", "scores", "value", "values", "objective"), "run.best.score"
    ),
    **dict.fromkeys(("best_trial", "get_best_result", "get_best_trial", "best_result", "best_member"), "run.best"),
    **dict.fromkeys(("trials_dataframe", "get_dataframe", "dataframe", "results_df", "df", "results"), "run.to_pandas()"),
    **dict.fromkeys(("best_checkpoint", "get_best_checkpoint", "checkpoint", "best_model", "model"), "run.best.load()"),
    **dict.fromkeys(("trials", "members", "population"), "run.member(0), or run.to_pandas() for all"),
    **dict.fromkeys(("user_attrs", "attrs", "metrics"), "run.best.metrics"),
}

PUBLIC = {  # names of other libraries, looked up in `poptrain`: what to write here
    "uniform": "pt.Uniform(low, high)",
    "suggest_float": "pt.Uniform(low, high), or pt.LogUniform(low, high), in pt.Space",
    "suggest_int": "pt.Int(low, high) in pt.Space",
    "suggest_categorical": 'pt.Choice("a", "b") in pt.Space',
    "loguniform": "pt.LogUniform(low, high)",
    "randint": "pt.Int(low, high)",
    "lograndint": "pt.LogInt(low, high)",
    "randn": "pt.Uniform(low, high, init=(low, high)): every range has bounds, and init is where members begin",
    "qrandn": "pt.Uniform(low, high, init=(low, high)): every range has bounds, and init is where members begin",
    "quniform": "pt.Uniform(low, high), or pt.Ordinal(0.1, 0.2, 0.3) for a few values",
    "qloguniform": "pt.LogUniform(low, high), or pt.Ordinal(0.01, 0.1, 1.0) for a few values",
    "qrandint": "pt.Int(low, high), or pt.Ordinal(8, 16, 24) for a few values",
    "qlograndint": "pt.LogInt(low, high), or pt.Ordinal(8, 16, 32) for a few values",
    "sample_from": "pt.Space(…, repair=your_function) for a value that depends on others",
    "FloatDistribution": "pt.Uniform(low, high), or pt.LogUniform(low, high)",
    "IntDistribution": "pt.Int(low, high), or pt.LogInt(low, high)",
    "CategoricalDistribution": 'pt.Choice("a", "b")',
    "choice": 'pt.Choice("a", "b")',
    "Categorical": 'pt.Choice("a", "b")',
    "create_study": "pt.run(algorithm, train, stop=…) for one run, or pt.study({…}, train, seeds=n) for several",
    "Tuner": "pt.run(algorithm, train, stop=…)",
    "TuneConfig": "the arguments of pt.run: metric, mode, stop",
    "train": "pt.run(algorithm, train, stop=…), which calls your train function",
    "fit": "pt.run(algorithm, train, stop=…)",
    "optimize": "pt.run(algorithm, train, stop=…)",
    "minimize": 'pt.run(…, mode="min")',
    "maximize": 'pt.run(…, mode="max")',
    "tune": "pt.run(algorithm, train, stop=…)",
    "PopulationBasedTraining": "pt.pbt(space, population=8, interval=10)",
    "PB2": "pt.pb2(space, population=4, interval=10)",
    "PBT": "pt.pbt(space, population=8, interval=10)",
    "FIRE": "pt.fire_pbt(space, subpopulations=(8, 8), interval=10)",
    "BGPBT": "pt.bg_pbt(space, population=8, interval=10)",
    **dict.fromkeys(("ASHAScheduler", "AsyncHyperBandScheduler", "HyperBandScheduler", "hyperband", "asha"), _NO_STOPPING),
    **dict.fromkeys(("MedianPruner", "SuccessiveHalvingPruner", "HyperbandPruner", "pruners", "schedulers"), _NO_STOPPING),
    **dict.fromkeys(("TPESampler", "GPSampler", "CmaEsSampler", "samplers"), _SAMPLER),
    "Float": "pt.Uniform(low, high), or pt.LogUniform(low, high)",
    "Integer": "pt.Int(low, high)",
    "compare": "pt.views.compare([run.record, …]); pt.study({…}, train, seeds=n) makes the runs and compares them",
    "load": "pt.open_run(directory)",
    "load_run": "pt.open_run(directory)",
    "open": "pt.open_run(directory)",
    "callbacks": "pt.sinks",
    "plot": "pt.plots",
}


def wrong_call(what: Callable[..., object], args: Sequence[object], named: Mapping[str, object]) -> CallError | None:
    """Returns the error for arguments that a public function or class does not have, or lacks; None if they fit."""
    signature = inspect.signature(what)
    known, place = list(signature.parameters), public_name(what)
    open_ended = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    unknown = [] if open_ended else [name for name in named if name not in known]
    if len(unknown) == 1:
        return CallError(f"{place} has no argument {unknown[0]!r}.{instead(unknown[0], known)}")
    if unknown:
        return CallError(f"{place} does not have these {counted(len(unknown), 'argument')}. {_listed(unknown, known)}")
    try:
        signature.bind(*args, **named)
    except TypeError as error:
        by_name = " Pass them by name." if "positional" in str(error) else ""
        return CallError(f"{place}: {error}; its arguments are {', '.join(known)}.{by_name}")
    return None


def public_name(what: Callable[..., object]) -> str:
    """Returns the name under which users find a public function or class: "pt.run", "pt.executors.Processes"."""
    room = [*what.__module__.split("."), ""][1]
    if room in FREE_ROOMS:
        return what.__name__
    return f"pt.{room}.{what.__name__}" if room in ROOMS else f"pt.{what.__name__}"


def no_attribute(owner: object, name: str) -> AttributeError:
    """Returns the error for an attribute that a result does not have, with what to write instead."""
    text = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if name.startswith("_"):  # Python and notebooks look for many of these
        return AttributeError(text)
    hint = f" Write {RESULTS[name]}." if name in RESULTS else did_you_mean(name, [each for each in dir(owner) if each[0] != "_"])
    return AttributeError(f"{text}.{hint}")


def _listed(names: list[str], known: list[str]) -> str:
    """Returns a sentence for each name; what the arguments are is stated once."""
    answers = [(name, instead(name, known, briefly=True)) for name in names]
    text = " ".join(f"{name!r}:{answer}" if answer else f"{name!r} is unknown." for name, answer in answers)
    return text if all(answer for _, answer in answers) else f"{text} The arguments are {', '.join(known)}."


def instead(name: str, known: list[str], briefly: bool = False) -> str:
    """Returns a sentence on what to write instead of an argument; if that is not known, what the arguments are.

    Args:
        briefly: leave out the arguments.
    """
    if near := did_you_mean(name, known, ALIKE):  # one letter more or less: "seed" of "seeds"
        return near
    if name in ARGUMENTS:
        return f" Write {ARGUMENTS[name]}."
    return did_you_mean(name, known) or ("" if briefly else f" Its arguments are {', '.join(known)}.")
