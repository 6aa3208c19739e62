"""The documents work: every Python block is run as a script, every link leads somewhere, every public name is listed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "AGENTS.md", "llms.txt")),
    *sorted(DOCS.rglob("*.md")),
]
REPOSITORY = "https://github.com/poptrain/poptrain"
FILES_THERE = (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/raw/main/")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EVALUATES = """
import poptrain as _pt
from poptrain.preflight.lab import Job as _Job, Lab as _Lab
_run = _pt.run

def _evaluated(what, trainable=None, *, metric="score", executor="inline", **options):  # a task of 0 steps, before the run
    if isinstance(what, _pt.Experiment):
        algorithm, trainable, metric, executor = what.algorithm, what.trainable, what.metric, what.executor
        passed = (what,)
    else:
        algorithm, passed, options = what, (what, trainable), options | {"metric": metric, "executor": executor}
    import pathlib, tempfile
    with tempfile.TemporaryDirectory() as folder:
        lab = _Lab(trainable, metric, pathlib.Path(folder), static=algorithm.space.static_names, executor=executor, lanes=1)
        hparams = algorithm.space.sample(_pt.rng(0, "docs"))
        (probe,) = lab.train([_Job(hparams, 0, 0)])
        assert probe.ok, f"0 steps: {probe.result.error}"
        lab.close()
    return _run(*passed, **options)

