"""The report: its parts by their contents, and the whole page in a browser, where hostile names must stay names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import poptrain as pt
from poptrain import report, views

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
EVIL = "</script><img src=x onerror=\"document['title']='pwned'\"><b onmouseover=alert(1)>@@PLOTLY@@ %{x} \x1b[31m' \" & \u202e"
NAME = EVIL.replace("\x1b", "").replace("\u202e", "")  # names have no control characters
BREAKS_OUT = ("<img", "<b on", "<svg", "<script>alert")


def hostile_train(carry, hp, steps, seed):
    x = 2.0 if carry is None else carry
    if seed % 6 == 0:
        raise ValueError(EVIL)
    x *= 1 - 0.5 * hp[NAME]
    return x, {NAME: x + (seed % 97) / 500}


def hostile_run(directory=None):
    space = pt.Space({NAME: pt.Uniform(0.01, 1.0), "kind": pt.Choice(EVIL, "<svg onload=alert(1)>"), "n": pt.Ordinal(1, 2, 4)})
    algorithm = pt.pbt(space, population=6, interval=1, exploit=pt.truncation(0.4))
    return pt.run(algorithm, hostile_train, metric=NAME, mode="min", stop=pt.steps(12), seed=5, directory=directory)


def model_run():
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), gamma=pt.Complement(0.9, 0.999))
    return pt.run(pt.pb2(space, population=4, interval=5), pt.testing.quadratic, stop=pt.steps(20))


class Elements(HTMLParser):
    """Collects what a browser would make of a page: tags, attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.texts = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.lasttag == "script" and data.strip():
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        else:
            self.texts.append(data)

    def charts(self):
        (text,) = [text for attributes, text in self.scripts if attributes.get("id") == "charts"]
        return json.loads(text, parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))


pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def hostile():
    return hostile_run().record


def test_nothing_that_a_user_wrote_becomes_an_element_an_attribute_or_a_script(hostile):
    page = report.page(hostile)
    found = Elements(page)
    plain = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "p",
        "main",
        "section",
        "div",
        "span",
        "b",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "dl",
        "dt",
        "dd",
        "footer",
        "script",
    }
    assert set(found.tags) <= plain
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert {name for name, _ in found.attributes} <= {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "id",
        "style",
        "type",
        "nonce",
    }
    assert [attributes.get("id") for attributes, _ in found.scripts] == ["charts", "plotly", None]
    assert not any(text in page for text in BREAKS_OUT) and "\x1b" not in page and "\u202e" not in page
    assert any("<svg onload=alert(1)>" in text for text in found.texts)  # shown as it is
    for _, data in ((id, chart) for id, chart in found.charts().items()):
        assert "<img" not in json.dumps(data) and "<svg" not in json.dumps(data)
    assert page.count("@@PLOTLY@@") > 1 and len(page) < 3_000_000  # a name that looks like a placeholder stays one


def test_the_page_needs_nothing_beside_it(hostile):
    page = report.page(hostile)
    attributes = Elements(page).attributes
    assert not [value for name, value in attributes if name in ("src", "href")]
    (policy,) = [value for name, value in attributes if name == "content" and "default-src" in (value or "")]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy and "http" not in policy
    nonces = {value for name, value in attributes if name == "nonce"}
    assert len(nonces) == 1 and f"'nonce-{nonces.pop()}'" in policy
    assert report.page(hostile) == page  # the same log, the same page


def test_charts_hold_what_the_views_say():
    record = model_run().record
    charts = Elements(report.page(record)).charts()
    assert list(charts) == ["score", "hparams", "tree", "spread", "time", "model"]
    best = views.curves(record).best
    (drawn,) = [trace for trace in charts["score"]["data"] if trace["name"].startswith("best ")]
    assert drawn["x"] == [step for step, _ in best.points]
    assert drawn["y"] == pytest.approx([score for _, score in best.points], rel=1e-6)
    rings = [trace for trace in charts["score"]["data"] if trace["name"] == "exploit of the best"]
    assert rings[0]["x"] == [mark.step for mark in best.marks]
    schedule = views.schedule(record)
    bold = [trace for trace in charts["hparams"]["data"] if trace["name"] == "best"]
    assert [trace["x"] for trace in bold] == [[0, *(segment.end for segment in schedule.segments)]] * 2
    assert bold[0]["y"][:-1] == pytest.approx([segment.hparams["lr"] for segment in schedule.segments], rel=1e-6)
    tips = [trace for trace in charts["tree"]["data"] if trace["name"] in ("copied by the member at the tip", "its exploits")]
    assert sum(len(trace["x"]) for trace in tips if trace["mode"] == "markers") == views.status(record).exploits
    found = [each for each in views.suggestions(record) if each.gain is not None and each.observed is not None]
    assert charts["model"]["data"][1]["x"] == pytest.approx([each.gain for each in found], rel=1e-6)
    shares = [sum(trace["x"][row] for trace in charts["time"]["data"]) for row in range(5)]
    assert shares == pytest.approx([100.0] * 5)


