"""The lines that nearly all of a long log consists of, read three times as fast as others.

`msgspec` decodes a line of tasks or of results into structures with types, which checks most of what `core.wellformed` asks for.
What is not as usual (another version, numbers that JSON does not have, a field of another type) is left to `codec`, which knows
every case and says what is wrong. Both return equal facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, cast

from poptrain.core import Hparams, Json, Line, Result, Task
from poptrain.core.facts import ROLES
from poptrain.core.wellformed import MAX_SEATS, MAX_WHOLE, VALUES, malformed
from poptrain.log.codec import NOTHING, VERSION, OpenResult, OpenTask, make_result, make_task

msgspec: Any = None
with suppress(ImportError):  # an optional accelerator
    import msgspec


class UsualLines:
    """Reads the usual lines of one log, in their order. Equal hyperparameters that follow each other on a seat are one object."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[bytes, Hparams]] = {}  # by seat: its newest hyperparameters, as text and as values

    def read(self, data: bytes, at: int) -> Iterator[tuple[int, bytes, Json, Line]]:
        """Yields, from byte `at` of the data on, where a line ends, its text, its fields `q`, `e` and `w`, and its facts.

        It ends before the first line that is not as usual. Checksums are not looked at.
        """
        with suppress(ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            while (end := data.find(b"\n", at)) >= 0:
                text = data[at:end]
                if b'"$f"' in text or not text.isascii():
                    return
                entry = _LINE(text)
                line = self._results(entry.d) if isinstance(entry, _Results) else self._tasks(entry.d)
                if line is None or entry.v != VERSION:
                    return
                yield end, text, entry, line
                at = end + 1

    def _results(self, raws: Sequence[Json]) -> Line | None:
        results = []
        for raw in raws:
            score, seconds, saving = raw.score, raw.seconds, raw.saving
            if (
                raw.curve is raw.metrics is raw.error is None
                and raw.returns == ()
                and raw.kind == "ok"
                and type(score) is type(seconds) is type(saving) is float
                and seconds >= 0.0
                and saving >= 0.0
            ):
                made = OpenResult()
                made.task, made.score, made.step, made.curve, made.returns = raw.task, score, raw.step, ((raw.step, score),), ()
                made.metrics, made.checkpoint, made.error = NOTHING, raw.checkpoint, None
                made.seconds, made.saving, made.kind = seconds, saving, "ok"
                made.__class__ = Result
            else:
                made = make_result(**_fields(raw))
                if malformed(made) is not None:
                    return None
            results.append(made)
        return tuple(results) or None

    def _tasks(self, raws: Sequence[Json]) -> Line | None:
        tasks = []
        for raw in raws:
            if (hparams := self._hparams(raw.member, bytes(raw.hparams))) is None:
                return None
            if raw.teacher is raw.progress is raw.tags is raw.seconds is raw.forecast is None and raw.role in ROLES:
                made = OpenTask()
                made.id, made.member, made.hparams, made.parent = raw.id, raw.member, hparams, raw.parent
                made.steps, made.seed, made.evals, made.teacher, made.progress = raw.steps, raw.seed, raw.evals, None, None
                made.tags, made.note, made.seconds, made.role = NOTHING, raw.note or NOTHING, None, raw.role
                made.donor, made.forecast = raw.donor, None
                made.__class__ = Task
            else:
                made = make_task(**_fields(raw) | {"hparams": hparams})
                if made.role not in ROLES or malformed(made) is not None:
                    return None
            tasks.append(made)
        return tuple(tasks) or None

    def _hparams(self, seat: int, text: bytes) -> Hparams | None:
        """Returns hyperparameters from their text; None if they are not values by name."""
        kept = self._kept.get(seat)
        if kept is not None and kept[0] == text:
            return kept[1]
        hparams = _ANY(text)
        if not VALUES.fits(hparams):
            return None
        self._kept[seat] = text, hparams
        return cast(Hparams, hparams)


def _fields(raw: Json) -> dict[str, Json]:
    return {name: value for name in raw.__struct_fields__ if (value := getattr(raw, name)) is not None}


Decode = Callable[[bytes], Json]


def _decoders() -> tuple[type[Json], Decode, Decode]:
    """Returns the type of a line of results, the decoder of a line of results or of tasks, and one of anything."""
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
    return results, msgspec.json.Decoder(results | tasks).decode, msgspec.json.Decoder().decode


def _nothing(text: bytes) -> Json:
    raise ValueError("not installed")


_Results: type[Json]
_Results, _LINE, _ANY = (type(None), _nothing, _nothing) if msgspec is None else _decoders()
