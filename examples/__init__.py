"""Experiments that run as they are: `poptrain run examples/NAME.py`."""
