"""The lines that nearly all of a long log consists of, read three times as fast as others.

`msgspec` decodes a line of tasks or of results into structures with types. `checked` asks for types that are all of what
`core.wellformed` asks for, so that the facts of a line can be made later, when they are needed: `made`. Lines with more
than that (tags, a teacher, a forecast) are made into facts at once. What is not as usual (another version, a field of another
type, a tag in a place where runs write none) is left to `codec`, which knows every case and says what is wrong. All of them
return equal facts.

Of a million results, each byte counts: equal numbers that follow each other are one object, and metrics are packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, get_args

from poptrain.core import Hparams, Json, Line, Result, Task
from poptrain.core.facts import ROLES, Kind, Names
from poptrain.core.wellformed import MAX_SEATS, MAX_WHOLE, VALUES, malformed
from poptrain.log.blocks import ESCAPED
from poptrain.log.codec import NOTHING, OpenResult, OpenTask, make_result, make_task

msgspec: Any = None
with suppress(ImportError):  # an optional accelerator
    import msgspec

NEAR = 1 << 12  # numbers of tasks that are kept to be shared
MOST_NAMES = 1 << 10  # different sets of names that are packed
_SHORT = 300  # bytes of hyperparameters in which no number is too long


class UsualLines:
    """Reads the usual lines of one log, in their order.

    Equal hyperparameters that follow each other on a seat are one object, and so are equal numbers of tasks that are near each
    other: a run of a million tasks takes 64 MB less.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Json, Hparams]] = {}  # by seat: its newest hyperparameters, as text and as values
        self._near: dict[Json, Json] = {}  # ids, lineage steps and texts of the newest lines
        self._names: dict[tuple[str, ...], Names] = {}
        self._saving = -1.0  # of the newest result

    def checked(self, texts: Sequence[bytes], tagged: bool = True) -> list[Json]:
        """Returns the content of lines, up to the first whose facts can't be left to `made`: with the fields `v`, `q`, `e`, `w`
        and `d`.

        Checksums are not looked at.

        Args:
            tagged: some of the lines may hold a tag.
        """
        if msgspec is None:
            return []
        found: list[Json] = []
        with suppress(*REFUSED):
            found.extend(map(_CHECKED, texts))
        if tagged:
            found = _plain(found, texts)
        return found[: next((at for at, entry in enumerate(found) if not entry.d), len(found))]

    def made(self, text: bytes) -> Line:
        """Returns the facts of a line that was `checked`."""
        entry = _LINE(text)
        line = self.facts(entry) if b"$" not in text or _untagged(entry, text) else None
        assert line is not None, "a line that was checked has facts"
        return line

    def entries(self, texts: Sequence[bytes], tagged: bool = True) -> list[Json]:
        """Returns the content of lines, up to the first that is not as usual: with the fields `v`, `q`, `e`, `w` and `d`.

        Checksums are not looked at.

        Args:
            tagged: some of the lines may hold a tag.
        """
        if msgspec is None:
            return []
        try:
            found: list[Json] = list(map(_LINE, texts))
        except REFUSED:
            found = []
            with suppress(*REFUSED):
                for text in texts:
                    found.append(_LINE(text))
        return _plain(found, texts) if tagged else found

    def facts(self, entry: Json) -> Line | None:
        """Returns the facts of a line; None if they are not as usual."""
        try:
            return self._results(entry.d) if is_results(entry) else self._tasks(entry.d)
        except REFUSED:
            return None

    def _results(self, raws: Sequence[Json]) -> Line | None:
        results, share, last = [], self._near.setdefault, self._saving
        for raw in raws:
            id, score, step, seconds, saving, returns, kind, curve, metrics, checkpoint, error = _astuple(raw)
            if (
                (curve is None or curve == [])
                and not returns
                and kind == "ok"
                and type(score) is type(seconds) is type(saving) is float
                and seconds >= 0.0
                and saving >= 0.0
                and (metrics is None or _floats(metrics))
            ):
                if saving == last:
                    saving = last
                elif saving:  # a zero may have a sign
                    self._saving = last = saving
                made = OpenResult()
                made.task, made.score, made.step, made.returns = share(id, id), score, share(step, step), ()
                if curve is not None:  # else its slot stays empty, and it is the one point
                    made.curve = ()
                made.metrics = self._packed(metrics) if metrics else NOTHING
                made.checkpoint, made.error, made.seconds, made.saving = checkpoint, error, seconds, saving
                made.kind = "failed" if error is not None else "ok" if score - score == 0.0 else "diverged"
                made.__class__ = Result
            else:
                made = make_result(**_fields(raw))
                if malformed(made) is not None:
                    return None
            results.append(made)
        return tuple(results) or None

    def _packed(self, mapping: dict[str, Json]) -> Json:
        """Returns metrics or a note as their names, which many facts share, and their values."""
        key = tuple(mapping)
        names = self._names.get(key)
        if names is None:
            if len(self._names) >= MOST_NAMES:
                return mapping
            names = self._names[key] = Names(key)
        return (names, *mapping.values())

    def _tasks(self, raws: Sequence[Json]) -> Line | None:
        tasks, kept, share = [], self._kept, self._near.setdefault
        if len(self._near) > NEAR:
            self._near.clear()
        for raw in raws:
            (id, seat, text, steps, seed, evals, role, seconds, parent, teacher, progress, tags, note, donor, forecast) = (
                _astuple(raw)
            )
            before = kept.get(seat)
            if before is not None and text == before[0]:
                hparams = before[1]
            else:
                hparams = _VALUES(text)
                if memoryview(text).nbytes > _SHORT and not VALUES.fits(hparams):
                    return None
                for name, value in hparams.items():
                    if type(value) is str:
                        hparams[name] = share(value, value)
                kept[seat] = text.copy(), hparams
            if teacher is progress is tags is seconds is forecast is None and (not role or role in ROLES):
                made = OpenTask()
                made.id, made.member, made.hparams = share(id, id), seat, hparams
                made.parent = None if parent is None else share(parent, parent)
                made.steps, made.seed, made.evals, made.teacher, made.progress = steps, seed, evals, None, None
                made.tags, made.note, made.seconds, made.role = NOTHING, self._packed(note) if note else NOTHING, None, role
                made.donor, made.forecast = donor, None
                made.__class__ = Task
            else:
                made = make_task(**_fields(raw) | {"hparams": hparams})
                if made.role not in ROLES or malformed(made) is not None:
                    return None
            tasks.append(made)
        return tuple(tasks) or None