_pt.run = _evaluated
"""  # comes before the blocks of a page: what they train can also be evaluated without training
AGENTS = ("cem_rl", "ddpg", "erl", "p3s", "ppo", "sac", "svpg", "td3", "vmpo")
HEAVY = {
    "docs/algorithms/optuna_search.md": "Optuna",
    "docs/guides/tracking.md": "mlflow and tensorboardX",
    "docs/guides/torch.md": "torch",
    "docs/guides/sb3.md": "Stable-Baselines3",
    "docs/guides/transformers.md": "Transformers",
    "docs/guides/lightning.md": "Lightning",
    "docs/guides/keras.md": "Keras",
    "docs/guides/nnx.md": "Flax",
    "docs/guides/ray_tune.md": "Ray",
    "docs/guides/rllib.md": "RLlib",
    **{f"docs/algorithms/rl/{name}.md": "time: JAX is loaded" for name in AGENTS},
}  # pages whose blocks need an optional package of `make test-all`, or the time of it
LONG = (
    "docs/algorithms/bg_pbt.md",
    "docs/algorithms/fire_pbt.md",
    "docs/guides/compare.md",
    "docs/guides/export.md",
    "docs/guides/plot.md",
    "docs/guides/rl.md",
    "docs/start/first_run.md",
)
ROOMS = ("executors", "plots", "report", "rl", "sinks", "statistics", "testing", "views")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> str:
    return "\n".join(BLOCK.findall(page.read_text()))


def pages():
    for page in PAGES:
        if blocks(page):
            marks = [pytest.mark.heavy] if name_of(page) in (*HEAVY, *LONG) else []
            yield pytest.param(page, id=name_of(page), marks=marks)


@pytest.mark.parametrize("page", list(pages()))
def test_every_python_block_runs(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text(EVALUATES + blocks(page))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_heavy_pages_exist():
    assert all((ROOT / name).exists() for name in (*HEAVY, *LONG))


def test_every_link_leads_somewhere():
    """Also the absolute ones into the repository."""
    broken = []
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
            for prefix in FILES_THERE:
                if target.startswith(prefix) and not (ROOT / target.removeprefix(prefix)).exists():
                    broken.append(f"{name_of(page)} links to {target}")
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{name_of(page)} links to {target}")
    assert not broken, "\n".join(broken)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


def test_the_readme_works_in_a_checkout_and_on_a_package_index():
    """Its links are relative, so that a checkout shows its pictures; the build makes them absolute (see also smoke_wheel.py)."""
    text = (ROOT / "README.md").read_text()
    here = [target for target in links(text) if "://" not in target]
    assert len(here) > 20 and not any(target.startswith(REPOSITORY) for target in links(text))
    for rule in project()["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    there = [f"{REPOSITORY}/{'raw' if name.endswith(('.png', '.webp')) else 'blob'}/main/{name}" for name in here]
    assert set(there) <= set(links(text)) and all(target.startswith("https://") for target in links(text))


def test_the_install_page_lists_every_extra_and_no_other():
    page = (DOCS / "start" / "install.md").read_text()
    listed = {name for row in re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)}
    listed |= set(re.findall(r"`([\w-]+)`", re.search(r"For work on poptrain itself.*?;", page, re.DOTALL)[0]))
    assert listed == set(project()["project"]["optional-dependencies"])


def test_every_extra_that_is_named_anywhere_exists():
    extras = set(project()["project"]["optional-dependencies"])
    files = [*PAGES, *sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]
    texts = [text for file in files for text in re.findall(r"'(?:poptrain|\.)\[([\w,-]+)\]'", file.read_text())]
    named = {name for text in texts for name in text.split(",")}
    assert len(named) > 10 and not named - extras


def test_the_metadata_names_the_same_repository():
    urls = project()["project"]["urls"]
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    assert f"repository-code: {REPOSITORY}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_file_that_is_named_exists():
    missing = []
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|examples|benchmarks|docs)/[\w./-]+\.(?:py|md|json|png))`", page.read_text()):
            if not (ROOT / name).exists():
                missing.append(f"{name_of(page)} names {name}")
        rooms = "|".join(each.name for each in (ROOT / "src/poptrain").iterdir() if each.is_dir())
        for name in re.findall(rf"`((?:{rooms})/(?:[\w]+/|[\w/]+\.py))`", page.read_text()):  # of what is in the package
            if page.name != "decisions.md" and not (ROOT / "src/poptrain" / name).exists():
                missing.append(f"{name_of(page)} names {name}")
    assert not missing, "\n".join(missing)


def test_every_algorithm_is_shown_in_a_page_of_its_own_or_of_its_relatives():
    from poptrain import algorithms

    text = "\n".join(page.read_text() for page in PAGES if REFERENCE not in page.parents)
    assert all(f"pt.{name}(" in text or f"`pt.{name}`" in text for name in algorithms.__all__)


def public(module: str) -> list[str]:
    """Returns the public names of a module: those that it lists, else those that it defines."""
    made = importlib.import_module(module)
    own = [name for name, value in vars(made).items() if name[0] != "_" and getattr(value, "__module__", "") == module]
    return list(getattr(made, "__all__", own))


def referenced() -> list[str]:
    """Returns the names in the reference, from which `make docs` generates signatures and texts."""
    text = "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))
    return re.findall(r"^::: poptrain\.([\w.]+)$", text, re.MULTILINE)


def exists(name: str) -> bool:
    """True if a name of the reference can be reached from the package."""
    found = importlib.import_module("poptrain")
    for part in name.split("."):
        try:
            found = getattr(found, part) if hasattr(found, part) else importlib.import_module(f"{found.__name__}.{part}")
        except (ModuleNotFoundError, AttributeError):
            return False
    return True


@pytest.mark.parametrize("room", ["", *ROOMS], ids=lambda room: room or "poptrain")
def test_every_public_name_is_in_the_reference(room):
    listed = set(referenced())
    missing = [name for name in public(f"poptrain.{room}".rstrip(".")) if f"{room}.{name}".lstrip(".") not in listed]
    assert not missing, f"docs/reference lacks {', '.join(f'::: poptrain.{room}.{name}'.replace('..', '.') for name in missing)}"


def test_the_reference_names_nothing_that_is_gone_and_nothing_twice():
    listed = referenced()
    assert len(listed) > 100 and len(listed) == len(set(listed))
    gone = [name for name in listed if not name.startswith("integrations") and not exists(name)]
    assert not gone, f"docs/reference lists {gone}"


@pytest.mark.heavy
def test_the_integrations_in_the_reference_exist(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # its default, TensorFlow, is not installed
    names = [name for name in referenced() if name.startswith("integrations")]
    assert len(names) > 10 and not [name for name in names if not exists(name)]


def test_every_room_that_the_package_opens_is_in_the_reference():
    import poptrain

    assert set(poptrain._MODULES) == {*ROOMS, "errors", "parts"}
    assert {"errors", "parts", "core.protocols.Algorithm"} <= set(referenced())


def test_every_verb_is_documented():
    from poptrain.cli.app import VERBS

    text = (REFERENCE / "cli.md").read_text()
    assert len(VERBS) > 8 and not [verb for verb in VERBS if f"`poptrain {verb}" not in text]


def test_every_page_is_in_the_navigation_of_the_site():
    text = (ROOT / "mkdocs.yml").read_text()
    assert not [path for page in DOCS.rglob("*.md") if f" {(path := page.relative_to(DOCS).as_posix())}\n" not in text]


@pytest.mark.heavy
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_a_network(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    warned = re.search(r"^WARNING", done.stderr, re.MULTILINE)  # a line of the log; the theme's notices only name a variable so
    assert done.returncode == 0 and not warned, done.stderr  # (with --quiet, strict counts no warnings)
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) >= len(list(DOCS.rglob("*.md")))
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^\s\">]+")
    assert not [(page.name, found) for page in built for found in loaded.findall(page.read_text())]
    signatures = (tmp_path / "site" / "reference" / "algorithms.html").read_text()
    assert signatures.count('class="doc doc-heading"') >= len(public("poptrain.algorithms"))
