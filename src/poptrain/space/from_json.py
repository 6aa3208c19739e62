"""A space from the description in a log, without the code that made it."""

from __future__ import annotations

from collections.abc import Mapping

from poptrain.core import Json
from poptrain.core.errors import UsageError
from poptrain.space.floats import Complement, LogUniform, Uniform
from poptrain.space.integers import Int, LogInt
from poptrain.space.options import Choice, Ordinal
from poptrain.space.parameter import Parameter
from poptrain.space.space import Space

_RANGES = {kind.__name__: kind for kind in (Uniform, LogUniform, Complement, Int, LogInt)}
_LISTS = {kind.__name__: kind for kind in (Choice, Ordinal)}


def described(description: Json) -> Space:
    """Returns the space that ``Space.describe()`` described, without its `repair`, which is code.

    Raises:
        UsageError: it is not a description of a space, or contains a kind of parameter that this package does not have.

    >>> space = Space(lr=LogUniform(1e-4, 1e-1), kind=Choice("a", "b", static=True))
    >>> described(space.describe()) == space
    True
    """
    parameters = description.get("parameters") if isinstance(description, Mapping) else None
    if not isinstance(parameters, Mapping) or not parameters:
        raise UsageError("the log does not describe a space of hyperparameters.")
    return Space({name: _parameter(name, about) for name, about in parameters.items()})


def _parameter(name: str, about: Json) -> Parameter:
    fields = dict(about) if isinstance(about, Mapping) else {}
    kind = fields.pop("type", None)
    init = fields.pop("init", None)
    try:
        init = None if init is None else tuple(init)
        if kind in _RANGES:
            return _RANGES[kind](fields.pop("low"), fields.pop("high"), init=init, static=bool(fields.pop("static")))
        if kind in _LISTS:
            return _LISTS[kind](*fields.pop("options"), init=init, static=bool(fields.pop("static")))
    except (KeyError, TypeError) as error:
        raise UsageError(f"the log describes {name!r} as {about!r}, which is not a parameter.") from error
    raise UsageError(
        f"the log describes {name!r} as a parameter of the kind {kind!r}, which this version of poptrain does not have."
    )
