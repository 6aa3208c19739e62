"""The video of ``poptrain export``: one episode of the best policy, drawn by the trainable's own `render`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from poptrain.cli import start
from poptrain.core import Carry, Hparams
from poptrain.core.errors import UsageError
from poptrain.engine.result import Run, Standing
from poptrain.log.reader import Record
from poptrain.trainable import as_trainable, origin

Render = Callable[[Carry, Hparams, int], Iterable[np.ndarray]]  # (carry, hparams, seed) -> pictures


def write_video(record: Record, run: Run, directory: Path, source: Path | None, out: Path, final: bool) -> None:
    """Writes a GIF of one episode of the best policy. It needs the trainable, so the experiment file is executed.

    Raises:
        UsageError: there is no experiment file, or its trainable cannot be drawn.
    """
    recorded = start.recorded_about_file(record)
    if source is None and not recorded.get("name"):
        raise UsageError("--video needs an experiment file, and this run was not started from one: pass --experiment FILE.")
    chosen = start.chosen(directory, record, source)
    trainable = start.load(chosen.file, {}, record.run.get("seed"), chosen.argv, chosen.folder).trainable
    render = getattr(origin(trainable), "render", None)
    if not callable(render):
        name = getattr(origin(trainable), "__qualname__", type(origin(trainable)).__name__)
        raise UsageError(
            f"{name} cannot be drawn: it has no render(carry, hparams, seed) that yields pictures; see docs/guides/export.md."
        )
    from poptrain.plots.video import write_gif

    run = Run(run.record, run.history, run.store, as_trainable(trainable))
    write_gif(_frames(trainable, render, run.final_best if final else run.best), out)


def _frames(trainable: object, render: Render, standing: Standing) -> Iterable[np.ndarray]:
    """Returns the pictures of one episode; a member of a class draws itself."""
    member = standing.load()
    if isinstance(trainable, type):
        pictures: Iterable[np.ndarray] = member.render(standing.task.seed)
        return pictures
    return render(member, standing.hparams, standing.task.seed)