def _plain(entries: list[Json], texts: Sequence[bytes]) -> list[Json]:
    """Returns the entries up to the first with a tag that is not the score of a result."""
    for index, (entry, text) in enumerate(zip(entries, texts, strict=False)):
        if (b"$" in text or (b"\\" in text and ESCAPED in text)) and not _untagged(entry, text):  # one byte is found at once
            return entries[:index]
    return entries


def is_results(entry: Json) -> bool:
    """True for an entry of results, False for one of tasks."""
    return type(entry) in _RESULTS


def results_in(text: bytes) -> Sequence[Json]:
    """Returns the results of a line that was `checked`, as they are decoded: with the fields of facts."""
    return entry.d if is_results(entry := _CHECKED(text)) else ()


def _untagged(entry: Json, text: bytes) -> bool:
    """True if the tags of a line, if it has any, are scores that are not finite; these are numbers then."""
    tags, escaped = text.count(b'"$f"'), b"\\u" in text  # an escape could hide a tag
    if tags and escaped:
        return False
    for raw in entry.d if is_results(entry) else ():
        if type(raw.score) is _Tagged:
            if escaped:
                return False
            try:
                raw.score = float(raw.score.text)
            except ValueError:
                return False
            tags -= 1
    return not tags


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


REFUSED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)  # whatever a line can make a decoder raise
Decode = Callable[[bytes], Json]


