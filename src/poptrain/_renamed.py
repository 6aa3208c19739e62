"""Import paths of version 0.1 that have moved: ``from poptrain.rng import rng`` still works, with a warning.

`import poptrain` installs the finder below after Python's own, so it is asked only for modules that do not exist. Two
modules have become packages, `checkpoints` and `log`: these forward their old names themselves.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "algorithms.fire_pbt": "algorithms.fire.fire_pbt",
    "algorithms.fire_round": "algorithms.fire.round",
    "algorithms.replay": "algorithms.schedule_replay",
    "clock": "core.clock",
    "codec": "log.codec",
    "describe": "core.fingerprint",
    "errors": "core.errors",
    "executors.forms": "executors.adapters",
    "executors.segment": "executors.outcome",
    "experiment": "engine.experiment",
    "fs": "log.disk",
    "garbage": "core.collector",
    "integrations.sb3_hparams": "integrations.sb3.hparams",
    "integrations.torch_random": "integrations.torch.random_stream",
    "integrations.torch_state": "integrations.torch.state",
    "memory_store": "checkpoints.memory",
    "opening": "engine.open_log",
    "outcome": "engine.result",
    "parts": "algorithms.parts",
    "parts.acquisition": "algorithms.gp.maximum",
    "parts.bandit": "algorithms.bandit",
    "parts.curves": "algorithms.fire.curves",
    "parts.exploit": "algorithms.parts.exploit",
    "parts.explore": "algorithms.parts.explore",
    "parts.kernels": "algorithms.gp.kernels",
    "parts.population": "algorithms.parts.snapshot",
    "parts.rounds": "algorithms.parts.turns",
    "parts.smoother": "algorithms.fire.curves",
    "parts.surrogate": "algorithms.gp.posterior",
    "parts.surrogate_data": "algorithms.gp.rows",
    "recompute": "audit.recompute",
    "record": "log.reader",
    "replay": "engine.replay",
    "rng": "core.rng",
    "run": "engine.loop",
    "signals": "engine.signals",
    "space.described": "space.from_json",
    "space.listed": "space.options",
    "space.real": "space.floats",
    "space.whole": "space.integers",
    "stop": "engine.stop",
    "stores": "checkpoints.places",
    "tracebacks": "engine.tracebacks",
    "trees": "checkpoints.carry",
    "url_fs": "checkpoints.url_files",
    "url_store": "checkpoints.url",
    "verdict": "audit.verdict",
    "verify": "audit.verify",
    "views.faster": "views.improvement",
    "views.strict": "views.as_json",
    "views.text": "views.format",
    "views.writer": "views.lock_holder",
}


class Renamed(ModuleType):
    """A module under its old name.

    Its import binds the name on the package, where `run`, `rng`, `replay` and `verify` are functions. So the module can be
    called like the function.
    """

    def __init__(self, name: str, target: ModuleType):
        super().__init__(name, target.__doc__)
        self._target = target

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def __call__(self, *args: object, **kwargs: object) -> object:
        return getattr(self._target, self.__name__.rpartition(".")[2])(*args, **kwargs)


class Finder:
    """Finds and loads the modules of `MOVED`. The abstract classes of `importlib.abc` would make every import slower."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, inner = fullname.partition(".")
        if package != "poptrain" or inner not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=inner == "parts")  # type: ignore[arg-type]  # a loader without the base class

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = f"poptrain.{MOVED[spec.name.removeprefix('poptrain.')]}"
        warnings.warn(f"{spec.name} has moved: import {new} instead.", DeprecationWarning, stacklevel=2)
        return Renamed(spec.name, import_module(new))

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: the module was executed under its new name."""


def install() -> None:
    """Adds the finder after all others, once."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())


def moved_name(package: str, moved: Mapping[str, str], name: str) -> object:
    """Returns a name that `package` had in version 0.1 from its new place (``"module:name"``), with a warning.

    Raises:
        AttributeError: the package never had it.
    """
    if name not in moved:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, new = moved[name].partition(":")
    warnings.warn(f"{package}.{name} has moved: import {new} from {module} instead.", DeprecationWarning, stacklevel=3)
    found: object = getattr(import_module(module), new)
    return found
