"""The tables and texts of the report, escaped: whatever a user wrote is shown as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from poptrain.core.counting import counted
from poptrain.log.reader import Record
from poptrain.views import Exploit, Status, Suggestion, clean, short, span
from poptrain.views.exploits import exploits_of
from poptrain.views.index import fault, history_of, reported, result_of, space_of, unhealthy

MOST_TABLE_ROWS = 500  # of a table: the newest


@dataclass(frozen=True)
class Html:
    """Text that is escaped already."""

    text: str


Cell = Html | str | int


def escaped(value: object, limit: int | None = None) -> str:
    """Returns a text for HTML, with control characters shown and nothing that a browser reads as markup."""
    return escape(clean(value, limit))


def cards(view: Status) -> str:
    """Returns the cards at the top, and the sentences of the gauges and the warnings."""
    found = []
    if view.best is not None:
        found.append(("best", short(view.best.score, 6), f"best {clean(view.metric, 40)}, member {view.best.member}"))
        found.append(("", f"{view.best.step:,}", f"its step, of {view.budget:,}" if view.budget is not None else "its step"))
    of = f" of {view.generations:,}" if view.generations else ""
    found += [
        ("", f"{view.generation:,}{of}", "generations"),
        ("", f"{view.exploits:,}", "exploits"),
        ("", f"{view.steps:,}", "steps by all together"),
        ("", span(view.elapsed), "wall time"),
    ]
    if bad := view.failed + view.diverged + view.lost:
        found.append(("", f"{bad:,}", "failed, diverged or lost"))
    made = "".join(
        f'<div class="{kind}"><b>{escaped(value)}</b><span>{escaped(label)}</span></div>' for kind, value, label in found
    )
    lines = [] if view.best is None else [f"<li>Best with {_settings(view.best.hparams)}</li>"]
    lines += [f"<li>{escaped(text)}</li>" for text in view.sentences()]
    lines += [f'<li class="warning">{escaped(text)}</li>' for text in view.warnings]
    return f'<div class="cards">{made}</div>' + (f'<section class="notes">{"".join(lines)}</section>' if lines else "")


def exploits(record: Record) -> str:
    """Returns the table of exploits, newest first."""
    history = history_of(record)
    copies = history.copies()
    if not copies:
        return '<p class="note">No member was copied.</p>'
    found = reversed(exploits_of(history, record.times, copies[-MOST_TABLE_ROWS:]))
    rows: list[list[Cell]] = [[each.step, each.member, each.donor, Html(_why(each)), Html(_changes(each))] for each in found]
    return _table(("step", "member", "copied", "why", "donor's value → new value"), rows, 3, len(copies))


def failures(record: Record) -> str:
    """Returns the table of results that failed or diverged and of checkpoints that were lost, newest first."""
    history = history_of(record)
    bad = unhealthy(history, reported(history))
    rows: list[list[Cell]] = []
    for id in bad[: -MOST_TABLE_ROWS - 1 : -1]:
        task, result = history.task(id), result_of(history, id)
        what = Html(escaped(fault(record, history, id), 400))
        rows.append([result.step, task.member, id, what, Html(_settings(task.hparams))])
    return _table(("step", "member", "task", "what happened", "hyperparameters"), rows, 3, len(bad))


def models(found: Sequence[Suggestion]) -> str:
    """Returns the table of a model's suggestions, newest first."""
    rows: list[list[Cell]] = []
    for each in found[: -MOST_TABLE_ROWS - 1 : -1]:
        expected = "–" if each.gain is None else f"{short(each.gain)} ± {short(each.gain_sd)}"
        why = _settings(each.model) if each.fallback is None else escaped(f"no model: {each.fallback}", 200)
        numbers = [expected, short(each.observed), short(each.beta), short(each.rows)]
        rows.append([each.step, each.member, *numbers, Html(_settings(each.hparams)), Html(why)])
    columns = ("step", "member", "expected gain", "observed", "β", "rows", "hyperparameters", "model, or why there was none")
    return _table(columns, rows, 6, len(found))


def details(record: Record, view: Status) -> str:
    """Returns what the run is: its algorithm, seed, space, versions."""
    opened = [(fields, time) for type, fields, time in record.events if type == "open"]
    better = "lower" if view.mode == "min" else "higher"
    bad = f"{view.failed:,} failed, {view.diverged:,} diverged, {counted(view.lost, 'checkpoint')} lost"
    rows: list[tuple[str, object]] = [
        ("algorithm", view.algorithm),
        ("trainable", view.trainable),
        ("metric", f"{view.metric} ({better} is better)"),
        ("seed", view.seed),
        ("members", len(view.members)),
        ("budget", "–" if view.budget is None else f"{counted(view.budget, 'step')} per member"),
        ("state", view.state + (f": {view.reason}" if view.reason else "")),
        ("results", f"{view.results:,} ({bad})"),
        ("sessions", len(opened)),
    ]
    if view.evaluators:
        rows.append(("evaluators", f"{view.evaluators:,}"))
    if isinstance(place := record.run.get("checkpoints"), Mapping):
        rows.append(("checkpoints", place.get("url")))
    if opened:
        rows.append(("started", f"{datetime.fromtimestamp(opened[0][1], UTC):%Y-%m-%d %H:%M} UTC"))
        versions = opened[-1][0].get("versions")
        if isinstance(versions, Mapping):
            rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    made = [(name, escaped(value, 300)) for name, value in rows]
    made += [(f"<code>{escaped(name, 80)}</code>", escaped(_range(kind), 400)) for name, kind in space_of(record).items()]
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in made) + "</dl>"


def _range(kind: Mapping[str, object]) -> str:
    ends = [f"{key} {short(value)}" for key, value in kind.items() if key in ("low", "high")]
    options = kind.get("options")
    if isinstance(options, (list, tuple)):
        ends = [short(option) for option in options[:20]]
    return f"{kind.get('type', '')}: {', '.join(ends)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], numbers: int, count: int) -> str:
    """Returns a table whose first `numbers` columns are numbers; `count` is how many rows there would be in all."""
    head = "".join(f'<th class="n">{name}</th>' if index < numbers else f"<th>{name}</th>" for index, name in enumerate(columns))
    body = [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    more = f'<p class="note">The newest {len(body):,} of {count:,}.</p>' if count > len(body) else ""
    return f'{more}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Html):
        return f'<td class="text">{cell.text}</td>'
    return f'<td class="n">{escaped(f"{cell:,}" if isinstance(cell, int) else cell)}</td>'


def _why(exploit: Exploit) -> str:
    return ("it had failed" if exploit.failed else "it was worse") + ("" if exploit.weights else "; hyperparameters only")


def _changes(exploit: Exploit) -> str:
    changes = [
        f'<code>{escaped(name, 60)}</code> <span class="was">{escaped(short(old))}</span> → {escaped(short(new))}'
        for name, (old, new) in exploit.changes.items()
    ]
    return ", ".join(changes) or "nothing changed"


def _settings(hparams: Mapping[str, object]) -> str:
    return ", ".join(f"<code>{escaped(name, 60)}</code> {escaped(short(value))}" for name, value in hparams.items())