class _Decoders(NamedTuple):
    results: tuple[type[Json], ...]  # the classes of a line of results
    tagged: type[Json]  # a number that JSON does not have
    line: Decode  # of results or of tasks
    checked: Decode  # the same, with types that are all that facts need
    values: Decode  # of hyperparameters
    astuple: Callable[[Json], tuple[Json, ...]]  # the fields of a decoded fact


def _decoders() -> _Decoders:
    whole: Json = Annotated[int, msgspec.Meta(ge=0, lt=MAX_WHOLE)]
    seat: Json = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEATS)]
    number: Json = int | float
    moderate: Json = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    moderate_number: Json = moderate | float
    duration: Json = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | Annotated[float, msgspec.Meta(ge=0.0)]
    tagged: Json = msgspec.defstruct("Tagged", [("text", str)], rename={"text": "$f"}, gc=False)
    values: Json = dict[str, bool | int | float | str | None]
    moderate_values: Json = dict[str, bool | moderate | float | str | None]

    def entry(kind: str, fields: Mapping[str, Json], defaults: Mapping[str, Json]) -> type[Json]:
        """Returns the class of a line; a field without a default must be there."""
        every = [(name, of, defaults[name]) if name in defaults else (name, of) for name, of in fields.items()]
        facts: Json = list[msgspec.defstruct(kind, every, gc=False)]  # type: ignore[misc]
        head = [("v", whole), ("q", whole), ("e", whole), ("w", str), ("d", facts)]
        made: type[Json] = msgspec.defstruct(f"Entry of {kind}", head, tag_field="t", tag=kind, gc=False)
        return made

    of_result: dict[str, Json] = {"task": whole, "score": number | tagged, "step": whole, "seconds": number, "saving": number}
    of_result |= {"returns": tuple[object, ...], "kind": str, "curve": object, "metrics": object}
    of_result |= {"checkpoint": str | None, "error": str | None}
    left_out: dict[str, Json] = dict.fromkeys(("curve", "metrics", "checkpoint", "error"))
    left_out |= {"seconds": 0.0, "saving": 0.0, "returns": (), "kind": "ok"}
    results = entry("results", of_result, left_out)
    of_result |= {"score": moderate_number | tagged, "seconds": duration, "saving": duration, "kind": Literal[get_args(Kind)]}
    of_result |= {"returns": tuple[moderate_number, ...], "curve": list[tuple[whole, moderate_number]] | None}
    of_result |= {"metrics": dict[str, moderate_number] | None}
    checked_results = entry("results", of_result, left_out)

    of_task: dict[str, Json] = {"id": whole, "member": seat, "hparams": msgspec.Raw, "steps": whole, "seed": whole}
    left_out = dict.fromkeys(("seconds", "parent", "teacher", "progress", "tags", "note", "donor", "forecast"))
    left_out = {"evals": 1, "role": ""} | left_out
    of_task |= {"evals": whole, "role": str} | dict.fromkeys([*left_out][2:], object)
    of_task |= {"parent": whole | None, "teacher": whole | None, "note": dict | None, "donor": seat | None}
    tasks = entry("tasks", of_task, left_out)
    of_task |= {"hparams": moderate_values, "role": Literal[ROLES]}
    of_task |= dict.fromkeys(("seconds", "teacher", "progress", "tags", "forecast"))
    checked_tasks = entry("tasks", of_task, left_out)

    line, checked, of_values = (
        msgspec.json.Decoder(kind).decode for kind in (results | tasks, checked_results | checked_tasks, values)
    )
    return _Decoders((results, checked_results), tagged, line, checked, of_values, msgspec.structs.astuple)


def _nothing(text: bytes) -> Json:
    raise ValueError("not installed")


_none = type(None)
_RESULTS, _Tagged, _LINE, _CHECKED, _VALUES, _astuple = (
    _Decoders((), _none, _nothing, _nothing, _nothing, tuple) if msgspec is None else _decoders()
)
