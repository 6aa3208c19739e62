"""Finding runs in the file system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from poptrain.core.arguments import check_place
from poptrain.core.errors import PoptrainError, Suspended, Unreadable, UsageError
from poptrain.log.disk import FS, default


def exists(directory: Path | str, fs: FS = default) -> bool:
    """True if the directory holds a run, damaged or not. A run whose creation was interrupted does not count.

    Raises:
        Unreadable: the system does not let us read the log.
    """
    check_place("directory", directory)
    try:
        with only_reading():
            head = fs.read(Path(directory) / segment_name(1), 0, limit=1 << 16)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return b"\n" in head or len(head) == 1 << 16


def runs_in(directory: Path | str, depth: int = 1, *, links: bool = True, fs: FS = default) -> list[Path]:
    """Returns the run directories at or below a directory, sorted; a run is not searched for others.

    A run whose log may not be read counts as one, so that opening it says why. A directory that may not be searched, or is
    removed meanwhile, holds none: one bad entry hides no other.

    Args:
        directory: a run, or a directory of runs; it need not exist.
        depth: how many levels of directories are searched; 0: only the directory itself.
        links: also search directories that are links.
    """
    path = Path(directory)
    try:
        if not path.is_dir():
            return []
        if exists(path, fs):
            return [path]
        inside = fs.list(path) if depth else []
    except (PoptrainError, OSError):
        return [path] if fs.exists(path / segment_name(1)) else []
    below = [path / name for name in inside]
    return [run for each in below if links or not each.is_symlink() for run in runs_in(each, depth - 1, links=links, fs=fs)]


def no_run(directory: Path) -> UsageError:
    """Returns the error for a directory that holds no run itself, which names the runs nearby."""
    inside = runs_in(directory)
    if not inside and not directory.exists():
        near = {path.name: path for path in (*runs_in(directory.parent), *runs_in(Path("runs")))}
        for name in get_close_matches(directory.name, near, n=1):
            return UsageError(f"no directory {str(directory)!r}. Did you mean {str(near[name])!r}?")
    if inside and inside != [directory]:
        some = ", ".join(map(str, inside[-3:])) + (" …" if len(inside) > 3 else "")
        return UsageError(f"{str(directory)!r} is not a run, but {len(inside)} of its directories are: choose one of {some}.")
    return UsageError(f"no log in {directory}: pass the directory of a run, the one that contains {segment_name(1)}.")


def check_not_inside(what: str, place: Path | str) -> None:
    """Raises a `UsageError` if a path lies below a run directory, where only that run writes; `what` names the argument."""
    for above in Path(place).resolve().parents:
        if default.exists(above / segment_name(1)):
            raise UsageError(f"{what}={str(place)!r} is inside the run directory {str(above)!r}: choose another place.")


def segment_name(number: int) -> str:
    """Returns the file name of a segment, counted from 1."""
    return f"log-{number:06d}.jsonl"


@contextmanager
def only_reading() -> Iterator[None]:
    """Says what may not be read. The disk speaks to a run, which it asks to be resumed: here nothing was suspended."""
    try:
        yield
    except Suspended as error:
        if not isinstance(cause := error.__cause__, OSError):
            raise
        raise Unreadable.of(cause) from cause
