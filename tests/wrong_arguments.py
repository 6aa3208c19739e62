"""Wrong arguments in Python, as a table: a function with right arguments, and for each argument values that are wrong.

Every pair is one case. `named` are cases that need more than one argument.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

import poptrain as pt
from poptrain import sinks
from poptrain.executors import Processes, Vectorized
from poptrain.testing import quadratic

NAN, INF = math.nan, math.inf
SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), n=pt.Int(1, 8))
PBT = pt.pbt(SPACE, population=4, interval=5)
EXPERIMENT = pt.Experiment(PBT, quadratic, stop=pt.steps(10))
COUNT = [0, -1, 2.5, "8", True, None, [4], NAN]  # none of them is a whole number from 1
SHARE = [-0.1, 1.5, "half", None, True, NAN, INF, [0.5]]  # none of them is a share
LIMIT = [0, -1, "9", True, NAN, INF, [1], 10**400]  # none of them is a number of seconds
TEXT = [3, None, b"x", ["a"], ""]
LONG, HUGE, SURROGATE = "x" * 10**6, 10**400, "\ud800"
PLACE = [5, "", " ", LONG, SURROGATE, b"runs", ["a"], True, 0.5, "s3://bucket/run", "gs://bucket", "file:///tmp/x", "a\0b",
         "a\nb", Path("x\x1b[31m")]  # fmt: skip


class NoTrainable:
    """A class that cannot save itself."""

    def __init__(self, hp, seed): ...

    def train(self, hp, steps): ...


def train_of_three(carry, hp, steps):
    return carry, {"score": 0.0}


def a_sink(record):
    return None


def with_defaults(function, *given, **defaults):
    """Returns a call that takes one wrong argument by name; a name that is a number is that of a position."""

    def call(name, value):
        if isinstance(name, int):
            return function(*given[:name], value, *given[name + 1 :], **defaults)
        return function(*given, **{**defaults, name: value})

    return call


RUN = {
    "metric": TEXT,
    "mode": ["maximum", "", None, 1, ["max"], True],
    "stop": [100, None, "100", 0.5, [], pt.steps, [pt.steps(5)], (pt.steps(1), pt.steps(2))],
    "executor": [4, None, "process", "", ["inline"], True, Processes, object(), b"inline"],
    "seed": [-1, 0.5, "0", None, True, [1], NAN, np.float64(1.0)],
    "sinks": ["tensorboard", 5, a_sink, [5], ["mlflow"], [None], {"a": 1}, [sinks.TensorBoard], True],
    "trainable": [None, 3, "train", [], NoTrainable, train_of_three, quadratic(None, {"lr": 0.1}, 1, 0), {}, {"a": quadratic}],
    "checkpoints": [5, "", "bucket", b"s3://x", "nothing://x", ["s3://a"], True],
}
SEARCH = {"space": [None, {}, {"lr": (0, 1)}, 5, "lr", [], pt.Space], "population": [*COUNT, 10**9, 2**21], "initial": [
    5, "a", {"lr": 0.01}, [5], [{"lr": 5}], [{"lrr": 0.01}], [{"lr": "0.1"}], [{"n": 2.5}], [{"lr": NAN}], [{"lr": None}],
    [{"lr": True}],
]}  # fmt: skip
INTERVAL = [0, -5, 2.5, "5", None, True, [5], pt.steps(5), 2**60]

CALLS = {
    "Uniform": (
        with_defaults(pt.Uniform, 0.0, 1.0),
        {0: [2.0, NAN, INF, "0", None, True, [0]], 1: [-1, NAN, INF, "1", None, 1e400],
         "init": [5, (0,), (2, 3), (1, 0), "ab", LONG],
         "static": ["yes", 1, None]},
    ),
    "LogUniform": (
        with_defaults(pt.LogUniform, 1e-3, 1.0),
        {0: [0, -1, 2.0, NAN, "1e-3", None], 1: [0, 1e-4, INF, "1"], "init": [(0.0, 1.0), (1e-4, 1.0), 3]},
    ),
    "Complement": (with_defaults(pt.Complement, 0.9, 0.99), {0: [1.0, NAN, "0.9"], 1: [1.0, 1.5, 0.5, None]}),
    "Int": (with_defaults(pt.Int, 1, 8), {0: [8.5, 9, 1.5, "1", None, True, NAN], 1: [0, 8.5, INF, "8", HUGE]}),
    "LogInt": (with_defaults(pt.LogInt, 1, 64), {0: [0, -1, 65, 1.5], 1: [0, 1.5, INF]}),
    "Choice": (with_defaults(pt.Choice, "a", "b"), {1: ["a", [1], {}, {1}, object(), NAN, INF, b"x"], "init": ["a", ("c",), 3],
                                                    "static": ["yes", 1]}),
    "Ordinal": (with_defaults(pt.Ordinal, 1, 2), {1: [1, [1], object(), NAN]}),
    "Space": (lambda name, value: pt.Space(**{name: value}), {
        "lr": [5, (0, 1), "lr", None, [], pt.Uniform, {}],
        "a\nb": [pt.Uniform(0, 1)], SURROGATE: [pt.Uniform(0, 1)], "": [pt.Uniform(0, 1)], "\x1b[31m": [pt.Uniform(0, 1)],
        "x" * 300: [pt.Uniform(0, 1)],
        "\u202elr": [pt.Uniform(0, 1)],
        "repair": [5, "fix", True],
    }),
    "random_search": (with_defaults(pt.random_search, space=SPACE, interval=5), {**SEARCH, "interval": INTERVAL}),
    "grid_search": (with_defaults(pt.grid_search, space=SPACE, interval=5), {
        "space": SEARCH["space"], "levels": [0, -1, 2.5, "3", None, True, {"lx": 2}, {"lr": 0}, {"lr": "2"}, [2], 10**6],
        "interval": INTERVAL}),
    "pbt": (with_defaults(pt.pbt, space=SPACE, interval=5), {
        **SEARCH, "interval": INTERVAL, "sync": ["yes", 1, None, []],
        "exploit": ["truncation", 5, pt.truncation, pt.perturb(), object()],
        "explore": ["perturb", 5, pt.truncation(0.2), object(), pt.perturb],
        "copy": ["weight", None, 5, True], "warmup": [-1, 2.5, "3", None, True], "average": [0, -1, 1.5, "2", None],
        "controls": [-1, 8, 2.5, "1", None], "starts": ["even", 5, True],
        "plateau": ["stop", 5, True], "anew": ["yes", 5], "as_in": ["Paper", 5, True]}),
    "pb2": (with_defaults(pt.pb2, space=SPACE, interval=5), {
        "population": COUNT, "interval": INTERVAL, "beta": ["ucb", -1, NAN, [], True, 10**400], "window": [0, -1, 2.5, "9", True],
        "candidates": [-1, 2.5, "9"], "retune": [-1, NAN, "always", [], 10**400], "sync": ["no", 0],
        "evaluate_first": ["yes", 3]}),
    "pb2_mix": (with_defaults(pt.pb2_mix, space=SPACE, interval=5), {"beta": ["ucb", []], "window": [0, "9"], "as_in": ["x"]}),
    "bg_pbt": (with_defaults(pt.bg_pbt, space=SPACE, interval=5), {
        "population": COUNT[:4], "trust_region": [5, "yes", True], "beta": ["x", -1], "window": [0], "retune": ["x", -2],
        "generations": [5, "yes", True, pt.Generations()]}),
    "Generations": (with_defaults(pt.Generations), {"distill": [0, -1, 2.5, "9", True], "every": [0, "9"], "patience": COUNT[:5],
                                                   "most": COUNT[:5], "candidates": [0, 1.5, "9"], "modelled": SHARE}),
    "TrustRegion": (with_defaults(pt.TrustRegion), {"length": [0, -1, NAN, "1"], "least": [0, 2, "a"], "factor": [0, 1, "a"],
                                                   "successes": [0, 1.5], "share": [-1, 2, "a"]}),
    "fire_pbt": (with_defaults(pt.fire_pbt, space=SPACE, interval=5), {
        "subpopulations": [8, (), (0, 4), ("4", "4"), "44", None, (2.5, 4)], "evaluators": [-1, 2.5, "1", True],
        "interval": [0, 2.5, "5", pt.seconds(1)], "max_eval": [0, -1, 2.5, "9"], "warmup": [-1, "a", (1, 2, 3, 4)],
        "evals": [0, 2.5, "1"], "p_stat": [0, 1, -1, NAN, "a"]}),
    "optuna_search": (with_defaults(pt.optuna_search, space=SPACE), {
        "population": COUNT, "parallel": [0, -1, 1.5, "2", True], "sampler": ["tpee", 5, None], "interval": [0, 2.5, "5"]}),
    "truncation": (with_defaults(pt.truncation), {"fraction": [0.9, -0.1, "0.2", None, NAN, INF, True, [0.2]]}),
    "welch": (with_defaults(pt.welch), {"alpha": [2, -1, "a", None, NAN, True], "window": [1, 0, 2.5, "9", None]}),
    "tournament": (with_defaults(pt.tournament), {"ties": ["yes", 1, None]}),
    "perturb": (with_defaults(pt.perturb), {
        "factors": [(), 1.2, (0, 1.2), ("a",), (NAN,), (INF,), None, "12", {"lr": 1.2}, (HUGE,)],
                                            "resample": SHARE}),
    "additive": (with_defaults(pt.additive), {"sd": [0, -1, "a", None, NAN, INF, True, HUGE], "resample": SHARE}),
    "steps": (with_defaults(pt.steps, 5), {0: [*COUNT, HUGE]}),
    "generations": (with_defaults(pt.generations, 5), {0: COUNT}),
    "score": (with_defaults(pt.score, 1.0), {0: [NAN, INF, 10**400, "1", None, True, [1]]}),
    "seconds": (with_defaults(pt.seconds, 1.0), {0: [*LIMIT, None]}),
    "any_of": (with_defaults(pt.any_of, pt.steps(1), pt.steps(2)), {0: [5, "a", None, pt.steps, [pt.steps(1)]]}),
    "Processes": (with_defaults(Processes), {
        "slots": [*COUNT[:5], 10**9], "gpus_per_slot": [-1, 1.5, "1", NAN, None], "threads": [0, -1, "2"], "timeout": LIMIT,
        "retries": [0, -1, 1.5, None]}),
    "Vectorized": (with_defaults(Vectorized), {"lanes": COUNT[:5]}),
    "command": (with_defaults(pt.command, "python train.py --lr {lr} --n {n}"), {
        0: ["", 5, None, [], "python 'x", b"ls", LONG, "python {lr"],
        "resume": [5], "metrics": [5, ""], "env": [5, "a=b", {"a": 1}],
        "cwd": [5, b"x"], "timeout": LIMIT}),
    "jax_trainable": (with_defaults(pt.jax_trainable, quadratic, quadratic), {
        0: [None, 5, "init"], 1: [None, 5], 2: [5, 0, "x"]}),
    "Experiment": (with_defaults(pt.Experiment, PBT, quadratic, stop=pt.steps(5)), {
        0: [None, "pbt", pt.pbt, SPACE, pt.truncation()]}),
    "run": (with_defaults(pt.run, algorithm=PBT, trainable=quadratic, stop=pt.steps(5), progress=False), {
        **RUN, "algorithm": [None, "pbt", pt.pbt, SPACE, 5], "directory": PLACE,
        "keep": [5, "a", [-1], ["a"], [2.5], [None], [True], {"a": 1}], "progress": ["yes", 1, None],
        "overwrite": ["yes", 1, None], "dashboard": ["yes", 1, None]}),
    "run of an Experiment": (with_defaults(pt.run, EXPERIMENT, progress=False), {
        "metric": ["loss", 5, "", None], "mode": ["maximum", None], "stop": [5], "seed": [-1, "1", 2.5, None], "trainable": [5],
        "executor": ["proc", 5, None], "sinks": [5, None, [5]], "directory": PLACE[:5]}),
    "resume": (with_defaults(pt.resume, EXPERIMENT, "nowhere"), {0: [None, PBT, "experiment.py"], 1: [None, *PLACE[:6]]}),
    "open_run": (with_defaults(pt.open_run, "nowhere"), {0: [None, *PLACE], "trainable": [5]}),
    "verify": (with_defaults(pt.verify, "nowhere"), {0: [None, *PLACE], "experiment": [5, PBT]}),
    "check": (with_defaults(pt.check, EXPERIMENT), {
        0: [None, 5, PBT, "experiment.py"], "seconds": LIMIT, "directory": [5, b"x", "s3://bucket/run"]}),
    "study": (with_defaults(pt.study, {"pbt": PBT}, quadratic, stop=pt.steps(5), progress=False), {
        0: [{}, None, PBT, [PBT], {"pbt": 5}, {5: PBT}, {"a/b": PBT}], 1: [None, 5],
        "seeds": [0, -1, 2.5, "5", None, [], [-1], [1, 1], 10**9],
        "mode": ["maximum"], "metric": [3], "stop": [5, None], "executor": [5, "proc"], "workers": [0, -1, 1.5, "2"],
        "directory": PLACE[:7]}),
    "schedule_replay": (with_defaults(pt.schedule_replay, [[(0, {"lr": 0.1})]]), {
        0: [None, 5, [], [[]], [[(5, {"lr": 0.1})]], [[(0, 5)]], [["a"]], "lr", [[(0, {})]], [[(0, {"lr": 1}), (0, {"lr": 2})]]],
        "interval": [0, -1, 2.5, "5"], "space": [5]}),
    "replay": (with_defaults(pt.replay, [(0, {"lr": 0.1})], quadratic, stop=pt.steps(5)), {
        0: [None, 5, "nowhere", [], Path("nowhere")], 1: [5], "task": ["a", -1], "fit": ["bend", 5], "interval": [0, "5"],
        "directory": PLACE[:7], "seed": [-1], "stop": [5]}),
    "schedule_worth": (with_defaults(pt.schedule_worth, [(0, {"lr": 0.1})], quadratic), {
        0: [None, "nowhere"], "seeds": [0, 1, 2, -1, "8", None, 10**9], "seed": [-1, "1"], "mode": ["x"]}),
    "TensorBoard": (with_defaults(sinks.TensorBoard, "tb"), {0: [5, None, "", b"x"]}),
    "MLflow": (with_defaults(sinks.MLflow), {"uri": [5], "experiment": [5, ""], "patience": [-1, "9", NAN]}),
    "WandB": (with_defaults(sinks.WandB), {"project": [5, ""], "mode": ["on", 5], "patience": [-1, "9", NAN]}),
}  # fmt: skip

CASES = {
    f"{name}({argument}={value!r:.30})": (lambda call=call, argument=argument, value=value: call(argument, value))
    for name, (call, arguments) in CALLS.items()
    for argument, values in arguments.items()
    for value in values
}
