"""poptrain: population-based training. Hyperparameters are tuned while the population trains.

A *member* trains for an interval of steps. Then poor members are replaced by copies of good ones, with changed
hyperparameters, and all continue. The best member comes with a schedule: its hyperparameters over time.

>>> import poptrain as pt
>>> def train(carry, hp, steps, seed):                        # gradient ascent on 1 - x², from x = 1
...     x = 1.0 if carry is None else carry                   # the carry is your training state; None at the start
...     for _ in range(steps):
...         x -= 2 * hp["lr"] * x
...     return x, {"score": 1 - x * x}
>>> space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))            # what is tuned
>>> run = pt.run(pt.pbt(space, population=4, interval=5), train, stop=pt.steps(50))
>>> run.best.score > 0.9
True
>>> run.best.hparams["lr"] <= 1e-1
True

`pt.run(…, directory="runs/first")` keeps the run; the same call, or ``poptrain resume runs/first``, continues it. A PyTorch
loop is written as a class, JAX functions train all members in one program: see `poptrain.trainable`.

The names: spaces (`Space`, `Uniform`, `LogUniform`, `Choice` …), algorithms (`pbt`, `pb2`, `fire_pbt`, `random_search` …), the
run (`run`, `resume`, `open_run`, `check`, `verify`, `replay`), its end (`steps`, `score`, `seconds`, `any_of` …), and the
modules `errors`, `executors`, `parts`, `plots`, `report`, `rl`, `sinks`, `statistics`, `testing` and `views`.
"""

from __future__ import annotations

from importlib import import_module

from poptrain._renamed import install

__version__ = "0.2.0.dev0"

# The module of each public name. It is loaded when one of its names is first used, so that `import poptrain`, and with it
# every command, spends no time on modules that it does not use.
_NAMES = {
    "core": "History Lost Result Task rank",
    "core.errors": "PoptrainError UsageError",
    "engine.experiment": "Experiment",
    "engine.result": "Run open_run",
    "algorithms.bg_pbt.generations": "Generations",
    "algorithms.gp.trust_region": "TrustRegion",
    "algorithms.parts.exploit": "tournament truncation welch",
    "algorithms.parts.explore": "additive perturb resample",
    "preflight": "check",
    "engine.replay": "replay",
    "engine.study": "Study study",
    "engine.worth": "schedule_worth",
    "core.rng": "rng",
    "engine.loop": "resume run",
    "space": "Choice Complement Int LogInt LogUniform Ordinal Space Uniform nested",
    "engine.stop": "any_of generations score seconds steps",
    "trainable": "Trainable command jax_trainable",
    "trainable.teaching": "teacher_weight",
    "audit.verify": "verify",
}
_MODULES = {name: name for name in ("executors", "views", "plots", "report", "rl", "sinks", "statistics", "testing")} | {
    "errors": "core.errors",
    "parts": "algorithms.parts",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

install()  # the import paths of version 0.1


def __getattr__(name: str) -> object:
    """Loads the object of a public name when it is first used: ``pt.pbt``, ``pt.views`` …"""
    if name in _MODULES:
        return import_module(f"poptrain.{_MODULES[name]}")
    if name == "__all__":
        return _public()
    if name in _HOME or (not name.startswith("_") and name in _algorithms()):
        module = import_module(f"poptrain.{_HOME.get(name, 'algorithms')}")
        found: object = getattr(module, name)
        globals()[name] = found
        return found
    from poptrain.core.errors import did_you_mean
    from poptrain.core.other_names import PUBLIC

    hint = f" Write {PUBLIC[name]}." if name in PUBLIC else did_you_mean(name, [*_public(), *_MODULES])
    raise AttributeError(f"module 'poptrain' has no attribute {name!r}.{hint}")


def __dir__() -> list[str]:
    """Returns all public names, loaded or not."""
    return sorted({*_public(), *_MODULES, "__version__"})


def _public() -> list[str]:
    """Returns every public name, which ``__all__`` stands for. It is not a list here, because the algorithms list themselves."""
    return sorted([*_HOME, *_algorithms(), "errors", "executors", "parts"])


def _algorithms() -> list[str]:
    """Returns the names of the algorithms: a new one is public as soon as ``poptrain.algorithms`` lists it."""
    listed: list[str] = import_module("poptrain.algorithms").__all__
    return listed
