"""The dashboard: a live page about runs, on this machine alone. It reads run directories and never writes to one.

    poptrain dashboard runs/first            # or several runs, or a directory of runs

`server` answers requests, `guard` decides which ones, `watch` follows a run as its log grows, and `thin` makes pictures small
enough for a browser. What is drawn is described by `views.panels`; the page in `static/` draws it.
"""
