"""``poptrain mcp``: runs for programs, over the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poptrain.core.errors import UsageError


def mcp(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR…]", help="Directories of runs, or that contain runs. [default: runs]", show_default=False),
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Offer the tools suspend, resume and extend too.")
    ] = False,
) -> None:
    """Answer programs about runs, over standard input and output (MCP)."""
    for root in roots or ():
        if not root.is_dir():
            raise UsageError(f"{str(root)!r} is not a directory: pass the directory of a run, or one that contains runs.")
    from poptrain.integrations.mcp.server import server

    server(roots or [Path("runs")], allow_changes).run()