def test_tables_name_every_exploit_failure_and_suggestion(hostile):
    text = re.sub(r"\s+", " ", report.page(hostile))
    view = views.status(hostile)
    rows = dict(re.findall(r"<h2>(Exploits|Failures)</h2>(.*?)</section>", text))
    assert rows["Exploits"].count("<tr>") - 1 == view.exploits and rows["Failures"].count("<tr>") - 1 == view.failed > 0
    assert "&lt;/script&gt;&lt;img src=x" in rows["Failures"]
    record = model_run().record
    model = re.search(r"<h2>Suggestions of the model</h2>.*?</section>", report.page(record), re.S)[0]
    assert model.count("<tr>") - 1 == len(views.suggestions(record)) and "length lr" in model


@pytest.mark.parametrize("bad", ["nan", "raise"])
def test_a_run_without_any_healthy_result_has_a_report(tmp_path, bad):
    with pytest.raises(pt.errors.RunFailed):
        pt.run(
            pt.pbt(pt.Space(lr=pt.Uniform(0.1, 1.0)), population=3, interval=1),
            pt.testing.Faulty(bad),
            stop=pt.steps(5),
            directory=tmp_path / "run",
        )
    assert "failed" in report.page(pt.open_run(tmp_path / "run").record)


def test_without_plotly_the_error_names_the_extra():
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'plotly' else find(name, *rest)\n"
        "import poptrain as pt; from poptrain import report; from poptrain.log.writer import MemoryLog\n"
        "report.page(MemoryLog({}).record)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "the report needs Plotly: pip install 'poptrain[report]'" in done.stderr


# -- in a browser ---------------------------------------------------------------------------------------------------------


def opened(page, tmp_path):
    """Returns what headless Chromium makes of a page: the document after its scripts ran, and what it complained about."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.fail("this test opens the report in Chromium, which is not installed: `apt-get install chromium`")
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    words = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=30000",
        "--window-size=1280,5000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.heavy
@pytest.mark.parametrize("make", [hostile_run, model_run], ids=["hostile", "model"])
def test_a_browser_draws_every_chart_without_a_complaint(make, tmp_path):
    record = make().record
    page = report.page(record)
    charts = Elements(page).charts()
    document, complaints = opened(page, tmp_path)
    assert complaints == []
    assert f'data-drawn="{len(charts)}"' in document
    assert document.count('class="main-svg"') >= 2 * len(charts)
    traces = [trace for chart in charts.values() for trace in chart["data"] if any(value is not None for value in trace["x"])]
    assert document.count('class="trace ') >= len(traces)
    assert "pwned" not in re.search(r"<title>(.*?)</title>", document, re.S)[1]
    found = Elements(document)  # what came of it in the browser
    assert not {"img", "iframe", "object", "embed", "form", "input"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [value for name, value in found.attributes if name in ("href", "xlink:href") and not (value or "").startswith("#")]


@pytest.mark.heavy
def test_a_browser_complains_of_a_page_that_is_broken(tmp_path):
    page = report.page(model_run().record)
    nonce = re.search(r"'nonce-([0-9a-f]+)'", page)[1]
    planted = page.replace("<footer>", "<script>document.title = 'ran'</script><footer>")
    document, complaints = opened(planted, tmp_path)
    assert complaints and "<title>ran" not in document  # the policy stops a script without the nonce, and says so
    broken = page.replace('id="charts">{', 'id="charts">{{')
    assert nonce in broken and "data-drawn" not in opened(broken, tmp_path)[0]
