"""Benchmarks run rarely, so a name that moved inside the package must not be missed until then."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


def defined(path: Path) -> set[str]:
    """Returns the names that a module defines or imports at any level."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_every_name_that_a_benchmark_imports_from_the_package_is_in_that_module():
    missing = []
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("poptrain."):
                continue
            module = SOURCE / node.module.replace(".", "/")
            if module.is_dir():  # a package: a module of it, or what it offers (some offer names when they are asked for)
                continue
            names = defined(module.with_suffix(".py"))
            missing += [f"{path.name}: {node.module}.{alias.name}" for alias in node.names if alias.name not in names]
    assert not missing
