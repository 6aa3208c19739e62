"""The house keeps itself: imports run one way, algorithms are pure, optional packages stay in their rooms, files are small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "poptrain"
FILES = sorted(SOURCE.rglob("*.py"))

# What each room may import from the package (prefixes below `poptrain.`). A file belongs to the longest room that fits it.
LOG = {"core", "space", "log"}
STORES = LOG | {"checkpoints"}
VIEWS = STORES | {"views", "statistics"}
MAY_IMPORT = {
    "core": {"core"},
    "space": {"core", "space"},
    "statistics": {"core"},
    "_jax": {"core"},
    "_renamed": set(),
    "trainable": {"core", "space", "trainable"},
    "log": {"_renamed", "core", "log"},
    "checkpoints": {"_jax", "_renamed", "core", "log.disk", "checkpoints"},
    "checkpoints.places": {"core", "log.reader", "checkpoints"},
    "algorithms": {"core", "space", "algorithms"},
    "executors": STORES | {"trainable", "executors", "_jax"},
    "views": VIEWS | {"algorithms.fire.curves"},
    "plots": VIEWS | {"plots"},
    "report": VIEWS | {"report"},
    "dashboard": VIEWS | {"dashboard"},
    "sinks": VIEWS | {"plots", "sinks"},
    "rl": {"core", "space", "checkpoints.carry", "trainable", "rl", "_jax"},
    "engine": VIEWS | {"dashboard.beside", "algorithms", "executors", "trainable", "sinks", "engine"},
    "audit": VIEWS | {"algorithms", "executors", "trainable", "engine", "audit"},
    "preflight": VIEWS | {"_jax", "executors", "trainable", "engine", "audit.verdict", "preflight"},
}
FREE = ("cli", "integrations", "testing", "__main__", "")  # they stand on top

OPTIONAL = {
    "jax": ("_jax", "rl", "executors.vectorized", "integrations.nnx"),
    "matplotlib": ("plots",),
    "PIL": ("plots", "rl"),
    "plotly": ("report",),
    "starlette": ("dashboard",),
    "uvicorn": ("dashboard",),
    "brax": ("rl",),
    "envpool": ("rl",),
    "gymnasium": ("rl", "integrations.sb3"),  # Stable-Baselines3 cannot be without it
    "ray": ("executors.ray", "integrations"),
    "mcp": ("integrations",),
    "mlflow": ("sinks",),
    "optuna": ("algorithms.optuna_search",),
    "tensorboardX": ("sinks",),
    "wandb": ("sinks",),
    "transformers": ("integrations",),
    "lightning": ("integrations",),
    "keras": ("integrations",),
    "flax": ("integrations",),
    "optax": ("integrations",),
    "torch": ("checkpoints.tensors", "integrations", "algorithms.optuna_search"),
    "stable_baselines3": ("integrations",),
    "fsspec": ("checkpoints.url_files",),
    "typer": ("cli",),
    "IPython": ("engine.screens",),
    "pandas": ("engine.frames", "engine.result", "engine.study"),
    "rich": ("cli",),
    "safetensors": ("checkpoints", "integrations"),
}
IMPURE = {"os", "pathlib", "logging", "time", "random", "threading", "io", "subprocess", "socket"}
PICKLES = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}  # `executors.by_value` sends code through a pipe, never to disk
LONGEST = 350  # lines of a file
MOST_ANY, MOST_UNFORMATTED = 300, 20  # uses of `Any`, and of `fmt: skip`, in all of src
EVALUATES = {"eval", "exec", "torch.load", "numpy.load", "np.load"}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yields all statements below a node; expressions, which are most of a tree, hold none."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        inside = getattr(node, field, ())
        for child in inside if isinstance(inside, list) else ():  # the body of a lambda is no list
            yield child
            yield from statements(child)


@cache
def imports(path: Path) -> tuple[str, ...]:
    names = []
    for node in statements(tree_of(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return tuple(names)


def within(module: str, rooms) -> bool:
    """True if a module is one of the rooms, or in one."""
    return any(module == room or module.startswith(room + ".") for room in rooms)


def room_of(module: str) -> str | None:
    """Returns the room that a module belongs to; None if it has no place in the house."""
    if not module or module.split(".")[0] in FREE:
        return ""
    return max((room for room in MAY_IMPORT if within(module, [room])), key=len, default=None)


def listed(offenders: Iterator[str]) -> None:
    """Fails with every offender, one on each line."""
    found = list(offenders)
    assert not found, "\n" + "\n".join(found)


MODULES = {module_name(path) for path in FILES}


def imported_module(name: str) -> str | None:
    """Returns the module that an import loads: `core.facts` for `poptrain.core.facts.Task`; None if it is not of the package."""
    if not name.startswith("poptrain."):
        return None
    name = name.removeprefix("poptrain.")
    return next((found for found in (name, name.rpartition(".")[0]) if found in MODULES), None)


def arrows(files: Mapping[str, Iterable[str]], room: str) -> dict[str, dict[str, str]]:
    """Returns the imports between the files and rooms directly in a room: from -> to -> one module that has the import.

    The package file of the room itself is left out: it stands for the whole room, and imports what the room offers.

    Args:
        files: by module, the modules that it imports anywhere: also in functions, and under TYPE_CHECKING.
        room: such as "executors"; "" for the rooms directly under `src/poptrain`.
    """

    def part(module: str) -> str:
        inside = module.startswith(f"{room}.") if room else True
        return module.removeprefix(f"{room}.").partition(".")[0] if inside else ""

    found: dict[str, dict[str, str]] = {}
    for module, targets in files.items():
        for target in targets:
            if part(module) and part(target) and part(module) != part(target):
                found.setdefault(part(module), {}).setdefault(part(target), module)
    return found


def circles(graph: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Yields one circle for each node that lies on one."""
    for start in graph:
        todo, seen = [[start]], set()
        while todo:
            way = todo.pop()
            for node in graph.get(way[-1], ()):
                if node == start:
                    yield [*way, start]
                    todo.clear()
                    break
                if node not in seen:
                    seen.add(node)
                    todo.append([*way, node])


