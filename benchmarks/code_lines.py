"""How many lines of code a program has, and the programs and limits that `adapters` and `adapters_ray` share.

``snippets/before/`` has programs that train without poptrain, and ``snippets/`` the same programs with it.
"""

from __future__ import annotations

import ast
from difflib import SequenceMatcher
from pathlib import Path

SNIPPETS = Path(__file__).parent / "snippets"
MOST, RAY = 15, 35  # lines: the target, and what the same task takes with Ray Tune alone

ON_TOP = {"torch_member": 12, "trainer": 10, "lightning_module": 10, "keras_model": 10, "command_line": 3}  # lines, at most


def lines_on_top(snippet: str) -> int:
    """Returns how many lines of a program are not in the program that trains without poptrain, wherever they are indented."""
    before, after = SNIPPETS / "before" / f"{snippet}.py", SNIPPETS / f"{snippet}.py"
    old, new = (code_of(path.read_text()) if path.exists() else [] for path in (before, after))
    kept = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return len(new) - sum(block.size for block in kept)


def code_lines(text: str) -> int:
    """Returns the number of lines that hold code: no blank lines, comments or docstrings.

    >>> code_lines('"doc"\\n\\nx = 1  # one\\n# two\\nprint(\\n    x,\\n)\\n')
    4
    """
    return len(code_of(text))


def code_of(text: str) -> list[str]:
    """Returns the lines that hold code, without their indentation."""
    tree = ast.parse(text)
    documentation: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            documentation |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), start=1)
    code = [line.strip() for number, line in lines if number not in documentation]
    return [line for line in code if line and not line.startswith("#")]
