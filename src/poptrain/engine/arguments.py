"""The arguments of `run` that an `Experiment` does not have: checked before anything is made or removed."""

from __future__ import annotations

from poptrain.core.arguments import check_flag, check_place, plain
from poptrain.core.errors import UsageError
from poptrain.log.finding import check_not_inside


def check_run(directory: object, keep: object, **flags: object) -> None:
    """Raises a `UsageError` for the first argument of `run` that is wrong.

    Args:
        directory: a path, or None.
        keep: ids of tasks.
        flags: True or False, by name.
    """
    if directory is not None:
        check_place("run: directory", directory)
        check_not_inside("run: directory", str(directory))
    for name, value in flags.items():
        check_flag("run", name, value)
    ids = tuple(map(plain, keep)) if isinstance(keep, (list, tuple, set, frozenset, range)) else (None,)
    if not all(isinstance(id, int) and not isinstance(id, bool) and id >= 0 for id in ids):
        raise UsageError(f"run: keep={keep!r:.80}, expected ids of tasks, for example keep=[0, 7].")
