"""An experiment: everything that `run` needs, as one value. A Python file exposes it to the command line."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TypeVar, cast

from poptrain.checkpoints.url_files import checked_url
from poptrain.core import Json
from poptrain.core.answering import answering_class
from poptrain.core.arguments import as_whole, check_name
from poptrain.core.brief import brief, shown
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.interval import interval_of
from poptrain.core.protocols import Algorithm, Distilling, Sink
from poptrain.core.secrets import secret_in
from poptrain.core.user_objects import named
from poptrain.engine import stop as stops
from poptrain.executors.context import ExecutorConfig
from poptrain.log.reader import Record
from poptrain.sinks.adapted import checked_sinks
from poptrain.space import Space
from poptrain.trainable import ChecksSpace, as_trainable, check_distill

RunT = TypeVar("RunT", bound=Callable[..., object])


@answering_class
@dataclass(frozen=True)
class Experiment:
    """The arguments of `run` as a value. A file for the command line exposes one under the name ``experiment``.

    Raises:
        UsageError: an argument is wrong; nothing is started.
    """

    algorithm: Algorithm
    trainable: object
    metric: str = "score"
    mode: str = "max"
    stop: stops.Stop | None = None
    executor: str | ExecutorConfig = "inline"
    seed: int = 0
    sinks: Sequence[Sink[Record]] = ()
    checkpoints: str | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        if isinstance(self.algorithm, type) or not isinstance(self.algorithm, Algorithm):
            raise UsageError(
                f"algorithm={shown(self.algorithm)}: expected an algorithm such as pt.pbt(space, population=8, interval=10), or "
                "an object with space, seats, ask(history) and needed(history) of the protocol poptrain.core.protocols.Algorithm."
            )
        if not isinstance(self.metric, str) or not self.metric:
            raise UsageError(
                f"metric={self.metric!r}: expected the name under which train reports the score, for example 'score'."
            )
        check_name("metric", self.metric)
        if self.mode not in ("max", "min"):
            raise UsageError(f"mode={self.mode!r}: expected 'max' or 'min'.{did_you_mean(self.mode, ('max', 'min'))}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise UsageError(f"seed={self.seed!r}: expected a whole number from 0.{as_whole(self.seed)}")
        if self.stop is None:
            raise UsageError("stop is missing: pass when the run ends, for example stop=pt.steps(100).")
        stops.check_stop(self.stop)
        _ = self.budget  # raises a UsageError if `stop` does not fit the interval
        if self.checkpoints is not None:
            checked_url(self.checkpoints)
        if isinstance(trainable := as_trainable(self.trainable), ChecksSpace):
            trainable.check_space(cast(Space, self.algorithm.space), self.budget)
        if isinstance(self.algorithm, Distilling) and self.algorithm.distills:
            check_distill(trainable)
        checked_sinks(self.sinks)  # raises a UsageError if one is not a sink, before there is a run directory

    @property
    def budget(self) -> int | None:
        """Steps per lineage that `stop` allows; None if only a score or a time ends the run."""
        return None if self.stop is None else stops.budget(self.stop, interval_of(self.algorithm))

    @property
    def sign(self) -> int:
        """1 if scores are maximised, -1 if the user minimises."""
        return -1 if self.mode == "min" else 1


def load(path: str | Path, argv: Sequence[str] = ()) -> Experiment:
    """Returns the ``experiment`` that a Python file exposes. It runs the file, which is the user's own code.

    Args:
        argv: what the file finds in ``sys.argv[1:]``, now and in worker processes.

    Raises:
        UsageError: the file does not exist, it raises an error (stated with file and line), or it exposes no `Experiment`.
    """
    path = Path(path)
    if not path.is_file():
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.py")]) if path.parent.is_dir() else ""
        raise UsageError(f"no experiment file {str(path)!r}.{near}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # the file may import its neighbours, and workers import it by its name
    sys.argv = [str(path), *argv]
    try:
        names = vars(_import(path))
    except SyntaxError as error:
        raise UsageError(f"{error.filename or path}:{error.lineno}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == path.name]
        line = f":{frames[-1].lineno}" if frames else ""
        message = str(error) if isinstance(error, UsageError) else named(error)
        if isinstance(error, ModuleNotFoundError):
            message += f"; is it installed in the environment of poptrain ({sys.prefix})?"
        if not argv and isinstance(error, IndexError) and "argv" in _line_of(error):
            message += '; pass what the file finds in sys.argv by --args: --args "A B"'
        raise UsageError(f"{path}{line}: {message}") from error
    found: object = names.get("experiment")
    if not isinstance(found, Experiment):
        near = did_you_mean("experiment", [name for name, value in names.items() if isinstance(value, Experiment)])
        got = "has no `experiment`" if found is None else f"has an `experiment` that is {type(found).__name__}"
        raise UsageError(f"{path}: {got}; expected experiment = pt.Experiment(algorithm=…, trainable=…, stop=…).{near}")
    return found


def _line_of(error: BaseException) -> str:
    """Returns the line of code that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""


def _import(path: Path) -> ModuleType:
    """Returns the file as a module under its own name, so that worker processes can import what it defines."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file: the name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def file_record(
    file: Path, directory: str | Path, options: Mapping[str, Json], argv: Sequence[str] = (), folder: Path | None = None
) -> dict[str, Json]:
    """Returns the log's entry about an experiment file: its hash, the options, and its path and that of the directory in which it
    is executed, both relative to the run directory.

    Args:
        argv: the arguments that the file was run with, without its own name; `load` gives them to the file again.
        folder: the directory in which it is executed; None: the current one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    arguments: dict[str, Json] = {"argv": list(argv)} if argv else {}
    name, started_in = (seen_from(directory, place) for place in (file.resolve(), folder or Path.cwd()))
    return {"name": name, "sha256": file_hash(file), "options": given, **arguments, "folder": started_in}


def seen_from(directory: str | Path, place: Path) -> str:
    """Returns a place relative to the directory of a run, as its log keeps it: both may move together."""
    return Path(os.path.relpath(place, Path(directory).resolve())).as_posix()


def overriding(run: RunT) -> RunT:
    """Returns `run`, called with an `Experiment` of which what else is given is replaced: ``run(experiment, seed=3)``."""
    names = [each.name for each in fields(Experiment) if each.name != "algorithm"]
    optional = {"trainable", *(each.name for each in fields(Experiment) if each.default is None)}  # None means: not given

    @wraps(run)
    def call(*args: object, **named: object) -> object:
        given = {**dict(zip(("algorithm", "trainable"), args, strict=False)), **named}
        experiment = given.pop("algorithm", None)
        if not isinstance(experiment, Experiment):
            return run(*args, **named)
        changes: Json = {name: given.pop(name) for name in names if name in given}
        changes = {name: value for name, value in changes.items() if value is not None or name not in optional}
        return run(replace(experiment, **changes) if changes else experiment, *args[2:], **given)

    return cast(RunT, call)


def script_of(experiment: Experiment) -> Path | None:
    """Returns the script that Python runs, if it exposes this experiment, and if its arguments may be kept; else None."""
    main = sys.modules.get("__main__")
    file = Path(getattr(main, "__file__", None) or "")
    if secret_in(sys.argv[1:]) is not None or getattr(main, "experiment", None) is not experiment:
        return None
    return file if file.suffix == ".py" and file.is_file() else None


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