def too_many(what: str, allowed: int) -> None:
    """Fails with the counts of a pattern in each file if there are more in all of src."""
    counts = {module_name(path): len(re.findall(what, path.read_text())) for path in FILES}
    most = sorted(((count, module) for module, count in counts.items() if count), reverse=True)
    total = sum(counts.values())
    assert total <= allowed, f"{total} of {allowed}:\n" + "\n".join(f"{count:4d} {module}" for count, module in most)


def test_imports_run_one_way():
    def offenders():
        for path in FILES:
            module, room = module_name(path), room_of(module_name(path))
            if room is None:
                yield f"{module} has no place in the house: add its room to MAY_IMPORT"
            for name in imports(path):
                if name.startswith("."):
                    yield f"{module} imports {name}: imports are absolute"
                elif room and name.startswith("poptrain.") and not within(name.removeprefix("poptrain."), MAY_IMPORT[room]):
                    yield f"{module} must not import {name}"

    listed(offenders())


def test_optional_packages_stay_in_their_rooms():
    listed(
        f"{module_name(path)} imports {name}"
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] in OPTIONAL and not within(module_name(path), OPTIONAL[name.split(".")[0]])
    )


def test_algorithms_are_pure():
    def offenders():
        for path in FILES:
            if module_name(path).split(".")[0] == "algorithms":
                yield from (f"{module_name(path)} imports {name}" for name in imports(path) if name.split(".")[0] in IMPURE)
                text = path.read_text()
                yield from (f"{module_name(path)} uses {word}" for word in ("np.random.seed", "default_rng") if word in text)

    listed(offenders())


