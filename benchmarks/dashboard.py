"""How fast the dashboard is: first paint, update after a line of the log, a click, and memory, for 10^5 and 10^6 tasks.

    python -m benchmarks.dashboard [--quick] --json

The page is opened in headless Chromium (extra `test-browser`); the server is a process of its own. "Cards" is the first paint
with the status and the population; "chart" is the first picture, for which every line of the log must have been read.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import figure, main
from benchmarks.report import write_log
from poptrain.log.writer import Log

CLICK = """async () => {
    const began = performance.now();
    document.querySelector('#part-exploits td button').click();
    while (!document.querySelector('#story[open] .why p')) await new Promise(requestAnimationFrame);
    document.querySelector('#story').close();
    return performance.now() - began;
}"""


@contextmanager
def serving(directory: Path) -> Iterator[tuple[str, int]]:
    """Starts the server of a run; yields its address and its process id."""
    words = [sys.executable, "-m", "poptrain", "dashboard", str(directory), "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("dashboard: ").strip(), process.pid
    finally:
        process.terminate()
        process.wait()


def memory(pid: int, key: str) -> float:
    """Returns the megabytes that a process uses now (VmRSS), or used at most (VmHWM)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def measured(run: Path, tasks: int, browser: Any) -> Iterator[dict[str, Any]]:
    """Yields the figures of a run with this number of tasks."""
    name = f"{tasks:,} tasks"
    began = time.perf_counter()
    with serving(run) as (address, pid):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(address)
        page.wait_for_selector("#part-population tbody tr", timeout=120_000)
        cards = time.perf_counter() - began
        limit = 2.0 if tasks <= 100_000 else 10.0
        yield figure(f"{name}: command to cards", cards, "s", f"<= {limit:g}", cards <= limit)
        page.wait_for_selector("#section-score svg[tabindex]", timeout=600_000)
        yield figure(f"{name}: command to the first chart", time.perf_counter() - began, "s")
        page.wait_for_selector("#part-exploits td button", timeout=600_000)
        clicks = sorted(page.evaluate(CLICK) for _ in range(15))
        yield figure(f"{name}: click to story, median", clicks[7], "ms", "<= 100", clicks[7] <= 100, 15)
        updates = []
        with Log.open(run) as log:
            for number in range(5):
                text = f"mark {number}"
                start = time.perf_counter()
                log.note("warning", text=text)
                page.wait_for_selector(f"text={text}", timeout=30_000)
                updates.append(time.perf_counter() - start)
        updates.sort()
        yield figure(f"{name}: line of the log to the page, median", updates[2], "s", "<= 1", updates[2] <= 1, 5)
        page.close()
        peak = memory(pid, "VmHWM")
        small = tasks <= 100_000
        yield figure(f"{name}: server, peak memory", peak, "MB", "<= 300" if small else "", peak <= 300 if small else None)


def measure(quick: bool) -> Sequence[dict[str, Any]]:
    """Returns the figures."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        figures: list[dict[str, Any]] = []
        for tasks in (20_000,) if quick else (100_000, 1_000_000):
            write_log(Path(folder) / str(tasks), tasks)
            figures += measured(Path(folder) / str(tasks), tasks, browser)
        return figures


if __name__ == "__main__":
    main("dashboard", measure, __doc__.splitlines()[0] if __doc__ else None)
