"""Code that was edited since a run began: the trainable itself, and what it uses. Old logs lack the latter: it is not known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from poptrain.core import Json
from poptrain.engine.notices import warn
from poptrain.log.reader import Record
from poptrain.trainable import as_trainable, code_of, form_name, uses_of
from poptrain.trainable.uses import changes

MOST = 4  # changes that a sentence lists


def recorded(trainable: object) -> dict[str, Json]:
    """Returns the entries of a log about the code of a trainable, and its form."""
    form = as_trainable(trainable)
    return {"code": code_of(form), "uses": uses_of(form), "form": form_name(form)}


def edits(then: Mapping[str, Json], now: Mapping[str, Json]) -> str:
    """Returns what has changed in the code of a trainable since a run began, such as "HIDDEN was 32, is 64"; "" if nothing.

    Args:
        then: the description that the log of the run begins with.
        now: that of the trainable, which holds what `recorded` returns.
    """
    found = changes(then.get("uses"), now["uses"])
    unknown = str(then.get("code")).endswith("#unknown")  # of a function that a worker of a study got by value, or of a prompt
    if not unknown and then.get("code") not in (None, now["code"]) and not (found and now["form"] == "command"):
        name = str(now["code"]).rpartition("#")[0]
        found.insert(0, f"{name} has changed")
    return "; ".join(found[:MOST]) + (f"; and {len(found) - MOST} more" if len(found) > MOST else "")


def warn_of_edited_code(trainable: object, record: Record, directory: str | Path) -> bool:
    """Warns, and returns True, if a finished run was trained with other code than the trainable has now."""
    if found := edits(record.run, recorded(trainable)):
        warn(
            f"the run in {str(directory)!r} is finished, and nothing was trained now, although the code of the trainable has "
            f"been edited since it began: {found}. Pass overwrite=True, or remove the directory, to train again."
        )
    return bool(found)
