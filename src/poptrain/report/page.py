"""The page: facts, charts and tables as one HTML file.

Nothing of a run becomes markup or script. Texts are escaped; the charts are JSON without a single ``<``; a content security
policy admits only the two scripts that carry the page's own nonce, and no network. Plotly is compressed inside (1.9 MB instead
of 4.8), so the charts need a browser of 2023 or later; facts and tables need no script at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from poptrain import views
from poptrain.core.counting import counted
from poptrain.log.private import as_private_as
from poptrain.log.reader import Record
from poptrain.report import tables
from poptrain.report.render import PIXELS, JsonObject, render
from poptrain.report.template import PAGE, SCRIPT, STYLE
from poptrain.views import Status, clean, panels
from poptrain.views.panels import Picture
from poptrain.views.sources import AnyRun, record_of

TITLES = {"score": "Score along ancestry", "hparams": "Hyperparameter schedules"}
ABOUT = {
    "score": "Each line follows the weights of one member back through all members that it was copied from. A ring: an exploit.",
    "hparams": "What the weights of each member were trained with over the steps, along the same ancestry.",
    "tree": "One row for each member: the pieces are training, a line with a tip is a copy.",
    "spread": "By generation. First members: those with descendants. Equal lineages: lineages of equal size that are as diverse.",
    "time": "Training and saving, queued for a slot, waiting for the others of a round, and deciding what comes next.",
    "team": "Each member is a team of several actors: the score of every actor of the best team, and how far apart they are.",
    "region": "Suggestions stay inside it: how wide it was at each decision, in units of each range. It grows after successes.",
    "architectures": "Every network that began with new weights, by generation; large ones became members.",
    "model": "What the model expected of the hyperparameters that it proposed, over one interval; more is better.",
}


def write(run: AnyRun, path: str | Path) -> Path:
    """Writes the report of a run into a file, which is replaced, and returns its path."""
    path, record = Path(path), record_of(run, "report.write")
    with as_private_as(record.directory):
        path.write_text(page(record), encoding="utf-8")
    return path


def page(run: AnyRun) -> str:
    """Returns the report of a run as one HTML document.

    Raises:
        ImportError: Plotly is not installed.
    """
    library, record = _plotly(), record_of(run, "report.page")
    view = views.status(record)
    charts: dict[str, JsonObject] = {}
    body = tables.cards(view) + "".join(_sections(record, view, charts))
    data = json.dumps(charts, allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    nonce = hashlib.sha256((body + data).encode()).hexdigest()[:32]  # nothing inside the page can have known it
    filled = {
        "TITLE": tables.escaped(record.directory.name if record.directory else "a run in memory"),
        "STATE": tables.escaped(view.state),
        "NONCE": nonce,
        "STYLE": STYLE,
        "SCRIPT": SCRIPT,
        "PLOTLY": library,
        "CHARTS": data,
        "BODY": body,
        "HEAD": tables.escaped(f"{view.algorithm} · {counted(len(view.members), 'member')} · {clean(view.trainable, 80)}"),
    }
    # Split, not replaced: a value that looks like a placeholder is never filled itself.
    return "".join(filled[piece] if index % 2 else piece for index, piece in enumerate(PAGE.split("@@")))


def _sections(record: Record, view: Status, charts: dict[str, JsonObject]) -> Iterator[str]:
    """Yields the sections of the page, and adds their charts to `charts`."""
    suggestions = views.suggestions(record)
    for picture in panels.pictures(record):
        yield _section(TITLES.get(picture.name, picture.title), _drawn(picture, charts), ABOUT[picture.name])
    if suggestions:
        compared = panels.suggestions(suggestions)
        chart = "" if compared is None else _drawn(compared, charts)
        yield _section("Suggestions of the model", chart + tables.models(suggestions), ABOUT["model"])
    for name in ("region", "architectures", "team"):
        if (picture := panels.SOME[name](record)) is not None:
            yield _section(picture.title, _drawn(picture, charts), ABOUT[name])
    yield _section("Exploits", tables.exploits(record))
    if view.failed or view.diverged or view.lost:
        yield _section("Failures", tables.failures(record))
    yield _section("The run", tables.details(record, view))


def _drawn(picture: Picture, charts: dict[str, JsonObject]) -> str:
    charts[picture.name] = render(picture)
    return f'<div class="chart" id="{picture.name}" style="min-height:{round(PIXELS * picture.height)}px"></div>'


def _section(title: str, body: str, about: str = "") -> str:
    note = f'<p class="note">{about}</p>' if about else ""
    return f"<section><h2>{tables.escaped(title)}</h2>{note}{body}</section>\n"


@lru_cache(maxsize=1)
def _plotly() -> str:
    """Returns Plotly's script, compressed, in base64."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the report needs Plotly: pip install 'poptrain[report]'")
    source = Path(next(iter(spec.submodule_search_locations))) / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(source.read_bytes(), 9, mtime=0)).decode()
