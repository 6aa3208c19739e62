"""The report: one HTML page about a run. It needs no network, no other file, and no poptrain to be read.

>>> import poptrain as pt
>>> from poptrain.testing import quadratic
>>> run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=3, interval=5), quadratic, stop=pt.steps(10))
>>> page(run.record).startswith("<!doctype html>")
True
"""

from poptrain.report.page import page, write

__all__ = ["page", "write"]
