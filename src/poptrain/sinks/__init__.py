"""Sinks follow the log, live or afterwards, and never stop training.

A sink has any of ``open(record)``, ``write(record, history)`` after every line, and ``close()``.
"""

from poptrain.sinks.guarded import Guarded

__all__ = ["Guarded"]
