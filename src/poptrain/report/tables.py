"""The tables and texts of the report, escaped: whatever a user wrote is shown, and never obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from poptrain.log.reader import Record
from poptrain.views import Status, Suggestion, clean, short, span
from poptrain.views.exploits import Exploit, exploits_of
from poptrain.views.facts import Facts, space_of

MOST = 500  # rows of a table, the newest


def escaped(value: Any, limit: int | None = None) -> str:
    """Returns a text for HTML, with control characters shown and nothing that a browser reads as markup."""
    return escape(clean(value, limit))


def facts_of(record: Record, view: Status) -> str:
    """Returns the cards at the top, and what the gauges and the warnings say."""
    cards = []
    if view.best is not None:
        cards.append(("best", short(view.best.score, 6), f"best {clean(view.metric, 40)}, member {view.best.member}"))
        cards.append(("", f"{view.best.step:,}", f"its step, of {view.budget:,}" if view.budget is not None else "its step"))
    of = f" of {view.generations:,}" if view.generations else ""
    cards += [
        ("", f"{view.generation:,}{of}", "generations"),
        ("", f"{view.exploits:,}", "exploits"),
        ("", f"{view.steps:,}", "steps by all together"),
        ("", span(view.elapsed), "wall time"),
    ]
    if view.failed or view.diverged or view.lost:
        cards.append(("", f"{view.failed + view.diverged + view.lost:,}", "failed, diverged or lost"))
    made = "".join(
        f'<div class="{kind}"><b>{escaped(value)}</b><span>{escaped(label)}</span></div>' for kind, value, label in cards
    )
    said = [*(f"<li>{escaped(text)}</li>" for text in view.gauges.sentences()),
            *(f'<li class="warning">{escaped(text)}</li>' for text in view.warnings)]  # fmt: skip
    best = "" if view.best is None else f"<li>Best with {_settings(view.best.hparams)}</li>"
    return f'<div class="cards">{made}</div><section class="said">{best}{"".join(said)}</section>' if best or said else (
        f'<div class="cards">{made}</div>')  # fmt: skip


def exploits(record: Record) -> str:
    """Returns the table of exploits, newest first."""
    facts = Facts.of(record)
    if not facts.exploits:
        return '<p class="note">Nobody copied anybody.</p>'
    found = exploits_of(facts, record.times, facts.exploits[-MOST:])[::-1]
    rows = [
        [each.step, each.member, each.donor, ("text", _why(each)), ("text", _changes(each.copied, each.after))] for each in found
    ]
    columns = ("step", "member", "copied", "why", "donor's value → new value")
    return _table(columns, rows, 3, len(facts.exploits))


def failures(record: Record) -> str:
    """Returns the table of results that failed or diverged and of checkpoints that were lost, newest first."""
    facts = Facts.of(record)
    bad = [id for id, result in enumerate(facts.results) if result is not None and not facts.ok(id)]
    rows = []
    for id in bad[: -MOST - 1 : -1]:
        task, result = facts.tasks[id], facts.results[id]
        lost = "the checkpoint was damaged" if id in facts.lost else f"the score was {result.score}"
        rows.append(
            [result.step, task.member, id, ("text", escaped(result.error or lost, 400)), ("text", _settings(task.hparams))]
        )
    return _table(("step", "member", "task", "what happened", "hyperparameters"), rows, 3, len(bad))


def models(found: Sequence[Suggestion]) -> str:
    """Returns the table of a model's suggestions, newest first."""
    rows = []
    for each in found[: -MOST - 1 : -1]:
        expected = "–" if each.gain is None else f"{short(each.gain)} ± {short(each.gain_sd)}"
        why = "" if each.fallback is None else f"no model: {each.fallback}"
        note = escaped(why, 200) or _settings(each.model)
        rows.append([each.step, each.member, expected, short(each.observed), short(each.beta), short(each.rows),
                     ("text", _settings(each.hparams)), ("text", note)])  # fmt: skip
    columns = ("step", "member", "expected gain", "came", "β", "rows", "hyperparameters", "model, or why there was none")
    return _table(columns, rows, 6, len(found))


def details(record: Record, view: Status) -> str:
    """Returns what the run is: its algorithm, seed, space, versions."""
    opened = [(fields, time) for type, fields, time in record.events if type == "open"]
    rows: list[tuple[str, str]] = [
        ("algorithm", escaped(view.algorithm)), ("trainable", escaped(view.trainable, 200)),
        ("metric", escaped(f"{view.metric} ({'lower' if view.mode == 'min' else 'higher'} is better)", 200)),
        ("seed", escaped(view.seed)), ("members", escaped(len(view.members))),
        ("budget", "–" if view.budget is None else f"{view.budget:,} steps per member"),
        ("state", escaped(view.state + (f": {view.reason}" if view.reason else ""), 300)),
        ("results", f"{view.results:,} ({view.failed:,} failed, {view.diverged:,} diverged, {view.lost:,} checkpoints lost)"),
        ("sittings", escaped(len(opened))),
    ]  # fmt: skip
    if view.evaluators:
        rows.append(("evaluators", f"{view.evaluators:,}"))
    if isinstance(place := record.run.get("checkpoints"), Mapping):
        rows.append(("checkpoints", escaped(place.get("url"), 300)))
    if opened:
        rows.append(("begun", f"{datetime.fromtimestamp(opened[0][1], UTC):%Y-%m-%d %H:%M} UTC"))
        versions = opened[-1][0].get("versions")
        if isinstance(versions, Mapping):
            rows.append(("versions", escaped(", ".join(f"{name} {version}" for name, version in versions.items()), 300)))
    for name, kind in space_of(record).items():
        said = ", ".join(f"{key} {short(value)}" for key, value in kind.items() if key in ("low", "high"))
        if isinstance(kind.get("options"), (list, tuple)):
            said = ", ".join(short(option) for option in kind["options"][:20])
        rows.append((f"<code>{escaped(name, 80)}</code>", escaped(f"{kind.get('type', '')}: {said}", 400)))
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers: int, count: int) -> str:
    """Returns a table whose first `numbers` columns are numbers; a cell ``("text", html)`` is escaped already."""
    head = "".join(f'<th class="n">{name}</th>' if index < numbers else f"<th>{name}</th>" for index, name in enumerate(columns))
    body = []
    for row in rows:
        cells = (f'<td class="text">{cell[1]}</td>' if isinstance(cell, tuple) else
                 f'<td class="n">{escaped(f"{cell:,}" if isinstance(cell, int) else cell)}</td>' for cell in row)  # fmt: skip
        body.append(f"<tr>{''.join(cells)}</tr>")
    more = f'<p class="note">The newest {len(body):,} of {count:,}.</p>' if count > len(body) else ""
    return f'{more}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _why(exploit: Exploit) -> str:
    return ("it had failed" if exploit.failed else "it was worse") + ("" if exploit.weights else "; hyperparameters only")


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = [(name, value) for name, value in before.items() if name in after and after[name] != value]
    return ", ".join(
        f'<code>{escaped(name, 60)}</code> <span class="was">{escaped(short(value))}</span> → {escaped(short(after[name]))}'
        for name, value in changed
    ) or "nothing changed"  # fmt: skip


def _settings(hparams: Mapping[str, Any]) -> str:
    return ", ".join(f"<code>{escaped(name, 60)}</code> {escaped(short(value))}" for name, value in hparams.items())
