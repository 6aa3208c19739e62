"""For `make docs`: the reference lists public names (``::: poptrain.pbt``); this hook finds the module that defines each of them.

The package loads its names when they are first used, so a tool that only reads the sources cannot follow them. Names of modules
that need a missing optional package are left as they are, because these modules define their names directly.
"""

from __future__ import annotations

import re
from importlib import import_module
from types import ModuleType
from typing import Any

NAME = re.compile(r"^::: (poptrain(?:\.\w+)+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with every public name replaced by the place of its definition; its heading stays the public name."""
    return NAME.sub(lambda match: directive(match[1]), markdown)


def directive(public: str) -> str:
    """Returns the lines that make mkdocstrings describe a public name."""
    try:
        found = look_up(public)
    except ImportError:
        found = None
    shown = public.replace("algorithms.parts.", "parts.").replace("poptrain.", "pt.", 1)
    if public.startswith(("poptrain.integrations", "poptrain.core")):
        shown = public  # imported by its full name
    lines = [f"::: {defined(public, found)}", "    options:", f'      heading: "{shown}"', f'      toc_label: "{shown}"']
    if isinstance(found, ModuleType):
        lines.append("      members: false")
    if hasattr(found, "_fields"):  # a named tuple: its fields are all that it has
        lines.append("      show_if_no_docstring: true")
    return "\n".join(lines) + "\n"


def look_up(path: str) -> Any:
    """Returns what a dotted path stands for, by attributes and, where there is none, by import."""
    first, *rest = path.split(".")
    found: Any = import_module(first)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            found = import_module(f"{found.__name__}.{part}")
    return found


def defined(public: str, found: Any) -> str:
    """Returns the path of the definition of what was found."""
    if isinstance(found, ModuleType):
        return found.__name__
    home, own = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    return f"{home}.{own}" if home and own and hasattr(import_module(home), own) else public
