"""``poptrain dashboard``: a live page about runs, in the browser."""

from __future__ import annotations

import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from poptrain.cli.show import say
from poptrain.core.errors import UsageError

TURN = 0.001  # seconds after which a thread that reads or draws lets one that answers go on; Python's own is 0.005


def dashboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN…]", help="Directories of runs, or of such directories. [default: runs]", show_default=False),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="The port on this machine; 0: any free one.", min=0, max=65535)
    ] = 0,
    open: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True, help="End when standard input ends.")] = False,
) -> None:
    """Watch runs live in the browser: members, curves, family tree, failures."""
    from poptrain.dashboard.server import Serving

    paths = runs or [Path("runs")]
    for path in paths:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{str(path)!r} is a file: pass the directory of a run.")
    serving = Serving(paths, port)
    sys.setswitchinterval(TURN)
    if with_parent:
        threading.Thread(target=_end_with_parent, args=(serving,), daemon=True).start()

    def ready() -> None:
        say(f"dashboard: {serving.address}")
        if not with_parent:
            say("Only this machine can open it. Ctrl-C ends it; the runs go on.")
        sys.stdout.flush()
        if open and sys.stdout.isatty():
            threading.Thread(target=webbrowser.open, args=(serving.address,), daemon=True).start()

    with suppress(KeyboardInterrupt):
        serving.run(ready)


def _end_with_parent(serving: object) -> None:
    sys.stdin.buffer.read()
    serving.stop()  # type: ignore[attr-defined]
