"""The accessibility audit of a page: axe-core, which comes with the package `axe-playwright-python`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SOURCE = Path(importlib.util.find_spec("axe_playwright_python").origin).with_name("axe.min.js")
RUN = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
