"""Where a new run may begin. It deletes checkpoints that no log names, so no other files may have the names that it uses."""

from __future__ import annotations

from pathlib import Path

from poptrain.core.errors import UsageError
from poptrain.log.disk import default as disk

OWN = ("checkpoints", "errors", "output", "trash", "digest.json")  # what a run makes after the first line of its log
BEGUN = ("lock", "log-000001.jsonl", "log.reserve")  # what is left if a crash interrupts its creation


def check_new_place(directory: str | Path) -> None:
    """Raises a `UsageError` if a directory without a run holds files that a new run would take for its own, or lie among.

    Args:
        directory: it need not exist.
    """
    home = Path(directory).resolve()
    if not home.is_dir():
        return
    names = disk.list(home)
    taken = [name for name in OWN if name in names and not _empty(home / name)]
    if taken:
        raise UsageError(
            f"directory={str(directory)!r} has {taken[0]!r} in it, but no log of a run: a new run would replace what is "
            "there. Use an empty or a new directory."
        )
    others = [name for name in names if name not in (*OWN, *BEGUN)]
    if others and Path.cwd().is_relative_to(home):
        where = "the current directory" if Path.cwd() == home else "above the current directory"
        raise UsageError(
            f"directory={str(directory)!r} is {where}, and holds other files, such as {others[0]!r:.80}: use a directory "
            "of its own, for example 'runs/first'."
        )


def _empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not disk.list(path)
