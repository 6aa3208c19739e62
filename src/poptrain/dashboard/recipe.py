"""The code that trains with a schedule: what the page offers to copy."""

from __future__ import annotations

from pathlib import Path

from poptrain.core.commands import poptrain
from poptrain.views import Schedule


def start_command(directory: Path) -> str:
    """Returns the command that begins a run in a directory."""
    return poptrain("run", "experiment.py", "--dir", directory)


def recipe(directory: Path, schedule: Schedule) -> list[dict[str, str]]:
    """Returns ways to train with a schedule again, each with a title and the text of a command or program."""
    task = schedule.task
    python = (
        "import poptrain as pt\n\n"
        f"run = pt.open_run({str(directory)!r})\n"
        f"schedule = run.schedule(task={task})\n"
        "hp = schedule.at(0)                      # at any step of your own training loop\n\n"
        f'again = pt.replay({str(directory)!r}, train, seed=1, directory="runs/replay")   # train: your trainable\n'
    )
    return [
        {"title": "Command line", "text": poptrain("replay", directory, "--task", task)},
        {"title": "Is it worth it?", "text": poptrain("replay", directory, "--task", task, "--worth", 5)},
        {"title": "Python", "text": python},
        {"title": "As a file", "text": f"{poptrain('schedule', directory, '--task', task, '--csv')} > schedule.csv"},
    ]
