"""Makes the pictures of the dashboard's guide, from a real run of PB2 and in a real browser.

    python docs/make_dashboard_pictures.py          # docs/pictures/dashboard.png, docs/pictures/story.png

It needs the extras `dashboard` and `test-browser`, and an installed Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

import poptrain as pt
from poptrain.dashboard.server import Serving
from poptrain.testing import quadratic

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """Trains, opens the page and takes the pictures."""
    space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.1, 0.99))
    with tempfile.TemporaryDirectory() as folder:
        run = pt.run(pt.pb2(space, population=6, interval=5), quadratic, stop=pt.steps(150), directory=Path(folder) / "first")
        serving, ready = Serving([Path(folder)]), threading.Event()
        threading.Thread(target=serving.run, args=(ready.set,), daemon=True).start()
        ready.wait()
        with sync_playwright() as playwright:
            found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1180, "height": 1500})
            page.goto(serving.address)
            page.wait_for_selector("#section-score svg[tabindex]")
            page.wait_for_selector("#section-hparams svg[tabindex]")
            page.screenshot(path=PICTURES / "dashboard.png")
            page.keyboard.press("t")
            page.evaluate("document.querySelector('#section-tree').scrollIntoView()")
            page.wait_for_selector("#section-tree svg[tabindex]")
            page.set_viewport_size({"width": 1180, "height": 820})
            page.wait_for_selector("#part-exploits td button")
            page.evaluate("document.querySelector('#part-exploits td button').click()")
            page.wait_for_selector("#story[open] .why p")
            page.screenshot(path=PICTURES / "story.png")
            browser.close()
        serving.stop()
    print(f"best {run.best.score:.6g}: {PICTURES / 'dashboard.png'}, {PICTURES / 'story.png'}")


if __name__ == "__main__":
    main()
