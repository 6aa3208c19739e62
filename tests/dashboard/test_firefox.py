"""The dashboard in Firefox: first paint, live update, click, keys, resize, dark, no complaint, and an accessibility audit."""

from __future__ import annotations

import threading

import pytest

import poptrain as pt

pytest.importorskip("uvicorn")
pytest.importorskip("websockets", reason="Firefox is driven over a socket: pip install 'poptrain[test-browser]'")
pytest.importorskip("axe_playwright_python", reason="axe-core is in it: pip install 'poptrain[test-browser]'")

from dashboard import axe  # noqa: E402
from dashboard.firefox import FIREFOX, opened  # noqa: E402
from dashboard.test_dashboard import SPACE, served, trained  # noqa: E402

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed: apt-get install firefox-esr"),
]
ESCAPE = "\ue00c"


def violations(page):
    """Returns the rules of axe that the page breaks."""
    page.evaluate(f"(() => {{ {axe.SOURCE.read_text()}; return 1; }})()")
    return page.evaluate(f"(await {axe.RUN}).violations.map((each) => [each.id, each.nodes[0].html])")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_finished_run_is_drawn_clicked_resized_and_accessible(dark, tmp_path):
    trained(tmp_path / "run", pt.pb2(SPACE, population=4, interval=5))
    with served(tmp_path / "run") as serving, opened(tmp_path / "profile", dark) as page:
        page.resize(1280, 900)
        page.open(serving.address)
        page.wait("document.querySelector('.state.finished') && document.querySelector('#section-score svg[tabindex]')")
        assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        assert violations(page) == []

        page.wait("document.querySelector('#part-exploits td button')")
        page.click("#part-exploits td button")
        page.wait("document.querySelector('#story[open] .why p')")
        assert "was replaced" in page.evaluate("document.querySelector('#story .why').innerText")
        assert violations(page) == []
        page.press(ESCAPE)
        page.wait("!document.querySelector('#story[open]')")

        page.resize(600, 800)
        page.wait("document.querySelector('#section-score svg[tabindex]').viewBox.baseVal.width < 600")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.complaints == []
        page.evaluate("document.querySelector('main').append(document.createElement('img'))")
        assert [rule for rule, _ in violations(page)] == ["image-alt"], "the audit finds what is wrong"


def test_a_run_in_progress_is_followed_to_its_end(tmp_path):
    reached, gate = threading.Event(), threading.Event()

    def train(carry, hp, steps, seed):
        if carry == 2:
            reached.set()
            assert gate.wait(60)
        return (carry or 0) + 1, {"score": hp["lr"]}

    with served(tmp_path / "run") as serving, opened(tmp_path / "profile") as page:
        page.open(serving.address)
        page.wait("document.body.innerText.includes('No run here yet')")
        run = threading.Thread(target=trained, args=(tmp_path / "run", None, 20, train), daemon=True)
        run.start()
        assert reached.wait(20)
        page.wait("document.querySelector('.state.running')")
        gate.set()
        page.wait("document.querySelector('.state.finished')")
        run.join()
        assert page.complaints == []
