"""The house keeps itself: imports run one way, algorithms are pure, optional packages stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "poptrain"
FILES = sorted(SOURCE.rglob("*.py"))

# What each room may import from the package (prefixes below poptrain.); a room is the longest prefix that matches a module.
BASE = {"core", "core.rng", "space", "core.errors"}
DISK = BASE | {
    "log.disk",
    "core.clock",
    "checkpoints.carry",
    "log.codec",
    "log.reader",
    "log.writer",
    "checkpoints.store",
    "checkpoints.memory",
    "checkpoints.url_files",
    "checkpoints.url",
    "checkpoints.places",
}
MAY_IMPORT = {
    "core.errors": set(),
    "core": {"core.errors"},
    "core.rng": {"core.errors"},
    "space": BASE,
    "core.clock": {"core.errors"},
    "core.collector": set(),
    "log.disk": {"core.errors", "core.clock"},
    "checkpoints.carry": {"core.errors"},
    "log.codec": {"core", "core.errors"},
    "log.reader": {"core", "core.errors", "log.disk", "core.clock", "log.codec"},
    "log.writer": {"core", "core.errors", "log.disk", "core.clock", "log.codec", "log.reader"},
    "checkpoints.store": {"core", "core.errors", "log.disk", "checkpoints.carry"},
    "checkpoints.memory": {"core", "core.errors", "log.disk", "checkpoints.carry", "checkpoints.store"},
    "checkpoints.url_files": {"core.errors", "log.disk"},
    "checkpoints.url": {"core.errors", "log.disk", "checkpoints.url_files", "checkpoints.store"},
    "checkpoints.places": {
        "core.errors",
        "log.reader",
        "checkpoints.store",
        "checkpoints.memory",
        "checkpoints.url_files",
        "checkpoints.url",
    },
    "engine.tracebacks": {"log.disk", "core.errors"},
    "core.fingerprint": {"core.errors"},
    "statistics": {"core.errors", "core.rng"},
    "_jax": {"core.errors"},
    "parts": BASE | {"parts"},
    "algorithms": BASE | {"parts", "algorithms"},
    "engine.stop": BASE | {"algorithms.parts.turns"},
    "trainable": {"core", "core.errors", "core.fingerprint"},
    "engine.signals": {"core.errors"},
    "executors": BASE
    | {
        "core.clock",
        "core.collector",
        "checkpoints.carry",
        "trainable",
        "checkpoints.store",
        "checkpoints.memory",
        "executors",
        "_jax",
        "log.disk",
        "engine.tracebacks",
    },
    "views": DISK | {"views", "core.fingerprint", "statistics", "algorithms.fire.curves"},
    "plots": DISK | {"views", "plots", "statistics"},
    "report": DISK | {"views", "report"},
    "sinks": DISK | {"views", "plots", "sinks"},
    "rl": BASE | {"rl", "_jax", "trainable", "core.clock", "checkpoints.carry"},
    "engine.experiment": BASE | {"engine.stop", "trainable", "executors", "checkpoints.url_files"},
    "engine.result": DISK | {"executors.adapters", "views", "trainable"},
    "engine.open_log": DISK | {"core.fingerprint", "engine.experiment", "trainable"},
    "engine.replay": DISK | {"algorithms", "parts", "engine.stop", "engine.experiment", "engine.result", "engine.loop", "views"},
    "audit.recompute": DISK,
    "audit.verdict": set(),
    "audit.verify": DISK
    | {
        "core.fingerprint",
        "engine.experiment",
        "engine.open_log",
        "audit.recompute",
        "engine.replay",
        "trainable",
        "audit.verdict",
    },
    "preflight": DISK | {"executors", "engine.experiment", "preflight", "trainable", "audit.verdict"},
    "engine.loop": DISK
    | {
        "core.collector",
        "executors",
        "engine.stop",
        "engine.experiment",
        "engine.open_log",
        "engine.result",
        "engine.signals",
        "sinks",
        "trainable",
        "engine.tracebacks",
    },
}
FREE = ("", "cli", "integrations", "testing", "__main__")  # they stand on top

OPTIONAL = {
    "jax": ("_jax", "rl", "executors.vectorized"),
    "matplotlib": ("plots",),
    "PIL": ("plots",),
    "plotly": ("report",),
    "envpool": ("rl",),
    "gymnasium": ("rl",),
    "ray": ("executors.ray", "integrations"),
    "mlflow": ("sinks",),
    "optuna": ("algorithms.optuna_search",),
    "tensorboardX": ("sinks",),
    "torch": ("integrations", "algorithms.optuna_search"),
    "stable_baselines3": ("integrations",),
    "fsspec": ("checkpoints.url_files",),
    "typer": ("cli",),
    "rich": ("cli",),
    "safetensors": ("checkpoints.store", "integrations"),
}
IMPURE = {"os", "pathlib", "logging", "time", "random", "threading", "io", "subprocess", "socket"}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room_of(module: str, rooms) -> str | None:
    fitting = [room for room in rooms if room == "" or module == room or module.startswith(room + ".")]
    return max(fitting, key=len, default=None) if module else ""


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_one_way(path):
    module = module_name(path)
    if room_of(module, FREE) and room_of(module, FREE) != "" or module in ("",):
        return
    room = room_of(module, MAY_IMPORT)
    assert room is not None, f"{module} has no place in the house: add its room to MAY_IMPORT"
    for name in imports(path):
        if name == "poptrain" or not name.startswith("poptrain."):
            continue
        inner = name.removeprefix("poptrain.")
        allowed = MAY_IMPORT[room] | {room}
        assert any(inner == part or inner.startswith(part + ".") for part in allowed), f"{module} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_optional_packages_stay_in_their_rooms(path):
    module = module_name(path)
    for name in imports(path):
        package = name.split(".")[0]
        if package in OPTIONAL:
            rooms = OPTIONAL[package]
            assert any(module == room or module.startswith(room + ".") for room in rooms), f"{module} imports {package}"


@pytest.mark.parametrize("path", [p for p in FILES if module_name(p).split(".")[0] in ("algorithms", "parts")], ids=module_name)
def test_algorithms_are_pure(path):
    used = {name.split(".")[0] for name in imports(path)}
    assert not used & IMPURE
    assert "np.random.seed" not in path.read_text() and "default_rng" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_is_unpickled_or_evaluated(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name.split(".")[0] not in ("pickle", "cloudpickle", "dill", "marshal", "shelve")
            assert name not in ("eval", "exec", "torch.load", "numpy.load", "np.load")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_small_and_say_what_they_are(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 420, "split the file, or argue for it in docs/decisions.md and raise this number"
    assert ast.get_docstring(ast.parse(text)), "a module begins with what it is"


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

    for name in poptrain.__all__:
        assert getattr(poptrain, name).__doc__, name


def test_names_are_loaded_when_they_are_used_and_functions_hide_their_modules():
    code = (
        "import sys, poptrain as pt; assert not {m for m in sys.modules if m.startswith('poptrain.')}, sys.modules\n"
        "import poptrain.run, poptrain.rng, poptrain.verify\n"  # whoever loads the modules, in whatever order
        "from poptrain import rng, run, verify, replay\n"
        "assert all(callable(f) for f in (rng, run, verify, replay, pt.run, pt.rng, pt.verify, pt.replay))\n"
        "assert set(pt.__all__) | set(pt._MODULES) <= set(dir(pt))\n"
        "assert pt.run is sys.modules['poptrain.run'].run and pt.errors.UsageError is pt.UsageError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_itself_can_be_sent_to_another_process():
    import pickle

    import poptrain

    assert pickle.loads(pickle.dumps(poptrain)) is poptrain
