"""A hyperparameter under a name that the space does not have: Python's KeyError says only the name that was asked for."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from poptrain.core.errors import did_you_mean

MOST = 8  # names that are listed


def misspelled(error: BaseException, hparams: Mapping[str, object]) -> str:
    """Returns what the hyperparameters are, if the user's code asked them for another name; else an empty string.

    The place is recognised by a local variable that holds the hyperparameters and is indexed in the line that raised.
    """
    if type(error) is not KeyError or len(error.args) != 1 or not isinstance(error.args[0], str) or error.__traceback__ is None:
        return ""
    asked, last = error.args[0], error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    line = traceback.extract_tb(last)[-1].line or ""
    for name, value in last.tb_frame.f_locals.items():
        if isinstance(value, Mapping) and asked in hparams and asked.partition(".")[0] in value and f"{name}[" in line:
            return f"; names with dots are nested: write {name}{''.join(f'[{part!r}]' for part in asked.split('.'))}"
        if isinstance(value, Mapping) and value.keys() == hparams.keys() and asked not in hparams and f"{name}[" in line:
            known = ", ".join(map(repr, list(hparams)[:MOST])) + (" …" if len(hparams) > MOST else "")
            return f"; the space has no such hyperparameter, it has {known}.{did_you_mean(asked, hparams)}"
    return ""