def test_nothing_is_unpickled_or_evaluated():
    named = re.compile(rf"\b({'|'.join(PICKLES | {name.rpartition('.')[2] for name in EVALUATES})})\b")

    def offenders():
        for path in FILES:
            for node in ast.walk(tree_of(path)) if named.search(path.read_text()) else ():
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    if name.split(".")[0] in PICKLES or name in EVALUATES:
                        yield f"{module_name(path)} line {node.lineno} calls {name}"

    listed(offenders())


def test_files_are_small_and_say_what_they_are():
    def offenders():
        for path in FILES:
            if (lines := len(path.read_text().splitlines())) > LONGEST:
                yield f"{module_name(path)} has {lines} lines: split it, or argue for it in docs/decisions.md"
            if not ast.get_docstring(tree_of(path)):
                yield f"{module_name(path)}: a module begins with what it is"

    listed(offenders())


def test_any_is_for_what_is_the_users_own():
    too_many(r"\bAny\b", MOST_ANY)


def test_the_formatter_has_its_way():
    too_many("fmt: skip", MOST_UNFORMATTED)


def test_nothing_is_imported_in_a_circle():
    """Neither rooms, nor the files of a room, nor the rooms in a room."""

    def offenders():
        files = {
            module_name(path): {target for name in imports(path) if (target := imported_module(name))}
            for path in FILES
            if module_name(path)
        }
        rooms = {module_name(path) for path in FILES if path.name == "__init__.py"}
        for room in sorted(rooms):
            graph = arrows(files, room)
            for circle in circles(graph):
                yield f"{room or 'poptrain'}: {' -> '.join(circle)} ({', '.join(graph[a][b] for a, b in pairwise(circle))})"

    listed(offenders())


def test_circles_are_found():
    assert list(circles({"a": ["b", "c"], "b": ["c"], "c": []})) == []
    assert [circle[0] for circle in circles({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []})] == ["b", "c"]


def test_imports_within_a_room_are_seen():
    files = {"a.x": ["a.y", "b"], "a.y": ["a.in.z"], "a.in.z": ["a.x"], "b": ["a"], "a": ["a.x"]}
    assert arrows(files, "") == {"a": {"b": "a.x"}, "b": {"a": "b"}}
    assert arrows(files, "a") == {"x": {"y": "a.x"}, "y": {"in": "a.y"}, "in": {"x": "a.in.z"}}
    assert [circle[0] for circle in circles(arrows(files, "a"))] == ["x", "y", "in"]
    assert imported_module("poptrain.core.facts.Task") == "core.facts" and imported_module("poptrain.core.facts") == "core.facts"
    assert imported_module("numpy.typing") is None


def test_no_public_name_hides_a_module():
    import poptrain

    listed(
        f"pt.{name} is in {home}, and poptrain.{name} is a module"
        for name, home in poptrain._HOME.items()
        if (SOURCE / name).exists() or (SOURCE / f"{name}.py").exists()
    )


def test_the_hall_has_few_doors():
    entries = [entry for entry in SOURCE.iterdir() if not entry.name.startswith("__pycache__")]
    assert len(entries) <= 26, sorted(entry.name for entry in entries)


