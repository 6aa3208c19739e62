"""The page: facts, charts and tables as one HTML file.

Nothing of a run becomes markup or script. Texts are escaped; the charts are JSON in which no ``<`` is left; a content
security policy allows only the two scripts that carry the page's own nonce, and no network. Plotly is compressed inside
(1.9 MB instead of 4.8), so the charts need a browser of 2023 or later; facts and tables need none of it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
from functools import lru_cache
from pathlib import Path

from poptrain.log.reader import Record
from poptrain.report import style
from poptrain.report.model import suggestions as suggestions_chart
from poptrain.report.population import spread, time
from poptrain.report.schedules import hparams
from poptrain.report.score import score
from poptrain.report.tables import details, escaped, exploits, facts_of, failures, models
from poptrain.report.template import PAGE, SCRIPT, STYLE
from poptrain.report.tree import tree
from poptrain.views import clean, gauges, status, suggestions


def write(record: Record, path: str | Path) -> Path:
    """Writes the report of a run into a file, which is replaced, and returns its path."""
    path = Path(path)
    path.write_text(page(record), encoding="utf-8")
    return path


def page(record: Record) -> str:
    """Returns the report of a run as one HTML document.

    Raises:
        ImportError: Plotly is not installed.
    """
    library = _plotly()
    view, found = status(record), suggestions(record)
    charts: dict[str, style.Chart] = {}

    def drawn(name: str, chart: style.Chart | None) -> str:
        if chart is None:
            return ""
        charts[name] = chart
        return f'<div class="chart" id="{name}" style="min-height:{chart["layout"]["height"]}px"></div>'

    sections = [
        _section("Score along ancestry", drawn("score", score(record)),
                 "Each line follows the weights of one member back through everybody it was copied from. A ring is an exploit."),
        _section("Hyperparameter schedules", drawn("hparams", hparams(record)),
                 "What the weights of each member were trained with over the steps, along the same ancestry."),
        _section("Family tree", drawn("tree", tree(record)),
                 "One row a member: the pieces are training, a line with a tip is a copy."),
        _section("Spread of the population", drawn("spread", spread(record, gauges(record))),
                 "Generation by generation. Spread of a hyperparameter: 0 all equal, 1 like uniform draws. "
                 "Lineages: how many of equal size the members' descent is worth."),
        _section("Time spent", drawn("time", time(record)),
                 "Training and saving, queued for a slot, waiting for the others of a round, and deciding what comes next."),
    ]  # fmt: skip
    if found:
        about = "What the model expected of the hyperparameters that it gave, over one interval; up is better."
        sections.append(_section("Suggestions of the model", drawn("model", suggestions_chart(found)) + models(found), about))
    sections.append(_section("Exploits", exploits(record)))
    if view.failed or view.diverged or view.lost:
        sections.append(_section("Failures", failures(record)))
    sections.append(_section("The run", details(record, view)))
    data = json.dumps(charts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    data = data.replace("&", "\\u0026")
    name = record.directory.name if record.directory else "a run in memory"
    body = facts_of(record, view) + "".join(sections)
    nonce = hashlib.sha256((body + data).encode()).hexdigest()[:32]  # what is inside the page cannot have known it
    filled = {"TITLE": escaped(name), "STATE": escaped(view.state), "NONCE": nonce, "STYLE": STYLE, "SCRIPT": SCRIPT,
              "PLOTLY": library, "CHARTS": data, "BODY": body,
              "HEAD": escaped(f"{view.algorithm} · {len(view.members)} members · {clean(view.trainable, 80)}")}  # fmt: skip
    # Split, not replaced: a value that looks like a placeholder is never filled itself.
    return "".join(filled[piece] if index % 2 else piece for index, piece in enumerate(PAGE.split("@@")))


def _section(title: str, body: str, about: str = "") -> str:
    note = f'<p class="note">{about}</p>' if about else ""
    return f"<section><h2>{title}</h2>{note}{body}</section>\n"


@lru_cache(maxsize=1)
def _plotly() -> str:
    """Returns Plotly's script, compressed, in base64."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the report needs Plotly: pip install 'poptrain[report]'")
    source = Path(next(iter(spec.submodule_search_locations))) / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(source.read_bytes(), 9, mtime=0)).decode()
