"""The video of ``poptrain export``: the best policy at work, drawn by the trainable's own `render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from poptrain.cli import start
from poptrain.core.errors import UsageError
from poptrain.engine.result import Run, Standing
from poptrain.log.reader import Record
from poptrain.trainable import as_trainable, origin


def write_video(record: Record, run: Run, directory: Path, source: Path | None, out: Path, final: bool) -> None:
    """Writes a GIF of one episode of the best policy. It needs the trainable, so the experiment file is executed.

    Raises:
        UsageError: there is no experiment file, or what it trains cannot be drawn.
    """
    recorded = record.file if isinstance(record.file, Mapping) else {}
    if source is None and not recorded.get("name"):
        raise UsageError("--video draws with the trainable of the experiment file, and this run has none: give --source FILE.")
    file = start.outside(start.recorded_file(directory, recorded) if source is None else source, directory)
    trainable = start.load(file, {}, record.run.get("seed")).trainable
    hook = getattr(origin(trainable), "render", None)
    if not callable(hook):
        name = getattr(origin(trainable), "__qualname__", type(origin(trainable)).__name__)
        raise UsageError(
            f"{name} cannot be drawn: it has no render(carry, hparams, seed) that yields pictures; see docs/export.md."
        )
    from poptrain.plots.video import write_gif

    run = Run(run.record, run.history, run.store, as_trainable(trainable))
    write_gif(_frames(trainable, hook, run.final_best if final else run.best), out)


def _frames(trainable: Any, hook: Any, standing: Standing) -> Iterator[Any]:
    if isinstance(trainable, type):
        return standing.load().render(standing.task.seed)
    return hook(standing.load(), standing.hparams, standing.task.seed)
