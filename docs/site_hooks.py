"""For `make docs`: the reference lists public names (``::: poptrain.pbt``); this hook finds the module that defines each of them.

The package loads its names when they are first used, so a tool that only reads the sources cannot follow them. Names of modules
that need a missing optional package are left as they are, because these modules define their names directly.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

NAME = re.compile(r"^::: (poptrain(?:\.\w+)+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with every public name replaced by the place of its definition; its heading stays the public name."""
    return NAME.sub(lambda match: directive(match[1]), markdown)


def directive(public: str) -> str:
    shown = public.replace("poptrain.", "pt.", 1) if not public.startswith("poptrain.integrations") else public
    return f'::: {defined(public)}\n    options:\n      heading: "{shown}"\n      toc_label: "{shown}"\n'


def defined(public: str) -> str:
    """Returns the path of the definition of a public name."""
    module, _, name = public.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except ImportError:
        return public
    if inspect.ismodule(found):
        return found.__name__
    home, own = getattr(found, "__module__", None), getattr(found, "__qualname__", name)
    return f"{home}.{own}" if home and hasattr(import_module(home), name) else public
