"""How many lines of code a program has, and the programs and limits that `adapters` and `adapters_ray` share."""

from __future__ import annotations

import ast
from pathlib import Path

SNIPPETS = Path(__file__).parent / "snippets"
MOST, RAY = 15, 35  # lines: the target, and what the same task takes with Ray Tune alone


def code_lines(text: str) -> int:
    """Returns the number of lines that hold code: no blank lines, comments or docstrings.

    >>> code_lines('"doc"\\n\\nx = 1  # one\\n# two\\nprint(\\n    x,\\n)\\n')
    4
    """
    tree = ast.parse(text)
    documentation: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            documentation |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), start=1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in documentation for number, line in lines)