def test_importing_poptrain_is_fast_and_loads_nothing_optional():
    code = (
        "import sys, time; t = time.thread_time(); import poptrain; s = time.thread_time() - t;"  # not BLAS threads that spin
        "loaded = {'jax','matplotlib','envpool','gymnasium','torch','ray','mlflow','optuna','scipy','typer','rich','fsspec'}"
        " & set(sys.modules);"
        "print(s, *sorted(loaded))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(3)]
    seconds = min(float(run.split()[0]) for run in runs)
    assert all(len(run.split()) == 1 for run in runs), runs[0]
    assert seconds < 0.3


def test_every_public_name_exists_and_has_a_docstring():
    import poptrain

    listed(name for name in poptrain.__all__ if not getattr(poptrain, name).__doc__)


def test_names_are_loaded_when_they_are_used():
    code = (
        "import sys, poptrain as pt\n"
        "assert {m for m in sys.modules if m.startswith('poptrain.')} <= {'poptrain._renamed'}, sys.modules\n"
        "from poptrain import rng, run, verify, replay\n"
        "assert all(callable(f) for f in (rng, run, verify, replay, pt.run, pt.rng, pt.verify, pt.replay))\n"
        "assert set(pt.__all__) | set(pt._MODULES) <= set(dir(pt))\n"
        "assert pt.run is sys.modules['poptrain.engine.loop'].run and pt.errors.UsageError is pt.UsageError\n"
        "assert pt.parts.turns.needed and pt.parts.explore.perturb is pt.perturb\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_loads_nothing_slow_that_it_does_not_need():
    def loaded(module: str, *names: str) -> list[str]:
        code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
        new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        return [name for name in names if name in new]

    assert loaded("poptrain", "importlib.abc", "importlib.resources", "tempfile", "shutil", "numpy") == []
    assert loaded("poptrain.cli.app", "numpy.typing", "poptrain.algorithms", "poptrain.engine", "poptrain.views") == []


@pytest.mark.parametrize("absent", [["torch", "stable_baselines3"], pytest.param([], marks=pytest.mark.heavy)])  # slow to load
def test_import_paths_of_the_first_version_still_work_and_functions_stay_functions(absent):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import warnings; warnings.simplefilter('error', DeprecationWarning)\n"
        "import poptrain as pt\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "from poptrain._renamed import MOVED\n"
        "from importlib import import_module\n"
        "doc = lambda name: import_module(f'poptrain.{name}').__doc__\n"
        "for old, new in MOVED.items():\n"
        "    try: expected = doc(new)\n"
        "    except pt.errors.MissingExtra: continue\n"  # its package is not here
        "    assert doc(old) == expected\n"
        "from poptrain.rng import rng, task_seed\n"
        "from poptrain.parts import rounds\n"
        "from poptrain.memory_store import MemoryStore\n"
        "from poptrain.errors import UsageError\n"
        "import poptrain.run, poptrain.replay, poptrain.verify\n"
        "from poptrain.checkpoints import Ref, Store\n"
        "from poptrain.log import Log, MemoryLog, exists, read\n"
        "from poptrain.parts.kernels import TimeVarying\n"
        "from poptrain.space.real import LogUniform\n"
        "from poptrain.algorithms.fire_pbt import FirePbt\n"
        "from poptrain.log.writer import Log as new\n"
        "from poptrain.checkpoints.store import DiskStore\n"
        "assert Log is new and Store is DiskStore and LogUniform is pt.LogUniform and callable(pt.algorithms.fire_pbt)\n"
        "assert not hasattr(pt.log, 'nothing') and not hasattr(pt.checkpoints, 'nothing')\n"
        "assert rounds.needed is pt.parts.turns.needed and UsageError is pt.UsageError\n"
        "assert pt.rng(1, 'a').random() == rng(1, 'a').random()\n"
        "try: pt.run(None, None)\n"
        "except pt.UsageError: pass\n"
        "try: import poptrain.nothing_of_this_name\n"
        "except ModuleNotFoundError: pass\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    warned = subprocess.run([sys.executable, "-W", "always", "-c", "import poptrain.rng"], capture_output=True, text=True)
    assert "poptrain.rng has moved: import poptrain.core.rng instead" in warned.stderr
    code = "from poptrain.log import read"
    warned = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert "<string>:1: DeprecationWarning: poptrain.log.read has moved: import read from poptrain.log.reader" in warned.stderr


@pytest.mark.heavy
def test_the_package_itself_can_be_sent_to_another_process():
    from ray import cloudpickle

    import poptrain

    assert cloudpickle.loads(cloudpickle.dumps(poptrain)) is poptrain
