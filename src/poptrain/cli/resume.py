"""``poptrain resume``: continue a run that was interrupted, or train a finished one further."""

from __future__ import annotations

import sys
from dataclasses import replace

from poptrain.cli import start
from poptrain.cli.show import Directory, JsonOption, console, say
from poptrain.engine import stop as stops
from poptrain.engine.experiment import file_hash, file_record
from poptrain.engine.replay import rebuilt
from poptrain.log.reader import read


def resume(
    directory: Directory,
    experiment: start.ExperimentOption = None,
    executor: start.ExecutorOption = None,
    steps: start.StepsOption = None,
    quiet: start.QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Continue an interrupted run, or a finished one with more --steps."""
    record = read(directory)
    recorded = start.recorded_about_file(record)
    chosen = start.chosen(directory, record, experiment)
    file, argv, folder = chosen.file, chosen.argv, chosen.folder
    options = chosen.options | {name: value for name, value in (("steps", steps), ("executor", executor)) if value is not None}
    loaded = start.load(file, options, record.run.get("seed"), argv, folder)
    if (schedule := rebuilt(record.run.get("algorithm"))) is not None:  # a replay: its file describes the original run
        length = record.budget if steps is None else steps
        stop = loaded.stop if length is None else stops.steps(length)
        loaded = replace(loaded, algorithm=schedule, stop=stop, checkpoints=None)
    if recorded.get("sha256") not in (None, file_hash(file)):
        say(f"warning: {file} has changed since the run was started with it", to=console(sys.stderr))
    if record.finished and record.budget is not None and (steps is None or steps <= record.budget):
        say(
            f"note: the run was already finished, at step {record.budget:,}; pass a larger --steps to train it further",
            to=console(sys.stderr),
        )
    start.perform(loaded, directory, file_record(file, directory, options, argv, folder), quiet, json, folder)
