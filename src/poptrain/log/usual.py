"""The lines that nearly all of a long log consists of, read three times as fast as others.

`msgspec` decodes a line of tasks or of results into structures with types, which checks most of what `core.wellformed` asks for.
What is not as usual (another version, numbers that JSON does not have, a field of another type) is left to `codec`, which knows
every case and says what is wrong. Both return equal facts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

from poptrain.core import Hparams, Json, Line, Result, Task
from poptrain.core.facts import ROLES
from poptrain.core.wellformed import MAX_SEATS, MAX_WHOLE, VALUES, malformed
from poptrain.log.codec import NOTHING, OpenResult, OpenTask, make_result, make_task

msgspec: Any = None
with suppress(ImportError):  # an optional accelerator
    import msgspec

NEAR = 1 << 12  # numbers of tasks that are kept to be shared


class UsualLines:
    """Reads the usual lines of one log, in their order.

    Equal hyperparameters that follow each other on a seat are one object, and so are equal numbers of tasks that are near each
    other: a run of a million tasks takes 64 MB less.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Json, Hparams]] = {}  # by seat: its newest hyperparameters, as text and as values
        self._ids: dict[int, int] = {}

    def entries(self, texts: Sequence[bytes]) -> list[Json]:
        """Returns the content of lines, up to the first that is not as usual: with the fields `v`, `q`, `e`, `w` and `d`.

        Checksums are not looked at.
        """
        if msgspec is None:
            return []
        try:
            return list(map(_LINE, texts))
        except _REFUSED:
            found: list[Json] = []
            with suppress(*_REFUSED):
                for text in texts:
                    found.append(_LINE(text))
            return found

    def facts(self, entry: Json) -> Line | None:
        """Returns the facts of a line; None if they are not as usual."""
        try:
            return self._results(entry.d) if type(entry) is _Results else self._tasks(entry.d)
        except _REFUSED:
            return None

    def _results(self, raws: Sequence[Json]) -> Line | None:
        results, share = [], self._ids.setdefault
        for raw in raws:
            id, score, step, seconds, saving, returns, kind, curve, metrics, checkpoint, error = _astuple(raw)
            if (
                curve is error is None
                and not returns
                and kind == "ok"
                and type(score) is type(seconds) is type(saving) is float
                and seconds >= 0.0
                and saving >= 0.0
                and (metrics is None or _floats(metrics))
            ):
                made = OpenResult()
                made.task, made.score, made.step, made.returns = share(id, id), score, step, ()  # its curve: one point
                made.metrics, made.checkpoint, made.error = metrics or NOTHING, checkpoint, None
                made.seconds, made.saving, made.kind = seconds, saving, "ok"
                made.__class__ = Result
            else:
                made = make_result(**_fields(raw))
                if malformed(made) is not None:
                    return None
            results.append(made)
        return tuple(results) or None

    def _tasks(self, raws: Sequence[Json]) -> Line | None:
        tasks, kept, share = [], self._kept, self._ids.setdefault
        if len(self._ids) > NEAR:
            self._ids.clear()
        for raw in raws:
            (id, seat, text, steps, seed, evals, role, seconds, parent, teacher, progress, tags, note, donor, forecast) = (
                _astuple(raw)
            )
            before = kept.get(seat)
            if before is not None and text == before[0]:
                hparams = before[1]
            else:
                hparams = _ANY(text)
                if not VALUES.fits(hparams):
                    return None
                kept[seat] = text.copy(), hparams
            if teacher is progress is tags is seconds is forecast is None and (not role or role in ROLES):
                made = OpenTask()
                made.id, made.member, made.hparams = share(id, id), seat, hparams
                made.parent = None if parent is None else share(parent, parent)
                made.steps, made.seed, made.evals, made.teacher, made.progress = steps, seed, evals, None, None
                made.tags, made.note, made.seconds, made.role = NOTHING, note or NOTHING, None, role
                made.donor, made.forecast = donor, None
                made.__class__ = Task
            else:
                made = make_task(**_fields(raw) | {"hparams": hparams})
                if made.role not in ROLES or malformed(made) is not None:
                    return None
            tasks.append(made)
        return tuple(tasks) or None


def _floats(metrics: Json) -> bool:
    """True for a mapping of nothing but floats, as it was decoded from JSON."""
    if type(metrics) is not dict:
        return False
    for value in metrics.values():  # noqa: SIM110  (twice as fast as `all`)
        if type(value) is not float:
            return False
    return True


def _fields(raw: Json) -> dict[str, Json]:
    return {name: value for name in raw.__struct_fields__ if (value := getattr(raw, name)) is not None}


_REFUSED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)  # whatever a line can make a decoder raise
Decode = Callable[[bytes], Json]


def _decoders() -> tuple[type[Json], Decode, Decode, Callable[[Json], tuple[Json, ...]]]:
    """Returns the type of a line of results, the decoder of a line of results or of tasks, one of anything, and the function that
    returns the fields of a decoded fact.
    """
    whole: Json = Annotated[int, msgspec.Meta(ge=0, lt=MAX_WHOLE)]
    seat: Json = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEATS)]
    number: Json = int | float
    optional: dict[str, Json] = dict.fromkeys(("curve", "metrics", "progress", "tags", "forecast"), Any)  # mostly left out
    optional |= {"checkpoint": str | None, "error": str | None, "note": dict | None}
    optional |= {"parent": whole | None, "teacher": whole | None, "donor": seat | None}

    def entry(kind: str, *fields: tuple[str, Json] | tuple[str, Json, Json] | str) -> type[Json]:
        every = [(field, optional[field], None) if isinstance(field, str) else field for field in fields]
        facts: Json = list[msgspec.defstruct(kind, every, gc=False)]  # type: ignore[misc]
        head = [("v", whole), ("q", whole), ("e", whole), ("w", str), ("d", facts)]
        made: type[Json] = msgspec.defstruct(f"Entry of {kind}", head, tag_field="t", tag=kind, gc=False)
        return made

    results = entry(
        "results",
        ("task", whole),
        ("score", number),
        ("step", whole),
        ("seconds", number, 0.0),
        ("saving", number, 0.0),
        ("returns", tuple[Any, ...], ()),
        ("kind", str, "ok"),
        "curve",
        "metrics",
        "checkpoint",
        "error",
    )
    tasks = entry(
        "tasks",
        ("id", whole),
        ("member", seat),
        ("hparams", msgspec.Raw),
        ("steps", whole),
        ("seed", whole),
        ("evals", whole, 1),
        ("role", str, ""),
        ("seconds", Any, None),
        "parent",
        "teacher",
        "progress",
        "tags",
        "note",
        "donor",
        "forecast",
    )
    return results, msgspec.json.Decoder(results | tasks).decode, msgspec.json.Decoder().decode, msgspec.structs.astuple


def _nothing(text: bytes) -> Json:
    raise ValueError("not installed")


_Results: type[Json]
_Results, _LINE, _ANY, _astuple = (type(None), _nothing, _nothing, tuple) if msgspec is None else _decoders()
